// Commands and terminals by the SDK.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import { describe, test } from 'node:test';
import { eventually, finish, isAlive, isRoot, slow } from '../blackbox/support/daemon.mjs';
import { sdk, useEnvd } from './support/envd.mjs';

const { d, sandbox } = useEnvd();

describe('commands.run', () => {
    test('stdout, stderr and exit code', async () => {
        const result = await sandbox.commands.run('echo out; echo err >&2');
        assert.deepEqual([result.stdout, result.stderr, result.exitCode], ['out\n', 'err\n', 0]);
    });
    test('an exit code is an error of its class', async () => {
        await assert.rejects(sandbox.commands.run('echo some; exit 3'), (error) => {
            assert.ok(error instanceof sdk.CommandExitError);
            assert.deepEqual([error.exitCode, error.stdout, error.message], [3, 'some\n', 'exit status 3']);
            return true;
        });
    });
    test('a signal', async () => {
        await assert.rejects(sandbox.commands.run('kill -TERM $$'), { exitCode: -1, message: 'signal: terminated' });
    });
    test('environment and working directory', async () => {
        const result = await sandbox.commands.run('echo "$A-$E2B_SANDBOX"; pwd', { envs: { A: 'b' }, cwd: d.work });
        assert.equal(result.stdout, `b-true\n${fs.realpathSync(d.work)}\n`);
        await assert.rejects(sandbox.commands.run('true', { cwd: '/not/there' }), sdk.InvalidArgumentError);
    });
    test('an unknown user', async () => {
        await assert.rejects(sandbox.commands.run('true', { user: 'nobody-of-that-name' }), (error) => {
            assert.ok(error instanceof sdk.AuthenticationError);
            assert.match(error.message, /invalid username: 'nobody-of-that-name'/);
            return true;
        });
    });
    test('the daemon keeps its secrets from commands', async () => {
        const { stdout } = await sandbox.commands.run('env');
        assert.doesNotMatch(stdout, /SANDBOX_SECRET|ENVD_|BLACKBOX_MARKER/);
    });
    test('large output arrives whole', async () => {
        const size = slow ? 2_000_000 : 20_000_000;
        let got = 0;
        await sandbox.commands.run(`head -c ${size} /dev/zero | tr '\\0' a`, { onStdout: (s) => (got += s.length) });
        assert.equal(got, size);
    });
    test('a script that no argument can hold', async () => {
        const script = `: ${'x'.repeat(200_000)}; echo "$0 $#"; cat; id -un`;
        for (const user of [os.userInfo().username, ...(isRoot ? ['nobody'] : [])]) {
            assert.match((await sandbox.commands.run(script, { user })).stdout, new RegExp(`^\\S*bash 0\n${user}\n$`));
        }
    });
    test('a timeout ends it', async () => {
        const command = `exec sleep 1000.${process.pid}`; // no other has this argument
        await assert.rejects(sandbox.commands.run(command, { timeoutMs: 300 }), sdk.TimeoutError);
        const living = async () => (await sandbox.commands.list()).some((p) => p.args.includes(command));
        await eventually(async () => !(await living()), 'the end of the command');
        const untimed = await sandbox.commands.run(command, { background: true, timeoutMs: 0 });
        assert.ok(await living(), 'it would be seen');
        await untimed.kill();
    });
    test('many at once', async () => {
        const jobs = Array.from({ length: 40 }, (_, i) => sandbox.commands.run(`echo ${i}`));
        const results = await Promise.all(jobs);
        assert.deepEqual(results.map((r) => r.stdout), jobs.map((_, i) => `${i}\n`));
    });
});

