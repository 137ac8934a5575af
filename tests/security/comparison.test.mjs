// What a wrong secret costs, in instructions: the same wherever it is wrong, and whatever the right one is like.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';
import { slow, withDaemon } from '../blackbox/support/daemon.mjs';

const missing = spawnSync('valgrind', ['--version']).status !== 0;
const skip = (slow && 'valgrind cannot run a sanitizer build') || (missing && 'no valgrind here');
const secret = 'abcdefghijklmnop';
const requests = 5;

// Instructions within `functions` while `requests` requests with `token` are refused.
async function cost(functions, token, { right = secret, envd = false } = {}) {
    const file = path.join(fs.mkdtempSync('/tmp/sandbox-callgrind-'), 'out');
    const wrapper = ['valgrind', '-q', '--tool=callgrind', '--collect-atstart=no', `--toggle-collect=${functions}`,
        `--callgrind-out-file=${file}`];
    try {
        await withDaemon({ wrapper, secret: right, env: { ENVD_PORT: '0' } }, async (daemon) => {
            const url = envd ? `http://127.0.0.1:${daemon.envdPort}/envs` : `${daemon.url}/list_processes`;
            const headers = envd ? { 'x-access-token': token } : { authorization: `Bearer ${token}` };
            for (let i = 0; i < requests; ++i) assert.equal((await fetch(url, { headers })).status, 401);
        });
        const total = Number(fs.readFileSync(file, 'utf8').match(/^totals: (\d+)/m)?.[1]);
        assert.ok(total > requests, `${functions} was seen at work`);
        return total;
    } finally {
        fs.rmSync(path.dirname(file), { recursive: true });
    }
}

async function allCost(functions, cases, t) {
    const costs = [];
    for (const [token, options] of cases) costs.push(await cost(functions, token, options));
    t.diagnostic(`${functions}: ${costs.join(', ')} instructions for ${requests} requests`);
    assert.deepEqual(new Set(costs), new Set([costs[0]]));
}

describe('instructions for a wrong secret', { skip }, () => {
    test('the comparison: wherever it differs, and of any length', async (t) => {
        await allCost('sandbox::equal_constant_time*', [['Xbcdefghijklmnop'], ['abcdefghijklmnoX'], ['abc'], ['x'.repeat(1000)]], t);
    });
    test('the whole check: wherever it differs, and however long the right one is', async (t) => {
        const cases = [['Xbcdefghijklmnop'], ['abcdefghijklmnoX'], ['XXXXXXXXXXXXXXXX'], ['abcdefghijklmnoX', { right: 'a'.repeat(200) }]];
        await allCost('sandbox::Auth::check*', cases, t);
    });
    test('the token of the envd port', async (t) => {
        const at = { envd: true };
        await allCost('sandbox::equal_constant_time*', [['Xbcdefghijklmnop', at], ['abcdefghijklmnoX', at], ['abc', at]], t);
    });
});
