// The file routes: what they do, and the error texts by which the SDKs tell one error from another.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import { describe, test } from 'node:test';
import { delay, finish, isRoot, slow, useDaemon } from './support/daemon.mjs';
import { curl } from './support/http.mjs';

const d = useDaemon();
const at = (name) => d.file(name);
const call = async (route, body) => {
    const answer = await d.post(route, body);
    assert.equal(answer.status, 200, `${route}: ${answer.text}`);
    return answer.json;
};
const write = (path, content, more) => call('/write_file', { path, content, ...more });
const read = (path, more) => call('/read_file', { path, ...more });
const fails = async (route, body, error) =>
    assert.deepEqual(await call(route, body), route === '/read_file' || route === '/list_dir' ? { error } : { error, success: false });
const ok = async (route, body) => assert.deepEqual(await call(route, body), { success: true });

describe('write and read', () => {
    test('text as it is, whatever its characters', async () => {
        for (const content of ['', 'a', 'line\n', 'ä€😀\u2028\0\x01\x7f\ufeff', '\r\n\t"\\/', '\ufffd']) {
            await ok('/write_file', { path: at('text'), content });
            assert.equal(fs.readFileSync(at('text'), 'utf8'), content);
            assert.deepEqual(await read(at('text')), { content, encoding: 'utf-8' });
        }
        assert.deepEqual(await write(at('none'), undefined), { success: true });
        assert.equal(fs.readFileSync(at('none'), 'utf8'), '');
        await ok('/write_file', { path: at('none'), content: null });
        await ok('/write_file', { path: 'relative-name', content: 'r' });
        assert.equal(fs.readFileSync(at('relative-name'), 'utf8'), 'r');
        const twice = `{"path":"${at('text')}","content":"${'no'.repeat(300_000)}","content":"yes","content":"last"}`;
        assert.deepEqual((await d.post('/write_file', twice)).json, { success: true });
        assert.equal(fs.readFileSync(at('text'), 'utf8'), 'last', 'of two the last counts');
        const unset = `{"path":"${at('text')}","content":"no","content":null}`;
        assert.deepEqual((await d.post('/write_file', unset)).json, { success: true });
        assert.equal(fs.readFileSync(at('text'), 'utf8'), '');
        const wrong = await d.post('/write_file', `{"path":"${at('text')}","content":"no","content":1}`);
        assert.equal(wrong.json.detail, 'content must be a string');
        const surrogate = await d.post('/write_file', `{"path":"${at('surrogate')}","content":"\\ud83d\\ude00\\ud800x"}`);
        assert.equal(surrogate.status, 200);
        assert.equal(fs.readFileSync(at('surrogate'), 'utf8'), '😀\ufffdx');
    });
    test('large content both ways, for node and curl', async () => {
        const content = 'ä line of text\n'.repeat(slow ? 50_000 : 1_500_000);
        assert.deepEqual(await write(at('large'), content), { success: true });
        assert.ok(fs.readFileSync(at('large'), 'utf8') === content);
        assert.ok((await read(at('large'))).content === content);
        const auth = ['-H', `Authorization: Bearer ${d.secret}`];
        const body = JSON.stringify({ path: at('curl'), content });
        const { stdout } = await curl([...auth, '--data-binary', '@-', `${d.url}/write_file`], body);
        assert.deepEqual(JSON.parse(stdout), { success: true });
        const back = await curl([...auth, '-d', JSON.stringify({ path: at('curl') }), `${d.url}/read_file`]);
        assert.ok(JSON.parse(back.stdout).content === content);
    });
    test('invalid UTF-8 is replaced byte by byte, base64 is exact', async () => {
        const bytes = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
        fs.writeFileSync(at('bytes'), bytes);
        const text = (await read(at('bytes'))).content;
        assert.equal(text.length, 256);
        assert.equal(text.slice(128), '\ufffd'.repeat(128));
        const exact = await read(at('bytes'), { encoding: 'base64' });
        assert.deepEqual(Buffer.from(exact.content, 'base64'), bytes);
        assert.equal(exact.encoding, 'base64');
        await ok('/write_file', { path: at('copy-of-bytes'), content: exact.content, encoding: 'base64' });
        assert.deepEqual(fs.readFileSync(at('copy-of-bytes')), bytes);
        const bad = await d.post('/write_file', { path: at('bad64'), content: 'a%b', encoding: 'base64' });
        assert.ok(bad.status === 400 || bad.json.error);
        assert.ok(!fs.existsSync(at('bad64')));
        assert.equal((await d.post('/read_file', { path: at('bytes'), encoding: 'x' })).status, 400);
    });
    test('offset and length', async () => {
        fs.writeFileSync(at('digits'), '0123456789');
        assert.equal((await read(at('digits'), { offset: 3 })).content, '3456789');
        assert.equal((await read(at('digits'), { offset: 3, length: 4 })).content, '3456');
        assert.equal((await read(at('digits'), { length: 2 })).content, '01');
        for (const offset of [100, '9223372036854775807', '9223372036854775000']) {
            const { text } = await d.post('/read_file', `{"path":"${at('digits')}","offset":${offset}}`);
            assert.equal(text, '{"content":"","encoding":"utf-8"}\n', `offset ${offset}`);
        }
        assert.equal((await read(at('digits'), { length: 0 })).content, '');
        assert.equal((await d.post('/read_file', { path: at('digits'), offset: -1 })).status, 400);
    });
    test('append, mode, create_parents', async () => {
        await ok('/write_file', { path: at('log'), content: 'a', append: true });
        await ok('/write_file', { path: at('log'), content: 'b', append: true });
        assert.equal(fs.readFileSync(at('log'), 'utf8'), 'ab');
        for (const [mode, expected] of [['0640', 0o640], ['755', 0o755]]) {
            await ok('/write_file', { path: at(`mode-${mode}`), content: 'x', mode });
            assert.equal(fs.statSync(at(`mode-${mode}`)).mode & 0o7777, expected);
        }
        await fails('/write_file', { path: at('p/q/file'), content: 'x' }, `open ${at('p/q/file')}: no such file or directory`);
        await ok('/write_file', { path: at('p/q/file'), content: 'x', create_parents: true });
        assert.equal(fs.readFileSync(at('p/q/file'), 'utf8'), 'x');
    });
    test('files of /proc', async () => {
        assert.match((await read('/proc/self/status')).content, /^Name:/);
    });
    test('a FIFO, a socket or a device is an error at once, and blocks nobody', async () => {
        execFileSync('mkfifo', [at('fifo')]);
        for (const path of [at('fifo'), '/dev/zero', '/dev/tty']) {
            const answer = await Promise.race([read(path), delay(5000)]);
            assert.ok(answer?.error?.includes(path), path);
        }
        assert.equal((await read('/dev/zero', { length: 5 })).content, '\0'.repeat(5));
        assert.equal((await read('/dev/null', { length: 5 })).content, '');
    });
    test('the errors', async () => {
        fs.mkdirSync(at('dir'));
        fs.writeFileSync(at('plain'), 'x');
        fs.symlinkSync('loop', at('loop'));
        for (const [route, extra] of [['/write_file', { content: 'x' }], ['/read_file', {}]]) {
            const bad = (path, text) => fails(route, { path, ...extra }, `open ${path}: ${text}`);
            await bad(at('no/such'), 'no such file or directory');
            await bad('', 'no such file or directory');
            await bad(`${at('plain')}/x`, 'not a directory');
            await bad(at('n'.repeat(300)), 'file name too long');
            await bad(at('loop'), 'too many levels of symbolic links');
            await bad('a\0b', 'invalid argument');
        }
        await fails('/write_file', { path: at('dir'), content: 'x' }, `open ${at('dir')}: is a directory`);
        await fails('/write_file', { path: at('dir/'), content: 'x' }, `open ${at('dir/')}: is a directory`);
        await fails('/write_file', { path: at('new/'), content: 'x' }, `open ${at('new/')}: is a directory`);
        await fails('/read_file', { path: at('dir') }, `read ${at('dir')}: is a directory`);
        await fails('/write_file', { path: '/dev/full', content: 'x' }, 'write /dev/full: no space left on device');
    });
});

