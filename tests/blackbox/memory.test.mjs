// A daemon that is refused memory: everything is answered, and nothing is told to be whole that is not.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { eventually, memoryKb, slow, withDaemon } from './support/daemon.mjs';

const bytes = 9_000_000;
const cmd = `head -c ${bytes} /dev/zero; head -c ${bytes} /dev/zero >&2`;

test('no request hangs, and what is answered is true', { skip: slow && 'a sanitizer needs address space' }, async () => {
    await withDaemon({}, async (daemon) => {
        const limit = (soft) => execFileSync('prlimit', ['--pid', String(daemon.pid), `--as=${soft}:`]);
        for (let i = 0; i < 2; ++i) await daemon.post('/run', { cmd: 'true', cwd: '/' });
        let refused = 0;
        for (const more of [250_000, 1_500_000]) {
            limit(memoryKb(daemon.pid, 'VmSize') * 1024 + more);
            const began = Date.now();
            const runs = Array.from({ length: 6 }, () => daemon.post('/run', { cmd, timeout: 10 }));
            const streams = Array.from({ length: 3 }, () => daemon.post('/run_streaming', { cmd, timeout: 10 }));
            const starts = Array.from({ length: 3 }, () => daemon.post('/start_process', { cmd }));
            const ends = await Promise.allSettled([...runs, ...streams, ...starts]);
            limit('unlimited');
            assert.ok(Date.now() - began < 20_000, 'all of them end');
            for (const { status, value } of ends.slice(0, runs.length)) {
                if (status !== 'fulfilled' || value.status !== 200) {
                    ++refused;
                    continue;
                }
                const { code, stdout, stderr } = value.json;
                assert.deepEqual([code, stdout.length, stderr.length], [0, bytes, bytes]);
            }
            for (const { status, value } of ends.slice(runs.length, runs.length + streams.length)) {
                if (status !== 'fulfilled' || value.status !== 200) continue;
                assert.ok(value.text.includes('event: complete'), 'a stream is whole or cut');
                assert.equal(value.text.split('\\u0000').length - 1, 2 * bytes);
            }
            await eventually(async () => {
                const { json } = await daemon.get('/list_processes?all=true');
                return json.processes.every((process) => process.status !== 'running');
            }, 'the ends of the processes');
        }
        assert.ok(refused > 0, 'there was too little memory');
        assert.equal((await daemon.post('/run', { cmd: 'echo fine' })).json.stdout, 'fine\n');
    });
});
