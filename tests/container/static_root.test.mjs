// The static file alone in a root directory: no libc, no /dev, no /proc, no /tmp, no accounts. Not in a container,
// because an engine brings /dev, /proc and /etc/hosts along.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Api, eventually } from './support/api.mjs';
import { must, ranIn } from './support/podman.mjs';

const binary =
    process.env.SANDBOX_STATIC ??
    fileURLToPath(new URL('../../build/static/bin/sandbox-executor', import.meta.url));
const busybox = '/bin/busybox';

// Starts it as PID 1 in a PID and mount namespace of its own, with `directory` as the root.
class Rooted extends Api {
    constructor(directory, readOnly) {
        super('', 'root-secret-51d7');
        const remount = readOnly ? 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && ' : '';
        const script = `${remount}exec chroot "$0" /sandbox-executor`;
        this.child = spawn('unshare', ['--mount', '--pid', '--fork', '--kill-child', 'sh', '-c', script, directory], {
            env: { PATH: process.env.PATH, PORT: '0', PROXY_PORT: '0', SANDBOX_SECRET: this.secret },
            stdio: ['ignore', 'ignore', 'pipe'],
        });
        this.log = '';
        this.child.stderr.on('data', (chunk) => (this.log += chunk));
        this.exited = new Promise((resolve) => this.child.on('exit', (code, signal) => resolve({ code, signal })));
        this.exited.then((end) => (this.end = end));
    }
    port(message) {
        return this.log.match(new RegExp(`msg="${message}".* port=(\\d+)`))?.[1];
    }
    async ready() {
        await eventually(() => {
            assert.equal(this.end, undefined, this.log);
            return this.port('Starting sandbox-executor') && this.port('Starting TCP proxy');
        }, () => this.log);
        this.url = `http://127.0.0.1:${this.port('Starting sandbox-executor')}`;
        await eventually(() => this.healthy(), () => this.log);
    }
    async stop() {
        // unshare does not pass signals on: the daemon is its only child.
        const children = fs.readFileSync(`/proc/${this.child.pid}/task/${this.child.pid}/children`, 'latin1');
        process.kill(Number(children.trim()), 'SIGTERM');
        return this.exited;
    }
}

async function freePort() {
    const server = net.createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address();
    server.close();
    await once(server, 'close');
    return port;
}

async function inRoot(place, { tools = [], readOnly = false }, body) {
    const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'sandbox-root-'));
    let daemon;
    try {
        fs.chmodSync(directory, 0o755);
        fs.copyFileSync(binary, path.join(directory, 'sandbox-executor'));
        if (tools.length) {
            fs.mkdirSync(path.join(directory, 'bin'));
            fs.copyFileSync(busybox, path.join(directory, 'bin/busybox'));
            for (const tool of tools) fs.symlinkSync('busybox', path.join(directory, 'bin', tool));
        }
        daemon = new Rooted(directory, readOnly);
        await daemon.ready();
        await body(daemon, directory);
        assert.deepEqual(await daemon.stop(), { code: 0, signal: null }, daemon.log);
        ranIn(place);
    } catch (error) {
        error.message += `\nlog of the daemon:\n${daemon?.log}`;
        throw error;
    } finally {
        if (daemon && daemon.end === undefined) {
            daemon.child.kill('SIGKILL');
            await daemon.exited;
        }
        fs.rmSync(directory, { recursive: true });
    }
}

const tools = ['cat', 'echo', 'head', 'id', 'nc', 'seq', 'setsid', 'sh', 'sleep', 'tail', 'true', 'wc'];
const longOutput = 'seq 1 1500000 | tail -c 9000000';

test('the file asks for no loader and no library, and is small', async () => {
    const headers = await must('readelf', ['-ldW', binary]);
    assert.doesNotMatch(headers, /INTERP|NEEDED/);
    assert.ok(fs.statSync(binary).size <= 5 << 20, `${fs.statSync(binary).size} bytes`);
});

describe('empty root', () => {
    test('runs programs, and says that there is no shell', async () => {
        await inRoot('empty root (no container)', {}, async (daemon, directory) => {
            assert.deepEqual(fs.readdirSync(directory), ['sandbox-executor']);
            const version = await daemon.exec(['/sandbox-executor', '--version']);
            assert.match(version.stdout, /^sandbox-executor \d+\.\d+/);
            assert.match(JSON.stringify(await daemon.request('POST', '/run', { cmd: 'echo' })), /no shell/);
            assert.match(JSON.stringify(await daemon.request('POST', '/run', { args: ['/none'] })), /no such file/);

            const content = fs.readFileSync(busybox).toString('base64');
            await daemon.post('/write_file', { path: '/busybox', content, encoding: 'base64', mode: '0755' });
            const echo = await daemon.exec(['/busybox', 'echo', 'now there is one']);
            assert.deepEqual([echo.stdout, echo.code], ['now there is one\n', 0]);
            assert.equal((await daemon.exec(['/busybox', 'cat'], { stdin: 'given' })).stdout, 'given');
            assert.equal((await daemon.exec(['/busybox', 'cat'])).stdout, '', 'an empty standard input');
            assert.deepEqual((await daemon.post('/list_dir', { path: '/' })).entries.sort(), ['busybox', 'sandbox-executor']);
            assert.equal((await daemon.exec(['/busybox', 'sleep', '1000'], { timeout: 0.1 })).timed_out, true);
        });
    });
});

for (const [name, readOnly] of [['busybox-only root', false], ['read-only busybox-only root', true]]) {
    test(name, async () => {
        await inRoot(`${name} (no container)`, { tools, readOnly }, async (daemon) => {
            const { stdout, code } = await daemon.run(longOutput);
            assert.deepEqual([stdout.length, code, stdout.endsWith('\n1500000\n')], [9_000_000, 0, true]);
            assert.equal(await daemon.output(`echo ${'x'.repeat(200_000)} | wc -c`), '200001');
            const background = await daemon.run('sleep 1000 & echo at once');
            assert.equal(background.stdout, 'at once\n');

            const tree = await daemon.post('/start_process', { cmd: 'setsid sleep 1000 & echo up; sleep 1000' });
            await daemon.post('/kill_process', { id: tree.id });

            const written = await daemon.post('/write_file', { path: '/file', content: 'text' });
            if (readOnly) assert.match(written.error, /read-only file system/);
            else assert.equal(await daemon.output('cat /file'), 'text');

            const unknown = await daemon.request('POST', '/run', { cmd: 'id', user: 'nobody-here' });
            assert.match(JSON.stringify(unknown), /nobody-here/);
        });
    });
}

test('forwards from a busybox-only root', async () => {
    await inRoot('busybox-only root (no container)', { tools }, async (daemon) => {
        const answer = 'HTTP/1.1 200 OK\\r\\nContent-Length: 6\\r\\nConnection: close\\r\\n\\r\\ninside';
        const port = await freePort();
        await daemon.post('/start_process', { cmd: `while true; do printf '${answer}' | nc -l -p ${port}; done` });
        await daemon.post('/bind_port', { port: String(port) });
        const url = `http://127.0.0.1:${daemon.port('Starting TCP proxy')}/`;
        await eventually(async () => {
            try {
                return (await (await fetch(url)).text()) === 'inside';
            } catch {
                return false;
            }
        }, 'the page');
    });
});
