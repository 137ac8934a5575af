// What the daemon holds: memory, descriptors, threads, children; and what it says it has done.
import fs from 'node:fs';
import { hiddenDescriptors, memoryKb } from '../blackbox/support/daemon_process.mjs';

const count = (pid, what) => fs.readdirSync(`/proc/${pid}/${what}`).length;

// What each open descriptor is, as /proc names it. None for users but root: the daemon does not show them.
export function descriptorsOf(pid) {
    if (hiddenDescriptors) return [];
    const directory = `/proc/${pid}/fd`;
    return fs.readdirSync(directory).flatMap((fd) => {
        try {
            return [fs.readlinkSync(`${directory}/${fd}`)];
        } catch {
            return []; // closed since
        }
    });
}

export function footprint(pid) {
    const descriptors = descriptorsOf(pid);
    // Of the spare cgroups: as many as the last burst left, two each, at most CgroupPool::kMostSpare.
    const ofCgroups = descriptors.filter((target) => target.startsWith('/sys/fs/cgroup/')).length;
    const children = fs.readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1').trim();
    return {
        rssKb: memoryKb(pid, 'VmRSS'),
        descriptors: descriptors.length - ofCgroups,
        ofCgroups,
        threads: count(pid, 'task'),
        children: children === '' ? 0 : children.split(' ').length,
    };
}

// A value of GET /metrics.
export function metric(text, name) {
    const line = text.split('\n').find((l) => l.startsWith(`${name} `));
    return line === undefined ? undefined : Number(line.slice(name.length + 1));
}
