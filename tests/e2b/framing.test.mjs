// The Connect protocol by hand-made bytes.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { alone, delay, eventually, finish, isAlive, memoryKb, slow } from '../blackbox/support/daemon.mjs';
import { RawSocket } from '../blackbox/support/raw.mjs';
import { envelope, openStream, output, stream, unary } from './support/connect.mjs';
import { startEnvd, useEnvd } from './support/envd.mjs';

const { d } = useEnvd();
const start = (cmd, more = {}) => ({ process: { cmd: '/bin/sh', args: ['-c', cmd] }, stdin: false, ...more });
const run = (message, headers) => stream(d.envdUrl, 'process.Process/Start', message, headers);
const call = (method, message, headers) => unary(d.envdUrl, `process.Process/${method}`, message, headers);

describe('streams', () => {
    test('four envelopes, byte for byte', async () => {
        const { status, type, events } = await run(start('printf hi'));
        assert.equal(status, 200);
        assert.equal(type, 'application/connect+json');
        const { pid } = events[0].json.event.start;
        assert.deepEqual(events, [
            { flags: 0, json: { event: { start: { pid } } } },
            { flags: 0, json: { event: { data: { stdout: 'aGk=' } } } },
            { flags: 0, json: { event: { end: { exited: true, status: 'exit status 0' } } } },
            { flags: 2, json: {} },
        ]);
    });
    test('a request that comes byte by byte, chunked', async () => {
        const raw = await RawSocket.connect(d.envdPort);
        raw.write('POST /process.Process/Start HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/connect+json\r\nTransfer-Encoding: chunked\r\n\r\n');
        for (const byte of envelope(start('printf bytewise'))) {
            raw.write(Buffer.concat([Buffer.from('1\r\n'), Buffer.from([byte]), Buffer.from('\r\n')]));
            if (byte === 0x22) await delay(0);
        }
        raw.write('0\r\n\r\n');
        await eventually(() => raw.ended, 'the end');
        assert.match(raw.buffer.toString('latin1'), /Ynl0ZXdpc2U=/);
        raw.socket.destroy();
    });
    test('errors come with status 200 at the end of the stream', async () => {
        const { status, events } = await stream(d.envdUrl, 'process.Process/Connect', { process: { pid: 4_000_000 } });
        assert.equal(status, 200);
        assert.deepEqual(events, [
            { flags: 2, json: { error: { code: 'not_found', message: 'process with pid 4000000 not found' } } },
        ]);
    });
    test('bad framing', async () => {
        const good = envelope(start('true'));
        const cases = {
            empty: Buffer.alloc(0),
            'half a head': good.subarray(0, 3),
            'half a payload': good.subarray(0, 20),
            'two messages': Buffer.concat([good, good]),
            'a byte too many': Buffer.concat([good, Buffer.from('x')]),
            compressed: envelope(start('true'), 1),
            'end of stream only': envelope({}, 2),
            'no JSON': envelope('{"process":'),
            'an array': envelope('[]'),
            'wrong types': envelope({ process: 7 }),
            'no process': envelope({}),
        };
        for (const [name, bytes] of Object.entries(cases)) {
            const { status, events } = await run(bytes);
            assert.equal(status, 200, name);
            assert.deepEqual(events.map((e) => [e.flags, e.json.error?.code]), [[2, 'invalid_argument']], name);
        }
        const huge = Buffer.from([0, 0xff, 0xff, 0xff, 0xff, 0x7b]);
        assert.equal((await run(huge)).events[0].json.error.code, 'resource_exhausted');
    });
    test('content types and the protocol version', async () => {
        assert.equal((await run(start('true'), { 'content-type': 'application/json' })).status, 415);
        assert.equal((await run(start('true'), { 'content-type': 'application/connect+proto' })).status, 415);
        assert.equal((await run(start('true'), { 'content-type': 'application/connect+json; charset=utf-8' })).status, 200);
        assert.equal((await call('List', {}, { 'content-type': 'text/plain' })).status, 415);
        assert.equal((await call('List', {}, { 'connect-protocol-version': '1' })).status, 200);
        assert.deepEqual((await call('List', {}, { 'connect-protocol-version': '2' })).json.code, 'invalid_argument');
        assert.equal((await fetch(`${d.envdUrl}/process.Process/List`)).status, 405);
        assert.equal((await call('Nothing', {})).status, 404);
    });
    test('keepalives while nothing else is sent', async () => {
        const { events } = await run(start('sleep 1.3'), { 'keepalive-ping-interval': '1' });
        assert.deepEqual(events.map((e) => Object.keys(e.json.event ?? {})[0]), ['start', 'keepalive', 'end', undefined]);
        for (const interval of ['9999999999', '0', '-1', 'x']) {
            const odd = await run(start('sleep 0.2'), { 'keepalive-ping-interval': interval });
            assert.deepEqual(odd.events.map((e) => Object.keys(e.json.event ?? {})[0]), ['start', 'end', undefined], interval);
        }
    });
});

