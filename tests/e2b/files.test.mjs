// Files in every form by the SDK, and what it cannot ask for by fetch.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import http from 'node:http';
import { describe, test } from 'node:test';
import { alone, eventually, finish, memoryKb, slow } from '../blackbox/support/daemon.mjs';
import { sha256 } from '../blackbox/support/http.mjs';
import { sdk, useEnvd } from './support/envd.mjs';

const { d, sandbox } = useEnvd();
const at = (name) => d.file(name);
const binary = Buffer.from(Array.from({ length: 70_000 }, (_, i) => (i * 7919) % 256));

describe('write and read', () => {
    const forms = {
        string: () => binary.toString('latin1'),
        'array buffer': () => binary.buffer.slice(binary.byteOffset, binary.byteOffset + binary.length),
        blob: () => new Blob([binary]),
        stream: () => new Blob([binary]).stream(),
    };
    for (const [name, make] of Object.entries(forms)) {
        for (const options of [{}, { useOctetStream: true }, { gzip: true }]) {
            test(`${name} ${JSON.stringify(options)}`, async () => {
                const file = at(`form/${name} ${Object.keys(options)[0] ?? 'plain'}`);
                const info = await sandbox.files.write(file, make(), options);
                assert.deepEqual([info.name, info.path, info.type], [file.slice(file.lastIndexOf('/') + 1), file, 'file']);
                const expected = name === 'string' ? Buffer.from(binary.toString('latin1')) : binary;
                assert.equal(sha256(fs.readFileSync(file)), sha256(expected));
                assert.equal(sha256(await sandbox.files.read(file, { format: 'bytes' })), sha256(expected));
            });
        }
    }
    test('names that want escapes', async () => {
        for (const name of ['a b', 'ü', "it's", 'a+b', 'a%20b', 'a;b', 'a&b=c', 'semi"colon']) {
            await sandbox.files.write(at(`names/${name}`), name);
            assert.equal(fs.readFileSync(at(`names/${name}`), 'utf8'), name);
            assert.equal(await sandbox.files.read(at(`names/${name}`)), name);
        }
    });
    test('several files in one request', async () => {
        await sandbox.files.write([
            { path: at('many/one'), data: '1' },
            { path: at('many/deeper/two'), data: new Blob(['2']) },
        ]);
        assert.equal(fs.readFileSync(at('many/one'), 'utf8') + fs.readFileSync(at('many/deeper/two'), 'utf8'), '12');
        const twice = [{ path: at('many/x'), data: '1' }, { path: at('many/x'), data: '2' }];
        await assert.rejects(sandbox.files.write(twice), sdk.InvalidArgumentError);
    });
    test('empty, text, blob and stream', async () => {
        await sandbox.files.write(at('empty'), '');
        assert.equal(await sandbox.files.read(at('empty')), '');
        await sandbox.files.write(at('text'), 'grüße');
        assert.equal(await sandbox.files.read(at('text')), 'grüße');
        assert.equal(await (await sandbox.files.read(at('text'), { format: 'blob' })).text(), 'grüße');
        const stream = await sandbox.files.read(at('text'), { format: 'stream' });
        assert.equal(await new Response(stream).text(), 'grüße');
    });
    test('a file of /proc, which has no size', async () => {
        assert.match(await sandbox.files.read('/proc/version'), /^Linux version/);
    });
    test('mode and identity of a file that was there are kept; a link stays one', async () => {
        fs.writeFileSync(at('kept'), 'old', { mode: 0o750 });
        fs.symlinkSync('kept', at('link'));
        await sandbox.files.write(at('link'), 'new');
        assert.ok(fs.lstatSync(at('link')).isSymbolicLink());
        assert.equal(fs.readFileSync(at('kept'), 'utf8'), 'new');
        assert.equal(fs.statSync(at('kept')).mode & 0o777, 0o750);
        await sandbox.files.write(at('fresh'), 'x');
        assert.equal(fs.statSync(at('fresh')).mode & 0o777, 0o644);
    });
    test('metadata is set, read and replaced', async () => {
        const info = await sandbox.files.write(at('meta'), 'x', { metadata: { author: 'me', KEY: 'v' } });
        if (info.metadata === undefined) return; // a file system without extended attributes
        assert.deepEqual(info.metadata, { author: 'me', key: 'v' });
        assert.deepEqual((await sandbox.files.getInfo(at('meta'))).metadata, { author: 'me', key: 'v' });
        await sandbox.files.write(at('meta'), 'y');
        assert.equal((await sandbox.files.getInfo(at('meta'))).metadata, undefined);
    });
    test('errors by class', async () => {
        await assert.rejects(sandbox.files.read(at('missing')), sdk.FileNotFoundError);
        await assert.rejects(sandbox.files.read(d.work), sdk.InvalidArgumentError);
        await assert.rejects(sandbox.files.write(d.work, 'x'), sdk.InvalidArgumentError);
        await assert.rejects(sandbox.files.write(at('text/below'), 'x'), sdk.SandboxError);
        await assert.rejects(sandbox.files.read('~somebody/x'), sdk.InvalidArgumentError);
    });
    test('constant memory both ways', { skip: slow }, async () => {
        const size = 300 * 1024 * 1024;
        const piece = Buffer.alloc(1024 * 1024, 'x');
        let left = size / piece.length;
        const source = new ReadableStream({
            pull(controller) {
                if (left-- > 0) controller.enqueue(piece);
                else controller.close();
            },
        });
        await sandbox.files.write(at('large'), source);
        assert.equal(fs.statSync(at('large')).size, size);
        let got = 0;
        const stream = await sandbox.files.read(at('large'), { format: 'stream' });
        for await (const chunk of stream) got += chunk.length;
        assert.equal(got, size);
        if (alone) assert.ok(memoryKb(d.pid, 'VmHWM') < 64 * 1024, `VmHWM ${memoryKb(d.pid, 'VmHWM')} kB`);
        fs.rmSync(at('large'));
    });
});

