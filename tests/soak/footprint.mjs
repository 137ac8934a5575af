// What the daemon holds: memory, descriptors, threads, children; and what it says it has done.
import fs from 'node:fs';
import { memoryKb, openDescriptors } from '../blackbox/support/daemon_process.mjs';

const count = (pid, what) => fs.readdirSync(`/proc/${pid}/${what}`).length;

export function footprint(pid) {
    const children = fs.readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1').trim();
    return {
        rssKb: memoryKb(pid, 'VmRSS'),
        descriptors: openDescriptors(pid),
        threads: count(pid, 'task'),
        children: children === '' ? 0 : children.split(' ').length,
    };
}

// A value of GET /metrics.
export function metric(text, name) {
    const line = text.split('\n').find((l) => l.startsWith(`${name} `));
    return line === undefined ? undefined : Number(line.slice(name.length + 1));
}
