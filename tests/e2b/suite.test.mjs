// What the SDK's users, and its own tests, expect of a sandbox, area by area. With the oldest version that is served too:
// see CMakeLists.txt.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import http from 'node:http';
import { describe, test } from 'node:test';
import { delay, eventually, finish, isAlive, slow } from '../blackbox/support/daemon.mjs';
import { sdk, startEnvd, tokenSandbox, useEnvd } from './support/envd.mjs';

const { d, sandbox } = useEnvd();
const at = (name) => d.file(name);
const { commands, files, pty, git } = new Proxy({}, {
    get: (_, area) => new Proxy({}, { get: (__, name) => (...args) => sandbox[area][name](...args) }),
});

describe('sandbox', () => {
    test('is there, and knows its hosts and URLs', async () => {
        assert.equal(await sandbox.isRunning(), true);
        assert.equal(sandbox.getHost(3000), 'localhost:3000');
        await files.write(at('url file'), 'by URL');
        const url = await sandbox.downloadUrl(at('url file'));
        assert.ok(url.startsWith(d.envdUrl));
        assert.equal(await (await fetch(url)).text(), 'by URL');
        const form = new FormData();
        form.append('file', new Blob(['uploaded']), 'ignored');
        assert.equal((await fetch(await sandbox.uploadUrl(at('up')), { method: 'POST', body: form })).status, 200);
        assert.equal(fs.readFileSync(at('up'), 'utf8'), 'uploaded');
    });
    test('without a name in the URL, a form says where its files go', async () => {
        const form = new FormData();
        for (const name of ['one', 'two']) form.append('file', new Blob([name]), at(`byform/${name}`));
        assert.equal((await fetch(await sandbox.uploadUrl(), { method: 'POST', body: form })).status, 200);
        assert.equal(fs.readFileSync(at('byform/two'), 'utf8'), 'two');
    });
    test('a server that it starts is reached at its host', async () => {
        const server = await commands.run(
            `node -e 'require("http").createServer((q, a) => a.end("served")).listen(0, "127.0.0.1", function () { console.log(this.address().port) })'`,
            { background: true, envs: { PATH: process.env.PATH } });
        await eventually(() => server.stdout.includes('\n'), 'its port');
        const answer = await fetch(`http://${sandbox.getHost(Number(server.stdout))}`.replace('localhost', '127.0.0.1'));
        assert.equal(await answer.text(), 'served');
        await server.kill();
    });
    test('an URL with a slash at its end', async () => {
        const other = new sdk.Sandbox({ sandboxId: 'x', sandboxUrl: `${d.envdUrl}/`, envdVersion: '0.6.13', debug: true, apiKey: 'e2b_00' });
        assert.equal((await other.commands.run('echo in')).stdout, 'in\n');
        await other.files.write(at('slash'), 'x');
        assert.equal(await other.files.read(at('slash')), 'x');
    });
});

