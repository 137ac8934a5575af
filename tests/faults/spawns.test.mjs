// Very many commands, one after another and at once.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventually, hiddenDescriptors, memoryKb, openDescriptors, slow, withDaemon } from '../blackbox/support/daemon.mjs';
import { RawSocket, rawRequest } from '../blackbox/support/raw.mjs';

test('ten thousand spawns: every code is the right one, and nothing is left', { skip: hiddenDescriptors }, async (t) => {
    const count = slow ? 1000 : 10_000;
    await withDaemon({}, async (daemon) => {
        let next = 0;
        let warm;
        const lane = async () => {
            const raw = await RawSocket.connect(daemon.port);
            while (next < count) {
                const number = next++;
                if (number === count / 2) warm = memoryKb(daemon.pid, 'VmRSS');
                raw.write(rawRequest('POST', '/run', daemon.secret, { cmd: `echo ${number}; exit ${number % 256}` }));
                const { stdout, code } = JSON.parse((await raw.response({ timeoutMs: 60_000 })).body);
                assert.deepEqual([stdout, code], [`${number}\n`, number % 256]);
            }
            raw.close();
        };
        const before = openDescriptors(daemon.pid);
        const began = Date.now();
        await Promise.all(Array.from({ length: 32 }, lane));
        t.diagnostic(`${count} in ${Date.now() - began} ms; ${memoryKb(daemon.pid, 'VmRSS')} kB, half-way ${warm} kB`);
        await eventually(() => openDescriptors(daemon.pid) <= before + 1, 'the descriptors');
        if (!slow) assert.ok(memoryKb(daemon.pid, 'VmRSS') < warm + 4096, `${memoryKb(daemon.pid, 'VmRSS')} kB, half-way ${warm} kB`);
        const { text } = await daemon.get('/metrics');
        assert.match(text, new RegExp(`^sandbox_commands_started_total ${count}$`, 'm'));
    });
});

test('as many at once as the limit of descriptors allows; the rest is refused and disturbs nothing', async (t) => {
    const limit = slow ? 512 : 2048;
    await withDaemon({ wrapper: ['prlimit', `--nofile=${limit}:${limit}`] }, async (daemon) => {
        const lanes = await Promise.all(Array.from({ length: 8 }, () => RawSocket.connect(daemon.port)));
        const ids = [];
        let refused = 0;
        const ask = async (raw, target, body) => {
            raw.write(rawRequest('POST', target, daemon.secret, body));
            return raw.response({ timeoutMs: 60_000 });
        };
        await Promise.all(lanes.map(async (raw, lane) => {
            while (refused < 50) {
                const answer = await ask(raw, '/start_process', { args: ['sleep', `${1000 + lane}`] });
                const json = JSON.parse(answer.body);
                if (answer.status === 201) {
                    ids.push(json.id);
                    continue;
                }
                assert.equal(answer.status, 500, answer.body);
                assert.match(json.error, /EMFILE|too many open files/i);
                refused += 1;
            }
        }));
        t.diagnostic(`${ids.length} at once with ${limit} descriptors`);
        assert.ok(ids.length > limit / 4, `${ids.length} were started`);
        lanes[0].write(rawRequest('GET', '/health'));
        assert.equal((await lanes[0].response()).status, 200);
        lanes[0].write(rawRequest('GET', '/list_processes', daemon.secret));
        const { processes } = JSON.parse((await lanes[0].response()).body);
        assert.deepEqual(processes.filter((p) => p.status === 'running').map((p) => p.id).sort(), [...ids].sort());
        await Promise.all(lanes.map(async (raw, lane) => {
            const { status, body } = await ask(raw, '/kill_process', { id: ids[lane] });
            assert.equal(status, 200, body);
        }));
        const last = await ask(lanes[0], '/run', { cmd: 'echo again' });
        assert.equal(JSON.parse(last.body).stdout, 'again\n');
        for (const raw of lanes) raw.close();
        assert.deepEqual(await daemon.stop(), { code: 0, signal: null }, 'the shutdown ends the rest');
    });
});