describe('messages', () => {
    test('names in snake case, unknown members, null, numbers as text', async () => {
        const { events } = await run({ process: { cmd: '/bin/echo', args: ['x'], cwd: null, unknown: { a: [1] } }, stdin: null, later: 1 });
        assert.equal(output(events).toString(), 'x\n');
        const process = openStream(d.envdUrl, 'process.Process/Start', start('sleep 100'));
        await eventually(() => process.events.length > 0, 'the start');
        const { pid } = process.events[0].json.event.start;
        assert.deepEqual((await call('SendSignal', { process: { pid: String(pid) }, signal: 9 })).json, {});
        await eventually(() => process.ended, 'the end');
        assert.deepEqual(process.events.at(-2).json.event.end, { exitCode: -1, status: 'signal: killed', error: 'signal: killed' });
    });
    test('a program that is not there is a command that fails', async () => {
        const { events } = await run({ process: { cmd: '/no/such/program', args: ['a'] } });
        const { end } = events.at(-2).json.event;
        assert.deepEqual([end.exitCode, end.exited], [127, true]);
        assert.match(output(events, 'stderr').toString(), /not found|No such file/);
    });
    test('selectors by tag, and what they do not find', async () => {
        const tagged = openStream(d.envdUrl, 'process.Process/Start', { ...start('read x; exit 4'), stdin: true, tag: 'mine' });
        await eventually(() => tagged.events.length > 0, 'the start');
        const entry = (await call('List', {})).json.processes.find((p) => p.tag === 'mine');
        assert.equal(entry.pid, tagged.events[0].json.event.start.pid);
        assert.deepEqual((await call('CloseStdin', { process: { tag: 'mine' } })).json, {});
        await eventually(() => tagged.ended, 'the end');
        assert.equal(tagged.events.at(-2).json.event.end.exitCode, 4);
        const gone = await call('SendInput', { process: { tag: 'other' }, input: { stdin: '' } });
        assert.deepEqual([gone.status, gone.json], [404, { code: 'not_found', message: 'process with tag other not found' }]);
    });
    test('input that cannot be taken', async () => {
        const none = openStream(d.envdUrl, 'process.Process/Start', start('sleep 100'));
        await eventually(() => none.events.length > 0, 'the start');
        const process = { pid: none.events[0].json.event.start.pid };
        const code = async (method, message) => (await call(method, { process, ...message })).json.code ?? 'ok';
        assert.equal(await code('SendInput', { input: { stdin: 'eA==' } }), 'internal');
        assert.equal(await code('SendInput', { input: { pty: 'eA==' } }), 'internal');
        assert.equal(await code('SendInput', { input: {} }), 'unimplemented');
        assert.equal(await code('SendInput', { input: { stdin: '*' } }), 'invalid_argument');
        assert.equal(await code('Update', { pty: { size: { cols: 1, rows: 1 } } }), 'internal');
        assert.equal(await code('Update', {}), 'ok');
        assert.equal(await code('SendSignal', { signal: 'SIGNAL_SIGHUP' }), 'unimplemented');
        assert.equal(await code('SendSignal', { signal: 'SIGNAL_SIGTERM' }), 'ok');
        await eventually(() => none.ended, 'the end');
    });
    test('StreamInput', async () => {
        const target = openStream(d.envdUrl, 'process.Process/Start', { ...start('cat'), stdin: true });
        await eventually(() => target.events.length > 0, 'the start');
        const process = { pid: target.events[0].json.event.start.pid };
        const body = Buffer.concat([
            envelope({ start: { process } }),
            envelope({ data: { input: { stdin: Buffer.from('one ').toString('base64') } } }),
            envelope({ keepalive: {} }),
            envelope({ data: { input: { stdin: Buffer.from('two').toString('base64url') } } }),
        ]);
        const { events } = await stream(d.envdUrl, 'process.Process/StreamInput', body);
        assert.deepEqual(events, [{ flags: 0, json: {} }, { flags: 2, json: {} }]);
        await call('CloseStdin', { process });
        await eventually(() => target.ended, 'the end');
        assert.equal(output(target.events).toString(), 'one two');
    });
});

