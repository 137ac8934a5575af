// A socket without manners, for what HTTP libraries refuse to send or hide.
import net from 'node:net';

export class RawSocket {
    static open = new Set();

    static closeAll() {
        for (const raw of RawSocket.open) raw.close();
    }

    static async connect(port, options = {}) {
        const raw = new RawSocket(port, options);
        await new Promise((resolve, reject) => {
            raw.socket.once('connect', resolve);
            raw.socket.once('error', reject);
        });
        return raw;
    }

    constructor(port, options) {
        this.buffer = Buffer.alloc(0);
        this.ended = false; // FIN or reset seen
        this.error = undefined;
        this.wakers = new Set();
        this.socket = net.connect({ host: '127.0.0.1', port, allowHalfOpen: true, ...options });
        RawSocket.open.add(this);
        this.socket.on('close', () => RawSocket.open.delete(this));
        this.socket.on('data', (chunk) => {
            this.buffer = Buffer.concat([this.buffer, chunk]);
            this.wake();
        });
        this.socket.on('end', () => this.finished());
        this.socket.on('close', () => this.finished());
        this.socket.on('error', (error) => {
            this.error = error;
            this.finished();
        });
    }

    finished() {
        this.ended = true;
        this.wake();
    }
    wake() {
        for (const waker of [...this.wakers]) waker();
    }

    write(bytes) {
        this.socket.write(bytes);
        return this;
    }
    // Sends FIN and goes on reading.
    halfClose() {
        this.socket.end();
    }
    reset() {
        this.socket.resetAndDestroy();
    }
    close() {
        this.socket.destroy();
    }

    // Waits until `probe(buffer)` is neither undefined nor false, the peer ended, or time is up (an error).
    async until(probe, timeoutMs = 10_000) {
        return new Promise((resolve, reject) => {
            const timer = setTimeout(() => {
                this.wakers.delete(check);
                const seen = this.buffer.subarray(0, 500).toString('latin1');
                reject(new Error(`not within ${timeoutMs} ms; got ${JSON.stringify(seen)}`));
            }, timeoutMs);
            const check = () => {
                const value = probe(this.buffer);
                if ((value === undefined || value === false) && !this.ended) return;
                clearTimeout(timer);
                this.wakers.delete(check);
                resolve(value);
            };
            this.wakers.add(check);
            check();
        });
    }

    // Everything up to the peer's FIN or reset.
    async rest(timeoutMs) {
        await this.until(() => (this.ended ? true : undefined), timeoutMs);
        const bytes = this.buffer;
        this.buffer = Buffer.alloc(0);
        return bytes;
    }

    async closed(timeoutMs) {
        await this.until(() => (this.ended ? true : undefined), timeoutMs);
    }

    async head(timeoutMs) {
        const end = await this.until((b) => (b.indexOf('\r\n\r\n') < 0 ? undefined : b.indexOf('\r\n\r\n')), timeoutMs);
        if (end === undefined || end === false) {
            throw new Error(`no answer, the connection ended after ${JSON.stringify(this.buffer.toString('latin1'))}`);
        }
        const lines = this.buffer.subarray(0, end).toString('latin1').split('\r\n');
        this.buffer = this.buffer.subarray(end + 4);
        const headers = {};
        for (const line of lines.slice(1)) {
            const colon = line.indexOf(':');
            headers[line.slice(0, colon).toLowerCase()] = line.slice(colon + 1).trim();
        }
        const [, version, status] = lines[0].match(/^(HTTP\/1\.[01]) (\d{3})/) ?? [];
        return { version, status: Number(status), line: lines[0], headers };
    }

    async take(count, timeoutMs) {
        await this.until((b) => (b.length >= count ? true : undefined), timeoutMs);
        const bytes = this.buffer.subarray(0, count);
        this.buffer = this.buffer.subarray(bytes.length);
        return bytes;
    }

    async chunk(timeoutMs) {
        const end = await this.until((b) => (b.indexOf('\r\n') < 0 ? undefined : b.indexOf('\r\n')), timeoutMs);
        if (end === undefined) throw new Error('the connection ended between two chunks');
        const size = parseInt(this.buffer.subarray(0, end).toString('latin1'), 16);
        this.buffer = this.buffer.subarray(end + 2);
        const bytes = await this.take(size, timeoutMs);
        await this.take(2, timeoutMs);
        return bytes;
    }

    // One whole answer; `withBody: false` for HEAD.
    async response({ withBody = true, timeoutMs } = {}) {
        const head = await this.head(timeoutMs);
        let body = Buffer.alloc(0);
        if (!withBody || head.status === 100 || head.status === 204 || head.status === 304) {
            // none
        } else if (head.headers['transfer-encoding'] === 'chunked') {
            for (;;) {
                const piece = await this.chunk(timeoutMs);
                if (piece.length === 0) break;
                body = Buffer.concat([body, piece]);
            }
        } else if (head.headers['content-length'] !== undefined) {
            body = await this.take(Number(head.headers['content-length']), timeoutMs);
        } else {
            body = await this.rest(timeoutMs);
        }
        return { ...head, body: body.toString('utf8') };
    }
}

// Bytes of a request with a JSON body.
export function rawRequest(method, target, secret, body, headers = {}) {
    const text = body === undefined ? '' : typeof body === 'string' ? body : JSON.stringify(body);
    const lines = [`${method} ${target} HTTP/1.1`, 'Host: sandbox'];
    if (secret) lines.push(`Authorization: Bearer ${secret}`);
    if (body !== undefined) lines.push('Content-Type: application/json', `Content-Length: ${Buffer.byteLength(text)}`);
    for (const [name, value] of Object.entries(headers)) lines.push(`${name}: ${value}`);
    return `${lines.join('\r\n')}\r\n\r\n${text}`;
}
