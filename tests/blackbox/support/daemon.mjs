// Daemons for tests of node:test: whatever happens, none outlives its file.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Daemon, slow } from './daemon_process.mjs';

export * from './daemon_process.mjs';

const started = new Set();
after(() => {
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
        holder.daemon = await startDaemon(options);
    });
    return new Proxy(holder, {
        get(target, name) {
            const value = target.daemon[name];
            return typeof value === 'function' ? value.bind(target.daemon) : value;
        },
    });
}

export function finish(d) {
    test('at the end the daemon stops with 0 and leaves no process and no file', async () => {
        const began = Date.now();
        assert.deepEqual(await d.stop(), { code: 0, signal: null });
        assert.ok(Date.now() - began < 7000 * (slow ? 3 : 1), 'within the shutdown budget');
        await d.assertClean();
    });
}
