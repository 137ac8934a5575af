// POST /run_streaming with input while the command runs: by pipe and by terminal.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { describe, test } from 'node:test';
import { eventually, finish, hiddenDescriptors, openDescriptors, useDaemon } from './support/daemon.mjs';
import { settings } from './support/settings.mjs';
import { StrictSse } from './support/sse.mjs';

const d = useDaemon({ env: { [settings.killGrace]: '5' } });

// A running command: its events come through wait(), its input goes through send().
class Session {
    static async open(fields) {
        const session = new Session();
        const abort = new AbortController();
        session.leave = () => abort.abort();
        const response = await d.post('/run_streaming', { encoding: 'base64', ...fields }, { stream: true, signal: abort.signal });
        assert.equal(response.status, 200);
        session.reader = response.body.getReader();
        await session.wait((events) => events.length > 0);
        assert.equal(session.events[0].event, 'start');
        Object.assign(session, session.events[0].data);
        return session;
    }
    parser = new StrictSse();
    get events() {
        return this.parser.events;
    }
    get bytes() {
        const outputs = this.events.filter((e) => e.event === 'output').map((e) => e.data);
        return Buffer.concat(outputs.map((o) => Buffer.from(o.data, o.encoding ?? 'utf8')));
    }
    get text() {
        return this.bytes.toString('latin1');
    }
    async wait(condition) {
        while (!condition(this.events, this.text)) {
            const { done, value } = await this.reader.read();
            assert.ok(!done, `the stream ended: ${this.text}`);
            this.parser.push(value);
        }
    }
    async end() {
        await this.wait((events) => ['complete', 'error'].includes(events.at(-1)?.event));
        return this.events.at(-1).data;
    }
    send(fields) {
        return d.post('/send_stdin', { id: this.id, ...fields });
    }
}

describe('a pipe', () => {
    test('input and output run at the same time, exact bytes both ways, and the end is passed on', async () => {
        const cat = await Session.open({ cmd: 'cat; exit 5', stdin: true });
        assert.match(cat.id, /^[0-9a-f-]{36}$/);
        assert.ok(cat.pid > 1);
        let all = Buffer.alloc(0);
        for (let i = 0; i < 5; ++i) {
            const piece = randomBytes(10_000);
            all = Buffer.concat([all, piece]);
            assert.equal((await cat.send({ data: piece.toString('base64'), encoding: 'base64' })).status, 200);
            await cat.wait(() => cat.bytes.length === all.length);
        }
        assert.equal((await cat.send({ close: true })).status, 200);
        assert.deepEqual(await cat.end(), { code: 5, error: true });
        assert.ok(cat.bytes.equals(all));
        assert.equal((await cat.send({ data: 'x' })).status, 400, 'the id is gone with the stream');
    });
    test('it is in no list, and without the member there is no such event', async () => {
        const sleeping = await Session.open({ cmd: 'read -r line; echo "$line"', stdin: true });
        assert.deepEqual(await d.list('?all=true'), []);
        await sleeping.send({ data: 'on\n' });
        await sleeping.end();
        assert.equal(sleeping.text, 'on\n');
        const plain = await d.post('/run_streaming', { cmd: 'echo x', stdin: false });
        assert.doesNotMatch(plain.text, /event: start/);
    });
    test('a lost connection ends the tree, and lets go of a sender', { skip: hiddenDescriptors }, async () => {
        const before = openDescriptors(d.pid);
        const session = await Session.open({ cmd: 'setsid sleep 381 & echo up; sleep 382', stdin: true });
        await session.wait((events, text) => text === 'up\n');
        const stuck = session.send({ data: 'x'.repeat(500_000) });
        session.leave();
        assert.equal((await stuck).status, 400);
        await d.noSurvivors();
        await eventually(() => openDescriptors(d.pid) <= before + 2, 'its descriptors');
    });
});

