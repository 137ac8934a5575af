// The shared secret: static, from a file, and claimed by the first client.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { finish, startFailing, useDaemon, withDaemon } from './support/daemon.mjs';
import { curl } from './support/http.mjs';
import { RawSocket } from './support/raw.mjs';

const d = useDaemon();
const pool = (secretPath) => ({
    env: { SANDBOX_AUTH_MODE: 'pool', SANDBOX_SECRET: undefined, SANDBOX_SECRET_PATH: secretPath },
});

async function statusWith(daemon, ...authorizations) {
    const raw = await RawSocket.connect(daemon.port);
    const lines = authorizations.map((a) => `Authorization: ${a}\r\n`).join('');
    raw.write(`GET /list_processes HTTP/1.1\r\nHost: x\r\n${lines}\r\n`);
    const answer = await raw.response();
    raw.close();
    return answer;
}

test('only the right secret passes', async () => {
    const s = d.secret;
    for (const [value, status] of [
        [`Bearer ${s}`, 200],
        [`bearer ${s}`, 200],
        [`BEARER ${s}`, 200],
        [`Bearer ${s}   `, 200],
        [`Bearer ${s}x`, 401],
        [`Bearer ${s.slice(0, -1)}`, 401],
        [`Bearer ${s.toUpperCase()}`, 401],
        ['Bearer ', 401],
        ['Bearer', 401],
        [`Bearer${s}`, 401],
        [s, 401],
        [`Basic ${Buffer.from(`x:${s}`).toString('base64')}`, 401],
        [`Bearer ${'x'.repeat(30_000)}`, 401],
    ]) {
        assert.equal((await statusWith(d, value)).status, status, value.slice(0, 60));
    }
    assert.equal((await statusWith(d)).status, 401);
});

test('the first Authorization header counts', async () => {
    assert.equal((await statusWith(d, `Bearer ${d.secret}`, 'Bearer wrong')).status, 200);
    assert.equal((await statusWith(d, 'Bearer wrong', `Bearer ${d.secret}`)).status, 401);
});

test('401 is JSON and names its scheme, for node and for curl', async () => {
    const answer = await d.post('/run', { cmd: 'true' }, { secret: 'wrong' });
    assert.equal(answer.status, 401);
    assert.deepEqual(answer.json, { error: 'Unauthorized' });
    assert.match(answer.headers.get('www-authenticate'), /^Bearer/);
    const { stdout } = await curl(['-o', '/dev/null', '-w', '%{http_code}', '-d', '{"cmd":"true"}', `${d.url}/run`]);
    assert.equal(stdout, '401');
});

test('401 leaves the connection usable', async () => {
    const raw = await RawSocket.connect(d.port);
    for (const [secret, status] of [['no', 401], [d.secret, 200], ['no', 401]]) {
        raw.write(`GET /list_processes HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${secret}\r\n\r\n`);
        assert.equal((await raw.response()).status, status);
    }
    raw.close();
});

test('the secret may come from a file', async () => {
    const secretFile = path.join(d.dir, 'secret-file');
    fs.writeFileSync(secretFile, 'from-a-file\n', { mode: 0o600 });
    await withDaemon({ env: { SANDBOX_SECRET: undefined, SANDBOX_SECRET_FILE: secretFile } }, async (daemon) => {
        assert.equal((await daemon.get('/list_processes', { secret: 'from-a-file' })).status, 200);
        assert.equal((await daemon.get('/list_processes', { secret: 'other' })).status, 401);
        const { stdout } = await daemon
            .post('/run', { cmd: 'env | grep -c ^SANDBOX_SECRET' }, { secret: 'from-a-file' })
            .then((a) => a.json);
        assert.equal(stdout.trim(), '0');
    });
});

test('starts that cannot be safe fail with 1 and one line that says why', async () => {
    const empty = path.join(d.dir, 'empty-secret');
    fs.writeFileSync(empty, ' \n');
    for (const [env, message] of [
        [{ SANDBOX_SECRET: undefined }, 'SANDBOX_SECRET environment variable not set'],
        [{ SANDBOX_SECRET: '' }, 'SANDBOX_SECRET environment variable not set'],
        [{ SANDBOX_AUTH_MODE: 'x' }, 'unsupported SANDBOX_AUTH_MODE'],
        [{ SANDBOX_AUTH_MODE: 'pool' }, 'SANDBOX_SECRET cannot be set when SANDBOX_AUTH_MODE=pool'],
        [pool(empty).env, 'is empty'],
        [pool(d.dir).env, d.dir],
        [{ SANDBOX_SECRET: undefined, SANDBOX_SECRET_FILE: path.join(d.dir, 'missing') }, 'missing'],
        [{ SANDBOX_SECRET: undefined, SANDBOX_SECRET_FILE: empty }, 'empty'],
    ]) {
        const end = await startFailing({ env });
        assert.equal(end.code, 1, JSON.stringify(env) + end.stderr);
        const errors = end.stderr.split('\n').filter((line) => line.includes('level=ERROR'));
        assert.equal(errors.length, 1, end.stderr);
        assert.ok(errors[0].replaceAll('\\"', '"').includes(message), errors[0]);
    }
});

