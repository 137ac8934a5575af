// Started processes: the list, their ends, killing, signals and input. Their logs are in logs.test.mjs.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { describe, test } from 'node:test';
import { alone, delay, eventually, finish, hiddenDescriptors, heldConnections, isAlive, memoryKb, openDescriptors, slow, useDaemon } from './support/daemon.mjs';
import { RawSocket, rawRequest } from './support/raw.mjs';
import { settings } from './support/settings.mjs';

const d = useDaemon({ env: { [settings.killGrace]: '1' } });
const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
const rfc3339 = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z$/;

const kill = (id) => d.post('/kill_process', { id });
const details = async (id) => (await d.get(`/get_process?id=${id}`)).json;

async function logsOf(id) {
    const { text } = await d.get(`/process_logs_streaming?id=${id}&follow=false`);
    return [...text.matchAll(/"data":"((?:[^"\\]|\\.)*)"/g)].map((m) => JSON.parse(`"${m[1]}"`));
}

test('start answers with id, pid, status and success', async () => {
    const answer = await d.post('/start_process', { cmd: 'sleep 0.2' });
    assert.equal(answer.status, 201);
    assert.deepEqual(Object.keys(answer.json).sort(), ['id', 'pid', 'status', 'success']);
    assert.match(answer.json.id, uuid);
    assert.ok(isAlive(answer.json.pid));
    assert.equal(answer.json.status, 'running');
    assert.equal(answer.json.success, true);
    const ended = await d.ended(answer.json.id);
    assert.equal(ended.status, 'completed');
    assert.equal(ended.pid, answer.json.pid);
});

test('the list has the seven documented keys and no other, ordered by start', async () => {
    const running = await d.start('sleep 331');
    const ids = [running.id];
    for (const cmd of ['true', 'exit 3', 'echo "quoted ä" && kill -KILL $$']) ids.push((await d.start(cmd)).id);
    for (const id of ids.slice(1)) await d.ended(id);
    const list = await d.list();
    assert.deepEqual(list.map((p) => p.id).slice(-4), ids);
    const allowed = new Set(['id', 'command', 'status', 'pid', 'exit_code', 'started_at', 'completed_at']);
    for (const entry of list) {
        for (const key of Object.keys(entry)) assert.ok(allowed.has(key), `the Python SDK breaks on ${key}`);
        assert.match(entry.started_at, rfc3339);
        assert.ok(Number.isInteger(entry.pid));
    }
    const [first, ok, failed, signalled] = list.slice(-4);
    assert.deepEqual(Object.keys(first).sort(), ['command', 'id', 'pid', 'started_at', 'status']);
    assert.equal(first.status, 'running');
    assert.equal(first.command, 'sleep 331');
    assert.deepEqual([ok.status, ok.exit_code], ['completed', 0]);
    assert.match(ok.completed_at, rfc3339);
    assert.ok(ok.completed_at >= ok.started_at);
    assert.deepEqual([failed.status, failed.exit_code], ['failed', 3]);
    assert.deepEqual([signalled.status, signalled.exit_code], ['failed', 137], 'nobody of us killed it');
    assert.equal((await d.list('?all=true')).filter((p) => ids.includes(p.id)).length, 4);
    await d.run('true');
    assert.ok(!(await d.list('?all=true')).some((p) => p.command === 'true' && !ids.includes(p.id)), '/run is in no list');
    assert.equal((await kill(running.id)).status, 200);
});

