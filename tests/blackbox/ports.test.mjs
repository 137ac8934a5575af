// Binding a port, and the TCP forwarder behind it.
import assert from 'node:assert/strict';
import net from 'node:net';
import os from 'node:os';
import { after, describe, test } from 'node:test';
import { delay, eventually, finish, hiddenDescriptors, heldConnections, openDescriptors, slow, useDaemon } from './support/daemon.mjs';
import { RawSocket } from './support/raw.mjs';

const d = useDaemon();
const servers = new Set();
after(() => [...servers].forEach((server) => server.stop())); // of a test that has failed

// A server on a free port; `onSocket` gets each connection.
async function listen(onSocket, host = '127.0.0.1') {
    const server = net.createServer({ allowHalfOpen: true }, (socket) => {
        server.sockets.add(socket);
        socket.on('close', () => server.sockets.delete(socket));
        socket.on('error', () => {});
        onSocket(socket);
    });
    server.sockets = new Set();
    await new Promise((resolve, reject) => server.listen(0, host, resolve).on('error', reject));
    servers.add(server);
    server.port = server.address().port;
    server.stop = () => {
        for (const socket of server.sockets) socket.destroy();
        servers.delete(server);
        return new Promise((resolve) => server.close(resolve));
    };
    return server;
}
const bind = async (port) => {
    const answer = await d.post('/bind_port', { port: String(port) });
    assert.equal(answer.status, 200, answer.text);
    return answer.json;
};
const unbind = (body = {}) => d.post('/unbind_port', body);
const dial = () => RawSocket.connect(d.proxyPort);
const hasIpv6 = Object.values(os.networkInterfaces()).flat().some((a) => a.address === '::1');

describe('bind_port and unbind_port', () => {
    test('answers of the reference; a bind overrides', async () => {
        assert.deepEqual(await bind(18080), { message: 'Port binding configured', port: '18080', success: true });
        assert.deepEqual(await bind(18080), { message: 'Port binding configured', port: '18080', success: true });
        assert.equal((await bind(18081)).port, '18081');
        const answer = await d.post('/bind_port', { port: 18082 });
        assert.equal(answer.status, 200);
        assert.equal(answer.json.port, '18082');
        assert.deepEqual((await unbind()).json, { message: 'Port binding removed', success: true });
        assert.equal((await unbind({ port: '18082' })).status, 200, 'nothing is bound');
    });
    test('what is no port', async () => {
        for (const port of ['abc', '0', '65536', '99999', '-1', ' 80', '80 ', 'http', '8080x', '0x50', '1.5', 0, -1, 65536, 1.5, 1e9]) {
            const answer = await d.post('/bind_port', { port });
            assert.equal(answer.status, 400, JSON.stringify(port));
            assert.ok(answer.json.error.length > 0);
        }
        for (const body of [{}, { port: '' }, { port: null }]) {
            const answer = await d.post('/bind_port', body);
            assert.equal(answer.status, 400);
            assert.equal(answer.json.error, 'Port is required');
        }
        for (const body of ['', '[]', '{"port":["1"]}', '{"port":true}']) {
            const answer = await d.post('/bind_port', body);
            assert.deepEqual([answer.status, answer.json.error], [400, 'Invalid request'], body);
        }
    });
    test('the daemon\'s own ports are refused', async () => {
        for (const port of [d.port, d.proxyPort]) {
            for (const form of [port, String(port)]) {
                const answer = await d.post('/bind_port', { port: form });
                assert.equal(answer.status, 400);
                assert.ok(answer.json.error);
            }
        }
        const raw = await dial();
        await raw.closed();
        raw.close();
    });
    test('unbind: a port that is not the bound one is a conflict', async () => {
        await bind(18085);
        for (const port of ['18086', 18086]) {
            const answer = await unbind({ port });
            assert.equal(answer.status, 409);
            assert.equal(answer.json.success, false);
            assert.equal(answer.json.current_port, '18085');
            assert.ok(answer.json.error);
        }
        assert.equal((await unbind({ port: '18085' })).json.success, true);
        for (const body of ['', '{}', { port: null }, undefined]) {
            const answer = await d.post('/unbind_port', body);
            assert.deepEqual([answer.status, answer.json.success], [200, true], JSON.stringify(body));
        }
    });
    test('unbind: a chunked body that is empty is an empty one', async () => {
        const head = `POST /unbind_port HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer ${d.secret}\r\nTransfer-Encoding: chunked\r\n\r\n`;
        const raw = await RawSocket.connect(d.port);
        for (const [body, status] of [['0\r\n\r\n', 200], ['2\r\n{}\r\n0\r\n\r\n', 200], ['1\r\n{\r\n0\r\n\r\n', 400], ['1\r\n \r\n0\r\n\r\n', 400]]) {
            await bind(18085);
            raw.write(head + body);
            assert.equal((await raw.response()).status, status, body);
            assert.equal((await unbind({ port: 18086 })).status, status === 200 ? 200 : 409, 'is something bound?');
        }
        raw.close();
        await unbind();
    });
});

describe('closed doors', () => {
    test('nothing bound: accepted and closed soon', async () => {
        await unbind();
        const began = Date.now();
        const quiet = await dial();
        await quiet.closed();
        assert.ok(Date.now() - began < 3000);
        const talking = await dial();
        talking.write('GET / HTTP/1.0\r\n\r\n');
        await talking.closed();
        quiet.close();
        talking.close();
    });
    test('bound, but nobody listens: accepted and closed', async () => {
        const server = await listen(() => {});
        const { port } = server;
        await server.stop();
        await bind(port);
        const raw = await dial();
        await raw.closed();
        raw.close();
        await eventually(() => d.stderr.includes(String(port)), 'the line in the log');
    });
});

