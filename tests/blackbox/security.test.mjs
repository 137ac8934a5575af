// What must not leak: the secret, the ports, the descriptors, and what commands say and are given.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { test } from 'node:test';
import { finish, isRoot, slow, useDaemon } from './support/daemon.mjs';
import { RawSocket, rawRequest } from './support/raw.mjs';
import { follow } from './support/sse.mjs';

const secret = 'VerySecretToken-9b1d7c';
const d = useDaemon({
    secret,
    env: { LOG_LEVEL: 'TRACE', SANDBOX_AUTH_MODE: 'static', ENVD_SOMETHING: 'x', KEPT_VARIABLE: 'kept' },
});
const hidden = /^(SANDBOX_SECRET\w*|SANDBOX_AUTH_MODE|PORT|PROXY_PORT|ENVD_\w+)=/m;

test('commands of every kind get a scrubbed environment', async () => {
    const outputs = [(await d.run('env')).stdout, (await d.post('/run', { args: ['env'] })).json.stdout];
    const response = await d.post('/run_streaming', { cmd: 'env' }, { stream: true });
    const lines = [];
    await follow(response, (e) => void lines.push(e.data.data));
    outputs.push(lines.join('\n'));
    const { id } = await d.start('env');
    const log = [];
    await follow(await d.get(`/process_logs_streaming?id=${id}`, { stream: true }), (e) => void log.push(e.data.data));
    outputs.push(log.join('\n'));
    for (const output of outputs) {
        assert.doesNotMatch(output, hidden);
        assert.ok(!output.includes(secret));
        assert.match(output, /^KEPT_VARIABLE=kept$/m);
    }
});

test('what the request itself asks for is given', async () => {
    const { stdout } = await d.run('env', { env: { PORT: '8080', SANDBOX_SECRET: 'mine', ENVD_X: 'y' } });
    for (const line of ['PORT=8080', 'SANDBOX_SECRET=mine', 'ENVD_X=y']) assert.ok(stdout.split('\n').includes(line), line);
});

test('the secret is not in the daemon\'s environment, command line, or reachable for another user', async () => {
    const own = (name) => fs.readFileSync(`/proc/${d.pid}/${name}`, 'latin1');
    assert.ok(!own('cmdline').includes(secret));
    if (isRoot) {
        assert.ok(!own('environ').includes(secret));
        for (const look of ['cat environ', 'head -c 1 mem', 'cat maps', 'ls fd', 'ls -l exe cwd']) {
            const end = await d.run(`cd /proc/${d.pid} && ${look}`, { user: 'nobody', cwd: '/' });
            assert.match(end.stderr, /denied|not permitted/i, look);
            assert.doesNotMatch(end.stdout, / -> |=|^\d+$/m, look);
        }
    }
});

test('requests and environment leave no copy of the secret in the daemon\'s memory', { skip: (!isRoot && 'needs root') || (slow && 'sanitizers keep freed memory') }, async () => {
    for (let i = 0; i < 5; ++i) {
        await d.get('/list_processes');
        const raw = await RawSocket.connect(d.port);
        raw.write(rawRequest('POST', '/run', secret, { cmd: 'true' }));
        await raw.response();
        raw.close();
    }
    const needles = [`Bearer ${secret}`, `SANDBOX_SECRET=${secret}`].map((text) => Buffer.from(text));
    const memory = fs.openSync(`/proc/${d.pid}/mem`, 'r');
    const found = [];
    for (const line of fs.readFileSync(`/proc/${d.pid}/maps`, 'latin1').split('\n')) {
        const [, from, to, , name] = line.match(/^([0-9a-f]+)-([0-9a-f]+) (rw\S+) \S+ \S+ \S+\s*(.*)$/) ?? [];
        if (!from) continue;
        const size = parseInt(to, 16) - parseInt(from, 16);
        const bytes = Buffer.alloc(size);
        try {
            fs.readSync(memory, bytes, 0, size, parseInt(from, 16));
        } catch {
            continue;
        }
        for (const needle of needles) {
            const at = bytes.indexOf(needle);
            if (at < 0) continue;
            const around = bytes.subarray(Math.max(0, at - 40), at + 40).toString('latin1');
            found.push(`${name || 'anonymous'}: ${JSON.stringify(around)}`);
        }
    }
    fs.closeSync(memory);
    assert.deepEqual(found, []);
});

