// The daemon's API as these tests need it, over fetch.
import assert from 'node:assert/strict';

export const delay = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// Polls until `probe` gives something truthy.
export async function eventually(probe, what, timeoutMs = 20_000) {
    const end = Date.now() + timeoutMs;
    for (;;) {
        const value = await probe();
        if (value) return value;
        if (Date.now() > end) assert.fail(`not within ${timeoutMs} ms: ${typeof what === 'function' ? await what() : what}`);
        await delay(20);
    }
}

export class Api {
    constructor(url, secret) {
        this.url = url;
        this.secret = secret;
    }

    async request(method, path, body) {
        const answer = await fetch(this.url + path, {
            method,
            headers: { authorization: `Bearer ${this.secret}`, connection: 'close' },
            body: body === undefined ? undefined : JSON.stringify(body),
            signal: AbortSignal.timeout(60_000),
        });
        return { status: answer.status, json: await answer.json() };
    }

    // An answer that must be a success.
    async post(path, body) {
        const { status, json } = await this.request('POST', path, body);
        assert.ok(status === 200 || status === 201, `${path}: ${status} ${JSON.stringify(json)}`);
        return json;
    }
    run(cmd, fields = {}) {
        return this.post('/run', { cmd, ...fields });
    }
    // The output of a command that must succeed.
    async output(cmd, fields = {}) {
        const result = await this.run(cmd, fields);
        assert.equal(result.code, 0, `${cmd}: ${JSON.stringify(result)}`);
        return result.stdout.trim();
    }
    exec(args, fields = {}) {
        return this.post('/run', { args, ...fields });
    }

    async healthy() {
        try {
            return (await this.request('GET', '/health')).status === 200;
        } catch {
            return false;
        }
    }
}
