// The Connect protocol by hand.
import http from 'node:http';
import assert from 'node:assert/strict';

export function envelope(payload, flags = 0) {
    const body = Buffer.from(typeof payload === 'string' ? payload : JSON.stringify(payload));
    const head = Buffer.alloc(5);
    head[0] = flags;
    head.writeUInt32BE(body.length, 1);
    return Buffer.concat([head, body]);
}

export function parseEnvelopes(bytes) {
    const found = [];
    while (bytes.length > 0) {
        assert.ok(bytes.length >= 5, 'a whole envelope head');
        const size = bytes.readUInt32BE(1);
        assert.ok(bytes.length >= 5 + size, 'a whole envelope');
        found.push({ flags: bytes[0], json: JSON.parse(bytes.subarray(5, 5 + size)) });
        bytes = bytes.subarray(5 + size);
    }
    return found;
}

export async function unary(url, method, message, headers = {}) {
    const response = await fetch(`${url}/${method}`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...headers },
        body: typeof message === 'string' ? message : JSON.stringify(message),
    });
    const text = await response.text();
    let json;
    if (text.startsWith('{')) json = JSON.parse(text);
    return { status: response.status, type: response.headers.get('content-type'), text, json };
}

// A streaming call read to its end.
export async function stream(url, method, body, headers = {}) {
    const response = await fetch(`${url}/${method}`, {
        method: 'POST',
        headers: { 'content-type': 'application/connect+json', ...headers },
        body: body instanceof Uint8Array ? body : envelope(body),
    });
    const bytes = Buffer.from(await response.arrayBuffer());
    const framed = response.status === 200;
    return { status: response.status, type: response.headers.get('content-type'), events: framed ? parseEnvelopes(bytes) : [] };
}

// A streaming call under way: events as they come, pause() and destroy() of the connection.
export function openStream(url, method, message, headers = {}) {
    const events = [];
    let rest = Buffer.alloc(0);
    const request = http.request(`${url}/${method}`, {
        method: 'POST',
        agent: false,
        headers: { 'content-type': 'application/connect+json', ...headers },
    });
    const call = { request, events, ended: false, bytes: 0 };
    request.on('error', () => {});
    call.response = new Promise((resolve, reject) => {
        request.on('response', (response) => {
            call.status = response.statusCode;
            response.on('data', (chunk) => {
                call.bytes += chunk.length;
                rest = Buffer.concat([rest, chunk]);
                while (rest.length >= 5 && rest.length >= 5 + rest.readUInt32BE(1)) {
                    const size = rest.readUInt32BE(1);
                    events.push({ flags: rest[0], json: JSON.parse(rest.subarray(5, 5 + size)) });
                    rest = rest.subarray(5 + size);
                }
            });
            response.on('end', () => (call.ended = true));
            response.on('error', () => {});
            resolve(response);
        });
        request.on('error', reject);
    });
    call.response.catch(() => {});
    request.end(envelope(message));
    return call;
}

// What a process wrote to one stream, out of its events.
export const output = (events, name = 'stdout') =>
    Buffer.concat(
        events.map((e) => e.json.event?.data?.[name]).filter((b) => b !== undefined).map((b) => Buffer.from(b, 'base64')),
    );