describe('background commands', () => {
    test('stdin, to its end', async () => {
        const handle = await sandbox.commands.run('cat', { background: true, stdin: true });
        await sandbox.commands.sendStdin(handle.pid, 'one\n');
        await sandbox.commands.sendStdin(handle.pid, 'two\n');
        await sandbox.commands.closeStdin(handle.pid);
        assert.equal((await handle.wait()).stdout, 'one\ntwo\n');
    });
    test('without stdin there is nothing to read', async () => {
        const handle = await sandbox.commands.run('cat; sleep 1000', { background: true });
        await assert.rejects(sandbox.commands.sendStdin(handle.pid, 'x'), sdk.SandboxError);
        assert.equal(await handle.kill(), true);
    });
    test('list tells what was asked for, and kill is told apart', async () => {
        const handle = await sandbox.commands.run('exec sleep 1000', { background: true, envs: { K: 'v' }, cwd: d.work });
        const [entry] = (await sandbox.commands.list()).filter((p) => p.pid === handle.pid);
        assert.deepEqual(
            [entry.cmd, entry.args, entry.envs, entry.cwd],
            ['/bin/bash', ['-l', '-c', 'exec sleep 1000'], { K: 'v' }, d.work],
        );
        assert.equal(await sandbox.commands.kill(handle.pid), true);
        assert.ok(!isAlive(handle.pid), 'dead when kill is answered');
        assert.throws(() => process.kill(handle.pid, 0), { code: 'ESRCH' });
        assert.equal(await sandbox.commands.kill(handle.pid), false);
        await assert.rejects(handle.wait(), { exitCode: -1, message: 'signal: killed' });
        assert.deepEqual((await sandbox.commands.list()).filter((p) => p.pid === handle.pid), []);
    });
    test('a client that leaves leaves the command running; another connects', async () => {
        const first = await sandbox.commands.run('read line; echo got $line; read line', { background: true, stdin: true });
        await first.disconnect();
        assert.ok(isAlive(first.pid));
        const second = await sandbox.commands.connect(first.pid);
        await sandbox.commands.sendStdin(first.pid, 'me\n');
        await eventually(() => second.stdout === 'got me\n', 'output at the second client');
        await sandbox.commands.sendStdin(first.pid, '\n');
        assert.equal((await second.wait()).exitCode, 0);
        const late = await sandbox.commands.connect(first.pid);
        assert.deepEqual((({ exitCode, stdout }) => ({ exitCode, stdout }))(await late.wait()), { exitCode: 0, stdout: '' });
    });
    test('what does not exist cannot be connected to', async () => {
        await assert.rejects(sandbox.commands.connect(4_000_000), sdk.NotFoundError);
    });
});

describe('terminals', () => {
    const text = () => {
        const state = { text: '' };
        state.onData = (bytes) => (state.text += Buffer.from(bytes).toString());
        return state;
    };
    test('size, input, resize, end', async () => {
        const seen = text();
        const handle = await sandbox.pty.create({ cols: 91, rows: 27, onData: seen.onData, timeoutMs: 0 });
        await sandbox.pty.sendInput(handle.pid, Buffer.from('stty size\n'));
        await eventually(() => seen.text.includes('27 91'), 'the size');
        await sandbox.pty.resize(handle.pid, { cols: 100, rows: 30 });
        await sandbox.pty.sendInput(handle.pid, Buffer.from('stty size; tty\n'));
        await eventually(() => seen.text.includes('30 100'), 'the new size');
        await sandbox.pty.sendInput(handle.pid, Buffer.from('exit 5\n'));
        await assert.rejects(handle.wait(), { exitCode: 5 });
        assert.match(seen.text, /\/dev\/pts\/\d+/);
    });
    test('kill and reattach', async () => {
        const first = text();
        const handle = await sandbox.pty.create({ cols: 80, rows: 24, onData: first.onData, timeoutMs: 0 });
        const second = text();
        const other = await sandbox.pty.connect(handle.pid, { onData: second.onData });
        await sandbox.pty.sendInput(handle.pid, Buffer.from('echo bo""th\n'));
        await eventually(() => first.text.includes('both') && second.text.includes('both'), 'the same output at both');
        assert.equal(await sandbox.pty.kill(handle.pid), true);
        await assert.rejects(handle.wait(), { exitCode: -1 });
        await assert.rejects(other.wait(), { exitCode: -1 });
    });
});

finish(d);
