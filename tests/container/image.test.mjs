// The images, run for real: what every target serves, and what the full one holds.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { eventually } from './support/api.mjs';
import { Container, execute, images, podman, withContainer } from './support/podman.mjs';

async function inspect(image, format) {
    return JSON.parse(await podman('image', 'inspect', '--format', `{{json ${format}}}`, image));
}

for (const [target, image] of [['scratch', images.scratch], ['slim', images.slim], ['full', images.full]]) {
    describe(target, () => {
        test('says what it is', async () => {
            const labels = await inspect(image, '.Config.Labels');
            for (const name of ['title', 'description', 'licenses', 'version', 'revision', 'created']) {
                assert.ok(labels[`org.opencontainers.image.${name}`], `label ${name}`);
            }
            assert.deepEqual(await inspect(image, '.Config.Entrypoint'), ['/usr/bin/sandbox-executor', '--']);
            assert.ok(!(await inspect(image, '.Config.Cmd'))?.length, 'no words behind the entrypoint');
            assert.deepEqual(Object.keys(await inspect(image, '.Config.ExposedPorts')).sort(), ['3030/tcp', '3031/tcp']);
            assert.deepEqual((await inspect(image, '.HealthCheck')).Test, ['CMD', '/usr/bin/sandbox-executor', '--health']);
        });
        test('is healthy, through a published port and by its own check', async () => {
            await withContainer(image, {}, async (container) => {
                await podman('healthcheck', 'run', container.name);
                assert.equal((await container.request('GET', '/list_processes')).status, 200);
                assert.equal((await new Container(container.url, 'wrong').request('POST', '/run', { cmd: 'id' })).status, 401);
            });
        });
        test('its check fails where the daemon does not listen', async () => {
            await withContainer(image, { flags: ['-e', 'PROXY_PORT=3032'] }, async (container) => {
                const check = ['exec', '-e', 'PORT=9', container.name, '/usr/bin/sandbox-executor', '--health'];
                const { code, stderr } = await execute('podman', check);
                assert.equal(code, 1);
                assert.match(stderr, /refused/);
            });
        });
        test('refuses to start without a secret', async () => {
            const container = await Container.create(image, { secret: '' });
            try {
                assert.equal(await container.exited(), 1);
                assert.match(await container.logs(), /SANDBOX_SECRET/);
            } finally {
                await container.remove();
            }
        });
        test('files', async () => {
            await withContainer(image, {}, async (container) => {
                const bytes = Buffer.from(Array.from({ length: 3 << 20 }, (_, i) => (i * 7) & 255)).toString('base64');
                await container.post('/make_dir', { path: '/work/deep' });
                await container.post('/write_file', { path: '/work/deep/bytes', content: bytes, encoding: 'base64' });
                const read = await container.post('/read_file', { path: '/work/deep/bytes', encoding: 'base64' });
                assert.ok(read.content === bytes, 'the same bytes come back');
                await container.post('/write_file', { path: '/work/text', content: 'grüße\n' });
                assert.equal((await container.post('/read_file', { path: '/work/text' })).content, 'grüße\n');
                assert.deepEqual((await container.post('/list_dir', { path: '/work' })).entries.sort(), ['deep', 'text']);
                await container.post('/delete_dir', { path: '/work' });
                assert.match((await container.post('/list_dir', { path: '/work' })).error, /no such file/);
            });
        });
    });
}

describe('scratch', () => {
    test('runs what it has, and says that it has no shell', async () => {
        await withContainer(images.scratch, {}, async (container) => {
            const result = await container.exec(['/usr/bin/sandbox-executor', '--version']);
            assert.match(result.stdout, /^sandbox-executor \d+\.\d+/);
            assert.match(JSON.stringify(await container.request('POST', '/run', { cmd: 'echo' })), /no shell/);
        });
    });
});

describe('slim', () => {
    test('runs commands', async () => {
        await withContainer(images.slim, {}, async (container) => {
            const result = await container.run('echo out; echo err >&2; exit 7');
            assert.deepEqual([result.stdout, result.stderr, result.code], ['out\n', 'err\n', 7]);
            assert.equal(await container.output('env | grep -c SANDBOX_SECRET || true'), '0');
        });
    });
});

describe('full', () => {
    test('has the tools that people expect', async () => {
        await withContainer(images.full, {}, async (container) => {
            const tools = 'git curl jq python3 python pip3 node npm gcc g++ make ps bash sudo';
            const missing = `for tool in ${tools}; do command -v $tool >/dev/null || echo $tool; done`;
            assert.equal(await container.output(missing), '');
            assert.ok(await container.output('ls /etc/ssl/certs/ca-certificates.crt'));
            assert.equal(await container.output('python3 -c "print(6 * 7)"'), '42');
            assert.equal(await container.output('node -p "6 * 7"'), '42');
            await container.output('npm --version && pip3 --version && git --version');
            const source = 'int main(void) { return 42; }';
            await container.post('/write_file', { path: '/tmp/a.c', content: source });
            assert.equal((await container.run('cd /tmp && make -s a && ./a')).code, 42);
        });
    });
    test('has an account with a home and sudo', async () => {
        await withContainer(images.full, {}, async (container) => {
            const who = await container.output('id -un; echo $HOME; touch ~/mine; sudo -n id -u; echo $SHELL', { user: 'user' });
            assert.deepEqual(who.split('\n'), ['user', '/home/user', '0', '/bin/bash']);
        });
    });
    test('forwards a published port to a service on its loopback', async () => {
        await withContainer(images.full, {}, async (container) => {
            await container.post('/write_file', { path: '/srv/index.html', content: 'from inside' });
            const server = await container.post('/start_process', { cmd: 'exec python3 -m http.server 8000 --bind 127.0.0.1', cwd: '/srv' });
            await container.post('/bind_port', { port: '8000' });
            const page = async () => {
                try {
                    return await (await fetch(container.proxyUrl, { headers: { connection: 'close' } })).text();
                } catch {
                    return '';
                }
            };
            await eventually(async () => (await page()) === 'from inside', () => container.logs());
            await container.post('/kill_process', { id: server.id });
            assert.equal(await page(), '');
        });
    });
});
