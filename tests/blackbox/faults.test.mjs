// When something runs out: descriptors, disk, processes. Health and kill still answer.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { describe, test } from 'node:test';
import { delay, eventually, hiddenDescriptors, isRoot, memoryKb, slow, withDaemon } from './support/daemon.mjs';
import { besideHung, whyNotHung } from './support/hung_file_system.mjs';
import { RawSocket, rawRequest } from './support/raw.mjs';
import { parseStrict, textOf } from './support/sse.mjs';
import { settings } from './support/settings.mjs';

const needsRoot = !isRoot && 'needs root';

async function ask(raw, method, target, secret, body) {
    raw.write(rawRequest(method, target, secret, body));
    const answer = await raw.response();
    return { ...answer, json: JSON.parse(answer.body) };
}

function cpuTicks(pid) {
    const fields = fs.readFileSync(`/proc/${pid}/stat`, 'latin1').replace(/\(.*\)/, 'x').split(' ');
    return Number(fields[13]) + Number(fields[14]);
}

// UBSan's vptr check opens a pipe to look at memory, and reports nonsense when it cannot.
describe('descriptors used up', { skip: slow && 'a sanitizer needs descriptors of its own' }, () => {
    test('health and kill answer, accepting pauses without spinning, and recovers', { skip: hiddenDescriptors }, async () => {
        const wrapper = ['prlimit', '--nofile=64:64'];
        await withDaemon({ wrapper, env: { [settings.killGrace]: '1' } }, async (daemon) => {
            const { id } = await daemon.start('setsid sleep 391 & sleep 392');
            const kept = await RawSocket.connect(daemon.port);
            assert.equal((await ask(kept, 'GET', '/health')).status, 200);
            const crowd = await Promise.all(Array.from({ length: 100 }, () => RawSocket.connect(daemon.port)));
            await eventually(() => fs.readdirSync(`/proc/${daemon.pid}/fd`).length >= 60, 'the limit');

            const before = cpuTicks(daemon.pid);
            await delay(600);
            assert.ok(cpuTicks(daemon.pid) - before < 20, 'less than a third of a core while waiting');

            assert.deepEqual((await ask(kept, 'GET', '/health')).json, { status: 'ok' });
            const refused = await ask(kept, 'POST', '/run', daemon.secret, { cmd: 'echo x' });
            if (refused.status !== 200) {
                assert.equal(refused.status, 500);
                assert.match(refused.json.error, /EMFILE|too many open files/i);
            }
            const killed = await ask(kept, 'POST', '/kill_process', daemon.secret, { id });
            assert.deepEqual([killed.status, killed.json.success], [200, true], killed.body);
            assert.deepEqual(daemon.survivors(), []);

            for (const raw of crowd) raw.close();
            await eventually(async () => {
                const raw = await RawSocket.connect(daemon.port);
                const status = await ask(raw, 'GET', '/health').then((a) => a.status, () => 0);
                raw.close();
                return status === 200;
            }, 'a new connection');
            assert.equal((await ask(kept, 'POST', '/run', daemon.secret, { cmd: 'echo back' })).json.stdout, 'back\n');
            kept.close();
        });
    });
    test('connections that never speak make room for one that does', async () => {
        await withDaemon({ wrapper: ['prlimit', '--nofile=64:64'] }, async (daemon) => {
            const crowd = await Promise.all(Array.from({ length: 100 }, () => RawSocket.connect(daemon.port)));
            crowd[0].write('GET /health HT');
            const late = await RawSocket.connect(daemon.port);
            assert.deepEqual((await ask(late, 'GET', '/health')).json, { status: 'ok' });
            late.close();
            for (const raw of crowd) raw.close();
        });
    });
    test('the forwarder recovers too', async () => {
        const net = await import('node:net');
        const server = net.createServer((s) => s.on('error', () => {}).pipe(s));
        await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
        await withDaemon({ wrapper: ['prlimit', '--nofile=64:64'] }, async (daemon) => {
            assert.equal((await daemon.post('/bind_port', { port: server.address().port })).status, 200);
            const crowd = await Promise.all(Array.from({ length: 80 }, () => RawSocket.connect(daemon.proxyPort)));
            await delay(300);
            for (const raw of crowd) raw.close();
            await eventually(async () => {
                const raw = await RawSocket.connect(daemon.proxyPort);
                raw.write('ping');
                const text = (await raw.take(4).catch(() => '')).toString();
                raw.close();
                return text === 'ping';
            }, 'a relay');
        });
        server.closeAllConnections?.();
        await new Promise((resolve) => server.close(resolve));
    });
});

