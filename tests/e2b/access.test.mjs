// Tokens, signatures, /init, the shared port, and both dialects at one daemon.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import { describe, test } from 'node:test';
import { eventually, finish, isRoot } from '../blackbox/support/daemon.mjs';
import { stream, unary } from './support/connect.mjs';
import { debugSandbox, sdk, sdkPath, startEnvd, tokenSandbox, useEnvd } from './support/envd.mjs';

const token = 'envd-token-42';
const { d } = useEnvd({ ENVD_ACCESS_TOKEN: token });
const refused = 'unauthorized access, please provide a valid access token or method signing if supported';
const list = (url, headers) => unary(url, 'process.Process/List', {}, headers);

describe('a listener with a token', () => {
    test('nothing but /health answers without it', async () => {
        assert.equal((await fetch(`${d.envdUrl}/health`)).status, 204);
        for (const headers of [{}, { 'x-access-token': 'wrong' }, { 'x-access-token': '' }, { authorization: `Bearer ${d.secret}` }]) {
            for (const path of ['/metrics', '/envs', '/files?path=/etc/passwd']) {
                assert.equal((await fetch(d.envdUrl + path, { headers })).status, 401, path);
            }
            assert.equal((await fetch(`${d.envdUrl}/init`, { method: 'POST', headers, body: '{}' })).status, 401);
            const answer = await list(d.envdUrl, headers);
            assert.deepEqual([answer.status, answer.json], [401, { message: refused, code: 401 }]);
        }
        assert.equal((await stream(d.envdUrl, 'process.Process/Start', { process: { cmd: 'true' } })).status, 401);
        assert.equal((await list(d.envdUrl, { 'x-access-token': d.secret })).status, 401);
        await assert.rejects(tokenSandbox(d.envdUrl, 'wrong').commands.run('true'), sdk.AuthenticationError);
    });
    test('the token is not to be found from outside', { skip: !isRoot }, async () => {
        const seen = (daemon) => ['environ', 'cmdline'].map((name) => fs.readFileSync(`/proc/${daemon.pid}/${name}`, 'latin1')).join();
        assert.match(seen(d), /ENVD_ACCESS_TOKEN/);
        assert.ok(!seen(d).includes(token) && !seen(d).includes(d.secret));
        for (const args of [['--envd-access-token', 'by-flag'], ['--envd-access-token=by-flag']]) {
            const flagged = await startEnvd({}, args);
            assert.equal((await list(flagged.envdUrl, { 'x-access-token': 'by-flag' })).status, 200);
            assert.match(seen(flagged), /--envd-access-token/);
            assert.ok(!seen(flagged).includes('by-flag'));
            await flagged.stop();
            await flagged.assertClean();
        }
    });
    test('the SDK with the token', async () => {
        const sandbox = tokenSandbox(d.envdUrl, token);
        assert.equal((await sandbox.commands.run('echo in')).stdout, 'in\n');
        await sandbox.files.write(d.file('f'), 'x');
        assert.equal(await sandbox.files.read(d.file('f')), 'x');
        assert.equal(await sandbox.isRunning(), true);
    });
    test('by default the token is the sandbox secret', async () => {
        const other = await startEnvd({});
        assert.equal((await tokenSandbox(other.envdUrl, other.secret).commands.run('echo in')).stdout, 'in\n');
        assert.equal((await list(other.envdUrl, {})).status, 401);
        await other.stop();
        await other.assertClean();
    });
    test('pool mode: a token claims nothing here', async () => {
        const options = {
            SANDBOX_AUTH_MODE: 'pool', SANDBOX_SECRET: undefined,
            SANDBOX_SECRET_PATH: `${d.work}/claims/${Date.now()}`,
        };
        const pool = await startEnvd(options);
        for (const url of [pool.envdUrl, pool.url]) {
            assert.equal((await list(url, { 'x-access-token': 'claimed' })).status, 401);
        }
        assert.equal((await pool.post('/run', { cmd: 'true' }, { secret: 'claimed' })).status, 200);
        for (const url of [pool.envdUrl, pool.url]) {
            assert.equal((await list(url, { 'x-access-token': 'claimed' })).status, 200);
            assert.equal((await list(url, { 'x-access-token': 'other' })).status, 401);
        }
        await pool.stop();
        await pool.assertClean();
    });
});

