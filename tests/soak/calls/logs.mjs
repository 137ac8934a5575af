// A started process, its log read in pieces by connections that are dropped, and what the table says of it.
import { expect } from '../model.mjs';
import { someEnd } from './run.mjs';

export const weight = 8;

// The text of each stream of a log, with ids without a hole; every connection is dropped after some events.
export async function readLog(api, id, rng, { cut = true } = {}) {
    const text = { stdout: '', stderr: '' };
    let last = 0;
    let calls = 0;
    for (let whole = false; !whole; ) {
        const patience = cut && rng.chance(2) ? rng.between(1, 400) : Infinity;
        let seen = 0;
        const headers = last > 0 ? { 'last-event-id': String(last) } : {};
        whole = await api.events('GET', `/process_logs_streaming?id=${id}`, undefined, headers, (event) => {
            if (event.event === 'complete') return false;
            expect(event.event, 'log', `event behind id ${last}`);
            expect(event.id, last + 1, 'id');
            last = event.id;
            text[event.data.stream] += event.data.data + (event.data.partial ? '' : (event.data.eol ?? '\n'));
            return ++seen >= patience;
        });
        calls += 1;
    }
    return { text, calls, last };
}

export async function make({ api, content, counters }, rng) {
    const out = content.someText(rng, rng.size(150_000));
    const err = content.someText(rng, rng.size(10_000));
    const end = someEnd(rng);
    const tag = `soak-${rng.u32()}`;
    const cmd = `${out.command} & ${err.command} >&2; wait; ${end.command}`;
    const started = await api.post('/start_process', { cmd, tag });
    counters.commands += 1;
    counters.processes += 1;
    expect(started.status, 201, 'status');
    const { id, pid } = started.json;
    expect(started.json, { id, pid, status: 'running', success: true }, 'answer of /start_process');

    const log = await readLog(api, id, rng);
    expect(log.text, { stdout: out.text, stderr: err.text }, 'log');

    const { json } = await api.get(`/get_process?id=${id}`);
    expect(
        [json.id, json.pid, json.tag, json.command, json.status, json.exit_code, json.stdout_bytes, json.stderr_bytes, json.log_next_id],
        [id, pid, tag, cmd, end.code === 0 ? 'completed' : 'failed', end.code, out.bytes.length, err.bytes.length, log.last + 1],
        'answer of /get_process',
    );
    const late = await api.get(`/process_logs_streaming?id=${id}&from=${log.last + 1}`);
    expect(late.bytes.toString(), 'event: complete\ndata: {"message": "stream ended"}\n\n', 'log behind its end');
    return log.calls + 3;
}