describe('writing keeps what is there', () => {
    test('mode and owner', async () => {
        fs.writeFileSync(at('owned'), 'old');
        fs.chmodSync(at('owned'), 0o741);
        if (isRoot) fs.chownSync(at('owned'), 1234, 4321);
        await ok('/write_file', { path: at('owned'), content: 'new' });
        const after = fs.statSync(at('owned'));
        assert.equal(after.mode & 0o7777, 0o741);
        if (isRoot) assert.deepEqual([after.uid, after.gid], [1234, 4321]);
        assert.equal(fs.readFileSync(at('owned'), 'utf8'), 'new');
    });
    test('a new file obeys the umask', async () => {
        await ok('/write_file', { path: at('fresh'), content: 'x' });
        assert.equal(fs.statSync(at('fresh')).mode & 0o7777, 0o644 & ~process.umask());
    });
    test('a link and its target', async () => {
        fs.mkdirSync(at('elsewhere'));
        fs.writeFileSync(at('elsewhere/target'), 'old');
        fs.symlinkSync('elsewhere/target', at('pointer'));
        await ok('/write_file', { path: at('pointer'), content: 'through' });
        assert.ok(fs.lstatSync(at('pointer')).isSymbolicLink());
        assert.equal(fs.readFileSync(at('elsewhere/target'), 'utf8'), 'through');
        fs.symlinkSync('elsewhere/born', at('dangling'));
        await ok('/write_file', { path: at('dangling'), content: 'born' });
        assert.equal(fs.readFileSync(at('elsewhere/born'), 'utf8'), 'born');
    });
    test('hard links stay one file', async () => {
        fs.writeFileSync(at('hard-a'), 'old content that is longer');
        fs.linkSync(at('hard-a'), at('hard-b'));
        await ok('/write_file', { path: at('hard-a'), content: 'new' });
        assert.equal(fs.readFileSync(at('hard-b'), 'utf8'), 'new');
    });
    test('a reader sees the old or the new, never half; nothing is left beside it', async () => {
        fs.mkdirSync(at('atomic'));
        const [a, b] = ['a'.repeat(400_000), 'b'.repeat(300_000)];
        await write(at('atomic/f'), a);
        let stop = false;
        const writer = (async () => {
            for (let i = 0; !stop; ++i) await write(at('atomic/f'), i % 2 ? a : b);
        })();
        for (let i = 0; i < (slow ? 30 : 200); ++i) {
            const seen = fs.readFileSync(at('atomic/f'), 'latin1');
            assert.ok(seen === a || seen === b, `${seen.length} bytes`);
            await new Promise(setImmediate);
        }
        stop = true;
        await writer;
        assert.deepEqual(fs.readdirSync(at('atomic')), ['f']);
    });
    test('an upload that is cut off leaves the old file', async () => {
        const { RawSocket, rawRequest } = await import('./support/raw.mjs');
        fs.mkdirSync(at('cut'));
        fs.writeFileSync(at('cut/f'), 'old');
        const bytes = rawRequest('POST', '/write_file', d.secret, { path: at('cut/f'), content: 'n'.repeat(3_000_000) });
        const raw = await RawSocket.connect(d.port);
        raw.write(bytes.slice(0, bytes.length / 2));
        await delay(100);
        raw.reset();
        await delay(100);
        assert.equal(fs.readFileSync(at('cut/f'), 'utf8'), 'old');
        assert.deepEqual(fs.readdirSync(at('cut')), ['f']);
    });
});