test('commands inherit no descriptor, also while much is open', async () => {
    const held = await Promise.all(Array.from({ length: 20 }, () => RawSocket.connect(d.port)));
    const proxied = await RawSocket.connect(d.proxyPort);
    const background = await d.start('sleep 381', { stdin: true });
    const stream = await RawSocket.connect(d.port);
    stream.write(rawRequest('POST', '/run_streaming', secret, { cmd: 'sleep 382' }));
    await stream.head();
    const list = 'ls -l /proc/self/fd | sed 1d';
    const runs = await Promise.all(Array.from({ length: 10 }, () => d.run(list)));
    const withInput = await d.run(list, { stdin: 'x' });
    for (const { stdout } of [...runs, withInput]) {
        const lines = stdout.trim().split('\n');
        assert.equal(lines.length, 4, stdout);
        assert.doesNotMatch(stdout, /socket:|eventpoll|eventfd|signalfd|timerfd|pidfd/);
    }
    const { id } = await d.start(list);
    const seen = [];
    await follow(await d.get(`/process_logs_streaming?id=${id}`, { stream: true }), (e) => void seen.push(e));
    assert.equal(seen.filter((e) => e.event === 'log').length, 4);
    const user = isRoot ? await d.run(list, { user: 'nobody', cwd: '/' }) : undefined;
    if (user) assert.equal(user.stdout.trim().split('\n').length, 4, user.stdout);
    for (const raw of [...held, proxied, stream]) raw.close();
    await d.post('/kill_process', { id: background.id });
});

test('the log holds no output, no environment values, no secrets, at the finest level', async () => {
    const marks = { out: 'OutputMark5d', env: 'EnvMark7e', stdin: 'StdinMark9f', file: 'FileMark3a', wrong: 'WrongToken1c' };
    await d.run(`printf Output; echo Mark5d; cat`, { env: { A: marks.env }, stdin: marks.stdin });
    const { id } = await d.start('printf Output; echo Mark5d', { env: { B: marks.env } });
    await d.ended(id);
    await d.get(`/process_logs_streaming?id=${id}`);
    await d.post('/write_file', { path: d.file('logged'), content: marks.file });
    await d.post('/read_file', { path: d.file('logged') });
    await d.get('/list_processes', { secret: marks.wrong });
    await d.post('/run', `{"cmd":"${marks.out}"`);
    for (const mark of [...Object.values(marks), secret]) assert.ok(!d.stderr.includes(mark), `${mark} in the log`);
});

test('a hostile path, command or header cannot write lines of its own into the log', async () => {
    const raw = await RawSocket.connect(d.port);
    raw.write(rawRequest('GET', '/x%0alevel=FORGED%0d%0a', secret));
    await raw.response();
    raw.close();
    await d.run('true #\nlevel=FORGED');
    await d.post('/run', { cmd: 'true', cwd: '/\nlevel=FORGED' });
    await d.post('/kill_process', { id: '\nlevel=FORGED' });
    assert.doesNotMatch(d.stderr, /^level=FORGED/m);
});

test('a redirect cannot be split by a path', async () => {
    const raw = await RawSocket.connect(d.port);
    raw.write('GET //x%0d%0aSet-Cookie:a=b HTTP/1.1\r\nHost: x\r\n\r\n');
    const answer = await raw.response();
    assert.equal(answer.headers['set-cookie'], undefined);
    raw.close();
});

finish(d);
