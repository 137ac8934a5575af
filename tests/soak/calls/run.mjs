// POST /run: both streams to the byte, every exit code and signal.
import { expect } from '../model.mjs';

export const weight = 30;

const signals = { SIGHUP: 1, SIGINT: 2, SIGKILL: 9, SIGUSR1: 10, SIGSEGV: 11, SIGTERM: 15 };

// The end of a command by `exit N` or by a signal to itself, and what an answer tells about it.
export function someEnd(rng) {
    if (rng.chance(6)) {
        const signal = rng.pick(Object.keys(signals));
        return { command: `kill -${signals[signal]} $$`, code: 128 + signals[signal], signal };
    }
    const code = rng.chance(2) ? 0 : rng.below(256);
    return { command: `exit ${code}`, code };
}

export async function make({ api, content, counters }, rng) {
    const limit = rng.chance(150) ? 6_000_000 : 60_000;
    const text = rng.chance(2);
    const piece = (length) => (text ? content.someText(rng, length) : content.someBytes(rng, length));
    const out = piece(rng.size(limit));
    const err = piece(rng.size(limit / 4));
    const end = someEnd(rng);
    const request = { cmd: `${out.command} & ${err.command} >&2; wait; ${end.command}` };
    let stdout = out;
    switch (rng.below(4)) {
        case 0:
            request.stdin = text ? out.text : out.bytes.toString('base64');
            if (!text) request.stdin_encoding = 'base64';
            request.cmd = `cat; ${err.command} >&2; ${end.command}`;
            break;
        case 1:
            request.cwd = '/';
            request.env = { END: end.command };
            request.cmd = `[ "$PWD" = / ] && ${out.command}; ${err.command} >&2; eval "$END"`;
            break;
    }
    if (!text) request.encoding = 'base64';
    const answer = await api.post('/run', request);
    counters.commands += 1;
    const shown = (p) => (text ? p.text : p.bytes.toString('base64'));
    const wanted = { stdout: shown(stdout), stderr: shown(err), code: end.code };
    if (end.signal) wanted.signal = end.signal;
    if (end.code !== 0) wanted.error = answer.json?.error ?? 'an error';
    expect(answer.status, 200, 'status');
    expect(answer.json, wanted, 'answer of /run');
    return 1;
}