describe('the disk is full', { skip: needsRoot }, () => {
    const wrapper = ['unshare', '--mount', 'sh', '-c', 'mount -t tmpfs -o size=4m none "$TMPDIR" && exec "$0" "$@"'];
    const full = (body) =>
        withDaemon({ wrapper }, async (daemon) => {
            const fill = await daemon.run('echo old > keep; cat /dev/zero > fill; df -k . | tail -n 1', { cwd: daemon.tmp });
            assert.match(fill.stderr, /No space left/);
            await body(daemon);
            await daemon.run('rm -f fill keep', { cwd: daemon.tmp });
        });
    const big = slow ? 40_000_000 : 100_000_000;

    test('health, run and kill answer', async () => {
        await full(async (daemon) => {
            assert.equal((await daemon.get('/health')).status, 200);
            assert.equal((await daemon.run('echo fine')).stdout, 'fine\n');
            const { id } = await daemon.start('setsid sleep 393 & sleep 394');
            assert.equal((await daemon.post('/kill_process', { id })).json.success, true);
        });
    });
    test('/run says what it could not keep', async () => {
        await full(async (daemon) => {
            const end = await daemon.run(`head -c ${big} /dev/zero | tr '\\0' k >&2; exit 4`);
            assert.equal(end.truncated, true);
            assert.match(end.error, /truncat|space|kept/i);
            assert.equal(end.code, 4, 'the command was not disturbed');
            assert.ok(end.stderr.length < big && /^k+$/.test(end.stderr));
            if (!slow) assert.ok(memoryKb(daemon.pid, 'VmHWM') < 64_000);
        });
    });
    test('a stream loses nothing', async () => {
        await full(async (daemon) => {
            const cmd = `yes $(head -c 9999 /dev/zero | tr '\\0' k) | head -c ${big}`;
            const answer = await daemon.post('/run_streaming', { cmd });
            assert.equal(textOf(parseStrict(answer.bytes)).length, big);
        });
    });
    test('a started process goes on, its log keeps the newest', async () => {
        await full(async (daemon) => {
            const { id } = await daemon.start(`yes $(head -c 9999 /dev/zero | tr '\\0' k) | head -c ${big}; echo the end`);
            await daemon.ended(id, 60_000);
            const answer = await daemon.get(`/process_logs_streaming?id=${id}&follow=false`);
            const events = parseStrict(answer.bytes);
            assert.equal(events.filter((e) => e.event === 'log').at(-1).data.data, 'the end');
            if (!slow) assert.ok(memoryKb(daemon.pid, 'VmHWM') < 64_000);
        });
    });
    test('what there is no room to decode is told', async () => {
        await full(async (daemon) => {
            // Room for the text, and not for its bytes beside it.
            await daemon.run('truncate -s -2900K fill', { cwd: daemon.tmp });
            const base64 = Buffer.alloc(2_400_000, 'n').toString('base64');
            const path = `${daemon.tmp}/keep`;
            const asked = [
                ['/write_file', { path, content: base64, encoding: 'base64' }, 'content'],
                ['/run', { cmd: 'true', stdin: base64, stdin_encoding: 'base64' }, 'stdin'],
            ];
            for (const [route, body, member] of asked) {
                const answer = await daemon.post(route, body);
                assert.equal(answer.status, 507, answer.text);
                assert.match(answer.json.error, new RegExp(`^${member}: .*no space left on device`));
            }
            assert.equal((await daemon.post('/read_file', { path })).json.content, 'old\n');
        });
    });
    test('write_file tells, and the old file is whole', async () => {
        await full(async (daemon) => {
            const path = `${daemon.tmp}/keep`;
            const answer = await daemon.post('/write_file', { path, content: 'n'.repeat(200_000) });
            assert.equal(answer.status, 200);
            assert.equal(answer.json.error, `write ${path}: no space left on device`);
            const large = await daemon.post('/write_file', { path, content: 'n'.repeat(20_000_000) });
            assert.ok(large.status === 200 || large.status === 507, `${large.status}`);
            assert.match(large.json.error, /no space left on device/);
            assert.equal((await daemon.post('/read_file', { path })).json.content, 'old\n');
            const { entries } = (await daemon.post('/list_dir', { path: daemon.tmp })).json;
            assert.deepEqual(entries, ['fill', 'keep']);
        });
    });
    test('write_file with append: all of it or nothing', async () => {
        await full(async (daemon) => {
            await daemon.run('truncate -s -120K fill', { cwd: daemon.tmp });
            const path = `${daemon.tmp}/keep`;
            const room = async () => (await daemon.run('stat -f -c %f .', { cwd: daemon.tmp })).stdout;
            const append = async (size) => (await daemon.post('/write_file', { path, content: 'n'.repeat(size), append: true })).json;
            const before = await room();
            assert.equal((await append(200_000)).error, `write ${path}: no space left on device`);
            const { content } = (await daemon.post('/read_file', { path })).json;
            assert.ok(content === 'old\n', `${content.length} bytes`);
            assert.equal(await room(), before);
            assert.deepEqual(await append(50_000), { success: true });
            assert.equal((await daemon.post('/stat', { path })).json.size, 50_004);
        });
    });
});

