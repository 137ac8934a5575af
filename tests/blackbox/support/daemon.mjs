// Daemons for tests of node:test: whatever happens, none outlives its file.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { after, before, test } from 'node:test';
import { Daemon, slow } from './daemon_process.mjs';
import { RawSocket } from './raw.mjs';

export * from './daemon_process.mjs';

// A test may run whole suites against one daemon (tests/e2b/together.test.mjs): this says where it is. What looks at
// the daemon as a whole, at its descriptors or its memory, has no place there.
const shared = process.env.BLACKBOX_DAEMON ? JSON.parse(process.env.BLACKBOX_DAEMON) : undefined;
export const alone = !shared;

// The daemon that somebody else has started and will stop.
export function sharedDaemon() {
    const { pid, log, ...where } = shared;
    const stderr = { get: () => fs.readFileSync(log, 'utf8') };
    return Object.assign(Object.create(Daemon.prototype, { stderr }), where, { options: {}, child: { pid } });
}

const started = new Set();
after(() => {
    RawSocket.closeAll(); // A test that has failed may have left one, and this process would not end before it.
    for (const daemon of started) daemon.discard();
});

export async function startDaemon(options) {
    const daemon = new Daemon(options);
    started.add(daemon);
    await daemon.ready();
    return daemon;
}

// A start that must fail: its exit and its stderr.
export async function startFailing(options) {
    const daemon = new Daemon(options);
    started.add(daemon);
    const end = await daemon.wait();
    const { stdout, stderr } = daemon;
    daemon.discard();
    return { ...end, stdout, stderr };
}

// Runs `body` with a daemon, then stops it and proves that nothing is left.
export async function withDaemon(options, body) {
    const daemon = await startDaemon(options);
    try {
        const result = await body(daemon);
        if (daemon.running) await daemon.stop();
        await daemon.assertClean();
        return result;
    } finally {
        daemon.discard();
    }
}

// One daemon for the tests of a file. Call `finish(d)` as the file's last statement.
export function useDaemon(options) {
    const holder = { daemon: undefined };
    before(async () => {
        holder.daemon = shared ? sharedDaemon() : await startDaemon(options);
    });
    return new Proxy(holder, {
        get(target, name) {
            const value = target.daemon[name];
            return typeof value === 'function' ? value.bind(target.daemon) : value;
        },
    });
}

export function finish(d) {
    if (shared) {
        test('at the end the daemon is still there', async () => {
            assert.equal((await d.get('/health')).status, 200);
        });
        return;
    }
    test('at the end the daemon stops with 0 and leaves no process and no file', async () => {
        const began = Date.now();
        assert.deepEqual(await d.stop(), { code: 0, signal: null });
        assert.ok(Date.now() - began < 7000 * (slow ? 3 : 1), 'within the shutdown budget');
        await d.assertClean();
    });
}
