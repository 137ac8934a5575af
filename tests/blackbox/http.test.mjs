// The HTTP layer: routing, methods, framing, malformed requests, limits, slow clients.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { delay, eventually, finish, hiddenDescriptors, openDescriptors, useDaemon, withDaemon } from './support/daemon.mjs';
import { curl } from './support/http.mjs';
import { RawSocket, rawRequest } from './support/raw.mjs';
import { settings } from './support/settings.mjs';

const d = useDaemon();

const methods = {
    '/health': 'GET', '/openapi.json': 'GET', '/metrics': 'GET', '/list_processes': 'GET',
    '/process_logs_streaming': 'GET', '/get_process': 'GET',
    '/run': 'POST', '/run_streaming': 'POST', '/write_file': 'POST', '/read_file': 'POST', '/delete_file': 'POST',
    '/make_dir': 'POST', '/delete_dir': 'POST', '/list_dir': 'POST', '/stat': 'POST', '/move': 'POST',
    '/copy': 'POST', '/bind_port': 'POST', '/unbind_port': 'POST', '/start_process': 'POST',
    '/kill_process': 'POST', '/signal_process': 'POST', '/send_stdin': 'POST',
};
const open = ['/health', '/openapi.json'];

async function exchange(bytes) {
    const raw = await RawSocket.connect(d.port);
    raw.write(bytes);
    const answer = await raw.response();
    return { raw, answer };
}

test('health answers with JSON, with and without the secret, at the root and under the prefix', async () => {
    for (const target of ['/health', '/koyeb-sandbox/health']) {
        for (const secret of [null, 'wrong', d.secret]) {
            const answer = await d.get(target, { secret });
            assert.equal(answer.status, 200);
            assert.equal(answer.headers.get('content-type'), 'application/json');
            assert.deepEqual(answer.json, { status: 'ok' });
        }
    }
    const { code, stdout } = await curl([`${d.url}/health`]);
    assert.equal(code, 0);
    assert.equal(JSON.parse(stdout).status, 'ok');
});

test('every path answers under the prefix too, unknown ones are 404 before the secret is asked for', async () => {
    for (const [target, method] of Object.entries(methods)) {
        if (open.includes(target)) continue;
        for (const prefix of ['', '/koyeb-sandbox']) {
            const answer = await d.request(method, prefix + target, undefined, { secret: null });
            assert.equal(answer.status, 401, prefix + target);
        }
    }
    for (const target of ['/nope', '/run/', '/RUN', '/', '/health/x', '/koyeb-sandbox', '/koyeb-sandbox/nope', '/runx']) {
        for (const method of ['GET', 'POST', 'DELETE']) {
            const answer = await d.request(method, target, undefined, { secret: null });
            assert.equal(answer.status, 404, `${method} ${target}`);
            assert.deepEqual(answer.json, { error: '404 page not found' });
        }
    }
});

test('a wrong method is 405 with Allow, after 401 and before the body is looked at', async () => {
    for (const [target, method] of Object.entries(methods)) {
        for (const other of ['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS']) {
            if (other === method || (other === 'HEAD' && method === 'GET')) continue;
            const body = other === 'GET' || other === 'HEAD' ? undefined : '{not json';
            const answer = await d.request(other, target, body);
            assert.equal(answer.status, 405, `${other} ${target}`);
            const allowed = answer.headers.get('allow').split(/, */);
            assert.ok(allowed.includes(method), `Allow of ${target}: ${allowed}`);
            if (other !== 'HEAD') assert.equal(answer.json.error, 'Method not allowed');
            if (open.includes(target)) continue;
            const denied = await d.request(other, target, body, { secret: null });
            assert.equal(denied.status, 401, `${other} ${target} without the secret`);
        }
    }
});

test('HEAD gives the headers of GET and no body', async () => {
    const got = await d.get('/health');
    const { raw, answer } = await (async () => {
        const socket = await RawSocket.connect(d.port);
        socket.write('HEAD /health HTTP/1.1\r\nHost: x\r\n\r\n');
        return { raw: socket, answer: await socket.response({ withBody: false }) };
    })();
    assert.equal(answer.status, 200);
    assert.equal(answer.headers['content-length'], String(got.bytes.length));
    assert.equal(answer.headers['content-type'], 'application/json');
    // The connection is in step: no stray body.
    raw.write('GET /health HTTP/1.1\r\nHost: x\r\n\r\n');
    assert.equal((await raw.response()).body.trim(), '{"status":"ok"}');
    raw.close();
});