test('without any directory for temporary files', async () => {
    await withDaemon({ env: { TMPDIR: '/no/such/directory' } }, async (daemon) => {
        assert.equal((await daemon.run('echo fine')).stdout, 'fine\n');
        assert.equal((await daemon.run(`: ${'x'.repeat(200_000)}; echo long`)).stdout, 'long\n');
        const end = await daemon.run('head -c 3000000 /dev/zero | tr "\\0" k');
        assert.ok(end.stdout.length === 3_000_000 || end.truncated === true);
    });
});

test('without sh, /proc and /dev', { skip: needsRoot || (slow && 'sanitizers need /proc') }, async () => {
    const script = `R=$PWD/root && mkdir $R && mount -t tmpfs none $R && cd $R && mkdir lib lib64 b && mount --bind /lib lib &&
        mount --bind /lib64 lib64 && cp "$0" b/daemon && cp "$(command -v cat)" "$(command -v sleep)" b && exec chroot . /b/daemon "$@"`;
    await withDaemon({ wrapper: ['unshare', '--mount', 'sh', '-c', script], env: { TMPDIR: undefined } }, async (daemon) => {
        const refused = await daemon.post('/run', { cmd: 'echo x' });
        assert.equal(refused.status, 500);
        assert.match(refused.json.error, /there is no shell/);
        const large = 'x'.repeat(5_000_000);
        assert.equal((await daemon.post('/run', { args: ['/b/cat'], stdin: large })).json.stdout, large);
        const late = await daemon.post('/run', { args: ['/b/sleep', '395'], timeout: 1 }); // with its start
        assert.deepEqual([late.json.code, late.json.timed_out], [143, true]);
        const { json } = await daemon.post('/start_process', { args: ['/b/sleep', '396'] });
        assert.equal((await daemon.post('/kill_process', { id: json.id })).json.success, true);
        assert.deepEqual((await daemon.post('/list_dir', { path: '/b' })).json.entries, ['cat', 'daemon', 'sleep']);
    });
});

