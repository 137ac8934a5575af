// A root that cannot be written, and no /proc.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { eventually, isRoot, withDaemon } from '../blackbox/support/daemon.mjs';
import { parseStrict, textOf } from '../blackbox/support/sse.mjs';
import { settings } from '../blackbox/support/settings.mjs';

const skip = !isRoot && 'needs root';

// More than /run keeps in memory, and a command line that is longer than execve(2) takes.
async function servesInFull(daemon) {
    const { stdout, code } = await daemon.run('head -c 9000000 /dev/zero | tr "\\0" k');
    assert.deepEqual([stdout.length, code], [9_000_000, 0]);
    assert.equal((await daemon.run(`: ${'x'.repeat(300_000)}; echo long; exit 9`)).code, 9);
    assert.equal((await daemon.run('cat', { stdin: 'given' })).stdout, 'given');
    assert.equal((await daemon.run('sleep 1000', { timeout: 0.1 })).timed_out, true);
    assert.equal((await daemon.run('kill -9 $$')).signal, 'SIGKILL');
    const stream = await daemon.post('/run_streaming', { cmd: 'seq 1 20000' });
    assert.equal(textOf(parseStrict(stream.bytes)).length, 108_894);
    const { id } = await daemon.start('seq 1 20000; exec sleep 1000');
    await eventually(async () => {
        const log = await daemon.get(`/process_logs_streaming?id=${id}&follow=false`);
        return log.text.includes('"data":"20000"');
    }, 'the log');
    assert.equal((await daemon.post('/kill_process', { id })).json.success, true);
    assert.deepEqual((await daemon.entry(id)).exit_code, 143);
    assert.equal((await daemon.get('/metrics')).status, 200);
}

test('a read-only root: everything but writing files works', { skip }, async () => {
    const wrapper = ['unshare', '--mount', 'sh', '-c', 'mount -o remount,bind,ro / && exec "$0" "$@"'];
    await withDaemon({ wrapper }, async (daemon) => {
        const probe = await daemon.run('echo x > probe', { cwd: daemon.work });
        assert.match(probe.stderr, /Read-only file system/, 'the root is read-only');
        await servesInFull(daemon);
        const path = daemon.file('x');
        const { json } = await daemon.post('/write_file', { path, content: 'x' });
        assert.equal(json.error, `open ${path}: read-only file system`);
        const made = await daemon.post('/make_dir', { path: daemon.file('d') });
        assert.equal(made.json.error, `mkdir ${daemon.file('d')}: read-only file system`);
        assert.deepEqual((await daemon.post('/list_dir', { path: daemon.work })).json, { entries: [] });
    });
});

describe('/proc is not mounted', { skip }, () => {
    const without = (env, body) => {
        const wrapper = ['unshare', '--mount', '--pid', '--fork', '--kill-child', 'sh', '-c', 'umount -l /proc && exec "$0" "$@"'];
        return withDaemon({ wrapper, inner: true, env }, async (daemon) => {
            assert.equal((await daemon.run('ls /proc')).stdout, '', 'there is none');
            await body(daemon);
        });
    };
    test('everything works', async () => {
        await without({}, servesInFull);
    });
    test('a kill reaches the process group, also without cgroups', async () => {
        await without({ SANDBOX_CGROUPS: 'off' }, servesInFull);
        await without({ SANDBOX_CGROUPS: 'off', [settings.killGrace]: '1' }, async (daemon) => {
            const { id } = await daemon.start("trap '' TERM; sleep 1000 & sleep 1000; sleep 1000");
            await eventually(() => daemon.survivors().length >= 3, 'the group');
            assert.equal((await daemon.post('/kill_process', { id })).json.success, true);
            assert.deepEqual([(await daemon.entry(id)).status, (await daemon.entry(id)).exit_code], ['killed', 137]);
            await daemon.noSurvivors();
        });
    });
});