test('answers carry a date and no server name; errors are JSON with an error', async () => {
    const { raw, answer } = await exchange('GET /nope HTTP/1.1\r\nHost: x\r\n\r\n');
    assert.match(answer.headers.date, /^\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT$/);
    assert.ok(Math.abs(Date.parse(answer.headers.date) - Date.now()) < 60_000);
    assert.equal(answer.headers.server, undefined);
    assert.equal(answer.headers['content-type'], 'application/json');
    raw.close();
});

test('paths that are not canonical are redirected; escapes are decoded; absolute targets work', async () => {
    for (const target of ['//health', '/./health', '/a/../health', '/koyeb-sandbox/..//health']) {
        const { raw, answer } = await exchange(`GET ${target} HTTP/1.1\r\nHost: x\r\n\r\n`);
        assert.equal(answer.status, 301, target);
        assert.equal(answer.headers.location, '/health', target);
        raw.close();
    }
    for (const target of ['/he%61lth', '/health?x=1&y', 'http://sandbox.example/health', '/health?%zz']) {
        const { raw, answer } = await exchange(`GET ${target} HTTP/1.1\r\nHost: x\r\n\r\n`);
        assert.equal(answer.status, 200, target);
        raw.close();
    }
    const { raw, answer } = await exchange('OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n');
    assert.equal(answer.status, 200);
    assert.equal(answer.body, '');
    raw.close();
});