test('a stream of input may be silent for longer than other bodies', async () => {
    const patient = await startEnvd({ ENVD_INSECURE: '1', SANDBOX_BODY_TIMEOUT: '1' });
    const target = openStream(patient.envdUrl, 'process.Process/Start', { ...start('head -n 2'), stdin: true });
    await eventually(() => target.events.length > 0, 'the start');
    const process = { pid: target.events[0].json.event.start.pid };
    const line = (text) => envelope({ data: { input: { stdin: Buffer.from(text).toString('base64') } } });
    const raw = await RawSocket.connect(patient.envdPort);
    const chunk = (bytes) => raw.write(Buffer.concat([Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, Buffer.from('\r\n')]));
    raw.write('POST /process.Process/StreamInput HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/connect+json\r\nTransfer-Encoding: chunked\r\n\r\n');
    chunk(Buffer.concat([envelope({ start: { process } }), line('one\n')]));
    await delay(3500); // the time under test
    assert.equal(raw.ended, false);
    chunk(line('two\n'));
    await eventually(() => target.ended, 'the end');
    assert.equal(output(target.events).toString(), 'one\ntwo\n');
    raw.close();
    await patient.stop();
    await patient.assertClean();
});

describe('ends', () => {
    test('a background job that holds the output delays the end; a signal does not wait for it', async () => {
        const held = await run(start('(sleep 0.4; echo late) & echo early'));
        assert.equal(output(held.events).toString(), 'early\nlate\n');
        const target = openStream(d.envdUrl, 'process.Process/Start', start('sleep 1000 & echo $!; exec sleep 1000'));
        await eventually(() => output(target.events).length > 0, 'the output');
        const background = Number(output(target.events));
        const process = { pid: target.events[0].json.event.start.pid };
        await call('SendSignal', { process, signal: 'SIGNAL_SIGKILL' });
        await eventually(() => target.ended, 'the end');
        assert.ok(isAlive(background), 'that process only');
        global.process.kill(background, 'SIGKILL');
    });
    test('a deadline is told as such, on Connect for that stream alone', async () => {
        const owner = openStream(d.envdUrl, 'process.Process/Start', start('sleep 1000'), { 'connect-timeout-ms': '400' });
        await eventually(() => owner.events.length > 0, 'the start');
        const { pid } = owner.events[0].json.event.start;
        const other = await stream(d.envdUrl, 'process.Process/Connect', { process: { pid } }, { 'connect-timeout-ms': '20' });
        assert.deepEqual(other.events.map((e) => e.json.error?.code), [undefined, 'deadline_exceeded']);
        assert.ok(isAlive(pid));
        await eventually(() => owner.ended, 'the end');
        assert.deepEqual(owner.events.slice(1).map((e) => e.json.error), [{ code: 'deadline_exceeded', message: 'context deadline exceeded' }]);
        await eventually(() => !isAlive(pid), 'the end of the process');
    });
});

describe('subscribers', () => {
    const total = slow ? 4_000_000 : 40_000_000;
    test('one that does not read holds up nobody, and gets everything later', async () => {
        const command = `read go; head -c ${total} /dev/zero; read end`;
        const reader = openStream(d.envdUrl, 'process.Process/Start', { ...start(command), stdin: true });
        await eventually(() => reader.events.length > 0, 'the start');
        const process = { pid: reader.events[0].json.event.start.pid };
        const sleeper = openStream(d.envdUrl, 'process.Process/Connect', { process });
        await eventually(() => sleeper.events.length > 0, 'the start');
        (await sleeper.response).pause();
        await call('SendInput', { process, input: { stdin: 'Cg==' } });
        await eventually(() => reader.bytes > total, 'all of it at the one who reads', 30_000);
        assert.ok(sleeper.bytes < total);
        (await sleeper.response).resume();
        await eventually(() => sleeper.bytes > total, 'all of it at the other', 30_000);
        await call('SendInput', { process, input: { stdin: 'Cg==' } });
        await eventually(() => reader.ended && sleeper.ended, 'the ends');
        for (const each of [reader, sleeper]) {
            assert.equal(output(each.events).length, total);
            assert.deepEqual(each.events.at(-2).json.event.end, { exited: true, status: 'exit status 0' });
        }
        if (alone && !slow) assert.ok(memoryKb(d.pid, 'VmHWM') < 64 * 1024, `VmHWM ${memoryKb(d.pid, 'VmHWM')} kB`);
    });
    test('one that is gone does not hold the process', async () => {
        const command = 'head -c 40000000 /dev/zero';
        const only = openStream(d.envdUrl, 'process.Process/Start', start(command));
        await eventually(() => only.events.length > 0, 'the start');
        (await only.response).pause();
        const { pid } = only.events[0].json.event.start;
        await delay(50);
        assert.ok(isAlive(pid), 'held while its reader does not read');
        only.request.destroy();
        await eventually(() => !isAlive(pid), 'the end');
    });
});

finish(d);