describe('kill', () => {
    test('TERM first: the process may end in its own way', async () => {
        const file = d.file('term-seen');
        const { id } = await d.start(`trap "echo bye > ${file}; exit 7" TERM; echo up; while :; do sleep 0.05; done`);
        await eventually(async () => (await logsOf(id)).includes('up'), 'the trap is set');
        const answer = await kill(id);
        assert.deepEqual(answer.json, { success: true, message: 'Process killed successfully' });
        assert.equal(fs.readFileSync(file, 'utf8'), 'bye\n');
        const entry = await d.entry(id);
        assert.deepEqual([entry.status, entry.exit_code], ['killed', 7]);
    });
    test('KILL after the grace', async () => {
        const { id, pid } = await d.start('trap "" TERM; echo up; while :; do sleep 0.05; done');
        await eventually(async () => (await logsOf(id)).includes('up'), 'the trap is set');
        const began = Date.now();
        assert.equal((await kill(id)).json.success, true);
        assert.ok(Date.now() - began >= 900, 'the grace was given');
        assert.ok(!isAlive(pid), 'the answer comes when all is gone');
        const entry = await d.entry(id);
        assert.deepEqual([entry.status, entry.exit_code], ['killed', 137]);
    });
    test('the whole tree, with sessions of their own and orphans', async () => {
        const { id } = await d.start(
            "setsid sleep 332 & (setsid sh -c 'sleep 333 & sleep 334' &); nohup sleep 335 >/dev/null 2>&1 & sleep 336 | cat",
        );
        await eventually(() => d.survivors().length >= 7, 'the tree');
        assert.equal((await kill(id)).json.success, true);
        assert.deepEqual(d.survivors(), []);
    });
    test('a server in the tree gives its port back', async () => {
        const script = 'require("net").createServer().listen(0,"127.0.0.1",function(){console.log(this.address().port)})';
        const { id } = await d.start(`'${process.execPath}' -e '${script}' | cat`);
        const port = Number(await eventually(async () => (await logsOf(id))[0], 'the port'));
        assert.equal((await kill(id)).json.success, true);
        const refused = await new Promise((resolve) => {
            const socket = net.connect(port, '127.0.0.1', () => resolve(false)).on('error', () => resolve(true));
            socket.unref();
        });
        assert.ok(refused);
    });
    test('a stopped process', async () => {
        const { id, pid } = await d.start('kill -STOP $$; echo never');
        await eventually(() => / T /.test(fs.readFileSync(`/proc/${pid}/stat`, 'latin1')), 'the stop');
        assert.equal((await kill(id)).json.success, true);
        assert.ok(!isAlive(pid));
    });
    test('a second kill joins the first', async () => {
        const { id, pid } = await d.start('trap "" TERM; echo up; while :; do sleep 0.05; done');
        await eventually(async () => (await logsOf(id)).includes('up'), 'the trap is set');
        const answers = await Promise.all([kill(id), delay(200).then(() => kill(id)), delay(400).then(() => kill(id))]);
        for (const answer of answers) assert.deepEqual([answer.status, answer.json.success], [200, true]);
        assert.ok(!isAlive(pid));
    });
    test('a leader that has ended with a living tree', async () => {
        const { id } = await d.start('sleep 337 >/dev/null 2>&1 & setsid sleep 338 & exit 4');
        const ended = await d.ended(id);
        assert.deepEqual([ended.status, ended.exit_code], ['failed', 4]);
        await eventually(() => d.survivors().length === 2, 'the tree without its leader');
        assert.equal((await kill(id)).json.success, true);
        assert.deepEqual(d.survivors(), []);
    });
    test('nothing left, unknown, and no id', async () => {
        for (const [cmd, status] of [['true', 'completed'], ['false', 'failed']]) {
            const { id } = await d.start(cmd);
            await d.ended(id);
            const answer = await kill(id);
            assert.equal(answer.status, 400);
            assert.deepEqual(answer.json, { success: false, error: `process is not running (status: ${status})` });
        }
        const { id } = await d.start('sleep 339');
        await kill(id);
        assert.equal((await kill(id)).json.error, 'process is not running (status: killed)');
        const unknown = await kill('nope"\n');
        assert.equal(unknown.status, 400);
        assert.deepEqual(unknown.json, { success: false, error: 'process not found: nope"\n' });
        for (const body of [{}, { id: '' }, { id: null }]) {
            const answer = await d.post('/kill_process', body);
            assert.equal(answer.status, 400);
            assert.equal(answer.json.error, 'Process ID is required');
        }
        assert.equal((await d.post('/kill_process', { id: 5 })).json.error, 'Invalid request');
    });
    test('of many at once', async () => {
        const started = await Promise.all(Array.from({ length: 30 }, () => d.start('sleep 340 | cat')));
        const answers = await Promise.all(started.map(({ id }) => kill(id)));
        assert.ok(answers.every((a) => a.json.success === true));
        assert.deepEqual(d.survivors(), []);
    });
});