const h = 'Host: x\r\n';
const malformed = [
    ['no Host', 'GET /health HTTP/1.1\r\n\r\n', 400],
    ['two Hosts', `GET /health HTTP/1.1\r\n${h}${h}\r\n`, 400],
    ['bad Host', 'GET /health HTTP/1.1\r\nHost: a b/c\r\n\r\n', 400],
    ['a garbage line', 'this is no http\r\n\r\n', 400],
    ['two blanks', `GET  /health HTTP/1.1\r\n${h}\r\n`, 400],
    ['a control byte in a value', `GET /health HTTP/1.1\r\n${h}X: a\x01b\r\n\r\n`, 400],
    ['a NUL in a value', `GET /health HTTP/1.1\r\n${h}X: a\0b\r\n\r\n`, 400],
    ['a bare CR in a value', `GET /health HTTP/1.1\r\n${h}X: a\rb\r\n\r\n`, 400],
    ['a header without colon', `GET /health HTTP/1.1\r\n${h}nonsense\r\n\r\n`, 400],
    ['a blank before the colon', `GET /health HTTP/1.1\r\n${h}X : 1\r\n\r\n`, 400],
    ['an empty header name', `GET /health HTTP/1.1\r\n${h}: 1\r\n\r\n`, 400],
    ['a folded header', `GET /health HTTP/1.1\r\n${h}X: a\r\n b\r\n\r\n`, 400],
    ['bare line feeds', 'GET /health HTTP/1.1\nHost: x\n\n', 400],
    ['Content-Length -1', `POST /run HTTP/1.1\r\n${h}Content-Length: -1\r\n\r\n`, 400],
    ['Content-Length 1x', `POST /run HTTP/1.1\r\n${h}Content-Length: 1x\r\n\r\n`, 400],
    ['Content-Length +16', `POST /run HTTP/1.1\r\n${h}Content-Length: +16\r\n\r\n`, 400],
    ['Content-Length 1e3', `POST /run HTTP/1.1\r\n${h}Content-Length: 1e3\r\n\r\n`, 400],
    ['an overflowing Content-Length', `POST /run HTTP/1.1\r\n${h}Content-Length: 99999999999999999999\r\n\r\n`, 400],
    ['differing Content-Lengths', `POST /run HTTP/1.1\r\n${h}Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}`, 400],
    [
        'Content-Length with Transfer-Encoding',
        `POST /run HTTP/1.1\r\n${h}Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
        400,
    ],
    ['a target without slash', `GET health HTTP/1.1\r\n${h}\r\n`, 400],
    ['a bad escape', `GET /%zz HTTP/1.1\r\n${h}\r\n`, 400],
    ['HTTP/0.9', 'GET /health\r\n\r\n', 400],
    ['a version that is none', `GET /health HTTP/x.y\r\n${h}\r\n`, 400],
    ['HTTP/2.0', `GET /health HTTP/2.0\r\n${h}\r\n`, 505],
    ['Transfer-Encoding gzip', `POST /run HTTP/1.1\r\n${h}Transfer-Encoding: gzip\r\n\r\n`, 501],
    ['Transfer-Encoding gzip, chunked', `POST /run HTTP/1.1\r\n${h}Transfer-Encoding: gzip, chunked\r\n\r\n`, 501],
    ['headers over the limit', `GET /health HTTP/1.1\r\n${h}X: ${'a'.repeat(70_000)}\r\n\r\n`, 431],
    ['a target over the limit', `GET /${'a'.repeat(70_000)} HTTP/1.1\r\n${h}\r\n`, 431],
];

describe('malformed requests get their status, a JSON error, and a closed connection', () => {
    for (const [name, bytes, status] of malformed) {
        test(name, async () => {
            const { raw, answer } = await exchange(bytes);
            assert.equal(answer.status, status, answer.line);
            assert.equal(answer.headers.connection, 'close');
            assert.equal(answer.headers['content-type'], 'application/json');
            assert.ok(JSON.parse(answer.body).error.length > 0);
            await raw.closed();
            raw.close();
        });
    }
    test('the texts of the reference', async () => {
        for (const [bytes, text] of [
            ['GET /health HTTP/1.1\r\n\r\n', 'missing required Host header'],
            [`GET /health HTTP/2.0\r\n${h}\r\n`, 'unsupported protocol version'],
            [`POST /run HTTP/1.1\r\n${h}Transfer-Encoding: gzip\r\n\r\n`, 'Unsupported transfer encoding'],
        ]) {
            const { raw, answer } = await exchange(bytes);
            assert.ok(JSON.parse(answer.body).error.includes(text), answer.body);
            raw.close();
        }
    });
    test('bad chunk framing', async () => {
        const start = `POST /run HTTP/1.1\r\n${h}Authorization: Bearer ${d.secret}\r\nTransfer-Encoding: chunked\r\n\r\n`;
        for (const body of ['zz\r\n', '-1\r\n', '5\r\n{"cmdXX\r\n', '10000000000000000000\r\n', '\r\n']) {
            const { raw, answer } = await exchange(start + body).catch((error) => assert.fail(`${JSON.stringify(body)}: ${error}`));
            assert.equal(answer.status, 400, JSON.stringify(body));
            await raw.closed();
            raw.close();
        }
    });
});

test('what looks odd and is right: many headers, equal lengths, extensions and trailers, HTTP/1.2', async () => {
    const body = '{"cmd":"echo odd"}';
    const auth = `Authorization: Bearer ${d.secret}\r\n`;
    const many = Array.from({ length: 1000 }, (_, i) => `X-${i}: ${'v'.repeat(40)}\r\n`).join('');
    const chunked =
        `5;ext=1;q="a;b"\r\n${body.slice(0, 5)}\r\n${(body.length - 5).toString(16)}\r\n${body.slice(5)}\r\n` +
        '0\r\nTrailer: yes\r\n\r\n';
    for (const bytes of [
        `POST /run HTTP/1.1\r\n${h}${auth}${many}Content-Length: ${body.length}\r\n\r\n${body}`,
        `POST /run HTTP/1.1\r\n${h}${auth}Content-Length: ${body.length}\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
        `POST /run HTTP/1.1\r\n${h}${auth}Transfer-Encoding: chunked\r\n\r\n${chunked}`,
        `POST /run HTTP/1.1\r\n${h}${auth}transfer-encoding: Chunked\r\n\r\n${chunked}`,
        `POST /run HTTP/1.2\r\n${h}${auth}Content-Length: ${body.length}\r\n\r\n${body}`,
        `POST /run HTTP/1.1\r\nhost:x\r\nauthorization:Bearer ${d.secret}  \r\ncontent-length:${body.length}\r\n\r\n${body}`,
    ]) {
        const { raw, answer } = await exchange(bytes);
        assert.equal(answer.status, 200, bytes.slice(0, 200));
        assert.equal(JSON.parse(answer.body).stdout, 'odd\n');
        raw.close();
    }
});

test('a request that arrives byte by byte is understood', async () => {
    const raw = await RawSocket.connect(d.port, { noDelay: true });
    for (const byte of rawRequest('POST', '/run', d.secret, { cmd: 'echo bytes' })) {
        raw.write(byte);
        await new Promise(setImmediate);
    }
    assert.equal(JSON.parse((await raw.response()).body).stdout, 'bytes\n');
    raw.close();
});

