// As PID 1 of a PID namespace, and as subreaper: every orphan is reaped and no status is stolen.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { describe, test } from 'node:test';
import { eventually, isRoot, slow, withDaemon } from './support/daemon.mjs';
import { RawSocket, rawRequest } from './support/raw.mjs';

const namespace = { wrapper: ['unshare', '--fork', '--pid', '--mount-proc', '--kill-child'], inner: true };
const skip = !isRoot && 'needs root';

function childrenOf(pid) {
    return fs.readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1').trim().split(' ').filter(Boolean);
}
const stateOf = (pid) => {
    try {
        return fs.readFileSync(`/proc/${pid}/stat`, 'latin1').replace(/\(.*\)/s, 'x').split(' ')[2];
    } catch {
        return 'gone';
    }
};
const zombies = (pid) => childrenOf(pid).filter((child) => stateOf(child) === 'Z');

// `count` commands through `lanes` connections; each command's code must be its own.
async function allCodesRight(daemon, count, lanes) {
    let next = 0;
    const lane = async () => {
        const raw = await RawSocket.connect(daemon.port);
        while (next < count) {
            const number = next++;
            raw.write(rawRequest('POST', '/run', daemon.secret, { cmd: `(: &) ; exit ${number % 256}` }));
            const answer = await raw.response({ timeoutMs: 60_000 });
            assert.equal(JSON.parse(answer.body).code, number % 256, answer.body);
        }
        raw.close();
    };
    await Promise.all(Array.from({ length: lanes }, lane));
}

const orphans = '(sleep 0.05 &) ; (sh -c "sleep 0.02 & sleep 0.08 &" &) ; setsid sh -c "sleep 0.05 & exit 1" & exit 0';

for (const [name, options] of [['as PID 1', namespace], ['as subreaper', {}]]) {
    describe(name, { skip: options.inner && skip }, () => {
        test('orphans are reaped', async () => {
            await withDaemon(options, async (daemon) => {
                for (let i = 0; i < 20; ++i) assert.equal((await daemon.run(orphans)).code, 0);
                await eventually(() => childrenOf(daemon.pid).length === 0, 'the end of all orphans');
                const inside = await daemon.run('cat /proc/[0-9]*/stat 2>/dev/null | grep -c ") Z " || true');
                if (options.inner) assert.equal(inside.stdout.trim(), '0');
            });
        });
        test('orphans come to the daemon, not to anyone above', async () => {
            await withDaemon(options, async (daemon) => {
                const { stdout } = await daemon.run('(setsid sleep 371 >/dev/null 2>&1 & echo $!)');
                await eventually(() => childrenOf(daemon.pid).some((pid) => stateOf(pid) === 'S'), `${stdout}`);
            });
        });
        test('no status is stolen, however many end at once', async () => {
            await withDaemon(options, async (daemon) => {
                await allCodesRight(daemon, slow ? 300 : 2000, slow ? 16 : 64);
                await eventually(() => zombies(daemon.pid).length === 0, 'no zombies');
            });
        });
        test('SIGTERM and SIGINT work', async () => {
            for (const signal of ['SIGTERM', 'SIGINT']) {
                await withDaemon(options, async (daemon) => {
                    await daemon.start('setsid sleep 372 & sleep 373');
                    assert.equal((await daemon.stop(signal)).code, 0);
                });
            }
        });
        test('the entrypoint command and its code', async () => {
            await withDaemon({ ...options, entrypoint: ['sh', '-c', `${orphans.replace('exit 0', 'sleep 0.5; exit 33')}`] }, async (daemon) => {
                assert.equal((await daemon.wait()).code, 33);
            });
            await withDaemon({ ...options, entrypoint: ['sh', '-c', "trap 'exit 9' TERM; echo up; while :; do sleep 0.05; done"] }, async (daemon) => {
                await eventually(() => daemon.stdout.includes('up'), 'the trap');
                assert.equal((await daemon.stop()).code, 9);
            });
        });
        test('kill reaches what was orphaned', async () => {
            await withDaemon(options, async (daemon) => {
                const { id } = await daemon.start('(setsid sh -c "sleep 374 & sleep 375" &) ; sleep 376');
                await eventually(() => daemon.survivors().length >= 4, 'the tree');
                assert.equal((await daemon.post('/kill_process', { id })).json.success, true);
                assert.deepEqual(daemon.survivors(), []);
            });
        });
    });
}
