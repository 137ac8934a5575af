// A daemon that is refused memory: everything is answered, and nothing is told to be whole that is not.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import net from 'node:net';
import { eventually, memoryKb, slow, withDaemon } from './support/daemon.mjs';
import { RawSocket } from './support/raw.mjs';

const bytes = 9_000_000;
const cmd = `head -c ${bytes} /dev/zero; head -c ${bytes} /dev/zero >&2`;

const skip = slow && 'a sanitizer needs address space';
// Others come with 64 MB of address space each.
const env = { MALLOC_ARENA_MAX: '1' };
const limit = (daemon, bytes) => execFileSync('prlimit', ['--pid', String(daemon.pid), `--as=${bytes}:`]);

test('no request hangs, and what is answered is true', { skip }, async () => {
    await withDaemon({ env }, async (daemon) => {
        for (let i = 0; i < 2; ++i) await daemon.post('/run', { cmd: 'true', cwd: '/' });
        let refused = 0;
        for (const more of [250_000, 1_500_000]) {
            limit(daemon, memoryKb(daemon.pid, 'VmSize') * 1024 + more);
            const began = Date.now();
            const runs = Array.from({ length: 6 }, () => daemon.post('/run', { cmd, timeout: 10 }));
            const streams = Array.from({ length: 3 }, () => daemon.post('/run_streaming', { cmd, timeout: 10 }));
            const starts = Array.from({ length: 3 }, () => daemon.post('/start_process', { cmd }));
            const ends = await Promise.allSettled([...runs, ...streams, ...starts]);
            limit(daemon, 'unlimited');
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

test('who comes without memory for him does not end the listeners', { skip }, async () => {
    const beginning = `GET /health HTTP/1.1\r\nx: ${'x'.repeat(30_000)}`;
    let answering = false;
    const target = net.createServer((socket) => {
        socket.on('error', () => {});
        if (answering) socket.end('from the target');
    });
    await new Promise((resolve) => target.listen(0, '127.0.0.1', resolve));
    try {
        await withDaemon({ env }, async (daemon) => {
            await daemon.post('/bind_port', { port: target.address().port });
            limit(daemon, 4096);
            // Each says the beginning of a request and leaves it at that, until what malloc has is used up; more come then.
            const came = [];
            const refused = () => came.some((raw) => raw.ended);
            for (let more = 5; more > 0 && came.length < 10_000; more -= refused() ? 1 : 0) {
                const ports = Array.from({ length: 50 }, () => [daemon.port, daemon.proxyPort]).flat();
                const opened = await Promise.allSettled(ports.map((port) => RawSocket.connect(port)));
                came.push(...opened.filter(({ status }) => status === 'fulfilled').map(({ value }) => value));
                for (const raw of came.slice(-ports.length)) raw.write(beginning);
            }
            await eventually(refused, 'somebody is refused');
            limit(daemon, 'unlimited');
            for (const raw of came) raw.close();
            assert.equal((await daemon.get('/health')).status, 200);
            assert.equal((await daemon.post('/run', { cmd: 'echo fine' })).json.stdout, 'fine\n');
            answering = true;
            const forwarded = await RawSocket.connect(daemon.proxyPort);
            await eventually(() => forwarded.ended, 'the answer of the target');
            assert.equal(String(forwarded.buffer), 'from the target');
            forwarded.close();
        });
    } finally {
        target.close();
    }
});