describe('relaying', () => {
    test('there and back, large, in both directions at once', async () => {
        const size = slow ? 1_000_000 : 20_000_000;
        const server = await listen((s) => s.pipe(s));
        await bind(server.port);
        const raw = await dial();
        let got = 0;
        raw.socket.removeAllListeners('data');
        raw.socket.on('data', (chunk) => {
            assert.ok(chunk.every((b) => b === 0x61));
            got += chunk.length;
        });
        raw.socket.end(Buffer.alloc(size, 'a'));
        await raw.closed(60_000);
        assert.equal(got, size);
        raw.close();
        await server.stop();
    });
    test('the server may speak first, and may send much to a slow client', async () => {
        const server = await listen((s) => s.end(Buffer.alloc(3_000_000, 'b')));
        await bind(server.port);
        const raw = await dial();
        raw.socket.pause();
        await delay(200);
        raw.socket.resume();
        assert.equal((await raw.rest()).length, 3_000_000);
        raw.close();
        await server.stop();
    });
    test('the client\'s half-close is carried, the answer still comes', async () => {
        const server = await listen((s) => {
            let got = 0;
            s.on('data', (chunk) => (got += chunk.length));
            s.on('end', () => setTimeout(() => s.end(`got ${got}`), 200));
        });
        await bind(server.port);
        const raw = await dial();
        raw.write('x'.repeat(1000));
        raw.halfClose();
        assert.equal((await raw.rest()).toString(), 'got 1000');
        raw.close();
        await server.stop();
    });
    test('the server\'s half-close is carried, the client may go on', async () => {
        let got = '';
        let ended = false;
        const server = await listen((s) => {
            s.end('bye');
            s.on('data', (chunk) => (got += chunk));
            s.on('end', () => (ended = true));
        });
        await bind(server.port);
        const raw = await dial();
        assert.equal((await raw.rest()).toString(), 'bye');
        await delay(150);
        raw.write('still here');
        raw.halfClose();
        await eventually(() => ended, 'the end at the server');
        assert.equal(got, 'still here');
        raw.close();
        await server.stop();
    });
    test('a reset by the client reaches the server as a reset, and the other way round', async () => {
        let error;
        let closed = false;
        const server = await listen((s) => {
            s.write('hello');
            s.on('error', (e) => (error = e.code));
            s.on('close', () => (closed = true));
        });
        await bind(server.port);
        const raw = await dial();
        await raw.take(5);
        raw.reset();
        await eventually(() => closed, 'the end at the server');
        assert.equal(error, 'ECONNRESET');
        await server.stop();

        const rude = await listen((s) => s.once('data', () => s.resetAndDestroy()));
        await bind(rude.port);
        const victim = await dial();
        victim.write('x');
        await victim.closed();
        assert.equal(victim.error?.code, 'ECONNRESET');
        victim.close();
        await rude.stop();
    });
    test('a listener on ::1', { skip: !hasIpv6 && 'no IPv6 here' }, async () => {
        const server = await listen((s) => s.pipe(s), '::1');
        await bind(server.port);
        const raw = await dial();
        raw.write('six');
        assert.equal((await raw.take(3)).toString(), 'six');
        raw.close();
        await server.stop();
    });
    test('the peer is the loopback address', async () => {
        const server = await listen((s) => s.end(s.remoteAddress));
        await bind(server.port);
        const raw = await dial();
        assert.equal((await raw.rest()).toString(), '127.0.0.1');
        raw.close();
        await server.stop();
    });
    test('unbinding and rebinding end existing relays', async () => {
        const server = await listen((s) => s.pipe(s));
        for (const end of [() => unbind(), () => bind(18090), () => unbind({ port: String(server.port) })]) {
            await bind(server.port);
            const raw = await dial();
            raw.write('ping');
            assert.equal((await raw.take(4)).toString(), 'ping');
            assert.equal((await end()).success ?? true, true);
            await raw.closed();
            raw.close();
            await unbind();
        }
        await server.stop();
    });
    test('many relays at once, all served, all released', { skip: hiddenDescriptors }, async () => {
        const count = slow ? 100 : 500;
        const server = await listen((s) => s.pipe(s));
        await bind(server.port);
        await d.get('/health');
        const before = openDescriptors(d.pid);
        const sockets = await Promise.all(Array.from({ length: count }, dial));
        sockets.forEach((raw, i) => raw.write(`message ${i}`));
        for (const [i, raw] of sockets.entries()) {
            const expected = `message ${i}`;
            assert.equal((await raw.take(expected.length)).toString(), expected);
        }
        const held = heldConnections(d.pid, sockets);
        assert.equal(held(), count);
        assert.equal(server.sockets.size, count);
        sockets.forEach((raw, i) => (i % 3 ? raw.close() : raw.reset()));
        await eventually(() => server.sockets.size === 0, 'the ends at the server');
        await eventually(() => held() === 0, 'the ends at the clients');
        await eventually(() => openDescriptors(d.pid) <= before + 10, 'the descriptors');
        await server.stop();
    });
});

test('an open relay does not hold up the end of the daemon', async () => {
    const server = await listen((s) => s.pipe(s));
    await bind(server.port);
    const raw = await dial();
    raw.write('x');
    await raw.take(1);
    const began = Date.now();
    assert.deepEqual(await d.stop(), { code: 0, signal: null });
    assert.ok(Date.now() - began < 7000);
    await raw.closed();
    raw.close();
    await server.stop();
    assert.equal(servers.size, 0);
});

finish(d);
