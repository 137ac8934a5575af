// Commands that take all the CPU there is: the daemon is ahead of them where it may be, and what it runs is not.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import { test } from 'node:test';
import { eventually, withDaemon } from '../blackbox/support/daemon.mjs';
import { parseStrict } from '../blackbox/support/sse.mjs';

const ours = os.getPriority();
const mayRaise = (() => {
    try {
        os.setPriority(ours - 1);
        os.setPriority(ours);
        return ours > -10;
    } catch {
        return false;
    }
})();
const skip = !mayRaise && 'needs CAP_SYS_NICE';
const niceOf = (stat) => Number(stat.slice(stat.lastIndexOf(')')).split(' ')[17]);
const niceOfThreads = (pid) =>
    [...new Set(fs.readdirSync(`/proc/${pid}/task`).map((id) => niceOf(fs.readFileSync(`/proc/${pid}/task/${id}/stat`, 'latin1'))))];
const own = "cut -d' ' -f19 /proc/self/stat";
const autogroup = (text) => Number(text.match(/nice (-?\d+)/)?.[1] ?? 0);
const autogroupOf = (pid) => {
    try {
        return autogroup(fs.readFileSync(`/proc/${pid}/autogroup`, 'latin1'));
    } catch {
        return undefined; // A kernel without them.
    }
};

// By each way there is to start a command.
async function niceOfCommands(daemon) {
    const all = [];
    for (const way of [{}, {}, { cwd: '/' }, { timeout: 60 }]) all.push((await daemon.run(own, way)).stdout);
    all.push((await daemon.post('/run', { args: ['cut', '-d ', '-f19', '/proc/self/stat'] })).json.stdout);
    for (const tty of [false, true]) {
        const events = parseStrict((await daemon.post('/run_streaming', { cmd: own, tty })).bytes);
        all.push(events.find((e) => e.event === 'output').data.data);
    }
    const { id } = await daemon.start(own);
    await daemon.ended(id);
    all.push((await daemon.get(`/process_logs_streaming?id=${id}`)).text.match(/"data":"(-?\d+)"/)[1]);
    return [...new Set(all.map(Number))];
}

test('the daemon is ahead of its commands, which are what they would have been', { skip }, async () => {
    await withDaemon({ wrapper: ['setsid'] }, async (daemon) => {
        assert.deepEqual(niceOfThreads(daemon.pid), [ours - 10]);
        assert.deepEqual(await niceOfCommands(daemon), [ours]);
        const group = autogroupOf(daemon.pid);
        if (group === undefined) return;
        assert.equal(group, -10);
        assert.equal(autogroup((await daemon.run('cat /proc/self/autogroup')).stdout), 0);
    });
});

test('nothing is taken from others of its session', { skip }, async () => {
    const before = autogroupOf(process.pid);
    const entrypoint = ['sh', '-c', `${own} >nice.new; mv nice.new nice; exec sleep 1000`];
    await withDaemon({ wrapper: ['setsid'], entrypoint }, async (daemon) => {
        await eventually(() => fs.existsSync(daemon.file('nice')), 'the command behind --');
        assert.equal(Number(fs.readFileSync(daemon.file('nice'), 'utf8')), ours);
        assert.deepEqual(niceOfThreads(daemon.pid), [ours - 10]);
        assert.ok([0, undefined].includes(autogroupOf(daemon.pid)));
    });
    await withDaemon({}, async (daemon) => {
        assert.deepEqual(niceOfThreads(daemon.pid), [ours - 10]);
        assert.deepEqual(await niceOfCommands(daemon), [ours]);
    });
    assert.equal(autogroupOf(process.pid), before);
});

test('without the right to it nothing changes', { skip }, async () => {
    await withDaemon({ wrapper: ['setsid', 'setpriv', '--inh-caps', '-sys_nice', '--bounding-set', '-sys_nice'] }, async (daemon) => {
        assert.deepEqual(niceOfThreads(daemon.pid), [ours]);
        assert.deepEqual(await niceOfCommands(daemon), [ours]);
        assert.ok([0, undefined].includes(autogroupOf(daemon.pid)));
    });
});
