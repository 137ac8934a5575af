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

// A suite whose test has failed may wait for ever for what that test has left open: nobody stops this daemon at its
// end. So each has its time, and all of them have; a suite that is late is killed, and what it said is shown.
const suiteLimitMs = 150_000 * (slow ? 2 : 1);
const wholeLimitMs = 420_000 * (slow ? 2 : 1);
const suites = new Set();
const began = Date.now();

function end(child) {
    try {
        process.kill(-child.pid, 'SIGKILL'); // with the clients that it has started
    } catch {
        // ended on its own
    }
}
const endAll = () => suites.forEach(end);
process.on('exit', endAll);
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => process.exit(1));

const tell = (text) => console.log(`${((Date.now() - began) / 1000).toFixed(1)} s: ${text}`);

async function runSuite(file, shared) {
    const env = { ...process.env, BLACKBOX_DAEMON: JSON.stringify(shared) };
    delete env.NODE_TEST_CONTEXT; // It is a program of its own, not a part of this test.
    const argv = ['--test-reporter=tap', fileURLToPath(new URL(file, import.meta.url))];
    const child = spawn(process.execPath, argv, { env, stdio: ['ignore', 'pipe', 'inherit'], detached: true });
    suites.add(child);
    let out = '';
    child.stdout.on('data', (chunk) => (out += chunk));
    const limitMs = Math.min(suiteLimitMs, began + wholeLimitMs - Date.now());
    let late = false;
    const timer = setTimeout(() => {
        late = true;
        end(child);
    }, limitMs);
    child.on('exit', () => {
        clearTimeout(timer);
        suites.delete(child);
        end(child); // Clients that it has left would hold its output.
    });
    const code = await new Promise((resolve) => child.on('close', resolve));
    assert.ok(!late, `${file}: not within ${Math.round(limitMs / 1000)} s\n${out}`);
    assert.equal(code, 0, `${file}\n${out}`);
    assert.match(out, /^# pass [1-9]/m, file);
}

test('the suites of both, side by side', { timeout: wholeLimitMs + 10_000 }, async () => {
    const log = d.file('daemon.log');
    fs.writeFileSync(log, d.stderr);
    d.child.stderr.on('data', (chunk) => fs.appendFileSync(log, chunk));
    const { pid, port, proxyPort, envdPort, url, envdUrl, secret, token, tmp, work } = d;
    const shared = { pid, port, proxyPort, envdPort, url, envdUrl, secret, token, tmp, work, log };
    const times = [];
    let failed = false;
    const lane = async (name) => {
        const from = Date.now();
        for (const suite of lanes[name]) {
            if (failed) return; // The other lane has: that is what is to be seen.
            tell(`${name} ${suite}`);
            try {
                await runSuite(`${place[name]}${suite}.test.mjs`, shared);
            } catch (error) {
                failed = true;
                tell(`${name} ${suite} failed`);
                throw error;
            }
            tell(`${name} ${suite} passed`);
        }
        times.push({ from, to: Date.now() });
    };
    const outcomes = await Promise.allSettled(Object.keys(lanes).map(lane));
    for (const { reason } of outcomes) if (reason) throw reason;
    assert.ok(Math.max(...times.map((t) => t.from)) < Math.min(...times.map((t) => t.to)), 'at the same time');
});

finish(d);