test('long commands are told whole, in pieces, and hold up nobody', { skip: !alone }, async () => {
    // Each is more than a piece of the answer, and a character lies across every border of pieces.
    const long = `sleep 332 # ${'x'.repeat(95)}${'\u00e4"\\'.repeat(100_000)}`;
    const started = await Promise.all(Array.from({ length: 60 }, () => d.start(long)));
    const before = memoryKb(d.pid, 'VmRSS');
    const unread = await RawSocket.connect(d.port);
    unread.write(rawRequest('GET', '/list_processes', d.secret));
    const list = await d.list();
    for (const { id } of started) {
        const entry = list.find((p) => p.id === id);
        assert.ok(entry.command === long);
        assert.deepEqual(Object.keys(entry).sort(), ['command', 'id', 'pid', 'started_at', 'status']);
    }
    assert.ok((await details(started[0].id)).command === long);
    const grown = memoryKb(d.pid, 'VmRSS') - before;
    assert.ok(slow || grown < 16 * 1024, `${grown} KB for a list of 40 MB, twice, of which one is not read`);
    assert.equal((await d.get('/health')).status, 200);
    unread.close();
    await Promise.all(started.map(({ id }) => kill(id)));
});

test('a signal from elsewhere is a failure with 128+n', async () => {
    const { id, pid } = await d.start('sleep 341');
    process.kill(pid, 'SIGKILL');
    const entry = await d.ended(id);
    assert.deepEqual([entry.status, entry.exit_code], ['failed', 137]);
    assert.equal((await details(id)).signal, 'SIGKILL');
    for (const left of d.survivors()) process.kill(left, 'SIGKILL');
});

test('a process is not tied to the connection that started it', async () => {
    const raw = await RawSocket.connect(d.port);
    raw.write(rawRequest('POST', '/start_process', d.secret, { cmd: 'sleep 0.5; echo on' }));
    const { id } = JSON.parse((await raw.response()).body);
    raw.reset();
    assert.equal((await d.ended(id)).status, 'completed');
    assert.deepEqual(await logsOf(id), ['on']);
});

test('timeout ends it as killed', async () => {
    const { id } = await d.start('echo a; setsid sleep 342 & sleep 343', { timeout: 0.3 });
    const entry = await d.ended(id);
    assert.deepEqual([entry.status, entry.exit_code], ['killed', 143]);
    assert.equal((await details(id)).timed_out, true);
    await d.noSurvivors('the end of the tree');
});

test('get_process tells everything known', async () => {
    const { id, pid } = await d.start('printf 12345; printf 123 >&2; exit 2', { cwd: '/tmp', tag: 'a tag', stats: true });
    await d.ended(id);
    const all = await eventually(async () => {
        const now = await details(id);
        return JSON.stringify(now).includes('5') && now.status === 'failed' ? now : undefined;
    }, 'the details');
    assert.equal(all.id, id);
    assert.equal(all.pid, pid);
    assert.equal(all.cwd, '/tmp');
    assert.equal(all.tag, 'a tag');
    assert.equal(all.exit_code, 2);
    assert.match(all.started_at, rfc3339);
    assert.match(all.completed_at, rfc3339);
    const unknown = await d.get('/get_process?id=nope');
    assert.ok(unknown.status >= 400 && unknown.status < 500);
    assert.match(unknown.json.error, /process not found: nope/);
    assert.equal((await d.get('/get_process')).status, 400);
});

