// Somebody sets the wall clock, by hours in both directions: whatever the daemon waits for takes as long as before.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { describe, test } from 'node:test';
import { delay, eventually, slow, withDaemon } from '../blackbox/support/daemon.mjs';
import { RawSocket, rawRequest } from '../blackbox/support/raw.mjs';
import { settings } from '../blackbox/support/settings.mjs';

const shim = process.env.CLOCK_SHIM;
const skip = (slow && 'a sanitizer must be the first library') || (!shim && 'CLOCK_SHIM is not set: run it by ctest');
const hour = 3600;

// A daemon whose wall clock `jump` sets, by the seconds given.
async function withClock(env, body) {
    const file = `${fs.mkdtempSync('/tmp/sandbox-clock-')}/offset`;
    const set = (seconds) => {
        const bytes = Buffer.alloc(8);
        bytes.writeBigInt64LE(BigInt(seconds));
        const fd = fs.openSync(file, fs.existsSync(file) ? 'r+' : 'w');
        fs.writeSync(fd, bytes, 0, 8, 0);
        fs.closeSync(fd);
    };
    set(0);
    let sum = 0;
    const jump = (seconds) => set((sum += seconds));
    try {
        await withDaemon({ env: { LD_PRELOAD: shim, CLOCK_OFFSET_FILE: file, ...env } }, async (daemon) => {
            const before = Date.parse((await daemon.start('true')).started_at ?? new Date().toISOString());
            assert.ok(Math.abs(before - Date.now()) < 60_000);
            await body(daemon, jump);
        });
    } finally {
        fs.rmSync(file.replace(/\/offset$/, ''), { recursive: true });
    }
}

// Milliseconds that `work` took.
async function timed(work) {
    const began = performance.now();
    await work();
    return performance.now() - began;
}

for (const [direction, seconds] of [['forwards', hour], ['backwards', -hour]]) {
    describe(`the wall clock jumps ${direction}`, { skip }, () => {
        test('the daemon sees it', async () => {
            await withClock({}, async (daemon, jump) => {
                jump(seconds);
                const { id } = await daemon.start('true');
                const { started_at: at } = await daemon.entry(id);
                const shift = (Date.parse(at) - Date.now()) / 1000;
                assert.ok(Math.abs(shift - seconds) < 60, `${shift}`);
            });
        });
        test('no timeout comes early or late, and none is forgotten', async () => {
            await withClock({ [settings.killGrace]: '1' }, async (daemon, jump) => {
                const patient = daemon.run('sleep 0.6; echo done', { timeout: 60 });
                const ended = daemon.run('sleep 1000', { timeout: 0.5 });
                const deaf = daemon.run("trap '' TERM; sleep 1000; sleep 1000", { timeout: 0.5 });
                await eventually(() => daemon.survivors().length >= 3, 'the commands');
                jump(seconds);
                assert.deepEqual(await patient, { stdout: 'done\n', stderr: '', code: 0 });
                const took = await timed(async () => {
                    assert.equal((await ended).timed_out, true);
                    assert.equal((await deaf).code, 137);
                });
                assert.ok(took < 20_000, `${took} ms`);
            });
        });
        test('a kill keeps its grace, streams and logs go on in order', async () => {
            await withClock({ [settings.killGrace]: '10' }, async (daemon, jump) => {
                const { id } = await daemon.start("trap 'exit 5' TERM; i=0; while :; do echo $((i += 1)); sleep 0.01; done");
                const log = daemon.get(`/process_logs_streaming?id=${id}`);
                await delay(100);
                jump(seconds);
                await delay(100);
                const took = await timed(() => daemon.post('/kill_process', { id }));
                assert.ok(took < 20_000, `${took} ms`);
                assert.equal((await daemon.entry(id)).exit_code, 5);
                const lines = [...(await log).text.matchAll(/"data":"(\d+)"/g)].map((m) => Number(m[1]));
                assert.deepEqual(lines, lines.map((_, i) => i + 1));
                assert.ok(lines.length > 2);
            });
        });
        test('connections are not cut, and slow ones still are', async () => {
            await withClock({ [settings.headerTime]: '2', [settings.idleTime]: '600' }, async (daemon, jump) => {
                const idle = await RawSocket.connect(daemon.port);
                const half = await RawSocket.connect(daemon.port);
                idle.write(rawRequest('GET', '/health'));
                assert.equal((await idle.response()).status, 200);
                half.write('GET /health HT');
                await delay(100);
                jump(seconds);
                await delay(300);
                assert.deepEqual([idle.ended, half.ended], [false, false]);
                idle.write(rawRequest('GET', '/health'));
                assert.equal((await idle.response()).status, 200);
                await half.closed(20_000);
                idle.close();
                half.close();
            });
        });
        test('the shutdown keeps its budget', async () => {
            await withClock({ [settings.shutdownTime]: '2' }, async (daemon, jump) => {
                await daemon.start("trap '' TERM; sleep 1000; sleep 1000");
                await eventually(() => daemon.survivors().length >= 2, 'the command');
                const end = daemon.stop();
                jump(seconds);
                const took = await timed(async () => assert.deepEqual(await end, { code: 0, signal: null }));
                assert.ok(took < 10_000, `${took} ms`);
            });
        });
    });
}
