// Where a command could look for the secret: as another user it finds nothing at all, as the same user nothing in what
// it inherits and nothing in /proc.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';
import { isRoot, withDaemon } from '../blackbox/support/daemon.mjs';
import { envelope, parseEnvelopes, output } from '../e2b/support/connect.mjs';

// Its own, because the whole of /proc is searched, and this test may run twice on a machine.
const secret = `VerySecretToken-${process.pid}-4c1f8e`;
// Everything of every process, as far as it may be read; what is found is printed.
const search = (needle) =>
    `for p in /proc/[0-9]*; do for f in environ cmdline comm maps auxv; do ` +
    `grep -qa '${needle}' $p/$f 2>/dev/null && [ "\${p#/proc/}" != "$$" ] && ! grep -qa SELF_MARK $p/environ 2>/dev/null && echo "$p/$f"; done; done; ` +
    `env | grep -a '${needle}'; true`;

// How the daemon can be given its secret.
const given = {
    'by the variable': () => ({ env: { SANDBOX_SECRET: secret } }),
    'by the flag': () => ({ env: { SANDBOX_SECRET: undefined }, args: ['--secret', secret, `--envd-access-token=${secret}`] }),
    'by a file': (dir) => {
        const file = path.join(dir, 'secret');
        fs.writeFileSync(file, secret, { mode: 0o600 });
        return { env: { SANDBOX_SECRET: undefined, SANDBOX_SECRET_FILE: file } };
    },
    'by the first client': (dir) => ({
        env: { SANDBOX_SECRET: undefined, SANDBOX_AUTH_MODE: 'pool', SANDBOX_SECRET_PATH: path.join(dir, 'kept', 'secret') },
    }),
};

async function withSecret(how, body) {
    const dir = fs.mkdtempSync('/tmp/sandbox-secrecy-');
    fs.chmodSync(dir, 0o755);
    try {
        const options = given[how](dir);
        const env = { ENVD_PORT: '0', ENVD_ACCESS_TOKEN: secret, ...options.env };
        await withDaemon({ ...options, secret, env }, (daemon) => body(daemon, dir));
    } finally {
        fs.rmSync(dir, { recursive: true });
    }
}

for (const how of Object.keys(given)) {
    describe(`a secret given ${how}`, () => {
        test('a command of another user cannot read it at all', { skip: !isRoot && 'needs root' }, async () => {
            await withSecret(how, async (daemon, dir) => {
                const as = (cmd) => daemon.run(cmd, { user: 'nobody', cwd: '/', env: { SELF_MARK: '1' } });
                assert.equal((await as('id -un')).stdout, 'nobody\n');
                assert.equal((await as(search(secret.slice(0, -1)))).stdout, '');
                for (const file of ['environ', 'mem', 'maps', 'auxv', 'pagemap', 'stack']) {
                    const end = await as(`head -c 1 /proc/${daemon.pid}/${file} 2>&1 >/dev/null`);
                    assert.match(end.stdout, /denied|not permitted/i, file);
                }
                for (const look of ['fd', 'fdinfo', 'map_files', 'cwd', 'root', 'exe']) {
                    const end = await as(`ls -l /proc/${daemon.pid}/${look}/ 2>&1 >/dev/null`);
                    assert.match(end.stdout, /denied|not permitted/i, look);
                }
                const end = await as(`grep -ra '${secret}' ${dir} ${daemon.tmp} ${daemon.work}; kill -0 ${daemon.pid}`);
                assert.equal(end.stdout, '');
                assert.match(end.stderr, /not permitted/i, 'nor can it signal the daemon');
            });
        });
        test('a command of the same user finds it in nothing it inherits, and not in /proc', async () => {
            await withSecret(how, async (daemon) => {
                const env = { SELF_MARK: '1' };
                assert.equal((await daemon.run(search(secret.slice(0, -1)), { env })).stdout, '');
                const own = await daemon.run(`cat /proc/${daemon.pid}/environ /proc/${daemon.pid}/cmdline | tr '\\0' '\\n'`);
                assert.ok(!own.stdout.includes(secret), own.stdout);
                const start = { process: { cmd: '/bin/sh', args: ['-c', 'env; tr "\\0" "\\n" < /proc/$PPID/environ'] }, stdin: false };
                const url = `http://127.0.0.1:${daemon.envdPort}/process.Process/Start`;
                const headers = { 'content-type': 'application/connect+json', 'x-access-token': secret };
                const answer = await fetch(url, { method: 'POST', headers, body: envelope(start) });
                const text = output(parseEnvelopes(Buffer.from(await answer.arrayBuffer()))).toString();
                assert.match(text, /^E2B_SANDBOX=/m);
                assert.ok(!text.includes(secret));
            });
        });
    });
}

test('without root, a command of the same user cannot look into the daemon', { skip: !isRoot && 'needs root' }, async () => {
    const wrapper = ['setpriv', '--reuid=61999', '--regid=61999', '--clear-groups'];
    await withDaemon({ wrapper, secret }, async (daemon) => {
        for (const file of ['environ', 'mem', 'maps']) {
            const end = await daemon.run(`id -u; head -c 1 /proc/${daemon.pid}/${file}`, { cwd: '/' });
            assert.equal(end.stdout, '61999\n');
            assert.match(end.stderr, /denied|not permitted/i, file);
        }
        const traced = await daemon.run(`ls -l /proc/${daemon.pid}/fd`, { cwd: '/' });
        assert.match(traced.stderr, /denied|not permitted/i);
    });
});
