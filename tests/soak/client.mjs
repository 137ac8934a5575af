// The daemon's HTTP API over node's own client, which shares no code with it. Nothing is ever tried twice: an answer
// that does not come is a failure.
import http from 'node:http';
import { StrictSse } from '../blackbox/support/sse.mjs';
import { Mismatch } from './model.mjs';

export class Api {
    // `deadlineMs`: how long a call may be silent. `headers`: of every request. `onBody`: sees the bytes of every answer and gives what is to be
    // believed instead; the self-test loses some there.
    constructor({ port, secret, deadlineMs, headers = {}, onBody = (bytes) => bytes }) {
        this.port = port;
        this.secret = secret;
        this.deadlineMs = deadlineMs;
        this.onBody = onBody;
        this.headers = headers;
        this.agent = new http.Agent({ keepAlive: true });
        this.answers = new Map(); // "path status": how many
    }

    // Resolves with node's response once its head is there; the caller reads or destroys it.
    open(method, target, body, headers = {}) {
        const plain = body === undefined || typeof body === 'string' || body instanceof Uint8Array;
        const bytes = body === undefined ? undefined : Buffer.from(plain ? body : JSON.stringify(body));
        return new Promise((resolve, reject) => {
            const all = { authorization: `Bearer ${this.secret}`, 'content-type': 'application/json', ...this.headers, ...headers };
            if (bytes) all['content-length'] = bytes.length;
            const request = http.request({ agent: this.agent, host: '127.0.0.1', port: this.port, method, path: target, headers: all });
            request.setTimeout(this.deadlineMs, () => {
                request.destroy(new Mismatch(`${method} ${target}: silence for ${this.deadlineMs} ms`));
            });
            request.on('error', reject);
            request.on('response', (response) => {
                const key = `${target.split('?')[0]} ${response.statusCode}`;
                this.answers.set(key, (this.answers.get(key) ?? 0) + 1);
                resolve(response);
            });
            request.end(bytes);
        });
    }

    async call(method, target, body, headers) {
        const response = await this.open(method, target, body, headers);
        const chunks = [];
        for await (const chunk of response) chunks.push(chunk);
        const bytes = this.onBody(Buffer.concat(chunks));
        const answer = { status: response.statusCode, headers: response.headers, bytes };
        if (response.headers['content-type']?.startsWith('application/json')) {
            try {
                answer.json = JSON.parse(bytes.toString());
            } catch (error) {
                throw new Mismatch(`${method} ${target}: no JSON: ${error.message}`);
            }
        }
        return answer;
    }
    post(target, body, headers) {
        return this.call('POST', target, body, headers);
    }
    get(target, headers) {
        return this.call('GET', target, undefined, headers);
    }

    // Events of a stream, each given to `on`; when that returns true the connection is dropped. False then.
    async events(method, target, body, headers, on) {
        const response = await this.open(method, target, body, headers);
        if (response.statusCode !== 200) throw new Mismatch(`${method} ${target}: status ${response.statusCode}`);
        const parser = new StrictSse();
        for await (const chunk of response) {
            for (const event of parser.push(this.onBody(chunk))) {
                if (on(event)) {
                    response.destroy();
                    return false;
                }
            }
        }
        parser.end();
        return true;
    }

    close() {
        this.agent.destroy();
    }
}