describe('signal_process', () => {
    const signal = (body) => d.post('/signal_process', body);
    test('to the leader, by name or number, and to the tree', async () => {
        const { id } = await d.start(
            'trap "echo leader" USR1; sh -c \'trap "echo child" USR1; echo up; while :; do sleep 0.05; done\' & while :; do sleep 0.05; done',
        );
        await eventually(async () => (await logsOf(id)).includes('up'), 'the traps');
        assert.equal((await signal({ id, signal: 'SIGUSR1' })).status, 200);
        await eventually(async () => (await logsOf(id)).includes('leader'), 'the leader got it');
        assert.ok(!(await logsOf(id)).includes('child'));
        await signal({ id, signal: 'SIGWINCH' });
        assert.equal((await d.entry(id)).status, 'running');
        assert.equal((await kill(id)).json.success, true);
    });
    test('the tree dies from it, and that is no kill of ours', async () => {
        const { id } = await d.start('setsid sleep 344 & sleep 345 & wait');
        await eventually(() => d.survivors().length === 3, 'the tree');
        assert.equal((await signal({ id, signal: 'SIGKILL', tree: true })).status, 200);
        await d.noSurvivors('the end of the tree');
        assert.equal((await d.ended(id)).exit_code, 137);
    });
    test('errors', async () => {
        const { id } = await d.start('true');
        await d.ended(id);
        assert.equal((await signal({ id, signal: 'SIGNONE' })).status, 400);
        assert.equal((await signal({ id, signal: 'SIGTERM' })).status, 400);
        assert.equal((await signal({ id: 'nope', signal: 'SIGTERM' })).status, 400);
        assert.equal((await signal({ signal: 'SIGTERM' })).status, 400);
        assert.equal((await signal({ id })).status, 400);
    });
});

test('stdin that comes with the start', async () => {
    const text = await d.start('cat; echo over', { stdin: 'one\ntwö\n' });
    await d.ended(text.id);
    assert.deepEqual(await logsOf(text.id), ['one', 'twö', 'over']);
    const bytes = await d.start('od -An -tx1', { stdin: 'AP8K', stdin_encoding: 'base64' });
    await d.ended(bytes.id);
    assert.deepEqual(await logsOf(bytes.id), [' 00 ff 0a']);
    const large = 'x'.repeat(slow ? 200_000 : 3_000_000);
    const slowly = await d.start('sleep 0.3; wc -c', { stdin: large });
    await d.ended(slowly.id);
    assert.deepEqual((await logsOf(slowly.id)).map(Number), [large.length]);
    const unread = await d.start('exec <&-; exit 3', { stdin: large });
    assert.equal((await d.ended(unread.id)).exit_code, 3);
    for (const fields of [{ stdin: 5 }, { stdin: '%', stdin_encoding: 'base64' }, { stdin: [] }]) {
        assert.equal((await d.post('/start_process', { cmd: 'true', ...fields })).status, 400, JSON.stringify(fields));
    }
});

describe('send_stdin', () => {
    const send = (body) => d.post('/send_stdin', body);
    test('text, bytes, and the end', async () => {
        const { id } = await d.start('cat', { stdin: true });
        assert.equal((await send({ id, data: 'one\n' })).status, 200);
        await eventually(async () => (await logsOf(id)).includes('one'), 'the echo');
        assert.equal((await send({ id, data: Buffer.from('twö\n').toString('base64'), encoding: 'base64' })).status, 200);
        await eventually(async () => (await logsOf(id)).includes('twö'), 'the echo');
        assert.equal((await send({ id, data: 'end', close: true })).status, 200);
        assert.equal((await d.ended(id)).exit_code, 0);
        assert.deepEqual(await logsOf(id), ['one', 'twö', 'end']);
    });
    test('back-pressure, and nothing lost', async () => {
        const { id } = await d.start('sleep 0.5; wc -c', { stdin: true });
        const piece = 'x'.repeat(100_000);
        const count = slow ? 10 : 50;
        for (let i = 0; i < count; ++i) assert.equal((await send({ id, data: piece })).status, 200);
        assert.equal((await send({ id, data: '', close: true })).status, 200);
        await d.ended(id);
        assert.deepEqual((await logsOf(id)).map((l) => l.trim()), [String(piece.length * count)]);
    });
    test('requests at the same time do not mix their data', async () => {
        const { id } = await d.start(`tr -s 'a-d'`, { stdin: true });
        const size = slow ? 200_000 : 2_000_000;
        await Promise.all(['a', 'b', 'c', 'd'].map((c) => send({ id, data: c.repeat(size) })));
        assert.equal((await send({ id, close: true })).status, 200);
        await d.ended(id);
        assert.equal([...(await logsOf(id))[0]].sort().join(''), 'abcd');
    });
    test('a sender that leaves while the process does not read is let go of, and others can go on', { skip: !alone || hiddenDescriptors }, async () => {
        const gate = `${d.tmp}/gate`;
        assert.equal((await d.run(`mkfifo ${gate}`)).code, 0);
        const { id } = await d.start(`read -r line < ${gate}; wc -c`, { stdin: true });
        const raw = await RawSocket.connect(d.port);
        const held = heldConnections(d.pid, [raw]);
        raw.write(rawRequest('POST', '/send_stdin', d.secret, { id, data: 'x'.repeat(300_000) }));
        await eventually(() => held() === 1, 'the connection of the sender');
        await delay(100);
        raw.close();
        await eventually(() => held() === 0, 'its descriptor');
        const second = send({ id, data: 'end', close: true });
        assert.equal((await d.run(`echo > ${gate}; rm ${gate}`)).code, 0);
        assert.equal((await second).status, 200);
        await d.ended(id);
        const [count] = await logsOf(id);
        assert.ok(Number(count) > 4096 && Number(count) < 300_000, count);
    });
    test('errors', async () => {
        const without = await d.start('sleep 346');
        assert.equal((await send({ id: without.id, data: 'x' })).status, 400);
        await kill(without.id);
        assert.equal((await send({ id: 'nope', data: 'x' })).status, 400);
        assert.equal((await send({ data: 'x' })).status, 400);
        const closed = await d.start('cat; sleep 347', { stdin: true });
        assert.equal((await send({ id: closed.id, close: true })).status, 200);
        assert.equal((await send({ id: closed.id, data: 'x' })).status, 400);
        const bad = await send({ id: closed.id, data: '%', encoding: 'base64' });
        assert.equal(bad.status, 400);
        await kill(closed.id);
    });
});

