// What is sent into a process in pieces comes out of it whole.
import { expect } from '../model.mjs';
import { readLog } from './logs.mjs';

export const weight = 6;

export async function make({ api, content, counters }, rng) {
    const { lines, text } = content.someText(rng, rng.size(100_000));
    const started = await api.post('/start_process', { cmd: 'cat', stdin: true });
    counters.commands += 1;
    counters.processes += 1;
    expect(started.status, 201, 'status');
    const { id } = started.json;
    let calls = 3;
    for (let at = 0; at < lines.length; ) {
        const count = rng.between(1, Math.max(1, Math.ceil(lines.length / 3)));
        const data = lines.slice(at, at + count).join('');
        at += count;
        const bytes = Buffer.from(data);
        const request = rng.chance(2) ? { id, data } : { id, data: bytes.toString('base64'), encoding: 'base64' };
        const answer = await api.post('/send_stdin', request);
        expect(answer.json, { success: true, bytes: bytes.length }, 'answer of /send_stdin');
        calls += 1;
    }
    expect((await api.post('/send_stdin', { id, data: '', close: true })).json, { success: true, bytes: 0 }, 'the end of stdin');
    const log = await readLog(api, id, rng, { cut: false });
    expect(log.text, { stdout: text, stderr: '' }, 'what came back');
    return calls;
}
