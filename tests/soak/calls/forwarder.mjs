// The TCP forwarder: what goes in comes back from the bound server, whole and in order, with both half-closes.
import net from 'node:net';
import { Mismatch, expect } from '../model.mjs';

export const weight = 10;

// Two echo servers on free ports; the binding moves from one to the other now and then. Each says its letter first,
// so that a client can tell who has answered.
export class Targets {
    async start() {
        this.relays = 0;
        this.waiting = [];
        this.bound = 'a';
        this.servers = {};
        for (const letter of ['a', 'b']) {
            const server = net.createServer({ allowHalfOpen: true }, (socket) => {
                socket.on('error', () => socket.destroy());
                socket.write(letter);
                socket.pipe(socket);
            });
            await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
            this.servers[letter] = server;
        }
        return this;
    }
    port(letter) {
        return this.servers[letter].address().port;
    }
    // Relays share, a move of the binding is alone, because it ends relays by contract.
    async enter() {
        while (this.moving) await new Promise((resolve) => this.waiting.push(resolve));
        this.relays += 1;
    }
    leave() {
        this.relays -= 1;
        this.wake();
    }
    async alone(body) {
        while (this.moving) await new Promise((resolve) => this.waiting.push(resolve));
        this.moving = true;
        try {
            while (this.relays > 0) await new Promise((resolve) => this.waiting.push(resolve));
            return await body();
        } finally {
            this.moving = false;
            this.wake();
        }
    }
    wake() {
        for (const resolve of this.waiting.splice(0)) resolve();
    }
    stop() {
        for (const server of Object.values(this.servers)) server.close();
    }
}

function relay(port, bytes, deadlineMs) {
    return new Promise((resolve, reject) => {
        const chunks = [];
        const socket = net.connect({ host: '127.0.0.1', port, allowHalfOpen: true });
        socket.setTimeout(deadlineMs, () => socket.destroy(new Mismatch(`forwarder: silence for ${deadlineMs} ms`)));
        socket.on('connect', () => socket.end(bytes));
        socket.on('data', (chunk) => chunks.push(chunk));
        socket.on('end', () => resolve(Buffer.concat(chunks)));
        socket.on('error', reject);
    });
}

export async function make({ api, content, targets, forwarderPort, deadlineMs }, rng) {
    if (rng.chance(40)) {
        return targets.alone(async () => {
            const letter = rng.pick(['a', 'b']);
            const port = String(targets.port(letter));
            let calls = 1;
            if (rng.chance(3)) {
                expect((await api.post('/unbind_port', {})).json, { message: 'Port binding removed', success: true }, 'answer of /unbind_port');
                calls += 1;
            }
            const wanted = { message: 'Port binding configured', port, success: true };
            expect((await api.post('/bind_port', { port })).json, wanted, 'answer of /bind_port');
            targets.bound = letter;
            return calls;
        });
    }
    await targets.enter();
    try {
        const { bytes } = content.someBytes(rng, rng.size(rng.chance(50) ? 4_000_000 : 100_000));
        const back = await relay(forwarderPort, bytes, deadlineMs);
        expect(back, Buffer.concat([Buffer.from(targets.bound), bytes]), 'what the forwarder brought back');
        return 1;
    } finally {
        targets.leave();
    }
}
