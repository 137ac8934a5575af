// Files that are none behind every file route of both dialects: a named pipe, a socket, a device without an end, and a
// file system that never answers. Each call has one right answer; nobody waits for ever, and others do not wait at all.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import { describe, test } from 'node:test';
import { delay, slow, withDaemon } from '../blackbox/support/daemon.mjs';
import { request } from '../blackbox/support/http.mjs';
import { besideHung, whyNotHung } from '../blackbox/support/hung_file_system.mjs';

// POST of every file route but WatchDir's stream; with a path below it too. `at` is the file, `to` another one.
const koyeb = {
    '/read_file': (at) => ({ path: at }),
    '/write_file': (at) => ({ path: `${at}/below`, content: 'x' }),
    '/stat': (at) => ({ path: at }),
    '/list_dir': (at) => ({ path: at }),
    '/make_dir': (at) => ({ path: at }),
    '/copy': (at, to) => ({ source: at, destination: to }),
    '/move': (at, to) => ({ source: `${at}/below`, destination: to }),
    '/delete_file': (at) => ({ path: `${at}/below` }),
    '/delete_dir': (at) => ({ path: at }),
};
const envd = {
    '/filesystem.Filesystem/Stat': (at) => ({ path: at }),
    '/filesystem.Filesystem/ListDir': (at) => ({ path: at }),
    '/filesystem.Filesystem/MakeDir': (at) => ({ path: at }),
    '/filesystem.Filesystem/Move': (at, to) => ({ source: `${at}/below`, destination: to }),
    '/filesystem.Filesystem/Remove': (at) => ({ path: `${at}/below` }),
    '/filesystem.Filesystem/CreateWatcher': (at) => ({ path: at }),
    '/files/compose': (at, to) => ({ source_paths: [at], destination: to }),
};

function callers(daemon, signal) {
    const envdUrl = `http://127.0.0.1:${daemon.logged('"Starting envd API"', 'port')}`;
    const ask = async (method, target, body, more) => {
        const headers = { 'x-access-token': daemon.secret, ...more };
        const { status, json } = await request(envdUrl, method, target, body, { headers, signal, heed: true });
        return { status, json };
    };
    return {
        koyeb: async (route, fields) => (await daemon.post(route, fields, { signal, heed: true })).json,
        envd: (route, fields) => ask('POST', route, fields),
        download: (at) => ask('GET', `/files?path=${at}`),
        upload: (at) => ask('POST', `/files?path=${at}`, 'x', { 'Content-Type': 'application/octet-stream' }),
    };
}

const kinds = {
    fifo: { name: 'a named pipe', type: 'fifo', letter: 'p', unread: 'is a named pipe, which is only read with a length' },
    socket: { name: 'a socket', type: 'socket', letter: 'S', unread: 'is a socket' },
    zero: { name: 'a device', type: 'char_device', letter: 'Dc', unread: 'is a device, which is only read with a length' },
};