describe('directories', () => {
    test('make, list, rename, remove', async () => {
        assert.equal(await sandbox.files.makeDir(at('tree/a/b')), true);
        assert.equal(await sandbox.files.makeDir(at('tree/a/b')), false);
        await sandbox.files.write(at('tree/a/f'), 'four');
        fs.symlinkSync('a/f', at('tree/l'));
        fs.symlinkSync('nowhere', at('tree/broken'));
        const names = async (depth) => (await sandbox.files.list(at('tree'), { depth })).map((e) => e.path.slice(at('tree/').length));
        assert.deepEqual(await names(1), ['a', 'l']);
        assert.deepEqual(await names(5), ['a', 'a/b', 'a/f', 'l']);
        const info = await sandbox.files.getInfo(at('tree/l'));
        assert.deepEqual([info.type, info.symlinkTarget, info.permissions], ['file', fs.realpathSync(at('tree/a/f')), 'Lrwxrwxrwx']);
        const file = await sandbox.files.getInfo(at('tree/a/f'));
        assert.deepEqual([file.size, file.mode, file.permissions], [4, 0o644, '-rw-r--r--']);
        assert.equal(file.modifiedTime.getTime(), Math.floor(fs.statSync(at('tree/a/f')).mtimeMs));
        await sandbox.files.rename(at('tree/a/f'), at('tree/new/g'));
        assert.equal(await sandbox.files.exists(at('tree/a/f')), false);
        assert.equal(await sandbox.files.exists(at('tree/new/g')), true);
        await sandbox.files.remove(at('tree'));
        await sandbox.files.remove(at('tree'));
        assert.ok(!fs.existsSync(at('tree')));
    });
    test('errors by class', async () => {
        fs.writeFileSync(at('plain'), '');
        await assert.rejects(sandbox.files.list(at('missing')), sdk.FileNotFoundError);
        await assert.rejects(sandbox.files.list(at('plain')), sdk.InvalidArgumentError);
        await assert.rejects(sandbox.files.getInfo(at('missing')), sdk.FileNotFoundError);
        await assert.rejects(sandbox.files.rename(at('missing'), at('x')), sdk.FileNotFoundError);
        await assert.rejects(sandbox.files.makeDir(at('plain')), sdk.InvalidArgumentError);
    });
});

