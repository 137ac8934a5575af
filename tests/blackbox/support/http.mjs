// Requests by node's fetch, and by curl: two clients that share no code with the daemon.
import { execFile, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once, setMaxListeners } from 'node:events';
import http from 'node:http';

function headersFor(secret, extra) {
    const headers = { 'Content-Type': 'application/json', ...extra };
    if (secret !== null) headers.Authorization ??= `Bearer ${secret}`;
    return headers;
}

// As fetch; the signal is heeded however many calls there are. The fetch of node 18 forgets it when memory is collected.
async function heedful(url, { method, headers, body, signal }) {
    setMaxListeners(0, signal);
    const call = http.request(url, { method, headers, signal, agent: false });
    call.end(body);
    const [answer] = await once(call, 'response');
    const pieces = [];
    for await (const piece of answer) pieces.push(piece);
    return new Response(Buffer.concat(pieces), { status: answer.statusCode, headers: answer.headers });
}

// `body`: an object is sent as JSON, strings and buffers as they are. `secret: null` sends none. `heed: true` is for
// signals that end many calls.
export async function request(url, method, target, body, options = {}) {
    const plain = body === undefined || typeof body === 'string' || body instanceof Uint8Array;
    const send = options.heed ? heedful : fetch;
    const response = await send(url + target, {
        method,
        body: plain ? body : JSON.stringify(body),
        headers: headersFor(options.secret ?? null, options.headers),
        signal: options.signal,
        redirect: 'manual',
    });
    if (options.stream) return response;
    const bytes = Buffer.from(await response.arrayBuffer());
    const text = bytes.toString('utf8');
    let json;
    if (response.headers.get('content-type')?.startsWith('application/json') && text !== '') json = JSON.parse(text);
    return { status: response.status, headers: response.headers, bytes, text, json };
}

// Runs curl; resolves with its exit code and outputs, whatever they are.
export function curl(args, input) {
    return new Promise((resolve, reject) => {
        const child = execFile('curl', ['-sS', ...args], { maxBuffer: 1 << 28 }, (error, stdout, stderr) => {
            if (error && typeof error.code !== 'number') reject(error);
            else resolve({ code: error ? error.code : 0, stdout, stderr });
        });
        child.stdin.on('error', () => {});
        child.stdin.end(input ?? '');
    });
}

// A curl that is left running; the caller ends it.
export function curlProcess(args) {
    return spawn('curl', ['-sSN', ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
}

export const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex');