for (const [kind, { name, type, letter, unread }] of Object.entries(kinds)) {
    test(`${name} behind every file route: an answer at once, and nothing has changed`, async () => {
        await withDaemon({ env: { ENVD_PORT: '0' } }, async (daemon) => {
            const at = kind === 'zero' ? '/dev/zero' : daemon.file(kind);
            const to = daemon.file('to');
            const server = net.createServer();
            if (kind === 'fifo') execFileSync('mkfifo', [at]);
            if (kind === 'socket') await new Promise((resolve) => server.listen(at, resolve));
            const call = callers(daemon, AbortSignal.timeout(60_000));
            const notDirectory = (word, below = '') => ({ error: `${word} ${at}${below}: not a directory`, success: false });
            const wanted = {
                '/read_file': { error: `open ${at}: ${unread}` },
                '/write_file': notDirectory('open', '/below'),
                '/list_dir': { error: `open ${at}: not a directory` },
                '/make_dir': notDirectory('mkdir'),
                '/copy': { error: `copy ${at}: is ${name}`, success: false },
                '/move': { error: `rename ${at}/below ${to}: not a directory`, success: false },
                '/delete_file': notDirectory('remove', '/below'),
                '/delete_dir': notDirectory('unlinkat'),
            };
            for (const [route, fields] of Object.entries(koyeb)) {
                const json = await call.koyeb(route, fields(at, to));
                if (route === '/stat') assert.equal(json.type, type);
                else assert.deepEqual(json, wanted[route], route);
            }
            const codes = {
                ListDir: [400, `path is not a directory: ${at}`],
                MakeDir: [400, `path already exists but it is not a directory: ${at}`],
                CreateWatcher: [400, `path ${at} not a directory`],
                compose: [400, `open ${at}: ${unread}`],
            };
            for (const [route, fields] of Object.entries(envd)) {
                const { status, json } = await call.envd(route, fields(at, to));
                const method = route.split('/').at(-1);
                if (method === 'Stat') assert.ok(json.entry.permissions.startsWith(letter), json.entry.permissions);
                else if (method === 'Remove') assert.deepEqual([status, json], [200, {}], 'what is not there is gone');
                else if (codes[method]) assert.deepEqual([status, json.message], codes[method]);
                else assert.ok(status >= 400 && json.message.includes(at), `${route}: ${status} ${JSON.stringify(json)}`);
            }
            assert.deepEqual(await call.download(at), { status: 500, json: { message: `open ${at}: ${unread}`, code: 500 } });
            const below = await call.upload(`${at}/below`);
            assert.ok(below.status >= 400 && below.json.message.includes(at), JSON.stringify(below));
            if (kind === 'zero') assert.equal((await call.upload(at)).status, 200, 'it takes everything');
            assert.ok(!fs.existsSync(to));
            const there = fs.lstatSync(at);
            assert.ok({ fifo: there.isFIFO(), socket: there.isSocket(), zero: there.isCharacterDevice() }[kind]);
            server.close();
        });
    });
}

describe('a file system that never answers', () => {
    test('behind every file route of both dialects: others are served meanwhile', { skip: whyNotHung() }, async () => {
        await withDaemon({ wrapper: besideHung, inner: true, env: { ENVD_PORT: '0' } }, async (daemon) => {
            const abort = new AbortController();
            const stuck = callers(daemon, abort.signal);
            const lost = [];
            const wait = (what, answer) => lost.push(answer.then((a) => `${what} answered ${JSON.stringify(a)}`, () => 'cut'));
            const at = `${daemon.work}/hung/x`;
            // More than the daemon has threads for files, of each.
            for (let i = 0; i < 20; ++i) {
                for (const [route, fields] of Object.entries(koyeb)) wait(route, stuck.koyeb(route, fields(at, daemon.file('to'))));
                for (const [route, fields] of Object.entries(envd)) wait(route, stuck.envd(route, fields(at, daemon.file('to'))));
                wait('GET /files', stuck.download(at));
                wait('POST /files', stuck.upload(at));
            }
            await delay(200);
            const others = callers(daemon, AbortSignal.timeout(60_000 * (slow ? 4 : 1)));
            const file = daemon.file('elsewhere');
            for (let i = 0; i < 10; ++i) {
                assert.deepEqual(await others.koyeb('/write_file', { path: file, content: `${i}` }), { success: true });
                assert.equal((await others.koyeb('/read_file', { path: file })).content, `${i}`);
                assert.equal((await others.envd('/filesystem.Filesystem/Stat', { path: file })).json.entry.size, '1');
                assert.equal((await others.upload(file)).status, 200);
                assert.equal((await daemon.run('echo beside')).stdout, 'beside\n');
                assert.equal((await daemon.get('/health')).status, 200);
            }
            abort.abort();
            assert.deepEqual([...new Set(await Promise.all(lost))], ['cut'], 'the file system was hung');
        });
    });
});