describe('plain HTTP', () => {
    const get = (name, headers) =>
        fetch(`${d.envdUrl}/files?path=${encodeURIComponent(at(name))}`, { headers });
    test('ranges and conditions', async () => {
        fs.writeFileSync(at('range.txt'), '0123456789');
        const whole = await get('range.txt');
        assert.deepEqual(
            ['content-type', 'content-disposition', 'accept-ranges', 'vary'].map((h) => whole.headers.get(h)),
            ['text/plain; charset=utf-8', 'inline; filename=range.txt', 'bytes', 'Accept-Encoding'],
        );
        for (const [range, status, text, told] of [
            ['bytes=2-4', 206, '234', 'bytes 2-4/10'],
            ['bytes=7-', 206, '789', 'bytes 7-9/10'],
            ['bytes=-3', 206, '789', 'bytes 7-9/10'],
            ['bytes=5-100', 206, '56789', 'bytes 5-9/10'],
            ['bytes=10-', 416, '', 'bytes */10'],
            ['bytes=4-2', 200, '0123456789', null],
            ['lines=1-2', 200, '0123456789', null],
        ]) {
            const answer = await get('range.txt', { range });
            assert.deepEqual([answer.status, await answer.text(), answer.headers.get('content-range')], [status, text, told], range);
        }
        const etag = whole.headers.get('etag');
        const modified = whole.headers.get('last-modified');
        assert.equal((await get('range.txt', { 'if-none-match': etag })).status, 304);
        assert.equal((await get('range.txt', { 'if-modified-since': modified })).status, 304);
        assert.equal((await get('range.txt', { 'if-match': '"other"' })).status, 412);
        assert.equal((await get('range.txt', { 'if-range': '"other"', range: 'bytes=0-1' })).status, 200);
        assert.equal((await get('range.txt', { 'if-range': etag, range: 'bytes=0-1' })).status, 206);
        assert.equal((await get('range.txt', { 'accept-encoding': 'identity;q=0, *;q=0' })).status, 406);
    });
    test('uploads that are refused', async () => {
        const post = (headers, body, query = '') => fetch(`${d.envdUrl}/files${query}`, { method: 'POST', headers, body });
        const cases = [
            [{ 'content-type': 'text/plain' }, 'x', '', /unsupported content type: text\/plain/],
            [{ 'content-type': 'application/octet-stream' }, 'x', '', /path is required/],
            [{ 'content-type': 'application/octet-stream', 'content-encoding': 'br' }, 'x', '?path=/x', /Content-Encoding/],
            [{ 'content-type': 'application/octet-stream', 'content-encoding': 'gzip' }, 'no gzip', '?path=/x', /gzip/],
            [{ 'content-type': 'multipart/form-data' }, 'x', '', /boundary/],
            [{ 'content-type': 'multipart/form-data; boundary=b' }, '--b\r\n', '', /multipart/],
            [{ 'content-type': 'application/octet-stream', 'x-metadata-a': 'x'.repeat(5000) }, 'x', '?path=/x', /metadata/],
        ];
        for (const [headers, body, query, wanted] of cases) {
            const answer = await post(headers, body, query);
            const json = await answer.json();
            assert.equal(answer.status, 400);
            assert.equal(json.code, 400);
            assert.match(json.message, wanted);
        }
        const unknown = await post({ 'content-type': 'application/octet-stream' }, 'x', '?path=x&username=nobody-of-that-name');
        assert.deepEqual([unknown.status, (await unknown.json()).message],
            [401, "error looking up user 'nobody-of-that-name': user: unknown user nobody-of-that-name"]);
    });
    test('an upload that breaks off changes nothing', async () => {
        fs.writeFileSync(at('whole'), 'old');
        const request = http.request(`${d.envdUrl}/files?path=${encodeURIComponent(at('whole'))}`, {
            method: 'POST', headers: { 'content-type': 'application/octet-stream', 'content-length': 1000 } });
        request.on('error', () => {});
        await new Promise((resolve) => request.write('half', resolve));
        request.destroy();
        await sandbox.files.exists(at('whole'));
        assert.equal(fs.readFileSync(at('whole'), 'utf8'), 'old');
    });
    test('who reads while others upload sees the one content or the other', async () => {
        const contents = ['a', 'b'].map((letter) => letter.repeat(400_000));
        await sandbox.files.write(at('swapped'), contents[0]);
        const reader = await sandbox.commands.run(
            `until [ -e stop ]; do tr -s ab < swapped; echo; done`, { background: true, cwd: d.work, timeoutMs: 0 });
        await eventually(() => reader.stdout.length > 0, 'the first look');
        for (let i = 1; i <= 40; ++i) await sandbox.files.write(at('swapped'), contents[i % 2]);
        await sandbox.files.write(at('stop'), '');
        const { stdout } = await reader.wait();
        assert.deepEqual([...new Set(stdout.trim().split('\n'))].sort(), ['a', 'b']);
    });
    test('compose', async () => {
        fs.writeFileSync(at('p1'), 'one ');
        fs.writeFileSync(at('p2'), 'two');
        const body = JSON.stringify({ source_paths: [at('p1'), at('p2')], destination: at('composed/all') });
        const answer = await fetch(`${d.envdUrl}/files/compose`, { method: 'POST', body });
        assert.deepEqual(await answer.json(), { name: 'all', path: at('composed/all'), type: 'file' });
        assert.equal(fs.readFileSync(at('composed/all'), 'utf8'), 'one two');
        assert.ok(!fs.existsSync(at('p1')) && !fs.existsSync(at('p2')));
        const missing = JSON.stringify({ source_paths: [at('p1')], destination: at('x') });
        assert.equal((await fetch(`${d.envdUrl}/files/compose`, { method: 'POST', body: missing })).status, 404);
    });
    test('compose onto its first source, by another name of it', async () => {
        fs.symlinkSync('.', at('here'));
        const plain = at('p1');
        for (const other of [`${d.work}//p1`, `${d.work}/./p1`, `${d.work}/here/p1`]) {
            for (const [source, destination] of [[plain, other], [other, plain]]) {
                fs.writeFileSync(plain, 'one ');
                fs.writeFileSync(at('p2'), 'two');
                const body = JSON.stringify({ source_paths: [source, at('p2')], destination });
                const answer = await fetch(`${d.envdUrl}/files/compose`, { method: 'POST', body });
                assert.equal(answer.status, 200);
                assert.ok(fs.existsSync(plain), `${source} onto ${destination}`);
                assert.equal(fs.readFileSync(plain, 'utf8'), 'one two');
                assert.ok(!fs.existsSync(at('p2')));
            }
        }
    });
    test('compose onto a link that is a source, too', async () => {
        fs.writeFileSync(at('composed-file'), 'one ');
        fs.symlinkSync('composed-file', at('composed-link'));
        fs.writeFileSync(at('p3'), 'two');
        const body = JSON.stringify({ source_paths: [at('composed-link'), at('p3')], destination: at('composed-link') });
        assert.equal((await fetch(`${d.envdUrl}/files/compose`, { method: 'POST', body })).status, 200);
        assert.equal(fs.readFileSync(at('composed-link'), 'utf8'), 'one two');
        assert.equal(fs.readFileSync(at('composed-file'), 'utf8'), 'one two');
    });
});

finish(d);
