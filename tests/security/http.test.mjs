// Requests that two parsers might understand differently, heads beyond the limits, and clients that take their time; on
// both HTTP ports.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { describe, test } from 'node:test';
import { delay, eventually, finish, hiddenDescriptors, memoryKb, openDescriptors, slow, useDaemon, withDaemon } from '../blackbox/support/daemon.mjs';
import { RawSocket, rawRequest } from '../blackbox/support/raw.mjs';
import { settings } from '../blackbox/support/settings.mjs';

const d = useDaemon({ env: { ENVD_PORT: '0' } });
const ports = (daemon) => [daemon.port, daemon.envdPort];
const credentials = (daemon) => `Authorization: Bearer ${daemon.secret}\r\nX-Access-Token: ${daemon.secret}\r\n`;

// A whole request that would leave a mark, hidden where only a confused parser takes it for one.
const mark = () => d.file('smuggled');
const hidden = () => rawRequest('POST', '/run', d.secret, { cmd: `touch ${mark()}` });
const sized = (text) => `${text.length.toString(16)}\r\n${text}\r\n`;

// Framings that are refused. `TAIL` is the hidden request, behind what some parser believes to be the body.
const refused = {
    'both lengths': ['Content-Length: 4\r\nTransfer-Encoding: chunked', '0\r\n\r\nTAIL'],
    'both lengths, the other order': ['Transfer-Encoding: chunked\r\nContent-Length: 5', '0\r\n\r\nTAIL'],
    'two lengths': ['Content-Length: 2\r\nContent-Length: 200', '{}TAIL'],
    'a list of lengths': ['Content-Length: 2, 2', '{}TAIL'],
    'a list of differing lengths': ['Content-Length: 2, 200', '{}TAIL'],
    'a length with a sign': ['Content-Length: +2', '{}TAIL'],
    'a negative length': ['Content-Length: -2', '{}TAIL'],
    'a hexadecimal length': ['Content-Length: 0x2', '{}TAIL'],
    'a length with a fraction': ['Content-Length: 2.0', '{}TAIL'],
    'a length in two words': ['Content-Length: 2 0', '{}TAIL'],
    'no length in the header': ['Content-Length:', '{}TAIL'],
    'a length beyond 64 bits': ['Content-Length: 18446744073709551618', '{}TAIL'],
    'a coding that is none': ['Transfer-Encoding: xchunked', '0\r\n\r\nTAIL'],
    'chunked not last': ['Transfer-Encoding: chunked, identity', '0\r\n\r\nTAIL'],
    'chunked twice': ['Transfer-Encoding: chunked, chunked', '0\r\n\r\nTAIL'],
    'a second coding header': ['Transfer-Encoding: chunked\r\nTransfer-Encoding: identity', '0\r\n\r\nTAIL'],
    'a quoted coding': ['Transfer-Encoding: "chunked"', '0\r\n\r\nTAIL'],
    'a coding with parameters': ['Transfer-Encoding: chunked;q=1', '0\r\n\r\nTAIL'],
    'a blank before the colon': ['Transfer-Encoding : chunked', '0\r\n\r\nTAIL'],
    'a tab before the colon': ['Transfer-Encoding\t: chunked', '0\r\n\r\nTAIL'],
    'a vertical tab in the value': ['Transfer-Encoding: \x0bchunked', '0\r\n\r\nTAIL'],
    'a NUL in the value': ['Transfer-Encoding: chunked\0', '0\r\n\r\nTAIL'],
    'a folded coding': ['Transfer-Encoding:\r\n chunked', '0\r\n\r\nTAIL'],
    'a length behind a bare LF': ['X: y\nContent-Length: 2', '{}TAIL'],
    'a coding behind a bare CR': ['X: y\rTransfer-Encoding: chunked', '0\r\n\r\nTAIL'],
    'a blank before the first header': [' Transfer-Encoding: chunked', '0\r\n\r\nTAIL'],
    'a chunk size with a prefix': ['Transfer-Encoding: chunked', '0x2\r\n{}\r\n0\r\n\r\nTAIL'],
    'a chunk size with a sign': ['Transfer-Encoding: chunked', '+2\r\n{}\r\n0\r\n\r\nTAIL'],
    'a chunk size beyond 64 bits': ['Transfer-Encoding: chunked', '10000000000000002\r\n{}\r\n0\r\n\r\nTAIL'],
    'no chunk size': ['Transfer-Encoding: chunked', '\r\n{}\r\n0\r\n\r\nTAIL'],
    'a chunk that is longer than it says': ['Transfer-Encoding: chunked', '1\r\n{}\r\n0\r\n\r\nTAIL'],
    'a chunk size of 64 bits': ['Transfer-Encoding: chunked', 'ffffffffffffffff\r\n{}\r\n0\r\n\r\nTAIL'],
    'a chunk size that wraps around with what is there': ['Transfer-Encoding: chunked', 'fffffffffffffffe\r\n{}\r\n0\r\n\r\nTAIL'],
    'a chunk size of 63 bits': ['Transfer-Encoding: chunked', '7fffffffffffffff\r\n{}\r\n0\r\n\r\nTAIL'],
    'a negative chunk size': ['Transfer-Encoding: chunked', '-1\r\n{}\r\n0\r\n\r\nTAIL'],
    'a chunk size behind a blank': ['Transfer-Encoding: chunked', ' 2\r\n{}\r\n0\r\n\r\nTAIL'],
    'a chunk size with a digit behind a blank': ['Transfer-Encoding: chunked', '2 0\r\n{}\r\n0\r\n\r\nTAIL'],
    'a chunk size with an underscore': ['Transfer-Encoding: chunked', '0_2\r\n{}\r\n0\r\n\r\nTAIL'],
    'a bare LF in an extension of a chunk': ['Transfer-Encoding: chunked', '2;a\n{}\r\n0\r\n\r\nTAIL'],
    'a bare CR in an extension of a chunk': ['Transfer-Encoding: chunked', '2;a\rb\r\n{}\r\n0\r\n\r\nTAIL'],
    'an extension of a chunk without an end': ['Transfer-Encoding: chunked', `2;${'a'.repeat(100_000)}\r\n{}\r\n0\r\n\r\nTAIL`],
    'a trailer behind a bare LF': ['Transfer-Encoding: chunked', '2\r\n{}\r\n0\r\nX: y\n\r\nTAIL'],
    'a folded trailer': ['Transfer-Encoding: chunked', '2\r\n{}\r\n0\r\nX: y\r\n z\r\n\r\nTAIL'],
    'a trailer without an end': ['Transfer-Encoding: chunked', `2\r\n{}\r\n0\r\nX: ${'a'.repeat(100_000)}\r\n\r\nTAIL`],
    'an empty coding before chunked': ['Transfer-Encoding: , chunked', '0\r\n\r\nTAIL'],
    'an empty coding': ['Transfer-Encoding:', '0\r\n\r\nTAIL'],
    'an empty coding header, then chunked': ['Transfer-Encoding:\r\nTransfer-Encoding: chunked', '0\r\n\r\nTAIL'],
    'a coding of another alphabet': ['Transfer-Encoding: chun\xebed', '0\r\n\r\nTAIL'],
    'a folded length': ['Content-Length:\r\n\t2', '{}TAIL'],
    'a fold behind the length': ['Content-Length: 2\r\n 0', '{}TAIL'],
    'a length with a NUL': ['Content-Length: 2\0', '{}TAIL'],
    'a header without a name': [': chunked', '{}TAIL'],
    'a header without a colon': ['Transfer-Encoding chunked', '0\r\n\r\nTAIL'],
    'a second host': ['Host: y', '{}TAIL'],
    'a chunk behind a bare LF': ['Transfer-Encoding: chunked', '2\n{}\n0\n\nTAIL'],
};

