// The script of the README, word for word, in a directory with nothing but the SDK in it.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { withDaemon } from '../blackbox/support/daemon.mjs';
import { sdkPath, startEnvd } from './support/envd.mjs';

const readme = fs.readFileSync(fileURLToPath(new URL('../../README.md', import.meta.url)), 'utf8');
const chapter = readme.split('\n## With the E2B SDK\n')[1].split('\n## ')[0];
const [script, withToken] = [...chapter.matchAll(/^```js\n(.*?)^```$/gms)].map((match) => match[1]);

function place(daemon, name, text) {
    const modules = daemon.file('node_modules');
    if (!fs.existsSync(modules)) fs.symlinkSync(path.join(sdkPath.split('/node_modules/')[0], 'node_modules'), modules);
    fs.writeFileSync(daemon.file(name), text);
    return daemon.file(name);
}
async function run(argv, env) {
    const child = spawn(argv[0], argv.slice(1), { env: { PATH: process.env.PATH, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
    let [out, err] = ['', ''];
    child.stdout.on('data', (chunk) => (out += chunk));
    child.stderr.on('data', (chunk) => (err += chunk));
    const code = await new Promise((resolve) => child.on('close', resolve));
    assert.equal(code, 0, err);
    return out;
}
function check(out) {
    for (const wanted of [/^create hello\.txt$/m, /^write hello\.txt$/m, /^hello$/m, /\/dev\/pts\/\d+/, /^main$/m]) assert.match(out, wanted);
}

test('with a sandbox URL', async () => {
    const daemon = await startEnvd({ ENVD_INSECURE: '1' });
    const file = place(daemon, 'script.mjs', script);
    check(await run([process.execPath, file], { E2B_DEBUG: 'true', E2B_SANDBOX_URL: daemon.envdUrl }));
    await daemon.stop();
    await daemon.assertClean();
});

// Debug mode wants port 49983, which is free in a network of one's own.
const ownNetwork = ['unshare', '--net', 'sh', '-c', 'ip link set lo up && exec "$@"', '--'];
const canUnshare = spawnSync(ownNetwork[0], [...ownNetwork.slice(1), 'true']).status === 0;

test('with debug mode alone', { skip: !canUnshare && 'no network namespaces' }, async () => {
    const env = { ENVD_PORT: '49983', ENVD_INSECURE: '1' };
    await withDaemon({ wrapper: ownNetwork, env }, async (daemon) => {
        const file = place(daemon, 'script.mjs', script);
        check(await run(['nsenter', '--net', '--target', String(daemon.pid), process.execPath, file], { E2B_DEBUG: 'true' }));
    });
});

test('with a token', async () => {
    const daemon = await startEnvd({});
    const text = `import { Sandbox } from 'e2b'\n${withToken}console.log((await sandbox.commands.run('echo in')).stdout)\n`
        .replace('http://127.0.0.1:49983', daemon.envdUrl)
        .replace('my-secret', daemon.secret);
    assert.equal(await run([process.execPath, place(daemon, 'token.mjs', text)], {}), 'in\n\n');
    await daemon.stop();
    await daemon.assertClean();
});