test('a chunked body of one byte a chunk', async () => {
    const body = '{"cmd":"echo chunks"}';
    const chunks = [...body].map((c) => `1\r\n${c}\r\n`).join('') + '0\r\n\r\n';
    const head = `POST /run HTTP/1.1\r\n${h}Authorization: Bearer ${d.secret}\r\nTransfer-Encoding: chunked\r\n\r\n`;
    const { raw, answer } = await exchange(head + chunks);
    assert.equal(JSON.parse(answer.body).stdout, 'chunks\n');
    raw.close();
});

test('pipelined requests are answered in order, and are no disconnect', async () => {
    const raw = await RawSocket.connect(d.port);
    raw.write(
        rawRequest('POST', '/run', d.secret, { cmd: 'sleep 0.3; echo first' }) +
            rawRequest('GET', '/health') +
            rawRequest('POST', '/nope', d.secret, '0123456789') +
            rawRequest('POST', '/run', d.secret, { cmd: 'echo fourth' }) +
            rawRequest('GET', '/list_processes', 'wrong'),
    );
    assert.equal(JSON.parse((await raw.response()).body).stdout, 'first\n');
    assert.deepEqual(JSON.parse((await raw.response()).body), { status: 'ok' });
    assert.equal((await raw.response()).status, 404);
    assert.equal(JSON.parse((await raw.response()).body).stdout, 'fourth\n');
    assert.equal((await raw.response()).status, 401);
    raw.close();
});

test('a thousand pipelined requests in one write', async () => {
    const raw = await RawSocket.connect(d.port);
    raw.write(rawRequest('GET', '/health').repeat(1000));
    for (let i = 0; i < 1000; ++i) assert.equal((await raw.response()).status, 200);
    raw.close();
});

test('keep-alive and its ends', async () => {
    const raw = await RawSocket.connect(d.port);
    for (let i = 0; i < 100; ++i) {
        raw.write(rawRequest('GET', '/health'));
        assert.equal((await raw.response()).status, 200);
    }
    raw.write(rawRequest('GET', '/health', undefined, undefined, { Connection: 'close' }));
    assert.equal((await raw.response()).headers.connection, 'close');
    await raw.closed();
    raw.close();

    const old = await exchange('GET /health HTTP/1.0\r\n\r\n');
    assert.equal(old.answer.status, 200);
    await old.raw.closed();
    old.raw.close();

    const kept = await exchange('GET /health HTTP/1.0\r\nConnection: keep-alive\r\n\r\n');
    assert.equal(kept.answer.headers.connection?.toLowerCase(), 'keep-alive');
    kept.raw.write('GET /health HTTP/1.0\r\n\r\n');
    assert.equal((await kept.raw.response()).status, 200);
    await kept.raw.closed();
    kept.raw.close();
});

test('Expect: 100-continue', async () => {
    const body = '{"cmd":"echo continued"}';
    const head = (secret) =>
        `POST /run HTTP/1.1\r\n${h}Authorization: Bearer ${secret}\r\nContent-Length: ${body.length}\r\n` +
        'Expect: 100-continue\r\n\r\n';
    const { raw, answer } = await exchange(head(d.secret));
    assert.equal(answer.status, 100);
    raw.write(body);
    assert.equal(JSON.parse((await raw.response()).body).stdout, 'continued\n');
    raw.close();

    const denied = await exchange(head('wrong'));
    assert.equal(denied.answer.status, 401, 'without a 100 before it');
    assert.equal(denied.answer.headers.connection, 'close');
    await denied.raw.closed();
    denied.raw.close();

    const odd = await exchange(`POST /run HTTP/1.1\r\n${h}Expect: miracles\r\nContent-Length: 2\r\n\r\n{}`);
    assert.equal(odd.answer.status, 417);
    odd.raw.close();

    const { code, stdout } = await curl(
        ['-H', `Authorization: Bearer ${d.secret}`, '-H', 'Expect: 100-continue', '--data-binary', '@-', `${d.url}/run`],
        JSON.stringify({ cmd: 'wc -c', stdin: 'x'.repeat(2_000_000) }),
    );
    assert.equal(code, 0);
    assert.equal(JSON.parse(stdout).stdout.trim(), '2000000');
});

test('connections that are dropped at every byte of a request leave no descriptor behind', { skip: hiddenDescriptors }, async () => {
    const bytes = rawRequest('POST', '/run', d.secret, { cmd: 'true' });
    await d.get('/health');
    await delay(50);
    const before = openDescriptors(d.pid);
    const lengths = Array.from({ length: bytes.length }, (_, i) => i);
    for (let at = 0; at < lengths.length; at += 20) {
        await Promise.all(
            lengths.slice(at, at + 20).map(async (length) => {
                const raw = await RawSocket.connect(d.port);
                raw.write(bytes.slice(0, length));
                await new Promise(setImmediate);
                if (length % 2) raw.reset();
                else raw.close();
            }),
        );
    }
    await eventually(() => openDescriptors(d.pid) <= before + 2, 'the descriptors of dropped connections');
    assert.equal((await d.get('/health')).status, 200);
});