describe('framings that could hide a request are refused, and it does not run', () => {
    for (const [name, [headers, body]] of Object.entries(refused)) {
        test(name, async () => {
            fs.rmSync(mark(), { force: true });
            for (const port of ports(d)) {
                const raw = await RawSocket.connect(port);
                const path = port === d.port ? '/unbind_port' : '/process.Process/List';
                const json = 'Content-Type: application/json\r\n';
                raw.write(`POST ${path} HTTP/1.1\r\nHost: x\r\n${credentials(d)}${json}${headers}\r\n\r\n${body.replace('TAIL', hidden())}`);
                const text = (await raw.rest()).toString('latin1');
                raw.close();
                assert.match(text, /^HTTP\/1\.1 (400|413|429|501) /, text.slice(0, 200));
                assert.equal(text.match(/HTTP\/1\.1 /g).length, 1, `one answer, and the connection closed: ${text}`);
            }
            assert.equal((await d.run('echo after')).stdout, 'after\n');
            assert.ok(!fs.existsSync(mark()), 'the hidden request ran');
        });
    }
});

test('framings that are right have one meaning: what is in the body is no request', async () => {
    const inside = hidden();
    const trailer = `0\r\nContent-Length: 500\r\nAuthorization: Bearer ${d.secret}\r\nTransfer-Encoding: chunked\r\n\r\n`;
    for (const [headers, body] of [
        [`Content-Length: ${inside.length}`, inside],
        [`content-length:${inside.length}`, inside],
        [`Content-Length: 00${inside.length}`, inside],
        ['Transfer-Encoding: chunked', `${sized(inside)}0\r\n\r\n`],
        ['Transfer-Encoding: chunked', `${sized(inside)}${trailer}`],
        ['Transfer-Encoding: chunked', `2;a="${'\\"'}"\r\n{}\r\n0\r\n\r\n`],
    ]) {
        const raw = await RawSocket.connect(d.port);
        raw.write(`POST /unbind_port HTTP/1.1\r\nHost: x\r\n${credentials(d)}${headers}\r\n\r\n${body}`);
        const { status } = await raw.response();
        assert.ok(status === 200 || status === 400, `${status}`);
        if (!raw.ended) {
            // What follows is the next request, and nothing of the body is.
            raw.write(rawRequest('GET', '/health'));
            const next = await raw.response().catch(() => undefined);
            if (next) assert.deepEqual(JSON.parse(next.body), { status: 'ok' });
        }
        raw.close();
    }
    assert.ok(!fs.existsSync(mark()), 'the hidden request ran');
});