describe('directories', () => {
    test('make_dir makes parents and does not mind what is there', async () => {
        await ok('/make_dir', { path: at('m/a/b') });
        assert.ok(fs.statSync(at('m/a/b')).isDirectory());
        await ok('/make_dir', { path: at('m/a/b'), recursive: true });
        await ok('/make_dir', { path: `${at('m/c')}/` });
        fs.symlinkSync('m', at('m-link'));
        await ok('/make_dir', { path: at('m-link') });
        assert.equal(fs.statSync(at('m/c')).mode & 0o7777, 0o755 & ~process.umask());
        fs.writeFileSync(at('m/file'), '');
        await fails('/make_dir', { path: at('m/file') }, `mkdir ${at('m/file')}: not a directory`);
        await fails('/make_dir', { path: at('m/file/x/y') }, `mkdir ${at('m/file')}: not a directory`);
        fs.symlinkSync('nowhere', at('m/dangling'));
        await fails('/make_dir', { path: at('m/dangling') }, `mkdir ${at('m/dangling')}: file exists`);
        await fails('/make_dir', { path: '' }, 'mkdir : no such file or directory');
        const many = await Promise.all(Array.from({ length: 20 }, () => call('/make_dir', { path: at('m/r/a/c/e') })));
        assert.ok(many.every((a) => a.success));
    });
    test('list_dir gives names, sorted by bytes', async () => {
        fs.mkdirSync(at('list'));
        assert.deepEqual(await call('/list_dir', { path: at('list') }), { entries: [] });
        for (const name of ['b', 'a', '.hidden', 'Z', 'é', 'a b', '10', '9', '"q"']) fs.writeFileSync(at(`list/${name}`), '');
        fs.writeFileSync(Buffer.concat([Buffer.from(at('list/')), Buffer.from([0x78, 0xff])]), '');
        assert.deepEqual((await call('/list_dir', { path: at('list') })).entries, [
            '"q"', '.hidden', '10', '9', 'Z', 'a', 'a b', 'b', 'x\ufffd', 'é',
        ]);
        fs.symlinkSync('list', at('list-link'));
        assert.equal((await call('/list_dir', { path: at('list-link') })).entries.length, 10);
        await fails('/list_dir', { path: at('no-list') }, `open ${at('no-list')}: no such file or directory`);
        await fails('/list_dir', { path: at('list/a') }, `open ${at('list/a')}: not a directory`);
        await fails('/list_dir', { path: '' }, 'open : no such file or directory');
    });
    test('delete_file takes files and links, never a directory', async () => {
        fs.writeFileSync(at('victim'), '');
        fs.symlinkSync('victim', at('victim-link'));
        await ok('/delete_file', { path: at('victim-link') });
        assert.ok(fs.existsSync(at('victim')));
        await ok('/delete_file', { path: at('victim') });
        await fails('/delete_file', { path: at('victim') }, `remove ${at('victim')}: no such file or directory`);
        fs.mkdirSync(at('not-me'));
        await fails('/delete_file', { path: at('not-me') }, `remove ${at('not-me')}: is a directory`);
        await fails('/delete_file', { path: at('not-me/') }, `remove ${at('not-me/')}: is a directory`);
        fs.writeFileSync(at('under'), '');
        await fails('/delete_file', { path: at('under/x') }, `remove ${at('under/x')}: not a directory`);
        assert.ok(fs.existsSync(at('not-me')));
    });
    test('delete_dir takes the whole directory, not what a link in it points to', async () => {
        fs.mkdirSync(at('tree/a/b/c'), { recursive: true });
        fs.mkdirSync(at('outside'));
        fs.writeFileSync(at('outside/kept'), '');
        fs.writeFileSync(at('tree/a/f'), '');
        fs.symlinkSync(at('outside'), at('tree/a/out'));
        await ok('/delete_dir', { path: at('tree') });
        assert.ok(!fs.existsSync(at('tree')));
        assert.ok(fs.existsSync(at('outside/kept')));
        await ok('/delete_dir', { path: at('tree') });
        fs.writeFileSync(at('flat'), '');
        const flat = await call('/delete_dir', { path: at('flat') });
        assert.match(flat.error, /not a directory/);
        assert.ok(fs.existsSync(at('flat')));
        for (const body of [{}, { path: '' }, { path: null }]) assert.equal((await d.post('/delete_dir', body)).status, 400);
        for (const path of ['/', '//', '/.', '/../']) {
            const root = await d.post('/delete_dir', { path });
            assert.ok(root.json.error, path);
            assert.ok(root.json.success !== true, path);
        }
        const dot = await call('/delete_dir', { path: `${at('outside')}/.` });
        assert.match(dot.error, /invalid argument/);
        assert.ok(fs.existsSync(at('outside/kept')));
    });
    test('a deep tree and a wide one', async () => {
        execFileSync('sh', ['-c', `mkdir -p ${at('wide')} && cd ${at('wide')} && seq 1 5000 | xargs touch`]);
        let deep = at('deep');
        for (let i = 0; i < 300; ++i) deep += '/d';
        fs.mkdirSync(deep, { recursive: true });
        assert.equal((await call('/list_dir', { path: at('wide') })).entries.length, 5000);
        await ok('/delete_dir', { path: at('wide') });
        await ok('/delete_dir', { path: at('deep') });
        assert.ok(!fs.existsSync(at('deep')) && !fs.existsSync(at('wide')));
    });
});