test('slow headers are cut, slow bodies of healthy pace are not', async () => {
    await withDaemon({ env: { [settings.headerTime]: '1' } }, async (limited) => {
        const trickle = await RawSocket.connect(limited.port);
        const began = Date.now();
        const timer = setInterval(() => !trickle.ended && trickle.write('GET /health HTTP/1.1\r\nX: '.at(0)), 100);
        await trickle.closed();
        clearInterval(timer);
        assert.ok(Date.now() - began < 8000);
        trickle.close();

        const half = await RawSocket.connect(limited.port);
        half.write('GET /health HTTP/1.1\r\nHost: x\r\nX-Slow: ');
        const text = (await half.rest()).toString();
        if (text) assert.match(text, /^HTTP\/1.1 408 /);
        half.close();

        const slowBody = await RawSocket.connect(limited.port);
        const bytes = rawRequest('POST', '/run', limited.secret, { cmd: 'echo patient' });
        slowBody.write(bytes.slice(0, -10));
        await delay(1500);
        slowBody.write(bytes.slice(-10));
        assert.equal(JSON.parse((await slowBody.response()).body).stdout, 'patient\n');
        slowBody.close();
    });
});

test('limits on headers, bodies and idle time are configurable', async () => {
    const env = { [settings.headerLimit]: '2048', [settings.bodyLimit]: '1000', [settings.idleTime]: '1' };
    await withDaemon({ env }, async (limited) => {
        const ask = async (bytes) => {
            const raw = await RawSocket.connect(limited.port);
            raw.write(bytes);
            const answer = await raw.response();
            raw.close();
            return answer;
        };
        assert.equal((await ask(`GET /health HTTP/1.1\r\n${h}X: ${'a'.repeat(1500)}\r\n\r\n`)).status, 200);
        assert.equal((await ask(`GET /health HTTP/1.1\r\n${h}X: ${'a'.repeat(3000)}\r\n\r\n`)).status, 431);
        const small = rawRequest('POST', '/run', limited.secret, { cmd: 'echo ok' });
        assert.equal((await ask(small)).status, 200);
        const large = JSON.stringify({ cmd: 'echo ok', stdin: 'x'.repeat(2000) });
        const told = await ask(rawRequest('POST', '/run', limited.secret, large));
        assert.equal(told.status, 413);
        assert.ok(JSON.parse(told.body).error);
        const auth = `Authorization: Bearer ${limited.secret}\r\n`;
        const chunks = `${large.length.toString(16)}\r\n${large}\r\n0\r\n\r\n`;
        const counted = await ask(`POST /run HTTP/1.1\r\n${h}${auth}Transfer-Encoding: chunked\r\n\r\n${chunks}`);
        assert.equal(counted.status, 413);

        const idle = await RawSocket.connect(limited.port);
        idle.write(rawRequest('GET', '/health'));
        assert.equal((await idle.response()).status, 200);
        await idle.closed();
        idle.close();
    });
});

test('over the connection limit new ones are turned away, and the rest goes on', async () => {
    await withDaemon({ env: { [settings.connections]: '10' } }, async (limited) => {
        const held = [];
        for (let i = 0; i < 10; ++i) {
            const raw = await RawSocket.connect(limited.port);
            raw.write(rawRequest('GET', '/health'));
            assert.equal((await raw.response()).status, 200);
            held.push(raw);
        }
        const extra = await RawSocket.connect(limited.port);
        extra.write(rawRequest('GET', '/health'));
        const state = await Promise.race([
            extra.response().then((a) => a.status, () => 'closed'),
            delay(500).then(() => 'waits'),
        ]);
        assert.ok(state === 503 || state === 'closed' || state === 'waits', `the eleventh got ${state}`);
        held[0].write(rawRequest('GET', '/health'));
        assert.equal((await held[0].response()).status, 200);
        for (const raw of held) raw.close();
        extra.close();
        await eventually(async () => {
            const raw = await RawSocket.connect(limited.port);
            raw.write(rawRequest('GET', '/health'));
            const status = await raw.response().then((a) => a.status, () => 0);
            raw.close();
            return status === 200;
        }, 'a connection below the limit');
    });
});

finish(d);