describe('signed URLs', () => {
    test('download and upload', async () => {
        const sandbox = tokenSandbox(d.envdUrl, token);
        const up = await sandbox.uploadUrl(d.file('signed'), { useSignatureExpiration: 60_000 });
        const form = new FormData();
        form.append('file', new Blob(['content']), 'ignored');
        assert.equal((await fetch(up, { method: 'POST', body: form })).status, 200);
        const down = await sandbox.downloadUrl(d.file('signed'));
        assert.equal(await (await fetch(down)).text(), 'content');
        const message = async (url, headers) => {
            const answer = await fetch(url, { headers });
            assert.equal(answer.status, 401);
            return (await answer.json()).message;
        };
        assert.equal(await message(up), 'invalid signature');
        assert.equal(await message(down.replace('signed', 'other')), 'invalid signature');
        assert.equal(await message(down, { 'x-access-token': 'wrong' }), 'access token present in header but does not match');
        assert.equal(await message(`${d.envdUrl}/files?path=/etc/passwd`), 'missing signature query parameter');
        const short = await sandbox.downloadUrl(d.file('signed'), { useSignatureExpiration: 1 });
        await eventually(async () => (await fetch(short)).status === 401, 'expiry');
        assert.equal(await message(short), 'signature is already expired');
    });
});

describe('/init', () => {
    const init = (url, body, headers) =>
        fetch(`${url}/init`, { method: 'POST', headers, body: body === undefined ? undefined : JSON.stringify(body) });
    test('sets variables, directory and user for whoever has the token', async () => {
        const sandbox = tokenSandbox(d.envdUrl, token);
        const answer = await init(d.envdUrl, { accessToken: token, envVars: { G: 'global', E2B_SANDBOX: 'no' }, defaultWorkdir: d.work });
        assert.equal(answer.status, 204);
        assert.match(answer.headers.get('x-envd-version'), /^0\.6\./);
        assert.equal((await sandbox.commands.run('echo $G $E2B_SANDBOX; pwd')).stdout, `global true\n${fs.realpathSync(d.work)}\n`);
        const envs = await fetch(`${d.envdUrl}/envs`, { headers: { 'x-access-token': token } });
        assert.deepEqual(await envs.json(), { G: 'global', E2B_SANDBOX: 'true' });
        assert.equal((await init(d.envdUrl, { envVars: {} }, { 'x-access-token': token })).status, 204);
        assert.equal((await sandbox.commands.run('echo "[$G]"')).stdout, '[]\n');
        assert.equal((await init(d.envdUrl, { accessToken: 'wrong', envVars: { G: 'x' } })).status, 401);
        assert.equal((await init(d.envdUrl, undefined, { 'x-access-token': token })).status, 204);
        assert.equal((await init(d.envdUrl, { timestamp: 'yesterday' }, { 'x-access-token': token })).status, 400);
    });
    test('older data is ignored', async () => {
        const headers = { 'x-access-token': token };
        assert.equal((await init(d.envdUrl, { timestamp: '2030-01-01T00:00:00Z', envVars: { T: 'new' } }, headers)).status, 204);
        assert.equal((await init(d.envdUrl, { timestamp: '2029-01-01T00:00:00Z', envVars: { T: 'old' } }, headers)).status, 204);
        assert.equal((await tokenSandbox(d.envdUrl, token).commands.run('echo $T')).stdout, 'new\n');
        assert.equal((await init(d.envdUrl, { timestamp: '2031-01-01T00:00:00Z', envVars: {} }, headers)).status, 204);
    });
    test('insecure: open until a token is set, on loopback only', async () => {
        const open = await startEnvd({ ENVD_INSECURE: '1' });
        const listening = fs.readFileSync('/proc/net/tcp', 'utf8');
        const port = open.envdPort.toString(16).toUpperCase().padStart(4, '0');
        assert.match(listening, new RegExp(`0100007F:${port} 00000000:0000 0A`));
        assert.equal((await (await debugSandbox(open)).commands.run('echo in')).stdout, 'in\n');
        assert.equal((await init(open.envdUrl, { accessToken: 'first' })).status, 204);
        assert.equal((await init(open.envdUrl, { accessToken: 'second' })).status, 401);
        assert.equal((await list(open.envdUrl, {})).status, 401);
        assert.equal((await list(open.envdUrl, { 'x-access-token': 'first' })).status, 200);
        await open.stop();
        await open.assertClean();
    });
});

