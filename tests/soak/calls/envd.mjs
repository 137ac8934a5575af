// The envd dialect on its own listener: commands with input, files, and the file system.
import path from 'node:path';
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

export const make = (world, rng, lane) => (rng.chance(3) ? files(world, rng, lane) : command(world, rng));
