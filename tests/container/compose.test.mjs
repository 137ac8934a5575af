// docker/compose.yaml, brought up for real, read-only and with its demo; and what it makes of its settings.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Api, eventually } from './support/api.mjs';
import { execute, images, must, podman, ranIn } from './support/podman.mjs';

const docker = fileURLToPath(new URL('../../docker/', import.meta.url));
const project = `sandbox-test-${process.pid}`;
const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'sandbox-compose-'));
const socket = path.join(directory, 'engine.sock');
const secret = 'compose-secret-0b7d';
let service;

const env = {
    PATH: process.env.PATH,
    HOME: directory,
    DOCKER_HOST: `unix://${socket}`,
    SANDBOX_IMAGE: images.full,
    SANDBOX_SECRET: secret,
    SANDBOX_PORT: '0',
    SANDBOX_PROXY_PORT: '0',
    SANDBOX_READ_ONLY: 'true',
};
const files = ['-f', path.join(docker, 'compose.yaml'), '-p', project];
const compose = (...args) => must('docker-compose', [...files, ...args], { env });

before(async () => {
    service = spawn('podman', ['system', 'service', '--time=0', `unix://${socket}`], { stdio: 'ignore' });
    service.exited = new Promise((resolve) => service.on('exit', resolve));
    await eventually(() => fs.existsSync(socket), "the engine's socket");
});
after(async () => {
    // First what is in the network of another: podman refuses to remove that one before.
    const gone = await execute('docker-compose', [...files, '--profile', 'demo', 'rm', '-sf', 'demo'], { env });
    const down = await execute('docker-compose', [...files, 'down', '-v', '-t', '8'], { env });
    service.kill('SIGTERM');
    await service.exited;
    fs.rmSync(directory, { recursive: true });
    assert.equal(await podman('ps', '-aq', '--filter', `label=com.docker.compose.project=${project}`), '', gone.stderr + down.stderr);
    assert.equal(await podman('volume', 'ls', '-q', '--filter', `name=${project}`), '');
    assert.equal(await podman('network', 'ls', '-q', '--filter', `name=${project}`), '');
});

test('asks for a secret', async () => {
    const { code, stderr } = await execute('docker-compose', [...files, 'config'], { env: { ...env, SANDBOX_SECRET: '' } });
    assert.notEqual(code, 0);
    assert.match(stderr, /SANDBOX_SECRET/);
});

test('every variable of compose.yaml stands in .env.example, and the other way round', () => {
    const used = fs.readFileSync(path.join(docker, 'compose.yaml'), 'utf8').matchAll(/[^$]\$\{(\w+)/g);
    const shown = fs.readFileSync(path.join(docker, '.env.example'), 'utf8').matchAll(/^(\w+)=/gm);
    const names = (matches) => [...new Set([...matches].map((match) => match[1]))].sort();
    assert.deepEqual(names(shown), names(used));
});

test('the sandbox and its demo', async () => {
    await compose('--profile', 'demo', 'up', '-d', '--no-build');
    const [sandbox] = (await compose('ps', '-q', 'sandbox')).split('\n');
    const port = async (inner) => (await compose('port', 'sandbox', inner)).split(':').at(-1);
    const api = new Api(`http://127.0.0.1:${await port('3030')}`, secret);
    await eventually(() => api.healthy(), 'the API');
    await podman('healthcheck', 'run', sandbox);

    const state = JSON.parse(await podman('inspect', '--format', '{{json .HostConfig}}', sandbox));
    assert.deepEqual([state.ReadonlyRootfs, state.Memory, state.PidsLimit], [true, 2 * 2 ** 30, 2048]);
    assert.match((await api.post('/write_file', { path: '/etc/x', content: 'x' })).error, /read-only file system/);
    for (const path of ['/tmp/x', '/run/x', '/home/user/x']) {
        assert.equal((await api.post('/write_file', { path, content: 'x' })).error, undefined);
    }
    assert.equal(await api.output('whoami; touch ~/y', { user: 'user' }), 'user');

    const forwarded = `http://127.0.0.1:${await port('3031')}/`;
    const page = async () => {
        try {
            return await (await fetch(forwarded, { headers: { connection: 'close' } })).text();
        } catch {
            return '';
        }
    };
    await eventually(async () => (await page()) === 'hello from behind the forwarder\n', () => compose('logs'));
    ranIn(`${images.full} by docker-compose, read-only`);
});
