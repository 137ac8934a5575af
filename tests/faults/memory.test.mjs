// A command takes more memory than there is: it dies and is told truly, the daemon beside it lives.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { eventually, isRoot, slow, withDaemon } from '../blackbox/support/daemon.mjs';
import { Cgroup } from './support/cgroup.mjs';

const skip = (!isRoot && 'needs root') || (slow && 'a sanitizer takes more than the limit') || Cgroup.unavailable('memory');
const limit = 96 << 20;

describe('a memory limit', { skip }, () => {
    const inGroup = (body) =>
        Cgroup.with('memory', limit, (group) =>
            withDaemon({ wrapper: group.wrapper }, async (daemon) => {
                await body(daemon, group);
                assert.equal((await daemon.run('echo still here')).stdout, 'still here\n');
            }),
        );

    test('the command is killed, and its answer says so', async () => {
        await inGroup(async (daemon, group) => {
            const end = await daemon.run('exec tail /dev/zero');
            assert.deepEqual([end.code, end.signal, end.oom_killed], [137, 'SIGKILL', true]);
            assert.ok(group.oomKills() > 0, 'the limit was hit');
        });
    });
    test('a part of a tree dies, the rest goes on and is told apart', async () => {
        await inGroup(async (daemon, group) => {
            const end = await daemon.run('tail /dev/zero; echo "child $?"; exit 3');
            assert.deepEqual([end.stdout, end.code, end.signal, end.oom_killed], ['child 137\n', 3, undefined, undefined]);
            assert.ok(group.oomKills() > 0, 'the limit was hit');
        });
    });
    test('a started process, a stream, and many at once; health and output of others in between', async () => {
        await inGroup(async (daemon, group) => {
            const { id } = await daemon.start('exec tail /dev/zero');
            const stream = await daemon.post('/run_streaming', { cmd: 'echo begin; exec tail /dev/zero' });
            assert.match(stream.text, /"data":"begin"/);
            assert.match(stream.text, /event: complete\ndata: \{"code":137,"error":true,"signal":"SIGKILL","oom_killed":true\}/);
            const ended = await daemon.ended(id, 60_000);
            assert.equal((await daemon.get(`/get_process?id=${id}`)).json.oom_killed, true);
            assert.deepEqual([ended.status, ended.exit_code], ['failed', 137]);
            const hungry = Array.from({ length: 4 }, () => daemon.run('exec tail /dev/zero'));
            for (let i = 0; i < 20; ++i) assert.equal((await daemon.get('/health')).status, 200);
            for (const end of await Promise.all(hungry)) assert.deepEqual([end.code, end.signal, end.oom_killed], [137, 'SIGKILL', true]);
            assert.ok(group.oomKills() >= 6, `${group.oomKills()} were killed`);
        });
    });
    test('other ends say nothing of memory', async () => {
        await inGroup(async (daemon, group) => {
            const child = await daemon.run('sh -c "exec tail /dev/zero"; exit $?');
            assert.deepEqual([child.code, child.signal, child.oom_killed], [137, undefined, true]);
            const before = group.oomKills();
            assert.ok(before > 0, 'the limit was hit');
            assert.deepEqual((await daemon.run('kill -9 $$')).oom_killed, undefined);
            assert.deepEqual((await daemon.run('exit 137')).oom_killed, undefined);
            assert.match((await daemon.get('/metrics')).text, new RegExp(`^sandbox_oom_kills_total ${before}$`, 'm'));
        });
    });
    test('output far beyond the limit goes through', async () => {
        await inGroup(async (daemon) => {
            const cmd = 'head -c 300000000 /dev/zero | tr "\\0" k';
            const { stdout, code } = await daemon.run(cmd);
            assert.deepEqual([stdout.length, code], [300_000_000, 0]);
            await eventually(async () => (await daemon.get('/health')).status === 200, 'health');
        });
    });
});

test('a limit on address space, set by the command for itself', async () => {
    await withDaemon({}, async (daemon) => {
        const end = await daemon.run('ulimit -v 100000; perl -e \'my $x = "x" x (1 << 30); print "got it"\'; echo "code $?"');
        assert.match(end.stderr, /Out of memory/i);
        assert.doesNotMatch(end.stdout, /got it|code 0/);
    });
});