describe('a terminal', () => {
    test('size, change of size, input, interrupt, exit code', async () => {
        const script = 'trap "stty size" WINCH; stty size; test -t 0 && test -t 1 && test -t 2 && echo all; while :; do read -r l && echo "[$l]"; done';
        const tty = await Session.open({ args: ['bash', '-c', script], tty: true, cols: 101, rows: 31, env: { TERM: 'xterm' } });
        await tty.wait((events, text) => text.includes('31 101\r\nall\r\n'));
        assert.ok(tty.events.filter((e) => e.event === 'output').every((e) => e.data.stream === 'pty'));
        assert.equal((await tty.send({ cols: 90, rows: 20 })).status, 200);
        await tty.send({ data: 'typed\n' });
        await tty.wait((events, text) => text.includes('20 90') && text.includes('[typed]'));
        assert.equal((await tty.send({ data: '', close: true })).status, 400, 'a terminal has no end of input');
        await tty.send({ data: '\x03' });
        assert.deepEqual(await tty.end(), { code: 130, error: true, signal: 'SIGINT' });
    });
    test('its stream has its name as text, too', async () => {
        for (const fields of [{}, { flush_ms: 20 }]) {
            const tty = await Session.open({ cmd: 'stty -echo; echo line; printf ask; read -r l; printf end', tty: true, encoding: 'utf-8', ...fields });
            await tty.wait((events, text) => text.includes(fields.flush_ms ? 'ask' : 'line'));
            await tty.send({ data: 'typed\n' });
            assert.deepEqual(await tty.end(), { code: 0, error: false });
            const outputs = tty.events.filter((e) => e.event === 'output').map((e) => e.data);
            assert.deepEqual([...new Set(outputs.map((o) => o.stream))], ['pty']);
            assert.equal(outputs.map((o) => o.data + (o.eol ?? (o.partial ? '' : '\n'))).join(''), 'line\r\naskend');
        }
    });
    test('a command that closes it before it ends is not hung up on', async () => {
        for (let i = 0; i < 60; ++i) {
            const cat = await Session.open({ args: ['cat'], tty: true });
            await cat.send({ data: '\x04' });
            assert.deepEqual(await cat.end(), { code: 0, error: false });
        }
    });
    test('a lost connection hangs up, as shells expect it', async () => {
        const shell = await Session.open({ cmd: 'trap "" TERM; trap "exit 0" HUP; echo up; while :; do sleep 0.1; done', tty: true });
        await shell.wait((events, text) => text.includes('up'));
        const began = Date.now();
        shell.leave();
        await d.noSurvivors();
        assert.ok(Date.now() - began < 5000);
    });
    test('a lost connection ends the tree', async () => {
        const tty = await Session.open({ cmd: 'echo up; trap "" HUP; sleep 383 & wait', tty: true });
        await tty.wait((events, text) => text.includes('up'));
        tty.leave();
        await d.noSurvivors();
    });
});

test('an ended process that is kept holds no pipe, though nobody closed its stdin', { skip: hiddenDescriptors }, async () => {
    const before = openDescriptors(d.pid);
    const ids = [];
    for (const cmd of ['exit 0', 'echo out; read -r line', 'sleep 384']) ids.push((await d.start(cmd, { stdin: true })).id);
    await d.post('/send_stdin', { id: ids[1], data: 'line\n' });
    await d.post('/kill_process', { id: ids[2] });
    for (const id of ids) await d.ended(id);
    await eventually(() => openDescriptors(d.pid) <= before, 'their pipes');
});

test('what makes no sense is refused', async () => {
    for (const fields of [{ stdin: 5 }, { stdin: {} }, { tty: 'yes' }, { tty: true, stdin: 'text' }, { tty: true, cols: 0 },
        { tty: true, rows: 65536 }, { tty: true, cols: 1.5 }]) {
        const answer = await d.post('/run_streaming', { cmd: 'true', ...fields });
        assert.equal(answer.status, 400, JSON.stringify(fields));
    }
    assert.equal((await d.post('/run', { cmd: 'true', stdin: true })).status, 400, 'nobody could write to it');
    const { id } = await d.start('cat', { stdin: true });
    assert.equal((await d.post('/send_stdin', { id, cols: 80, rows: 24 })).status, 400, 'no terminal');
    assert.equal((await d.post('/send_stdin', { id, cols: -1 })).status, 400);
    assert.equal((await d.post('/kill_process', { id })).status, 200);
});

finish(d);