describe('stat, move, copy', () => {
    test('stat', async () => {
        fs.writeFileSync(at('s'), '12345');
        fs.chmodSync(at('s'), 0o640);
        fs.symlinkSync('s', at('s-link'));
        const file = await call('/stat', { path: at('s') });
        assert.deepEqual([file.type, file.size, file.mode, file.uid], ['file', 5, '0640', process.getuid()]);
        assert.ok(Math.abs(Date.parse(file.modified_at) - fs.statSync(at('s')).mtimeMs) < 1000);
        assert.equal((await call('/stat', { path: d.work })).type, 'directory');
        const link = await call('/stat', { path: at('s-link') });
        assert.deepEqual([link.type, link.target, link.target_type], ['symlink', 's', 'file']);
        assert.match((await call('/stat', { path: at('nothing') })).error, /no such file or directory/);
    });
    test('move', async () => {
        fs.writeFileSync(at('from'), 'moved');
        await ok('/move', { source: at('from'), destination: at('to') });
        assert.equal(fs.readFileSync(at('to'), 'utf8'), 'moved');
        assert.ok(!fs.existsSync(at('from')));
        assert.match((await call('/move', { source: at('from'), destination: at('x') })).error, /no such file or directory/);
        fs.writeFileSync(at('other'), 'other');
        const kept = await call('/move', { source: at('other'), destination: at('to'), overwrite: false });
        assert.match(kept.error, /exists/);
        assert.equal(fs.readFileSync(at('to'), 'utf8'), 'moved');
        await ok('/move', { source: at('other'), destination: at('to') });
        assert.equal(fs.readFileSync(at('to'), 'utf8'), 'other');
        fs.mkdirSync(at('move-dir/sub'), { recursive: true });
        await ok('/move', { source: at('move-dir'), destination: at('far/away/dir'), create_parents: true });
        assert.ok(fs.statSync(at('far/away/dir/sub')).isDirectory());
    });
    test('copy', async () => {
        fs.writeFileSync(at('origin'), 'copied');
        fs.chmodSync(at('origin'), 0o751);
        await ok('/copy', { source: at('origin'), destination: at('duplicate') });
        assert.equal(fs.readFileSync(at('duplicate'), 'utf8'), 'copied');
        assert.equal(fs.statSync(at('duplicate')).mode & 0o7777, 0o751);
        assert.equal(fs.readFileSync(at('origin'), 'utf8'), 'copied');
        fs.mkdirSync(at('copy-dir/sub'), { recursive: true });
        fs.writeFileSync(at('copy-dir/sub/f'), 'deep');
        fs.symlinkSync('sub/f', at('copy-dir/link'));
        await ok('/copy', { source: at('copy-dir'), destination: at('copy-of-dir') });
        assert.equal(fs.readFileSync(at('copy-of-dir/sub/f'), 'utf8'), 'deep');
        assert.equal(fs.readlinkSync(at('copy-of-dir/link')), 'sub/f');
        assert.equal((await d.post('/copy', { source: at('origin') })).status, 400);
        assert.match((await call('/copy', { source: at('nothing'), destination: at('x') })).error, /no such file or directory/);
    });
});

