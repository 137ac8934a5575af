// The daemon in images of other people: copied in by the two lines of the README, or mounted.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { execute, images, must, podman, withContainer } from './support/podman.mjs';

const guide = fs.readFileSync(fileURLToPath(new URL('../../docker/README.md', import.meta.url)), 'utf8');

// An image of what `fill` puts into a directory; removed afterwards.
async function withImage(name, containerfile, fill, body) {
    const image = `localhost/sandbox-test-${name}:${process.pid}`;
    const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'sandbox-image-'));
    try {
        fs.writeFileSync(path.join(directory, 'Dockerfile'), containerfile);
        fill(directory);
        await podman('build', '-q', '--format', 'docker', '--pull=never', '-t', image, directory);
        await body(image);
    } finally {
        fs.rmSync(directory, { recursive: true });
        await execute('podman', ['rmi', '-f', image]);
    }
}

const twoLines = guide.match(/^COPY --from=koyeb\/sandbox:scratch .*\n^ENTRYPOINT .*$/m)?.[0];

test('two lines put it into an image', async () => {
    assert.ok(twoLines, 'docker/README.md shows the two lines');
    const lines = twoLines.replace('koyeb/sandbox:scratch', images.scratch);
    await withImage('injected', `FROM ${images.base}\n${lines}\n`, () => {}, async (image) => {
        await withContainer(image, { place: `${images.base} with the two lines` }, async (container) => {
            assert.match(await container.output('cat /etc/os-release'), /Debian/);
        });
    });
});

test('two lines and a command of the image', async () => {
    const lines = twoLines.replace('koyeb/sandbox:scratch', images.scratch);
    const containerfile = `FROM ${images.base}\n${lines}\nCMD ["sh", "-c", "echo mine >/tmp/started; exec sleep 1000"]\n`;
    await withImage('command', containerfile, () => {}, async (image) => {
        await withContainer(image, { place: `${images.base} with the two lines` }, async (container) => {
            assert.equal(await container.output('until [ -s /tmp/started ]; do sleep 0.01; done; cat /tmp/started'), 'mine');
        });
    });
});

const busyboxOnly = (directory) => {
    fs.mkdirSync(path.join(directory, 'bin'));
    fs.copyFileSync('/bin/busybox', path.join(directory, 'bin/busybox'));
    for (const tool of ['cat', 'grep', 'ls', 'sh', 'sleep']) fs.symlinkSync('busybox', path.join(directory, 'bin', tool));
};

test('in an image of busybox alone', async () => {
    const lines = twoLines.replace('koyeb/sandbox:scratch', images.scratch);
    await withImage('busybox', `FROM scratch\nCOPY bin /bin\n${lines}\n`, busyboxOnly, async (image) => {
        await withContainer(image, { place: 'busybox alone' }, async (container) => {
            assert.equal(await container.output('ls /lib* 2>/dev/null || echo no libraries'), 'no libraries');
            for (let i = 0; i < 5; ++i) await container.run('(sleep 0.05 &); (sh -c "sleep 0.1 &" &); exit 0');
            const started = await container.post('/start_process', { cmd: 'sleep 1000 & sleep 1000' });
            await container.post('/kill_process', { id: started.id });
            await container.post('/write_file', { path: '/etc/mine', content: 'x' });
            assert.equal(await container.output('cat /etc/mine'), 'x');
        });
    });
});

test('mounted into an image that knows nothing of it, as another account', async () => {
    const binary = await podman('image', 'mount', images.scratch);
    try {
        const mount = `${binary}/usr/bin/sandbox-executor:/run/sandbox-executor:ro`;
        const flags = ['-v', mount, '--entrypoint', '/run/sandbox-executor', '--user', '4321'];
        await withContainer(images.base, { flags, place: `${images.base}, mounted` }, async (container) => {
            assert.equal(await container.output('id -u'), '4321');
        });
    } finally {
        await must('podman', ['image', 'unmount', images.scratch]);
    }
});
