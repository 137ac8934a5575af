// POST /run_streaming: the exact bytes of both streams out of events, and one end that comes last.
import { expect } from '../model.mjs';
import { someEnd } from './run.mjs';

export const weight = 15;

export async function make({ api, content, counters }, rng) {
    const text = rng.chance(2);
    const piece = (length) => (text ? content.someText(rng, length) : content.someBytes(rng, length));
    const wanted = { stdout: piece(rng.size(rng.chance(100) ? 4_000_000 : 60_000)), stderr: piece(rng.size(8000)) };
    const end = someEnd(rng);
    const request = { cmd: `${wanted.stdout.command} & ${wanted.stderr.command} >&2; wait; ${end.command}` };
    if (!text) request.encoding = 'base64';
    const got = { stdout: [], stderr: [] };
    const ends = [];
    await api.events('POST', '/run_streaming', request, {}, ({ event, data }) => {
        expect(ends.length, 0, 'events behind the end');
        if (event === 'complete') ends.push(data);
        else {
            expect(event, 'output', 'event');
            got[data.stream].push(text ? data.data + (data.partial ? '' : (data.eol ?? '\n')) : Buffer.from(data.data, 'base64'));
        }
    });
    counters.commands += 1;
    for (const stream of ['stdout', 'stderr']) {
        if (text) expect(got[stream].join(''), wanted[stream].text, stream);
        else expect(Buffer.concat(got[stream]), wanted[stream].bytes, stream);
    }
    const complete = { code: end.code, error: end.code !== 0 };
    if (end.signal) complete.signal = end.signal;
    expect(ends, [complete], 'the end of the stream');
    return 1;
}
