// The envd dialect on its own listener: commands, conversations with several listeners, files, watches.
import path from 'node:path';
import { delay } from '../../blackbox/support/daemon_process.mjs';
import { Mismatch, expect } from '../model.mjs';
import { envelope, parseEnvelopes } from '../../e2b/support/connect.mjs';

export const weight = 12;

const streaming = { 'content-type': 'application/connect+json' };

async function start(envd, process) {
    const body = envelope({ process, stdin: false });
    const answer = await envd.post('/process.Process/Start', body, streaming);
    expect(answer.status, 200, 'status of Start');
    let events;
    try {
        events = parseEnvelopes(answer.bytes);
    } catch (error) {
        throw new Mismatch(`Start: ${error.message}`);
    }
    const got = { stdout: [], stderr: [] };
    for (const { json } of events.slice(1, -2)) {
        const [[stream, data]] = Object.entries(json.event.data);
        got[stream].push(Buffer.from(data, 'base64'));
    }
    return {
        started: events[0]?.json.event?.start?.pid > 0,
        stdout: Buffer.concat(got.stdout),
        stderr: Buffer.concat(got.stderr),
        end: events.at(-2)?.json,
        trailer: events.at(-1),
    };
}

const ended = (code) =>
    code === 0
        ? { exited: true, status: 'exit status 0' }
        : { exitCode: code, exited: true, status: `exit status ${code}`, error: `exit status ${code}` };

async function command({ envd, content, counters }, rng) {
    const out = content.someBytes(rng, rng.size(60_000));
    const err = content.someBytes(rng, rng.size(8000));
    const code = rng.chance(2) ? 0 : rng.below(256);
    const args = ['-c', `${out.command} & ${err.command} >&2; wait; exit ${code}`];
    const got = await start(envd, { cmd: '/bin/sh', args, cwd: '/' });
    counters.commands += 1;
    expect(got.started, true, 'start event');
    expect(got.stdout, out.bytes, 'stdout of Start');
    expect(got.stderr, err.bytes, 'stderr of Start');
    expect(got.end, { event: { end: ended(code) } }, 'end of Start');
    expect(got.trailer, { flags: 2, json: {} }, 'trailer of Start');
    return 1;
}

async function files({ envd, content, directory }, rng, lane) {
    const folder = path.join(directory, `envd-${lane.number}`);
    const file = path.join(folder, 'f');
    const moved = path.join(folder, 'g');
    const { bytes } = content.someBytes(rng, rng.size(100_000));
    const call = async (method, message) => {
        const answer = await envd.post(`/filesystem.Filesystem/${method}`, message);
        expect(answer.status, 200, `status of ${method}`);
        return answer.json;
    };
    const up = await envd.post(`/files?path=${encodeURIComponent(file)}`, bytes, { 'content-type': 'application/octet-stream' });
    expect(up.status, 200, 'status of the upload');
    expect((await call('Stat', { path: file })).entry.size ?? '0', String(bytes.length), 'size of the upload');
    expect((await call('Move', { source: file, destination: moved })).entry.path, moved, 'the moved file');
    const { entries } = await call('ListDir', { path: folder });
    expect(entries.map((e) => e.name), ['g'], 'ListDir');
    const from = rng.below(bytes.length + 1);
    const headers = from > 0 && from < bytes.length ? { range: `bytes=${from}-` } : {};
    const down = await envd.get(`/files?path=${encodeURIComponent(moved)}`, headers);
    expect(down.status, headers.range ? 206 : 200, 'status of the download');
    expect(down.bytes, headers.range ? bytes.subarray(from) : bytes, 'the download');
    expect(await call('Remove', { path: folder }), {}, 'answer of Remove');
    return 6;
}

// Reads the events of a stream to its end; `started` is called with the pid as soon as it is known.
async function listen(envd, method, message, started) {
    const response = await envd.open('POST', `/process.Process/${method}`, envelope(message), streaming);
    expect(response.statusCode, 200, `status of ${method}`);
    let rest = Buffer.alloc(0);
    const out = [];
    const others = [];
    for await (const chunk of response) {
        rest = Buffer.concat([rest, envd.onBody(chunk)]);
        while (rest.length >= 5 && rest.length >= 5 + rest.readUInt32BE(1)) {
            const size = 5 + rest.readUInt32BE(1);
            const { event, ...other } = JSON.parse(rest.subarray(5, size));
            rest = rest.subarray(size);
            if (event?.start) started(event.start.pid);
            else if (event?.data) out.push(Buffer.from(event.data.stdout, 'base64'));
            else others.push(event?.end ?? other);
        }
    }
    return { out: Buffer.concat(out), others };
}