describe('commands', () => {
    test('text of every kind comes back', async () => {
        for (const text of ['Hello, World!', '!@#$%^&*()_+', 'Hello,\nWorld!', 'ünïcödé 漢字 🚀', "it's", '']) {
            const { stdout, exitCode } = await commands.run(`echo '${text.replaceAll("'", `'\\''`)}'`);
            assert.deepEqual([stdout, exitCode], [`${text}\n`, 0]);
        }
        assert.equal((await commands.run(`printf '\\xe2\\x82'`)).stdout, '\ufffd');
        assert.equal((await commands.run(`printf '\\xe2'; sleep 0.05; printf '\\x82\\xac'`)).stdout, '€');
    });
    test('callbacks see both streams', async () => {
        const seen = { out: '', err: '' };
        await commands.run('echo out; echo err >&2', { onStdout: (s) => (seen.out += s), onStderr: (s) => (seen.err += s) });
        assert.deepEqual(seen, { out: 'out\n', err: 'err\n' });
    });
    test('variables are those of one command alone', async () => {
        assert.equal((await commands.run('echo $FOO', { envs: { FOO: 'bar' } })).stdout, 'bar\n');
        assert.equal((await commands.run('echo "[$FOO]"')).stdout, '[]\n');
    });
    test('timeouts: long enough, too short, none', async () => {
        assert.equal((await commands.run('echo ok', { timeoutMs: 10_000 })).stdout, 'ok\n');
        await assert.rejects(commands.run('sleep 100', { timeoutMs: 200 }), sdk.TimeoutError);
        const inBackground = commands.run('sleep 100', { background: true, timeoutMs: 200 }).then((handle) => handle.wait());
        await assert.rejects(inBackground, sdk.TimeoutError);
        const endless = await commands.run('sleep 100', { background: true, timeoutMs: 0 });
        assert.ok(isAlive(endless.pid));
        await endless.kill();
    });
    test('an error of a command in the background', async () => {
        const handle = await commands.run('echo before; exit 7', { background: true });
        await assert.rejects(handle.wait(), (error) => error instanceof sdk.CommandExitError && error.exitCode === 7 && error.stdout === 'before\n');
        assert.equal(handle.exitCode, 7);
    });
    test('list, connect and kill', async () => {
        const started = await Promise.all([1, 2].map(() => commands.run('exec sleep 100', { background: true })));
        const pids = (await commands.list()).map((p) => p.pid);
        assert.ok(started.every((h) => pids.includes(h.pid)));
        const connected = await commands.connect(started[0].pid);
        assert.equal(connected.pid, started[0].pid);
        for (const { pid } of started) {
            assert.equal(await commands.kill(pid), true);
            await assert.rejects(commands.run(`kill -0 ${pid}`), sdk.CommandExitError);
            assert.equal(await commands.kill(pid), false);
        }
        await assert.rejects(connected.wait(), { exitCode: -1 });
        assert.equal(await commands.kill(999_999), false);
    });
    test('stdin: text, nothing, special characters, several lines', async () => {
        for (const text of ['Hello', '!@#$%^&*()_+', 'Hello,\nWorld!', 'ü']) {
            const handle = await commands.run('cat', { background: true, stdin: true });
            await commands.sendStdin(handle.pid, text);
            await eventually(() => handle.stdout === text, text);
            assert.equal(await handle.kill(), true);
        }
        const silent = await commands.run('cat', { background: true, stdin: true });
        await commands.sendStdin(silent.pid, '');
        assert.equal(await silent.kill(), true);
        assert.equal(silent.stdout, '');
    });
    test('much stdin, and its end', async () => {
        const handle = await commands.run('cksum', { background: true, stdin: true });
        const piece = 'x'.repeat(1_000_000);
        for (let i = 0; i < 5; ++i) await commands.sendStdin(handle.pid, piece);
        await commands.closeStdin(handle.pid);
        assert.match((await handle.wait()).stdout, / 5000000\n$/);
    });
    test('stdin of what has ended, or never was', async () => {
        const handle = await commands.run('true', { background: true, stdin: true });
        await handle.wait();
        await assert.rejects(commands.sendStdin(handle.pid, 'x'), sdk.NotFoundError);
        await assert.rejects(commands.sendStdin(999_999, 'x'), sdk.NotFoundError);
    });
});

describe('terminals', () => {
    const open = async (options = {}) => {
        const seen = { text: '' };
        const handle = await pty.create({ cols: 80, rows: 24, onData: (bytes) => (seen.text += Buffer.from(bytes)), timeoutMs: 0, ...options });
        seen.shows = (text) => eventually(() => seen.text.includes(text), `${text} in ${JSON.stringify(seen.text)}`);
        seen.type = (text) => pty.sendInput(handle.pid, new TextEncoder().encode(text));
        return { handle, seen };
    };
    test('variables, directory, and the end', async () => {
        const { handle, seen } = await open({ envs: { ABC: '123' }, cwd: '/' });
        await seen.type('echo "<$ABC>"; echo "<$TERM>"; pwd | sed "s/^/dir:/"\n');
        for (const text of ['<123>', '<xterm-256color>', 'dir:/\r\n']) await seen.shows(text);
        await seen.type('exit\n');
        assert.equal((await handle.wait()).exitCode, 0);
    });
    test('resize, as programs see it', async () => {
        const { handle, seen } = await open();
        await seen.type('echo "width $(stty size | cut -d" " -f2)"\n');
        await seen.shows('width 80');
        await pty.resize(handle.pid, { cols: 100, rows: 24 });
        await seen.type('echo "width $(stty size | cut -d" " -f2)"\n');
        await seen.shows('width 100');
        assert.equal(await pty.kill(handle.pid), true);
        assert.equal(await pty.kill(handle.pid), false);
        await assert.rejects(pty.resize(handle.pid, { cols: 1, rows: 1 }), sdk.NotFoundError);
    });
    test('Ctrl-C interrupts what runs in it, Ctrl-D ends it', async () => {
        const { handle, seen } = await open();
        // An inner shell says that it runs: while it starts, the outer one may swallow the interrupt.
        await seen.type("sh -c 'echo \"go $((40 + 1))\"; exec sleep 1000'\n");
        await seen.shows('go 41');
        await seen.type('\x03');
        await seen.type('echo "still $((40 + 2))"\n');
        await seen.shows('still 42');
        let ended = false;
        const end = handle.wait().catch((error) => assert.ok(error instanceof sdk.CommandExitError)).finally(() => (ended = true));
        // Until the shell reads: one that comes between two of its reads is lost.
        for (let times = 0; !ended && times < 100; ++times) {
            await seen.type('\x04').catch((error) => assert.ok(error instanceof sdk.NotFoundError));
            await Promise.race([end, delay(200)]);
        }
        assert.ok(ended);
    });
    test('a client leaves, another connects', async () => {
        const { handle } = await open();
        await handle.disconnect();
        const seen = { text: '' };
        const other = await pty.connect(handle.pid, { onData: (bytes) => (seen.text += Buffer.from(bytes)) });
        await pty.sendInput(handle.pid, new TextEncoder().encode('echo "again $((40 + 2))"; exit\n'));
        await other.wait();
        assert.match(seen.text, /again 42/);
    });
});

describe('files', () => {
    test('relative paths start where commands run', async () => {
        const name = `relative-${process.pid}-${Date.now()}`;
        const written = await files.write(name, 'content');
        const where = (await commands.run('pwd')).stdout.trim();
        try {
            assert.deepEqual([written.name, written.path, written.type], [name, `${where}/${name}`, 'file']);
            const info = await files.getInfo(name);
            assert.equal(info.path, `${where}/${name}`);
            const renamed = await files.rename(name, `${name}-2`);
            assert.deepEqual([renamed.name, renamed.path], [`${name}-2`, `${where}/${name}-2`]);
        } finally {
            await files.remove(`${name}-2`);
            await files.remove(name);
        }
        assert.equal(await files.exists(name), false);
    });
    test('write: over an old one, into new directories, nothing at all', async () => {
        await files.write(at('over'), 'first, and longer');
        await files.write(at('over'), 'second');
        assert.equal(await files.read(at('over')), 'second');
        await files.write(at('new/deep/f'), 'x');
        assert.equal(await files.exists(at('new/deep')), true);
        assert.deepEqual(await files.write([]), []);
        const many = await files.write(Array.from({ length: 30 }, (_, i) => ({ path: at(`thirty/${i}`), data: `${i}` })));
        assert.deepEqual(many.map((f) => f.name), Array.from({ length: 30 }, (_, i) => `${i}`));
    });
    test('read in every form, and compressed', async () => {
        const bytes = randomBytes(100_000);
        await files.write(at('formats'), new Blob([bytes]));
        const same = (got) => assert.ok(Buffer.from(got).equals(bytes));
        same(await files.read(at('formats'), { format: 'bytes' }));
        same(await (await files.read(at('formats'), { format: 'blob' })).arrayBuffer());
        same(await new Response(await files.read(at('formats'), { format: 'stream' })).arrayBuffer());
        same(await files.read(at('formats'), { format: 'bytes', gzip: true }));
        await assert.rejects(files.read(at('none')), sdk.NotFoundError);
        for (const format of ['text', 'bytes', 'blob', 'stream']) {
            await files.write(at('nothing'), '');
            const got = await files.read(at('nothing'), { format });
            assert.equal(format === 'text' ? got : await new Response(got).text(), '');
        }
    });
    test('a stream that is given up', async () => {
        await files.write(at('long'), new Blob([Buffer.alloc(20_000_000)]));
        const stream = await files.read(at('long'), { format: 'stream' });
        const reader = stream.getReader();
        assert.ok((await reader.read()).value.length > 0);
        await reader.cancel();
        assert.equal(await sandbox.isRunning(), true);
    });
    test('list: entries in full, depths, a bad depth, a file', async () => {
        await files.makeDir(at('listed/dir/inner'));
        await files.write(at('listed/file.txt'), 'four');
        await files.write(at('listed/dir/inner/x'), '');
        const paths = async (depth) => (await files.list(at('listed'), { depth })).map((e) => e.path.slice(at('listed/').length));
        assert.deepEqual(await paths(undefined), ['dir', 'file.txt']);
        assert.deepEqual(await paths(2), ['dir', 'dir/inner', 'file.txt']);
        assert.deepEqual(await paths(3), ['dir', 'dir/inner', 'dir/inner/x', 'file.txt']);
        await assert.rejects(files.list(at('listed'), { depth: -1 }), /depth should be at least one/);
        const [dir, file] = await files.list(at('listed'));
        assert.deepEqual([dir.name, dir.type, dir.permissions, dir.mode, dir.symlinkTarget], ['dir', 'dir', 'drwxr-xr-x', 0o755, undefined]);
        assert.deepEqual([file.name, file.type, file.size, file.mode, file.permissions], ['file.txt', 'file', 4, 0o644, '-rw-r--r--']);
        assert.ok(file.modifiedTime instanceof Date && Math.abs(file.modifiedTime - Date.now()) < 60_000);
        assert.ok(file.owner && file.group);
    });
    test('makeDir and remove', async () => {
        assert.equal(await files.makeDir(at('made/nested/dirs')), true);
        assert.equal(await files.exists(at('made/nested/dirs')), true);
        assert.equal(await files.makeDir(at('made/nested')), false);
        await files.remove(at('made'));
        assert.equal(await files.exists(at('made')), false);
        await files.remove(at('made'));
    });
    test('a link is described by itself and its target', async () => {
        await files.write(at('target'), 'x');
        await commands.run(`ln -s ${at('target')} ${at('symlink')}`);
        const info = await files.getInfo(at('symlink'));
        assert.deepEqual([info.type, info.symlinkTarget], ['file', at('target')]);
        assert.equal(await files.read(at('symlink')), 'x');
    });
    test('watch: a stop is a stop; nested directories; none at all', async () => {
        await files.makeDir(at('watched/nested'));
        await files.write(at('watched/nested/f'), 'old');
        const events = [];
        const handle = await files.watchDir(at('watched'), (event) => events.push(`${event.type} ${event.name}`), { recursive: true });
        await files.write(at('watched/nested/f'), 'new');
        await eventually(() => events.includes('write nested/f'), 'the write');
        await files.makeDir(at('watched/later'));
        await files.write(at('watched/later/f'), 'x');
        await eventually(() => events.includes('create later') && events.includes('write later/f'), 'the new directory');
        await handle.stop();
        const count = events.length;
        await files.write(at('watched/nested/f'), 'after');
        await commands.run('true');
        assert.equal(events.length, count);
        await assert.rejects(files.watchDir(at('never'), () => {}), sdk.NotFoundError);
    });
    test('watch: its time passes', async () => {
        await files.makeDir(at('timed'));
        let end;
        await files.watchDir(at('timed'), () => {}, { timeoutMs: 100, onExit: (error) => (end = error ?? 'end') });
        await eventually(() => end, 'the end of the watch');
    });
});

describe('signed URLs of a sandbox with a token', () => {
    const token = 'signing-token';
    test('as the SDK makes them', async () => {
        const secured = await startEnvd({ ENVD_ACCESS_TOKEN: token });
        const box = tokenSandbox(secured.envdUrl, token);
        const file = secured.file('a file & more');
        await box.files.write(file, 'secret');
        const status = async (url, options) => (await fetch(url, options)).status;
        const read = (options) => box.downloadUrl(file, options);
        assert.equal(await (await fetch(await read({ useSignatureExpiration: 120 }))).text(), 'secret');
        assert.equal(await status(await read({ useSignatureExpiration: 120, user: 'root' })), 200);
        const expired = new URL(await read({ useSignatureExpiration: 120 }));
        expired.searchParams.set('signature_expiration', '1');
        assert.equal(await status(expired), 401, 'the time is part of what is signed');
        assert.equal(await status((await read({})).replace(/signature=[^&]*/, 'signature=v1_no')), 401);
        assert.equal(await status((await read({})).split('&')[0]), 401);
        const body = new FormData();
        body.append('file', new Blob(['new']), 'x');
        assert.equal(await status(await box.uploadUrl(file), { method: 'POST', body }), 200);
        assert.equal(await status(await read({}), { method: 'POST', body }), 401, 'reading is not writing');
        assert.equal(await box.files.read(file), 'new');
        await secured.stop();
        await secured.assertClean();
    });
    test('a large upload without the token is refused in words, not by a broken connection', async () => {
        const secured = await startEnvd({ ENVD_ACCESS_TOKEN: token });
        const box = tokenSandbox(secured.envdUrl, 'wrong');
        await assert.rejects(box.files.write(secured.file('f'), new Blob([Buffer.alloc(30_000_000)])), sdk.AuthenticationError);
        await secured.stop();
        await secured.assertClean();
    });
});

describe('git', () => {
    const run = (repo, cmd) => commands.run(cmd, { cwd: repo }).then((r) => r.stdout.trim());
    test('configuration, branches, changes taken back', async () => {
        const repo = at('repo');
        await git.init(repo, { initialBranch: 'main' });
        await git.configureUser('A User', 'a@example.org', { scope: 'local', path: repo });
        assert.equal(await git.getConfig('user.name', { scope: 'local', path: repo }), 'A User');
        await git.setConfig('pull.rebase', 'false', { scope: 'local', path: repo });
        assert.equal(await git.getConfig('pull.rebase', { scope: 'local', path: repo }), 'false');
        assert.equal(await git.getConfig('no.such', { scope: 'local', path: repo }), undefined);
        await files.write(`${repo}/f`, 'one\n');
        await git.add(repo, { files: ['f'] });
        assert.equal((await git.status(repo)).fileStatus[0].staged, true);
        await git.reset(repo).catch(() => {}); // nothing to reset to yet
        await git.add(repo);
        await git.commit(repo, 'first');
        assert.equal((await git.status(repo)).currentBranch, 'main');
        await files.write(`${repo}/f`, 'two\n');
        assert.equal((await git.status(repo)).fileStatus[0].status, 'modified');
        await git.restore(repo, { paths: ['f'] });
        assert.equal(await files.read(`${repo}/f`), 'one\n');
        await git.createBranch(repo, 'side');
        assert.equal((await git.branches(repo)).currentBranch, 'side');
        await git.commit(repo, 'empty', { allowEmpty: true });
        await git.checkoutBranch(repo, 'main');
        await git.deleteBranch(repo, 'side', { force: true });
        assert.deepEqual((await git.branches(repo)).branches, ['main']);
        await files.write(`${repo}/f`, 'three\n');
        await git.reset(repo, { mode: 'hard', target: 'HEAD' });
        assert.equal(await files.read(`${repo}/f`), 'one\n');
    });
    test('push and pull over a remote', async () => {
        await commands.run(`git init -q --bare -b main ${at('bare.git')}`);
        await git.remoteAdd(at('repo'), 'origin', at('bare.git'));
        await git.push(at('repo'), { remote: 'origin', branch: 'main', setUpstream: true });
        await git.clone(at('bare.git'), { path: at('copy'), branch: 'main', depth: 1 });
        await files.write(`${at('repo')}/g`, 'new\n');
        await git.add(at('repo'));
        await git.commit(at('repo'), 'second');
        assert.equal((await git.status(at('repo'))).ahead, 1);
        await git.push(at('repo'));
        await git.pull(at('copy'));
        assert.equal(await files.read(`${at('copy')}/g`), 'new\n');
        assert.equal(await run(at('copy'), 'git log --format=%s -1'), 'second');
        await assert.rejects(git.clone(at('no-such.git'), { path: at('x') }), (error) => error instanceof Error);
    });
});

describe('clients that behave badly', () => {
    test('an upload whose client dies changes nothing and leaves nothing', async () => {
        fs.mkdirSync(at('broken'));
        fs.writeFileSync(at('broken/f'), 'old');
        const request = http.request(`${d.envdUrl}/files?path=${at('broken/f')}`, {
            method: 'POST', headers: { 'content-type': 'application/octet-stream', 'transfer-encoding': 'chunked' } });
        request.on('error', () => {});
        await new Promise((resolve) => request.write(Buffer.alloc(slow ? 100_000 : 5_000_000), resolve));
        request.destroy();
        await files.exists(at('broken/f'));
        assert.equal(fs.readFileSync(at('broken/f'), 'utf8'), 'old');
        assert.deepEqual(fs.readdirSync(at('broken')), ['f']);
    });
});

finish(d);