test('the mode is read in any case', async () => {
    await withDaemon({ env: { SANDBOX_AUTH_MODE: 'STATIC' } }, async (daemon) => {
        assert.equal((await daemon.get('/list_processes')).status, 200);
    });
});

test('pool: the first token claims, is kept with mode 0600, and outlives a restart', async () => {
    const secretPath = path.join(d.dir, 'pool', 'deep', 'secret');
    await withDaemon(pool(secretPath), async (daemon) => {
        assert.equal((await daemon.get('/health', { secret: 'too-early' })).status, 200);
        assert.equal((await daemon.get('/nope', { secret: 'too-early' })).status, 404);
        assert.equal((await daemon.get('/list_processes', { secret: null })).status, 401);
        assert.equal((await statusWith(daemon, 'Bearer ')).status, 401);
        assert.equal((await statusWith(daemon, 'Basic abc')).status, 401);
        assert.ok(!fs.existsSync(secretPath), 'nothing has claimed yet');
        // A request that fails later has claimed too.
        assert.equal((await daemon.post('/run', '{bad json', { secret: 'owner' })).status, 400);
        assert.equal((await daemon.get('/list_processes', { secret: 'owner' })).status, 200);
        assert.equal((await daemon.get('/list_processes', { secret: 'thief' })).status, 401);
        assert.equal(fs.readFileSync(secretPath, 'utf8'), 'owner');
        assert.equal(fs.statSync(secretPath).mode & 0o7777, 0o600);
        assert.equal(fs.statSync(path.dirname(secretPath)).mode & 0o7777, 0o700);
        assert.deepEqual(fs.readdirSync(path.dirname(secretPath)), ['secret']);
    });
    await withDaemon(pool(secretPath), async (daemon) => {
        assert.equal((await daemon.get('/list_processes', { secret: 'thief' })).status, 401);
        assert.equal((await daemon.get('/list_processes', { secret: 'owner' })).status, 200);
    });
});

test('pool: of a hundred first claims one wins', async () => {
    const secretPath = path.join(d.dir, 'race', 'secret');
    await withDaemon(pool(secretPath), async (daemon) => {
        const sockets = await Promise.all(Array.from({ length: 100 }, () => RawSocket.connect(daemon.port)));
        sockets.forEach((raw, i) =>
            raw.write(`GET /list_processes HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer token-${i}\r\n\r\n`),
        );
        const answers = await Promise.all(sockets.map((raw) => raw.response()));
        sockets.forEach((raw) => raw.close());
        const winners = answers.flatMap((a, i) => (a.status === 200 ? [i] : []));
        assert.equal(winners.length, 1, `winners: ${winners}`);
        assert.ok(answers.every((a) => a.status === 200 || a.status === 401));
        assert.equal(fs.readFileSync(secretPath, 'utf8'), `token-${winners[0]}`);
        assert.equal((await daemon.get('/list_processes', { secret: `token-${winners[0]}` })).status, 200);
    });
});

test('pool: a claim that cannot be kept is not given, and the next one may try', async () => {
    const folder = path.join(d.dir, 'unkept');
    const secretPath = path.join(folder, 'secret');
    await withDaemon(pool(secretPath), async (daemon) => {
        fs.rmSync(folder, { recursive: true });
        fs.writeFileSync(folder, 'a file in the way');
        const failed = await daemon.get('/list_processes', { secret: 'first' });
        assert.equal(failed.status, 500);
        assert.deepEqual(failed.json, { error: 'Internal Server Error' });
        fs.rmSync(folder);
        assert.equal((await daemon.get('/list_processes', { secret: 'second' })).status, 200);
        assert.equal((await daemon.get('/list_processes', { secret: 'first' })).status, 401);
        assert.equal(fs.readFileSync(secretPath, 'utf8'), 'second');
    });
});

test('pool: white space around a kept secret is no part of it, and no claim locks its owner out', async () => {
    const folder = path.join(d.dir, 'blanks');
    const secretPath = path.join(folder, 'secret');
    fs.mkdirSync(folder);
    fs.writeFileSync(secretPath, '  spaced \n\n');
    await withDaemon(pool(secretPath), async (daemon) => {
        assert.equal((await daemon.get('/list_processes', { secret: 'spaced' })).status, 200);
    });
    fs.rmSync(secretPath);
    let accepted;
    await withDaemon(pool(secretPath), async (daemon) => {
        accepted = (await statusWith(daemon, 'Bearer   blanks-before')).status === 200;
        assert.equal((await statusWith(daemon, 'Bearer   blanks-before')).status === 200, accepted);
    });
    if (accepted) {
        await withDaemon(pool(secretPath), async (daemon) => {
            assert.equal((await statusWith(daemon, 'Bearer   blanks-before')).status, 200);
        });
    }
});

finish(d);