// Two listeners hear all that a process says; it gets its input in pieces.
async function conversation({ envd, content, counters }, rng) {
    const { bytes } = content.someBytes(rng, rng.size(100_000));
    const call = async (method, message) => {
        const answer = await envd.post(`/process.Process/${method}`, message);
        expect([answer.status, answer.json], [200, {}], `answer of ${method}`);
    };
    let calls = 2;
    let second;
    const talk = async (pid) => {
        await new Promise((resolve, reject) => {
            second = listen(envd, 'Connect', { process: { pid } }, resolve);
            second.catch(reject);
        });
        for (let at = 0; at < bytes.length; ) {
            const piece = bytes.subarray(at, at + rng.between(1, Math.ceil(bytes.length / 3)));
            at += piece.length;
            await call('SendInput', { process: { pid }, input: { stdin: piece.toString('base64') } });
            calls += 1;
        }
        await call('CloseStdin', { process: { pid } });
    };
    let talked;
    const first = await listen(envd, 'Start', { process: { cmd: '/bin/cat', cwd: '/' }, stdin: true }, (pid) => (talked = talk(pid)));
    counters.commands += 1;
    await talked;
    for (const [who, heard] of [['first', first], ['second', await second]]) {
        expect(heard.out, bytes, `what the ${who} listener heard`);
        expect(heard.others, [ended(0), {}], `end for the ${who} listener`);
    }
    return calls + 1;
}

async function signalled({ envd, counters }, rng) {
    const [signal, name] = rng.pick([['SIGNAL_SIGKILL', 'killed'], ['SIGNAL_SIGTERM', 'terminated']]);
    let answered;
    const send = (pid) => envd.post('/process.Process/SendSignal', { process: { pid }, signal });
    const message = { process: { cmd: '/bin/sleep', args: ['1000'], cwd: '/' }, stdin: false };
    const heard = await listen(envd, 'Start', message, (pid) => (answered = send(pid)));
    counters.commands += 1;
    expect((await answered).json, {}, 'answer of SendSignal');
    expect(heard.others, [{ exitCode: -1, status: `signal: ${name}`, error: `signal: ${name}` }, {}], 'end by signal');
    return 2;
}

async function watch({ envd, directory }, rng, lane) {
    const folder = path.join(directory, `watched-${lane.number}`);
    const call = async (method, message) => {
        const answer = await envd.post(`/filesystem.Filesystem/${method}`, message);
        expect(answer.status, 200, `status of ${method}`);
        return answer.json;
    };
    await call('MakeDir', { path: folder });
    const { watcherId } = await call('CreateWatcher', { path: folder });
    const name = `n${rng.u32()}`;
    const file = path.join(folder, name);
    await envd.post(`/files?path=${encodeURIComponent(file)}`, 'x', { 'content-type': 'application/octet-stream' });
    await call('Remove', { path: file });
    const seen = new Set();
    let calls = 5;
    while (!seen.has('EVENT_TYPE_REMOVE')) {
        for (const event of (await call('GetWatcherEvents', { watcherId })).events ?? []) {
            expect(event.name, name, 'name in an event');
            seen.add(event.type);
        }
        calls += 1;
        await delay(2);
    }
    // A new file that is uploaded is told as made, given to its owner and written, in this order.
    const kinds = ['CREATE', 'CHMOD', 'WRITE', 'REMOVE'].map((kind) => `EVENT_TYPE_${kind}`);
    expect([...seen], kinds, 'kinds of events');
    expect(await call('RemoveWatcher', { watcherId }), {}, 'answer of RemoveWatcher');
    await call('Remove', { path: folder });
    return calls + 1;
}

const mixture = [command, command, command, files, files, conversation, conversation, signalled, watch];
export const make = (world, rng, lane) => rng.pick(mixture)(world, rng, lane);
