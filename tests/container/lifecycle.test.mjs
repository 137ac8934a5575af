// As PID 1 of a container: orphans, the image's own command, and the end.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { eventually } from './support/api.mjs';
import { Container, images, podman, withContainer } from './support/podman.mjs';

const image = images.slim;

for (const [name, flags] of [['as PID 1', []], ['below an init', ['--init']]]) {
    test(`orphans are reaped, ${name}`, async () => {
        await withContainer(image, { flags }, async (container) => {
            const orphans = '(sleep 0.1 &); (sh -c "sleep 0.05 & sleep 0.2 &" &); setsid sh -c "sleep 0.1 & exit 1" & exit 0';
            for (let i = 0; i < 20; ++i) assert.equal((await container.run(orphans)).code, 0);
            const sleeping = 'cat /proc/[0-9]*/comm 2>/dev/null | grep -c sleep || true';
            await eventually(async () => (await container.output(sleeping)) === '0', 'the end of all orphans');
            assert.equal(await container.zombies(), 0);
        });
    });
}

describe('the entrypoint command', () => {
    async function endOf(...command) {
        const container = await Container.create(image, { command });
        try {
            return await container.exited();
        } finally {
            await container.remove();
        }
    }
    test('gives the container its code', async () => {
        assert.equal(await endOf('sh', '-c', 'exit 7'), 7);
        assert.equal(await endOf('true'), 0);
    });
    test('gives 128+n when a signal ends it', async () => {
        assert.equal(await endOf('sh', '-c', 'kill -SEGV $$'), 139);
        assert.equal(await endOf('sh', '-c', 'kill -KILL $$'), 137);
    });
    test('gets the signals of the container', async () => {
        const script = `for s in HUP USR1 USR2 WINCH; do trap "echo got $s" $s; done; trap 'echo bye; exit 42' TERM
            echo up; while :; do sleep 0.05; done`;
        await withContainer(image, { command: ['sh', '-c', script] }, async (container) => {
            await eventually(async () => /^up$/m.test(await container.logs()), 'the traps');
            for (const signal of ['HUP', 'USR1', 'USR2', 'WINCH']) {
                await podman('kill', '-s', signal, container.name);
                await eventually(async () => (await container.logs()).includes(`got ${signal}`), signal);
            }
            assert.ok(await container.healthy(), 'the API serves on');
            await podman('stop', '-t', '10', container.name);
            assert.equal(await container.exited(), 42);
            assert.match(await container.logs(), /^bye$/m);
        });
    });
    test('sees neither the secret nor the ports', async () => {
        const command = ['sh', '-c', 'env; echo up; exec sleep 1000'];
        await withContainer(image, { command, flags: ['-e', 'PORT=3030', '-e', 'MINE=1'] }, async (container) => {
            await eventually(async () => /^up$/m.test(await container.logs()), 'its output');
            assert.match(await container.logs(), /^MINE=1$/m);
            assert.doesNotMatch(await container.logs(), /SANDBOX_SECRET=|^PORT=/m);
        });
    });
    test('that is not there leaves the API up', async () => {
        await withContainer(image, { command: ['no-such-program'] }, async (container) => {
            assert.equal(await container.output('echo here'), 'here');
        });
    });
});

describe('the end', () => {
    async function secondsToStop(container) {
        const begin = Date.now();
        await podman('stop', '-t', '20', container.name);
        return (Date.now() - begin) / 1000;
    }
    test('comes at once when nothing runs', async () => {
        await withContainer(image, {}, async (container) => {
            const seconds = await secondsToStop(container);
            assert.equal(await container.exited(), 0);
            assert.ok(seconds < 4, `${seconds} s`);
        });
    });
    test('comes within the budget, whatever runs', async () => {
        await withContainer(image, {}, async (container) => {
            await container.post('/start_process', { cmd: "trap '' TERM HUP INT; echo deaf; while :; do sleep 1; done" });
            container.run('sleep 1000').catch(() => {});
            const deaf = async () => (await container.output('cat /proc/[0-9]*/comm 2>/dev/null | grep -c sleep || true')) === '2';
            await eventually(deaf, 'both commands');
            const seconds = await secondsToStop(container);
            assert.equal(await container.exited(), 0, 'it ended by itself, not by the SIGKILL of the engine');
            assert.ok(seconds < 9, `${seconds} s`);
        });
    });
});