test('one request cannot speak for the next: each is asked for its own secret', async () => {
    const raw = await RawSocket.connect(d.port);
    for (let i = 0; i < 3; ++i) {
        raw.write(rawRequest('GET', '/list_processes', d.secret) + rawRequest('GET', '/list_processes'));
        assert.equal((await raw.response()).status, 200);
        assert.equal((await raw.response()).status, 401);
    }
    raw.close();
});

test('no upgrade is taken', async () => {
    for (const [headers, line] of [
        ['Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__', /^HTTP\/1\.1 200 /],
        ['Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13', /^HTTP\/1\.1 200 /],
    ]) {
        const raw = await RawSocket.connect(d.port);
        raw.write(`GET /health HTTP/1.1\r\nHost: x\r\n${headers}\r\n\r\n`);
        assert.match((await raw.response()).line, line);
        raw.close();
    }
    const raw = await RawSocket.connect(d.port);
    raw.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
    assert.match((await raw.rest()).toString('latin1'), /^HTTP\/1\.1 (400|505) /);
    raw.close();
});

describe('heads', () => {
    test('at the limit they pass, one byte more is 431, in any shape', async () => {
        for (const port of ports(d)) {
            const start = 'GET /health HTTP/1.1\r\nHost: x\r\n';
            const fill = (size) => `${start}X: ${'a'.repeat(size - start.length - 7)}\r\n\r\n`;
            const many = `${start}${Array.from({ length: 9000 }, (_, i) => `X${i}: 1\r\n`).join('')}\r\n`;
            for (const [bytes, status] of [[fill(65_536), /^HTTP\/1\.1 20[04] /], [fill(65_537), /^HTTP\/1\.1 431 /], [many, /^HTTP\/1\.1 431 /]]) {
                const raw = await RawSocket.connect(port);
                raw.write(bytes);
                assert.match((await raw.head()).line, status, `${bytes.length} bytes`);
                raw.close();
            }
        }
    });
    test('that never end cost a bounded amount each', { skip: (slow && 'memory') || hiddenDescriptors }, async () => {
        await withDaemon({}, async (daemon) => {
            const held = [];
            const before = memoryKb(daemon.pid, 'VmRSS');
            for (let i = 0; i < 200; ++i) {
                const raw = await RawSocket.connect(daemon.port);
                raw.write(`GET /health HTTP/1.1\r\nX: ${'a'.repeat(60_000)}`);
                held.push(raw);
            }
            assert.equal((await daemon.get('/health')).status, 200);
            const more = memoryKb(daemon.pid, 'VmRSS') - before;
            assert.ok(more < 200 * 160, `${more} kB for 200 heads of 60 kB`);
            for (const raw of held) raw.close();
            await eventually(() => openDescriptors(daemon.pid) < 60, 'the descriptors');
        });
    });
});