describe('a fork bomb', { skip: needsRoot }, () => {
    // Forks for ever in every process, and says so once the kernel refuses.
    const bomb =
        'perl -e \'$|=1; $SIG{TERM}="IGNORE"; while(1){ my $p=fork(); if(!defined $p){ print "refused\\n" if !$n++; select(undef,undef,undef,0.01); } }\'';

    async function survive(daemon, limitWasHit) {
        const kept = await RawSocket.connect(daemon.port);
        assert.equal((await ask(kept, 'GET', '/health')).status, 200);
        const started = await ask(kept, 'POST', '/start_process', daemon.secret, { cmd: bomb });
        assert.equal(started.status, 201, started.body);
        const { id } = started.json;
        await eventually(async () => {
            const log = await daemon.get(`/process_logs_streaming?id=${id}&follow=false`);
            return log.text.includes('refused');
        }, 'the limit was hit');
        assert.ok(limitWasHit(), 'the limit was hit');
        const began = Date.now();
        assert.equal((await ask(kept, 'GET', '/health')).status, 200);
        const fresh = await RawSocket.connect(daemon.port);
        assert.equal((await ask(fresh, 'GET', '/health')).status, 200);
        fresh.close();
        assert.ok(Date.now() - began < 2000 * (slow ? 5 : 1), 'health is quick');
        const refused = await ask(kept, 'POST', '/run', daemon.secret, { cmd: 'echo x' });
        if (refused.status !== 200) assert.match(refused.json.error, /EAGAIN|temporarily unavailable/i);
        const killed = await ask(kept, 'POST', '/kill_process', daemon.secret, { id });
        assert.deepEqual([killed.status, killed.json.success], [200, true], killed.body);
        assert.deepEqual(daemon.survivors(), []);
        assert.equal((await ask(kept, 'POST', '/run', daemon.secret, { cmd: 'echo after' })).json.stdout, 'after\n');
        kept.close();
    }
    const env = { [settings.killGrace]: '1' };

    test('within a user\'s limit of processes', async () => {
        const uid = String(61_000 + (process.pid % 4000));
        const wrapper = ['setpriv', `--reuid=${uid}`, `--regid=${uid}`, '--clear-groups', 'prlimit', '--nproc=60:60'];
        await withDaemon({ wrapper, env }, (daemon) =>
            survive(daemon, () => daemon.survivors().length >= 40),
        );
    });
    test('within a cgroup\'s limit of processes', async (t) => {
        const root = ['/sys/fs/cgroup/pids', '/sys/fs/cgroup'].find((dir) => fs.existsSync(`${dir}/cgroup.procs`));
        const group = `${root}/sandbox-blackbox-${process.pid}`;
        try {
            fs.mkdirSync(group);
            fs.writeFileSync(`${group}/pids.max`, '80');
        } catch (error) {
            if (root && fs.existsSync(group)) fs.rmdirSync(group);
            t.skip(`no pids cgroup here: ${error.message}`);
            return;
        }
        try {
            const wrapper = ['sh', '-c', `echo $$ > ${group}/cgroup.procs && exec "$0" "$@"`];
            await withDaemon({ wrapper, env }, (daemon) =>
                survive(daemon, () => Number(fs.readFileSync(`${group}/pids.current`, 'utf8')) >= 79),
            );
        } finally {
            await eventually(() => {
                try {
                    fs.rmdirSync(group);
                    return true;
                } catch {
                    return false;
                }
            }, 'the empty cgroup');
        }
    });
});

test('readers of pipes that nobody writes to do not stop the file routes', async () => {
    await withDaemon({}, async (daemon) => {
        const path = daemon.file('silent');
        await daemon.run(`mkfifo ${path}`);
        const began = Date.now();
        const silent = Array.from({ length: 500 }, () => daemon.post('/read_file', { path, length: 5 }));
        const done = Promise.all(silent).then(() => 'silent');
        const others = async () => {
            for (let i = 0; i < 20; ++i) await daemon.post('/stat', { path: daemon.work });
            return 'others';
        };
        assert.equal(await Promise.race([done, others()]), 'others');
        for (const { json } of await Promise.all(silent)) assert.deepEqual(json, { content: '', encoding: 'utf-8' });
        // Each waits for two seconds, and all of them at once.
        assert.ok(Date.now() - began < 10_000 * (slow ? 4 : 1), `${Date.now() - began} ms`);
        const late = daemon.post('/read_file', { path, length: 8 });
        await daemon.run(`(printf he; sleep 0.2; printf llo) > ${path}`);
        assert.equal((await late).json.content, 'hello');
    });
});

