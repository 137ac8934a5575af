// Each allocation that a request makes and the daemon's reserve does not cover fails once: the request may fail with
// it, but nothing hangs, nothing is left behind, and what is told whole is whole.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { test } from 'node:test';
import { eventually, slow, withDaemon } from '../blackbox/support/daemon.mjs';

const shim = process.env.ALLOCATION_SHIM;
const skip = (slow && 'a sanitizer must be the first library') || (!shim && 'ALLOCATION_SHIM is not set: run it by ctest');
const covered = 4096; // by the reserve
const most = 200;

const size = 2_000_000;
const large = `head -c ${size} /dev/zero | tr '\\0' a`;
const content = 'a'.repeat(300_000);
const letters = (text) => text.split('a').length - 1;

async function withAllocations(body) {
    const dir = fs.mkdtempSync('/tmp/sandbox-allocations-');
    const file = `${dir}/control`;
    const write = (...numbers) => fs.writeFileSync(file, Buffer.from(new BigInt64Array(numbers.map(BigInt)).buffer), { flag: 'r+' });
    fs.writeFileSync(file, Buffer.alloc(32));
    // The `nth` from now on; 0 for none. Returns how many have failed before.
    const fail = (nth) => {
        const failed = Number(fs.readFileSync(file).readBigInt64LE(24));
        write(covered, 0, nth, 0);
        return failed;
    };
    try {
        await withDaemon({ env: { LD_PRELOAD: shim, ALLOCATION_FILE: file } }, (daemon) => body(daemon, fail));
    } finally {
        fs.rmSync(dir, { recursive: true });
    }
}

// Fails one allocation after the other of what `ask` makes the daemon do, until there is none left. `check` looks at
// an answer of 200 or 201.
function each(name, ask, check) {
    test(name, { skip }, async () => {
        await withAllocations(async (daemon, fail) => {
            await daemon.post('/run', { cmd: 'true', cwd: '/' });
            let failures = 0;
            for (let nth = 1; ; ++nth) {
                assert.ok(nth < most, 'it comes to an end');
                fail(nth);
                const answer = await ask(daemon).catch((error) => error);
                await eventually(async () => daemon.survivors().length === 0, `${nth}: nothing is left running`);
                const failed = fail(0);
                assert.ok(daemon.running, `${nth}: the daemon lives`);
                await eventually(async () => {
                    const { json } = await daemon.get('/list_processes?all=true');
                    return json.processes.every(({ status }) => status !== 'running');
                }, `${nth}: ends are told`);
                if ([200, 201].includes(answer.status)) await check(answer, daemon);
                else assert.ok(failed > 0 && (answer instanceof Error || answer.status >= 500), `${nth}: ${answer.status} ${answer.text}`);
                if (failed === 0) break;
                ++failures;
            }
            assert.ok(failures > 0, 'something has failed');
        });
    });
}

each('/run', (d) => d.post('/run', { cmd: large, timeout: 5 }), ({ json }) => {
    assert.deepEqual([json.code, json.stdout.length], [0, size]);
});
each('/run with a timeout that passes', (d) => d.post('/run', { cmd: 'sleep 341', cwd: '/', timeout: 0.2 }), ({ json }) => {
    assert.equal(json.timed_out, true);
});
each('/run with input', (d) => d.post('/run', { cmd: 'cat', stdin: content, timeout: 5 }), ({ json }) => {
    // Killed for want of memory, or whole.
    if (json.code === 0) assert.equal(json.stdout.length, content.length);
});
each('/run_streaming', (d) => d.post('/run_streaming', { cmd: large, timeout: 5 }), ({ text }) => {
    assert.ok(text.includes('event: complete'), 'a stream is whole or cut');
    if (text.includes('"code":0')) assert.equal(letters(text.replaceAll('"data"', '')) >= size, true);
});
each('/start_process', async (d) => {
    const answer = await d.post('/start_process', { cmd: `${large}; sleep 0.05; echo b`, timeout: 5 });
    if (answer.status === 201) await d.ended(answer.json.id);
    return answer;
}, () => {});
each('/write_file', (d) => d.post('/write_file', { path: d.file('written'), content }), (answer, d) => {
    assert.equal(fs.readFileSync(d.file('written'), 'utf8'), content);
});
each('/read_file', (d) => {
    fs.writeFileSync(d.file('read'), content);
    return d.post('/read_file', { path: d.file('read') });
}, ({ json }) => {
    assert.equal(json.content, content);
});
