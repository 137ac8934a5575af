// The soak must be able to fail: one byte is lost on the way, and it is caught, named, and can be had again.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const program = fileURLToPath(new URL('soak.mjs', import.meta.url));

function soak(...args) {
    return new Promise((resolve) => {
        execFile(process.execPath, [program, ...args], (error, stdout) => resolve({ code: error ? error.code : 0, stdout }));
    });
}

for (const [fault, kinds, complaint] of [
    ['answer', 'files', /FAILED.*files, call \d+ of lane \d+: /],
    ['answer', 'run', /FAILED.*run, call \d+ of lane \d+: /],
    ['answer', 'run_streaming', /FAILED.*run_streaming, call \d+ of lane \d+: /],
    ['wire', 'files,run,logs', /FAILED.*(files|run|logs), call \d+ of lane \d+: /],
    ['relay', 'forwarder', /FAILED.*what the forwarder brought back: \d+ bytes instead of \d+, different from byte \d+ on/],
]) {
    test(`a byte lost: ${fault} of ${kinds}`, async () => {
        const { code, stdout } = await soak('--minutes', '2', '--seed', '7', '--deadline', '5', '--fault', fault, '--kinds', kinds);
        assert.equal(code, 1, stdout);
        assert.match(stdout, complaint);
        assert.match(stdout, /again: --seed 7 /);
        assert.doesNotMatch(stdout, /^passed$/m);
    });
}
