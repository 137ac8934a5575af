// Both dialects pass their suites against one running daemon at the same time.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { finish, slow } from '../blackbox/support/daemon.mjs';
import { settings } from '../blackbox/support/settings.mjs';
import { useEnvd } from './support/envd.mjs';

const { d } = useEnvd({ ENVD_INSECURE: '1', [settings.killGrace]: '1' });
const lanes = {
    koyeb: slow ? ['run', 'files'] : ['run', 'files', 'run_streaming', 'processes', 'logs'],
    e2b: slow ? ['commands', 'files'] : ['commands', 'files', 'watch', 'git', 'framing', 'calls', 'python', 'suite'],
};
const place = { koyeb: '../blackbox/', e2b: './' };

function runSuite(file, shared) {
    const env = { ...process.env, BLACKBOX_DAEMON: JSON.stringify(shared) };
    delete env.NODE_TEST_CONTEXT; // It is a program of its own, not a part of this test.
    const argv = ['--test-reporter=tap', fileURLToPath(new URL(file, import.meta.url))];
    const child = spawn(process.execPath, argv, { env, stdio: ['ignore', 'pipe', 'inherit'] });
    let out = '';
    child.stdout.on('data', (chunk) => (out += chunk));
    return new Promise((resolve) => child.on('close', (code) => resolve({ code, out })));
}

test('the suites of both, side by side', { timeout: 850_000 }, async () => {
    const log = d.file('daemon.log');
    fs.writeFileSync(log, d.stderr);
    d.child.stderr.on('data', (chunk) => fs.appendFileSync(log, chunk));
    const { pid, port, proxyPort, envdPort, url, envdUrl, secret, token, tmp, work } = d;
    const shared = { pid, port, proxyPort, envdPort, url, envdUrl, secret, token, tmp, work, log };
    const began = {};
    const ended = {};
    const lane = async (name) => {
        began[name] = Date.now();
        for (const file of lanes[name]) {
            const { code, out } = await runSuite(`${place[name]}${file}.test.mjs`, shared);
            assert.equal(code, 0, `${file}\n${out}`);
            assert.match(out, /^# pass [1-9]/m, file);
        }
        ended[name] = Date.now();
    };
    const outcomes = await Promise.allSettled(Object.keys(lanes).map(lane));
    for (const { reason } of outcomes) if (reason) throw reason;
    assert.ok(Math.max(began.koyeb, began.e2b) < Math.min(ended.koyeb, ended.e2b), 'at the same time');
});

finish(d);
