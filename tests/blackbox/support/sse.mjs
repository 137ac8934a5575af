// Three readers of the event streams: one that forgives nothing, and two that parse as the public SDKs do.
import assert from 'node:assert/strict';

// Fails on anything but ASCII blocks of `id:`, `event:`, `data:` with one JSON object each, closed by a blank line.
// With `comments`, also counts lines that start with a colon.
export class StrictSse {
    constructor({ comments = false } = {}) {
        this.allowComments = comments;
        this.comments = 0;
        this.events = [];
        this.pending = '';
        this.current = {};
    }

    push(bytes) {
        const text = Buffer.from(bytes).toString('latin1');
        assert.doesNotMatch(text, /[^\n\x20-\x7e]/, 'only printable ASCII and line feeds');
        const lines = (this.pending + text).split('\n');
        this.pending = lines.pop();
        const before = this.events.length;
        for (const line of lines) this.line(line);
        return this.events.slice(before);
    }

    line(line) {
        if (line === '') {
            if (Object.keys(this.current).length === 0) return;
            assert.ok('event' in this.current && 'data' in this.current, `incomplete event ${JSON.stringify(this.current)}`);
            this.events.push(this.current);
            this.current = {};
            return;
        }
        if (line.startsWith(':')) {
            assert.ok(this.allowComments, 'a comment nobody asked for');
            this.comments += 1;
            return;
        }
        const [, field, value] = line.match(/^(id|event|data): (.*)$/) ?? assert.fail(`bad line ${JSON.stringify(line)}`);
        assert.ok(!(field in this.current), `two ${field} lines in one event`);
        if (field === 'data') {
            this.current.data = JSON.parse(value);
            assert.equal(typeof this.current.data, 'object');
        } else if (field === 'id') {
            assert.match(value, /^\d+$/);
            this.current.id = Number(value);
        } else {
            this.current.event = value;
        }
    }

    end() {
        assert.equal(this.pending, '', 'the stream ends with a blank line');
        assert.deepEqual(this.current, {}, 'the stream ends with a blank line');
        return this.events;
    }
}

export function parseStrict(bytes, options) {
    const parser = new StrictSse(options);
    parser.push(bytes);
    return parser.end();
}

// httpx's iter_lines() splits as str.splitlines() does; the SDK then looks at "data:" lines only.
const pythonLineBreak = /\r\n|[\n\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]/;

export function parseAsPython(bytes) {
    const result = { stdout: '', stderr: '', outputs: [], code: undefined, failure: undefined };
    for (const line of Buffer.from(bytes).toString('utf8').split(pythonLineBreak)) {
        if (!line.startsWith('data:')) continue;
        const event = JSON.parse(line.slice(5).trim());
        if ('stream' in event) {
            result.outputs.push(event);
            result[event.stream] += event.data;
        } else if ('code' in event) {
            result.code = event.code;
            assert.equal(typeof event.error, 'boolean');
        } else if (typeof event.error === 'string') {
            result.failure = event.error;
        }
    }
    return result;
}

// Splits on a blank line, decodes each chunk by itself (not in streaming mode), and at the end runs its buffer
// through the same splitter once more.
export function parseAsJs(chunks) {
    const events = [];
    let buffer = '';
    const handle = (text) => {
        buffer += text;
        const parts = buffer.split('\n\n');
        buffer = parts.pop();
        for (const part of parts) {
            let event;
            let data;
            for (const line of part.split('\n')) {
                if (line.startsWith('event:')) event = line.slice(6).trim();
                if (line.startsWith('data:')) data = line.slice(5).trim();
            }
            if (event !== undefined && data !== undefined) events.push({ event, data: JSON.parse(data) });
        }
    };
    for (const chunk of chunks) handle(new TextDecoder().decode(chunk));
    handle(buffer);
    return events;
}

export async function chunksOf(response) {
    const chunks = [];
    for await (const chunk of response.body) chunks.push(Buffer.from(chunk));
    return chunks;
}

// Calls `on` with each event as it comes; stops (and drops the connection) when it returns true.
export async function follow(response, on, options) {
    const parser = new StrictSse(options);
    for await (const chunk of response.body) {
        for (const event of parser.push(chunk)) if (on(event)) return parser;
    }
    parser.end();
    return parser;
}

// The exact text of one stream, from text events.
export function textOf(events, stream) {
    return events
        .filter((e) => (e.event === 'output' || e.event === 'log') && (!stream || e.data.stream === stream))
        .map((e) => e.data.data + (e.data.partial ? '' : (e.data.eol ?? '\n')))
        .join('');
}