describe('a hung file system', () => {
    const skip = whyNotHung();
    const hung = (body) =>
        withDaemon({ wrapper: besideHung, inner: true }, async (daemon) => {
            const abort = new AbortController();
            const lost = [];
            const send = (target, fields) =>
                lost.push(daemon.post(target, fields, { signal: abort.signal, heed: true }).then((a) => a.text, () => undefined));
            await body(daemon, send);
            abort.abort();
            assert.deepEqual([...new Set(await Promise.all(lost))], [undefined], 'the file system was hung');
        });

    async function othersWork(daemon) {
        const path = daemon.file('elsewhere');
        const signal = AbortSignal.timeout(60_000 * (slow ? 4 : 1));
        const answer = async (target, fields) => (await daemon.post(target, fields, { signal })).json;
        for (let i = 0; i < 20; ++i) {
            const content = `${i}`;
            assert.deepEqual(await answer('/write_file', { path, content }), { success: true });
            assert.equal((await answer('/read_file', { path })).content, content);
            assert.equal((await answer('/run', { cmd: 'cat', cwd: daemon.work, stdin: content })).stdout, content);
        }
        // More than stays in memory.
        const large = await answer('/run', { cmd: 'head -c 6000000 /dev/zero | tr "\\0" k' });
        assert.equal(large.stdout.length, 6_000_000);
        assert.equal((await daemon.get('/health')).status, 200);
    }

    test('stops no file route for others', { skip }, async () => {
        await hung(async (daemon, send) => {
            fs.symlinkSync('hung/below', daemon.file('link'));
            fs.writeFileSync(daemon.file('here'), 'x');
            const paths = ['hung', 'hung/x', 'link/y', `${daemon.work}/hung/z`];
            for (let i = 0; i < 200; ++i) {
                const path = paths[i % paths.length];
                send('/read_file', { path });
                if (i % 4 === 0) send('/write_file', { path: `${path}/w`, content: 'x' });
                if (i % 4 === 1) send('/stat', { path: `${path}/s` });
                if (i % 4 === 2) send('/move', { source: daemon.file('here'), destination: `${path}/m` });
                if (i % 4 === 3) send('/list_dir', { path: `${path}/d` });
            }
            await delay(200);
            await othersWork(daemon);
        });
    });
    test('as a working directory stops no command of others', { skip }, async () => {
        await hung(async (daemon, send) => {
            for (let i = 0; i < 150; ++i) send(i % 2 ? '/run' : '/start_process', { cmd: 'true', cwd: 'hung/x' });
            await delay(200);
            await othersWork(daemon);
        });
    });
});

test('writers to pipes that nobody reads do not stop the file routes', async () => {
    await withDaemon({}, async (daemon) => {
        await daemon.run('for i in $(seq 1 30); do mkfifo fifo$i; done');
        const abort = new AbortController();
        const stuck = Array.from({ length: 30 }, (_, i) =>
            daemon.post('/write_file', { path: daemon.file(`fifo${i + 1}`), content: 'x' }, { signal: abort.signal, heed: true }).catch(() => {}),
        );
        await delay(100);
        for (let i = 0; i < 10; ++i) {
            const answer = await daemon.post('/write_file', { path: daemon.file('ok'), content: 'y' });
            assert.deepEqual(answer.json, { success: true });
        }
        assert.equal((await daemon.run('echo ok')).stdout, 'ok\n');
        abort.abort();
        await Promise.all(stuck);
        await daemon.run('for i in $(seq 1 30); do timeout 1 cat fifo$i & done; wait');
    });
});
