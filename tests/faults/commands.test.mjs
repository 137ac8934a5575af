// Commands that do not play along: each has one right answer, by every route.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { delay, eventually, finish, hiddenDescriptors, memoryKb, openDescriptors, slow, useDaemon, withDaemon } from '../blackbox/support/daemon.mjs';
import { parseStrict } from '../blackbox/support/sse.mjs';
import { settings } from '../blackbox/support/settings.mjs';

// With patience, so that a loaded machine gets no SIGKILL in before SIGTERM has done its work.
const d = useDaemon({ env: { [settings.killGrace]: '30', SANDBOX_PROCESS_LOG_BUDGET: '4000000' } });

// The end of `cmd` as /run, /run_streaming and /start_process tell it: all three must agree.
async function endsAs(cmd, fields, wanted, daemon = d) {
    const run = await daemon.run(cmd, fields);
    const { stdout, stderr, error, stats, ...told } = run;
    assert.deepEqual(told, wanted, '/run');
    const stream = parseStrict((await daemon.post('/run_streaming', { cmd, ...fields })).bytes).at(-1);
    assert.equal(stream.event, 'complete');
    assert.deepEqual(stream.data, { ...wanted, error: wanted.code !== 0 }, '/run_streaming');
    const { id } = await daemon.start(cmd, fields);
    const entry = await daemon.ended(id, 30_000);
    assert.equal(entry.exit_code, wanted.code, '/start_process');
    await daemon.noSurvivors();
    return run;
}

async function killed(cmd, ready, code, daemon = d) {
    const { id } = await daemon.start(cmd);
    await ready(id);
    assert.deepEqual((await daemon.post('/kill_process', { id })).json, { success: true, message: 'Process killed successfully' });
    const entry = await daemon.entry(id);
    assert.deepEqual([entry.status, entry.exit_code], ['killed', code]);
    assert.deepEqual(daemon.survivors(), []);
}
const said = (id, text, daemon = d) =>
    eventually(async () => (await daemon.get(`/process_logs_streaming?id=${id}&follow=false`)).text.includes(text), text);

test('one that ignores SIGTERM gets SIGKILL after the grace', async () => {
    const cmd = "trap '' TERM HUP INT; echo deaf; sleep 1000 & wait; sleep 1000";
    await withDaemon({ env: { [settings.killGrace]: '1' } }, async (daemon) => {
        const end = await endsAs(cmd, { timeout: 1 }, { code: 137, signal: 'SIGKILL', timed_out: true }, daemon);
        assert.equal(end.stdout, 'deaf\n');
        await killed(cmd, (id) => said(id, 'deaf', daemon), 137, daemon);
    });
});

describe('one that stops itself', () => {
    const cmd = 'echo before; kill -STOP $$; echo after; exit 4';
    const stopped = async (id) => {
        const { pid } = (await d.get(`/get_process?id=${id}`)).json;
        await eventually(async () => / T /.test((await d.run(`cat /proc/${pid}/stat`)).stdout), 'it stops');
    };
    test('is ended by a timeout and by a kill', async () => {
        await endsAs(cmd, { timeout: 0.3 }, { code: 143, signal: 'SIGTERM', timed_out: true });
        await killed(cmd, stopped, 143);
    });
    test('goes on when it is told to', async () => {
        const { id } = await d.start(cmd);
        await stopped(id);
        assert.equal((await d.post('/signal_process', { id, signal: 'SIGCONT' })).json.success, true);
        assert.deepEqual([(await d.ended(id)).exit_code], [4]);
        await said(id, '"after"');
    });
    test('with its whole tree is ended by the client that leaves', async () => {
        const abort = new AbortController();
        const answer = d.post('/run', { cmd: 'setsid sh -c "kill -STOP \\$\\$; sleep 1000" & kill -STOP $$' }, { signal: abort.signal });
        await eventually(() => d.survivors().length >= 2, 'the tree');
        abort.abort();
        await assert.rejects(answer);
        await d.noSurvivors();
    });
});

test('one that closes its pipes and lives on is waited for', async () => {
    const cmd = 'echo first; exec >&- 2>&- <&-; sleep 0.4; exit 7';
    const began = Date.now();
    const end = await endsAs(cmd, {}, { code: 7 });
    assert.ok(Date.now() - began >= 1200, 'three times 0.4 s');
    assert.equal(end.stdout, 'first\n');
    await killed('echo closed; exec >&- 2>&-; sleep 1000', (id) => said(id, 'closed'), 143);
});

describe('one that floods both pipes', () => {
    const flood = 'yes out & yes err >&2 & wait';
    test('is slowed down by a reader that does not read, and ends with it', async () => {
        const abort = new AbortController();
        await d.post('/run_streaming', { cmd: flood }, { stream: true, signal: abort.signal });
        await delay(500);
        if (!slow) assert.ok(memoryKb(d.pid, 'VmRSS') < 64_000);
        assert.equal((await d.run('echo beside')).stdout, 'beside\n');
        abort.abort();
        await d.noSurvivors();
    });
    test('fills its log to the budget and no further, and is killed', async () => {
        await killed(flood, (id) => eventually(async () => {
            const { log_first_id: first } = (await d.get(`/get_process?id=${id}`)).json;
            return first > 100_000;
        }, 'the log runs over', 60_000), 143);
        if (!slow) assert.ok(memoryKb(d.pid, 'VmRSS') < 64_000);
    });
    test('with both streams exact to the end', async () => {
        const size = slow ? 3_000_000 : 20_000_000;
        const cmd = `(yes o | head -c ${size}) & (yes e | head -c ${size} >&2) & wait; exit 2`;
        const { stdout, stderr, code } = await d.run(cmd);
        assert.deepEqual([stdout === 'o\n'.repeat(size / 2), stderr === 'e\n'.repeat(size / 2), code], [true, true, 2]);
    });
});

test('one that never reads its input does not hold anything up', async () => {
    const end = await d.run('exit 6', { stdin: 'x'.repeat(5_000_000) });
    assert.equal(end.code, 6);
    assert.equal((await d.run('exec <&-; sleep 0.2; exit 5', { stdin: 'x'.repeat(5_000_000) })).code, 5);
});

test('devices without an end, behind the file routes', async () => {
    const refused = await d.post('/read_file', { path: '/dev/zero' });
    assert.match(refused.json.error, /^open \/dev\/zero: is a/);
    const part = await d.post('/read_file', { path: '/dev/zero', encoding: 'base64', length: 100_000 });
    assert.ok(Buffer.from(part.json.content, 'base64').equals(Buffer.alloc(100_000)));
    const copied = await d.post('/copy', { source: '/dev/zero', destination: d.file('zero') });
    assert.match(copied.json.error, /^copy \/dev\/zero/);
    const full = await d.post('/write_file', { path: '/dev/full', content: 'x' });
    assert.equal(full.json.error, 'write /dev/full: no space left on device');
    assert.equal((await d.post('/list_dir', { path: d.work })).json.entries.length, 0);
});

test('at the end it holds no more than at the beginning', { skip: hiddenDescriptors }, async () => {
    await eventually(() => openDescriptors(d.pid) < 60, 'few descriptors');
});

finish(d);