describe('clients that take their time', () => {
    const env = { [settings.headerTime]: '1', [settings.bodyTime]: '1', ENVD_PORT: '0' };

    test('a head byte by byte, and a body that stops, are cut, and hold no thread meanwhile', async () => {
        await withDaemon({ env }, async (daemon) => {
            const began = Date.now();
            const held = [];
            for (const port of ports(daemon)) {
                const path = port === daemon.port ? '/write_file' : `/files?path=${daemon.file('upload')}`;
                const upload = `POST ${path} HTTP/1.1\r\nHost: x\r\n${credentials(daemon)}Content-Type: application/octet-stream\r\n`;
                for (const bytes of ['G', 'GET /health HTTP/1.1\r\nHo', `${upload}Content-Length: 100\r\n\r\n{"path":"`, `${upload}Transfer-Encoding: chunked\r\n\r\n5\r\n{"p`]) {
                    for (let i = 0; i < 40; ++i) {
                        const raw = await RawSocket.connect(port);
                        raw.write(bytes);
                        held.push(raw);
                    }
                }
            }
            const trickle = setInterval(() => {
                for (const raw of held.slice(0, 80)) if (!raw.ended) raw.write('x');
            }, 100);
            // More uploads than the daemon has threads for files.
            for (let i = 0; i < 5; ++i) assert.deepEqual((await daemon.post('/list_dir', { path: daemon.work })).json, { entries: [] });
            assert.equal((await daemon.run('echo beside')).stdout, 'beside\n');
            for (const raw of held) await raw.closed(30_000);
            clearInterval(trickle);
            assert.ok(Date.now() - began < 15_000 * (slow ? 3 : 1), `${Date.now() - began} ms`);
            for (const raw of held) {
                const text = raw.buffer.toString('latin1');
                if (text !== '') assert.match(text, /^HTTP\/1\.1 (408|400) /);
                raw.close();
            }
            assert.deepEqual(fs.readdirSync(daemon.work), [], 'nothing of the uploads is left');
        });
    });
    test('a body that trickles is waited for, however long it takes', async () => {
        await withDaemon({ env }, async (daemon) => {
            const raw = await RawSocket.connect(daemon.port);
            const bytes = rawRequest('POST', '/run', daemon.secret, { cmd: 'echo patient' });
            const body = bytes.indexOf('\r\n\r\n') + 4;
            raw.write(bytes.slice(0, body));
            for (const byte of bytes.slice(body)) {
                await delay(90);
                raw.write(byte);
            }
            assert.equal(JSON.parse((await raw.response()).body).stdout, 'patient\n');
            raw.close();
        });
    });
});

finish(d);
