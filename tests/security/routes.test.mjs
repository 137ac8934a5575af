// Every route of both ports, without the secret and with wrong ones: 401, and nothing has happened.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import http from 'node:http';
import { test } from 'node:test';
import { finish, useDaemon } from '../blackbox/support/daemon.mjs';

const d = useDaemon({ env: { ENVD_PORT: '0' }, secret: 'Right-Secret-0123456789' });
const here = (path) => new URL(path, import.meta.url);
const paths = JSON.parse(fs.readFileSync(here('../../docs/openapi.json'), 'utf8')).paths;
const koyeb = Object.entries(paths).flatMap(([path, methods]) => Object.keys(methods).map((m) => [m.toUpperCase(), path]));

const calls = [
    'process.Process/Start', 'process.Process/Connect', 'process.Process/StreamInput', 'process.Process/List',
    'process.Process/SendInput', 'process.Process/CloseStdin', 'process.Process/SendSignal', 'process.Process/Update',
    'filesystem.Filesystem/WatchDir', 'filesystem.Filesystem/Stat', 'filesystem.Filesystem/MakeDir',
    'filesystem.Filesystem/Move', 'filesystem.Filesystem/ListDir', 'filesystem.Filesystem/Remove',
    'filesystem.Filesystem/CreateWatcher', 'filesystem.Filesystem/GetWatcherEvents', 'filesystem.Filesystem/RemoveWatcher',
].map((name) => ['POST', `/${name}`]);
const shared = [...calls, ['GET', '/files'], ['POST', '/files'], ['POST', '/files/compose'], ['GET', '/envs'], ['POST', '/init']];
const envd = [...shared, ['GET', '/metrics'], ['GET', '/health']];
const open = { main: ['/health', '/openapi.json'], envd: ['/health'] };

// A body that would do something on any route that believed it.
const harmful = (name) =>
    JSON.stringify({
        cmd: `touch ${d.file(name)}`, path: d.file(name), content: 'x', id: 'x', port: '1', source: d.work,
        destination: d.file(name), process: { cmd: '/bin/touch', args: [d.file(name)] }, accessToken: 'mine',
    });

// node's fetch forbids some headers, so by hand. Two things count: the status, and that an answer came.
function ask(port, method, path, headers, body) {
    return new Promise((resolve, reject) => {
        const request = http.request({ host: '127.0.0.1', port, method, path, headers, agent: false }, (response) => {
            let text = '';
            response.setEncoding('utf8').on('data', (piece) => (text += piece));
            response.on('end', () => resolve({ status: response.statusCode, headers: response.headers, text }));
        });
        request.on('error', reject);
        request.end(body);
    });
}

function wrongCredentials() {
    const s = d.secret;
    const basic = (user, password) => `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;
    return [
        {},
        { authorization: 'Bearer' },
        { authorization: 'Bearer ' },
        { authorization: 'Bearer wrong' },
        { authorization: `Bearer ${s}x` },
        { authorization: `Bearer ${s.slice(0, -1)}` },
        { authorization: `Bearer ${s.slice(1)}` },
        { authorization: `Bearer x${s}` },
        { authorization: `Bearer ${s.toLowerCase()}` },
        { authorization: `Bearer ${s},${s}` },
        { authorization: `Bearer "${s}"` },
        { authorization: s },
        { authorization: basic(s, ''), 'x-access-token': 'wrong' },
        { authorization: basic('root', s) },
        { 'x-access-token': `${s}x` },
        { 'x-access-token': '' },
        { cookie: `secret=${s}; authorization=Bearer ${s}` },
        { 'proxy-authorization': `Bearer ${s}` },
        { 'x-authorization': `Bearer ${s}` },
    ];
}

async function walk(port, routes, isOpen, prefixes) {
    let asked = 0;
    for (const [method, path] of routes) {
        const methods = method === 'GET' ? ['GET', 'HEAD'] : [method];
        for (const target of prefixes.map((prefix) => prefix + path)) {
            for (const headers of wrongCredentials()) {
                for (const how of methods) {
                    const body = how === 'POST' ? harmful('touched') : undefined;
                    const { status } = await ask(port, how, `${target}?path=${d.file('touched')}`, headers, body);
                    const told = `${how} ${target} ${JSON.stringify(headers)}: ${status}`;
                    if (isOpen.includes(path)) assert.ok(status === 200 || status === 204, told);
                    else assert.equal(status, 401, told);
                    asked += 1;
                }
            }
        }
    }
    assert.ok(!fs.existsSync(d.file('touched')), 'something was done');
    return asked;
}

test('the lists are those of the program', () => {
    const listed = (file) => [...fs.readFileSync(here(file), 'utf8').matchAll(/\{"(\/[^"]+)"/g)].map((m) => m[1]);
    assert.deepEqual(new Set(listed('../../server/e2b/routes.cpp')), new Set(envd.map(([, path]) => path)));
    assert.deepEqual(new Set(listed('../../server/koyeb/routes.cpp')), new Set(Object.keys(paths)));
});

test('the main port', async (t) => {
    const own = await walk(d.port, koyeb, open.main, ['', '/koyeb-sandbox']);
    const also = await walk(d.port, shared, [], ['']);
    t.diagnostic(`${own + also} requests refused, or open by contract`);
});

test('the envd port', async (t) => {
    const port = d.envdPort;
    // A bearer token is no token here, not even the right one.
    for (const [, path] of calls) {
        assert.equal((await ask(port, 'POST', path, { authorization: `Bearer ${d.secret}` }, '{}')).status, 401, path);
    }
    t.diagnostic(`${await walk(port, envd, open.envd, [''])} requests refused, or open by contract`);
    for (const [method, path] of koyeb.filter(([, p]) => !envd.some(([, e]) => e === p))) {
        const { status } = await ask(port, method, path, { authorization: `Bearer ${d.secret}`, 'x-access-token': d.secret }, '{}');
        assert.equal(status, 404, `${path} is not here`);
    }
});

test('a secret in the target or the body is none', async () => {
    const s = d.secret;
    for (const query of [`secret=${s}`, `token=${s}`, `access_token=${s}`, `authorization=Bearer%20${s}`, `signature=${s}`]) {
        for (const path of ['/list_processes', '/metrics', '/envs', '/files']) {
            assert.equal((await ask(d.port, 'GET', `${path}?${query}`, {})).status, 401, `${path}?${query}`);
        }
    }
    const body = JSON.stringify({ cmd: `touch ${d.file('touched')}`, secret: s, token: s, authorization: `Bearer ${s}` });
    assert.equal((await ask(d.port, 'POST', '/run', {}, body)).status, 401);
    assert.ok(!fs.existsSync(d.file('touched')));
});

test('a refused body is not read: the answer does not wait for it', async () => {
    const headers = { 'content-length': 1_000_000_000, authorization: 'Bearer wrong' };
    const status = await new Promise((resolve, reject) => {
        const request = http.request({ host: '127.0.0.1', port: d.port, method: 'POST', path: '/write_file', headers });
        request.on('response', (response) => resolve(response.statusCode) || request.destroy());
        request.on('error', reject);
        request.write('{"path":');
    });
    assert.equal(status, 401);
});

finish(d);
