// Requests as the Python SDK makes them (it is not installed here): its headers, its multipart form, the watchers that
// its synchronous half polls, and those of its first versions.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import http from 'node:http';
import { describe, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { finish } from '../blackbox/support/daemon.mjs';
import { output, stream, unary } from './support/connect.mjs';
import { useEnvd } from './support/envd.mjs';

const { d } = useEnvd();
const common = { 'user-agent': 'e2b-python-sdk/2.45.1', accept: '*/*', 'accept-encoding': 'gzip, deflate' };
const rpc = { ...common, 'connect-protocol-version': '1', 'connect-timeout-ms': '60000', 'accept-encoding': 'identity' };
const files = (method, message, headers = rpc) => unary(d.envdUrl, `filesystem.Filesystem/${method}`, message, headers);
const ok = async (method, message, headers) => {
    const answer = await files(method, message, headers);
    assert.equal(answer.status, 200, answer.text);
    return answer.json;
};

// A stored body with its length, which fetch cannot be told to send.
function post(query, headers, body) {
    return new Promise((resolve, reject) => {
        const request = http.request(`${d.envdUrl}/files${query}`, {
            method: 'POST',
            headers: { ...common, ...headers, 'content-length': Buffer.byteLength(body) },
        });
        request.on('error', reject);
        request.on('response', async (response) => {
            let text = '';
            for await (const chunk of response) text += chunk;
            resolve({ status: response.statusCode, json: JSON.parse(text) });
        });
        request.end(body);
    });
}

function form(parts) {
    const boundary = 'a9c2f3d8e17b4065';
    const bytes = parts.map(({ path, type, data }) =>
        `--${boundary}\r\nContent-Disposition: form-data; name="file"; filename="${path}"\r\nContent-Type: ${type}\r\n\r\n${data}\r\n`);
    return [{ 'content-type': `multipart/form-data; boundary=${boundary}` }, `${bytes.join('')}--${boundary}--\r\n`];
}
const write = async (path, data) => {
    const answer = await post(`?path=${encodeURIComponent(path)}`, ...form([{ path, type: 'text/plain', data }]));
    assert.deepEqual(answer, { status: 200, json: [{ name: path.split('/').at(-1), path, type: 'file' }] });
};

describe('watchers that are polled', () => {
    const events = async (watcherId) =>
        (await ok('GetWatcherEvents', { watcherId })).events.map((e) => `${e.type.replace('EVENT_TYPE_', '')} ${e.name}`);
    const create = async (path, more = {}) =>
        (await ok('CreateWatcher', { path, ...more }, { ...rpc, 'keepalive-ping-interval': '50' })).watcherId;

    test('what was done before the question is in the answer, in order', async () => {
        const dir = d.file('polled');
        await ok('MakeDir', { path: dir });
        const id = await create(dir);
        await write(`${dir}/f`, 'first');
        assert.deepEqual(await events(id), ['CREATE f', 'CHMOD f', 'WRITE f']);
        await write(`${dir}/f`, 'second');
        assert.ok((await events(id)).includes('WRITE f'));
        assert.deepEqual(await events(id), []);
        await ok('Move', { source: `${dir}/f`, destination: `${dir}/g` });
        assert.deepEqual(await events(id), ['RENAME f', 'CREATE g']);
        await ok('Remove', { path: `${dir}/g` });
        assert.deepEqual(await events(id), ['REMOVE g']);
        await ok('RemoveWatcher', { watcherId: id });
    });
    test('recursive: a directory that is there, and one that is made later', async () => {
        const dir = d.file('recursive');
        await ok('MakeDir', { path: `${dir}/nested` });
        const id = await create(dir, { recursive: true });
        await write(`${dir}/nested/f`, 'x');
        assert.deepEqual(await events(id), ['CREATE nested/f', 'CHMOD nested/f', 'WRITE nested/f']);
        await ok('MakeDir', { path: `${dir}/later` });
        await write(`${dir}/later/f`, 'x');
        const told = await events(id);
        assert.ok(told.includes('CREATE later') && told.includes('WRITE later/f'), String(told));
        await ok('RemoveWatcher', { watcherId: id });
    });
    test('a watcher that is gone, and a directory that never was', async () => {
        const id = await create(d.work);
        await ok('RemoveWatcher', { watcher_id: id });
        for (const method of ['GetWatcherEvents', 'RemoveWatcher']) {
            const gone = await files(method, { watcherId: id });
            assert.deepEqual([gone.status, gone.json], [404, { code: 'not_found', message: `watcher with id ${id} not found` }]);
        }
        const missing = await files('CreateWatcher', { path: d.file('never') });
        assert.deepEqual([missing.status, missing.json.code], [404, 'not_found']);
        assert.match(missing.json.message, new RegExp(`^path ${d.file('never')} not found: `));
    });
    test('two watchers of one directory, which end one after the other', async () => {
        const dir = d.file('shared');
        await ok('MakeDir', { path: dir });
        const [one, two] = [await create(dir), await create(dir, { recursive: true })];
        await write(`${dir}/f`, '');
        assert.ok((await events(one)).includes('CREATE f'));
        await ok('RemoveWatcher', { watcherId: one });
        await write(`${dir}/g`, '');
        const told = await events(two);
        assert.ok(told.includes('CREATE f') && told.includes('CREATE g'), String(told));
        await ok('RemoveWatcher', { watcherId: two });
    });
});

describe('files', () => {
    test('several in one form, without a path', async () => {
        const parts = ['one', 'two'].map((name) => ({ path: d.file(`form/${name}.json`), type: 'application/json', data: `"${name}"` }));
        const answer = await post('', ...form(parts));
        assert.deepEqual(answer.json.map((f) => f.path), parts.map((p) => p.path));
        assert.equal(fs.readFileSync(d.file('form/two.json'), 'utf8'), '"two"');
    });
    test('raw, also compressed', async () => {
        const type = { 'content-type': 'application/octet-stream' };
        await post(`?path=${d.file('raw')}`, type, 'plain');
        assert.equal(fs.readFileSync(d.file('raw'), 'utf8'), 'plain');
        await post(`?path=${d.file('raw')}`, { ...type, 'content-encoding': 'gzip' }, gzipSync('compressed'));
        assert.equal(fs.readFileSync(d.file('raw'), 'utf8'), 'compressed');
    });
    test('read, with what httpx says of its encodings', async () => {
        fs.writeFileSync(d.file('read'), 'content');
        const answer = await fetch(`${d.envdUrl}/files?path=${d.file('read')}`, { headers: common });
        assert.equal(await answer.text(), 'content');
    });
    test('listing with a depth of its own default', async () => {
        await ok('MakeDir', { path: d.file('list/a/b') });
        const names = async (message) =>
            (await ok('ListDir', { path: d.file('list'), ...message })).entries.map((e) => e.path.slice(d.file('list').length + 1));
        for (const message of [{}, { depth: 0 }, { depth: null }, { depth: 1 }]) assert.deepEqual(await names(message), ['a']);
        assert.deepEqual(await names({ depth: 2 }), ['a', 'a/b']);
    });
});

test('a command, with the timeouts that it sends', async () => {
    const { status, events } = await stream(
        d.envdUrl, 'process.Process/Start',
        { process: { cmd: '/bin/bash', args: ['-l', '-c', 'echo hi'], envs: {} }, stdin: false },
        { ...rpc, 'content-type': 'application/connect+json', 'keepalive-ping-interval': '50' });
    assert.equal(status, 200);
    assert.equal(output(events).toString(), 'hi\n');
    assert.deepEqual(events.at(-1), { flags: 2, json: {} });
});

test('the first versions get no more of an entry than they know', async () => {
    const headers = { 'user-agent': 'connect-python' };
    const brief = (name) => ({ name, type: 'FILE_TYPE_DIRECTORY', path: d.file(`old/${name}`) });
    assert.deepEqual(await ok('MakeDir', { path: d.file('old/a') }, headers), { entry: brief('a') });
    assert.deepEqual(await ok('Move', { source: d.file('old/a'), destination: d.file('old/b') }, headers), { entry: brief('b') });
    assert.deepEqual(await ok('Stat', { path: d.file('old/b') }, headers), { entry: brief('b') });
    assert.deepEqual(await ok('ListDir', { path: d.file('old') }, headers), { entries: [brief('b')] });
    const answer = await fetch(`${d.envdUrl}/filesystem.Filesystem/Stat`, {
        method: 'POST', headers: { ...headers, 'content-type': 'application/json' }, body: JSON.stringify({ path: d.work }) });
    assert.equal(answer.headers.get('x-e2b-legacy-sdk'), 'true');
    assert.ok((await ok('Stat', { path: d.file('old/b') })).entry.permissions);
});

finish(d);