test('an ended process that is kept leaves no cgroup behind', { skip: !alone }, async (t) => {
    const mount = fs.readFileSync('/proc/mounts', 'utf8').split('\n').find((line) => line.startsWith('cgroup2 '))?.split(' ')[1];
    const own = mount && path.join(mount, fs.readFileSync(`/proc/${d.pid}/cgroup`, 'utf8').match(/^0::(.*)$/m)[1]);
    const groups = own && path.join(own, `sandbox-executor-${d.pid}`);
    if (!groups || !fs.existsSync(groups)) return t.skip('the daemon has no cgroups here');
    const list = () => fs.readdirSync(groups, { withFileTypes: true }).filter((e) => e.isDirectory()).map((e) => path.join(groups, e.name));
    const populated = () => list().filter((group) => /populated 1/.test(fs.readFileSync(`${group}/cgroup.events`)));
    await eventually(() => populated().length === 0, 'the end of what earlier tests left');
    const jobs = await Promise.all(Array.from({ length: 60 }, (_, i) => d.start(`sleep 0.5; exit ${i}`)));
    await Promise.all(jobs.map(({ id }) => d.ended(id)));
    assert.ok(list().length <= 32, 'some are spare, for the next commands');
    const daemonised = await d.start('setsid sleep 351 >/dev/null 2>&1 &');
    await d.ended(daemonised.id);
    const [group, ...others] = populated();
    assert.deepEqual(others, []);
    assert.equal((await kill(daemonised.id)).json.success, true);
    assert.ok(!fs.existsSync(group), 'one that was killed is not used again');
});

test('the last thousand ended processes are kept, running ones always', { skip: !alone || hiddenDescriptors }, async () => {
    const running = await d.start('sleep 348');
    const count = slow ? 1005 : 1030;
    const before = openDescriptors(d.pid);
    let last;
    for (let left = count; left > 0; left -= 43) {
        const batch = await Promise.all(Array.from({ length: Math.min(43, left) }, () => d.start('true')));
        last = batch.at(-1).id;
        await Promise.all(batch.slice(-1).map(({ id }) => d.ended(id)));
    }
    await eventually(async () => (await d.list()).every((p) => p.id === running.id || p.status !== 'running'), 'all ends');
    const list = await d.list();
    assert.equal(list.length, 1001);
    assert.ok(list.some((p) => p.id === running.id && p.status === 'running'));
    assert.ok(list.some((p) => p.id === last));
    await eventually(() => openDescriptors(d.pid) < before + 100, 'a kept process holds no descriptor');
    assert.equal((await kill(running.id)).json.success, true);
});

finish(d);