test('requests that are refused', async () => {
    for (const route of ['/write_file', '/read_file', '/delete_file', '/delete_dir', '/make_dir', '/list_dir', '/stat', '/move', '/copy']) {
        for (const body of ['', '[]', '{"path":["x"]}', '{"path":5}', '{"path":"x"} y', '{"path":"x"', '{"source":1,"destination":2}']) {
            const answer = await d.post(route, body);
            if (body.includes('"source"') && !['/move', '/copy'].includes(route)) continue;
            if (body.includes('"path":[') && ['/move', '/copy'].includes(route)) continue;
            if (body === '{"path":5}' && ['/move', '/copy'].includes(route)) continue;
            assert.equal(answer.status, 400, `${route} ${body}`);
            assert.equal(answer.json.error, 'Invalid request', `${route} ${body}`);
        }
    }
    assert.equal((await d.post('/write_file', { path: at('x'), content: 5 })).json.error, 'Invalid request');
});

test('without permission', { skip: !isRoot && 'needs root' }, async () => {
    // Root may do everything, except where the mount forbids it.
    const text = (await d.post('/write_file', { path: '/proc/version', content: 'x' })).json.error;
    assert.match(text, /^(open|write) \/proc\/version: /);
    assert.match((await d.post('/make_dir', { path: '/proc/nope' })).json.error, /^mkdir \/proc\/nope: /);
});

finish(d);
