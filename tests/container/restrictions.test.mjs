// Where much is forbidden: read-only roots, accounts without rights, little memory, few processes.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { eventually } from './support/api.mjs';
import { images, withContainer } from './support/podman.mjs';

// More than /run keeps in memory, so it has to be put somewhere.
const longOutput = 'seq 1 1500000 | tail -c 9000000';

async function servesInFull(container) {
    const { stdout, code } = await container.run(longOutput);
    assert.deepEqual([stdout.length, code, stdout.endsWith('\n1500000\n')], [9_000_000, 0, true]);
    // Longer than execve takes, so the shell gets it another way.
    assert.equal(await container.output(`echo ${'x'.repeat(200_000)} | wc -c`), '200001');
    assert.equal((await container.run('sleep 1000', { timeout: 0.1 })).timed_out, true);
    const started = await container.post('/start_process', { cmd: 'seq 1 20000; exec sleep 1000' });
    await container.post('/kill_process', { id: started.id });
}

describe('read-only root', () => {
    for (const [name, flags] of [
        ['with nothing that can be written', ['--read-only', '--read-only-tmpfs=false']],
        ['with a /tmp', ['--read-only', '--tmpfs', '/tmp']],
    ]) {
        test(name, async () => {
            await withContainer(images.slim, { flags }, async (container) => {
                await servesInFull(container);
                const refused = await container.post('/write_file', { path: '/opt/x', content: 'x' });
                assert.match(refused.error, /read-only file system/);
                if (flags.includes('/tmp')) await container.post('/write_file', { path: '/tmp/x', content: 'x' });
            });
        });
    }
});

describe('without rights', () => {
    test('as the account of the image', async () => {
        const flags = ['--user', 'user', '--cap-drop=all', '--security-opt=no-new-privileges'];
        await withContainer(images.full, { flags }, async (container) => {
            assert.equal(await container.output('id -un'), 'user');
            await servesInFull(container);
            await container.post('/write_file', { path: '/home/user/x', content: 'x' });
            assert.match((await container.post('/write_file', { path: '/etc/x', content: 'x' })).error, /permission denied/);
            assert.notEqual((await container.run('sudo -n true')).code, 0);
        });
    });
    test('as a number that no account has, on a read-only root', async () => {
        const flags = ['--user', '4321:4321', '--cap-drop=all', '--read-only', '--read-only-tmpfs=false'];
        await withContainer(images.slim, { flags }, async (container) => {
            assert.equal(await container.output('id -u'), '4321');
            await servesInFull(container);
        });
    });
});

describe('limits hit by a command', () => {
    test('memory: the command dies, the daemon does not', async () => {
        const flags = ['-m', '96m', '--memory-swap', '96m'];
        await withContainer(images.slim, { flags }, async (container) => {
            const pid = await container.state('Pid');
            for (let i = 0; i < 2; ++i) {
                // The shell's child collects a line that never ends.
                const result = await container.run('tail /dev/zero; echo "code $?"');
                assert.match(result.stdout, /code 137/, 'the limit was hit');
                assert.ok(await container.healthy());
            }
            const told = await container.run('exec tail /dev/zero');
            assert.deepEqual([told.code, told.oom_killed], [137, true]);
            const started = await container.post('/start_process', { cmd: 'exec tail /dev/zero' });
            const ended = async () => {
                const { json } = await container.request('GET', '/list_processes');
                return json.processes.find((p) => p.id === started.id && p.status !== 'running');
            };
            const found = await eventually(ended, 'the end of the process');
            assert.deepEqual([found.status, found.exit_code], ['failed', 137]);
            assert.deepEqual([await container.state('Pid'), await container.state('Running')], [pid, 'true']);
            assert.equal(await container.output('echo still here'), 'still here');
        });
    });
    test('processes: the daemon answers and ends them', async () => {
        await withContainer(images.slim, { flags: ['--pids-limit', '64'] }, async (container) => {
            const bomb = 'n=0; while sleep 1000 & do n=$((n + 1)); [ $n -lt 100 ] || break; done 2>&1; wait';
            const started = await container.post('/start_process', { cmd: bomb });
            const full = async () => {
                const { status, json } = await container.request('POST', '/run', { cmd: 'true | true | true' });
                return status !== 200 || json.code !== 0;
            };
            await eventually(full, 'the limit is hit');
            assert.ok(await container.healthy());
            await container.post('/kill_process', { id: started.id });
            assert.equal(await container.output('echo free | cat | cat'), 'free');
            assert.equal(await container.zombies(), 0);
        });
    });
});