describe('the main port', () => {
    test('the same services behind the shared secret; /health and /metrics stay what they are', async () => {
        assert.equal((await list(d.url, {})).status, 401);
        assert.equal((await list(d.url, { 'x-access-token': token })).status, 401);
        assert.equal((await list(d.url, { authorization: `Bearer ${d.secret}` })).status, 200);
        assert.equal((await list(d.url, { 'x-access-token': d.secret, authorization: 'Basic cm9vdDo=' })).status, 200);
        assert.deepEqual((await d.get('/health')).json, { status: 'ok' });
        assert.match((await d.get('/metrics')).text, /^# HELP/);
        const sandbox = tokenSandbox(d.url, d.secret);
        assert.equal((await sandbox.commands.run('echo in')).stdout, 'in\n');
        await sandbox.files.write(d.file('main'), 'x');
        assert.equal(await (await fetch(await sandbox.downloadUrl(d.file('main')))).text(), 'x');
        assert.equal((await d.post('/init', {}, { secret: null })).status, 401);
        assert.equal((await d.post('/init', { envVars: {} })).status, 204);
        assert.equal((await d.post('/read_file', { path: d.file('main') }, { headers: { 'x-access-token': d.secret }, secret: null })).status, 401);
    });
    test('one table of processes', async () => {
        const sandbox = tokenSandbox(d.envdUrl, token);
        const ours = await sandbox.commands.run('echo seen; sleep 1000', { background: true });
        assert.ok(!(await d.list()).some((p) => p.pid === ours.pid), 'not in the plain list');
        const entry = (await d.list('?all=true')).find((p) => p.pid === ours.pid);
        await eventually(async () => (await d.get(`/process_logs_streaming?id=${entry.id}&follow=false`)).text.includes('seen'), 'its log');
        const killed = await d.post('/kill_process', { id: entry.id });
        assert.equal(killed.status, 200);
        await assert.rejects(ours.wait(), { exitCode: -1 });

        const theirs = await d.start('read line; echo got $line', { stdin: true });
        const handle = await sandbox.commands.connect(theirs.pid);
        await sandbox.commands.sendStdin(theirs.pid, 'it\n');
        assert.equal((await handle.wait()).stdout, 'got it\n');
    });
});

test("a user's own script, unchanged, by the environment alone", async () => {
    const open = await startEnvd({ ENVD_INSECURE: '1' });
    const script = open.file('script.cjs');
    fs.writeFileSync(script, `
        const { Sandbox } = require(${JSON.stringify(sdkPath)});
        (async () => {
            const sandbox = await Sandbox.create();
            await sandbox.files.write('${open.work}/hello', 'from a script');
            const result = await sandbox.commands.run('cat ${open.work}/hello');
            console.log(result.stdout);
            await sandbox.kill();
        })();`);
    const env = { PATH: process.env.PATH, E2B_DEBUG: 'true', E2B_SANDBOX_URL: open.envdUrl };
    const child = spawn(process.execPath, [script], { env, stdio: ['ignore', 'pipe', 'inherit'] });
    let out = '';
    child.stdout.on('data', (chunk) => (out += chunk));
    assert.equal(await new Promise((resolve) => child.on('exit', resolve)), 0);
    assert.equal(out, 'from a script\n');
    await open.stop();
    await open.assertClean();
});

finish(d);
