// What a web page may do: CORS, and the listener without a token, which takes no page from elsewhere.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { finish } from '../blackbox/support/daemon.mjs';
import { RawSocket } from '../blackbox/support/raw.mjs';
import { startEnvd, useEnvd } from './support/envd.mjs';

const token = 'page-token';
const { d } = useEnvd({ ENVD_ACCESS_TOKEN: token });

// As a browser would send it: fetch() keeps Origin and Host to itself.
async function ask(port, method, path, headers = {}, body = '') {
    const raw = await RawSocket.connect(port);
    const lines = Object.entries({ Host: `localhost:${port}`, ...headers }).map(([name, value]) => `${name}: ${value}\r\n`);
    raw.write(`${method} ${path} HTTP/1.1\r\n${lines.join('')}Connection: close\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
    const text = (await raw.rest()).toString('latin1');
    raw.close();
    const [head, content] = text.split('\r\n\r\n');
    const got = Object.fromEntries(head.split('\r\n').slice(1).map((line) => line.split(': ')).map(([n, v]) => [n.toLowerCase(), v]));
    return { status: Number(head.split(' ')[1]), headers: got, content };
}
const origin = { Origin: 'https://example.org' };

test('a preflight is answered without a token, whatever the path', async () => {
    for (const path of ['/process.Process/Start', '/files?path=x', '/health', '/nowhere']) {
        const answer = await ask(d.envdPort, 'OPTIONS', path, {
            ...origin,
            'Access-Control-Request-Method': 'POST',
            'Access-Control-Request-Headers': 'content-type,x-access-token,authorization',
        });
        assert.equal(answer.status, 204, path);
        assert.equal(answer.headers['access-control-allow-origin'], '*');
        assert.match(answer.headers['access-control-allow-methods'], /GET.*POST/);
        assert.equal(answer.headers['access-control-allow-headers'], 'content-type,x-access-token,authorization');
        assert.equal(answer.headers['access-control-max-age'], '7200');
    }
});

test('every answer may be read by the page, errors too', async () => {
    for (const [method, path, headers, status] of [
        ['GET', '/envs', { 'X-Access-Token': token }, 200],
        ['GET', '/envs', {}, 401],
        ['GET', '/nowhere', {}, 404],
        ['GET', '/process.Process/List', { 'X-Access-Token': token }, 405],
        ['GET', '/health', {}, 204],
    ]) {
        const answer = await ask(d.envdPort, method, path, { ...origin, ...headers });
        assert.equal(answer.status, status, path);
        assert.equal(answer.headers['access-control-allow-origin'], '*', path);
        assert.equal(answer.headers['access-control-expose-headers'], '*', path);
    }
});

test('the main port grants nothing to pages', async () => {
    const answer = await ask(d.port, 'GET', '/health', origin);
    assert.equal(answer.headers['access-control-allow-origin'], undefined);
    assert.equal((await ask(d.port, 'OPTIONS', '/run', origin)).status, 401);
});

test('without a token, pages of elsewhere and names that were bent to here are refused', async () => {
    const open = await startEnvd({ ENVD_INSECURE: '1' });
    const status = async (method, path, headers, body) => (await ask(open.envdPort, method, path, headers, body)).status;
    for (const headers of [origin, { Origin: 'null' }, { Host: 'example.org' }, { Host: `rebound.example.org:${open.envdPort}` }]) {
        assert.equal(await status('GET', '/envs', headers), 403);
        // What a page may send without asking first.
        assert.equal(await status('POST', '/init', { ...headers, 'Content-Type': 'text/plain' }, '{"accessToken":"mine"}'), 403);
        assert.equal(await status('POST', '/files', { ...headers, 'Content-Type': 'multipart/form-data; boundary=b' }, '--b--'), 403);
        assert.equal(await status('POST', '/process.Process/List', { ...headers, 'Content-Type': 'application/json' }, '{}'), 403);
        assert.equal(await status('GET', '/health', headers), 204);
    }
    const answer = await ask(open.envdPort, 'GET', '/envs', origin);
    assert.match(JSON.parse(answer.content).message, /without an access token/);
    for (const headers of [{ Origin: 'http://localhost:3000' }, { Host: '127.0.0.1' }, { Host: '[::1]:49983' }, {}]) {
        assert.equal(await status('GET', '/envs', headers), 200);
    }
    await open.stop();
    await open.assertClean();
});

finish(d);
