// Start, configuration, shutdown, and the entrypoint command.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import net from 'node:net';
import { describe, test } from 'node:test';
import { commandName, Daemon, delay, eventually, isRoot, slow, startFailing, withDaemon } from './support/daemon.mjs';
import { RawSocket, rawRequest } from './support/raw.mjs';
import { settings } from './support/settings.mjs';

const budget = 5000 * (slow ? 3 : 1);

async function timedStop(daemon, signal = 'SIGTERM') {
    const began = Date.now();
    const end = await daemon.stop(signal);
    return { ...end, ms: Date.now() - began };
}

describe('start', () => {
    test('it tells its version and ports', async () => {
        await withDaemon({}, async (daemon) => {
            const line = daemon.stderr.split('\n').find((l) => l.includes('Starting sandbox-executor'));
            assert.match(line, /^time=\S+ level=INFO msg="Starting sandbox-executor" version=\S+ port=\d+ auth_mode=static/);
            assert.notEqual(daemon.port, daemon.proxyPort);
            assert.equal(daemon.stdout, '');
        });
    });
    test('dual-stack listeners', async () => {
        await withDaemon({}, async (daemon) => {
            for (const host of ['127.0.0.1', '::1']) {
                const state = await new Promise((resolve) => {
                    const socket = net.connect(daemon.port, host);
                    socket.on('connect', () => resolve('open')).on('error', (e) => resolve(e.code));
                    socket.on('close', () => {}).setTimeout(3000, () => socket.destroy());
                    socket.on('connect', () => socket.destroy());
                });
                assert.ok(state === 'open' || (host === '::1' && state === 'EADDRNOTAVAIL'), `${host}: ${state}`);
            }
        });
    });
    test('--help and --version', async () => {
        const version = await startFailing({ args: ['--version'] });
        assert.equal(version.code, 0);
        assert.match(version.stdout, /\d+\.\d+/);
        const help = await startFailing({ args: ['--help'] });
        assert.equal(help.code, 0);
        for (const word of ['PORT', 'PROXY_PORT', 'SANDBOX_SECRET', 'SANDBOX_AUTH_MODE', 'LOG_LEVEL', ...Object.values(settings)]) {
            assert.ok(help.stdout.includes(word), `${word} in the help`);
        }
    });
    test('unknown flags and stray words are errors', async () => {
        for (const args of [['--no-such-flag'], ['-x'], ['stray'], ['--port'], ['--no-such-flag', '--', 'true']]) {
            const end = await startFailing({ args });
            assert.notEqual(end.code, 0, args.join(' '));
            assert.match(end.stderr, /\S/);
        }
    });
    test('a flag wins over its variable', async () => {
        await withDaemon({ env: { PORT: 'nonsense' }, args: ['--port', '0'] }, async (daemon) => {
            assert.equal((await daemon.get('/health')).status, 200);
        });
    });
    test('bad settings end it with 1 and one line', async () => {
        const server = net.createServer();
        await new Promise((resolve) => server.listen(0, '::', resolve));
        const busy = String(server.address().port);
        const cases = [
            { PORT: 'nonsense' }, { PORT: '70000' }, { PORT: '-1' }, { PROXY_PORT: '1x' }, { PORT: busy }, { PROXY_PORT: busy },
            { PORT: '23456', PROXY_PORT: '23456' }, { [settings.headerTime]: 'soon' }, { [settings.bodyLimit]: '-5' },
        ];
        for (const env of cases) {
            const end = await startFailing({ env });
            assert.equal(end.code, 1, JSON.stringify(env));
            assert.equal(end.stderr.split('\n').filter((l) => l.includes('level=ERROR')).length, 1, end.stderr);
        }
        server.close();
    });
    // Either it says with one line what it could not have, or it runs and ends; never half of it.
    const scarce = {
        descriptors: { wrapper: (n) => ['prlimit', `--nofile=${n}:${n}`], limits: [4, 8, 10, 12, 14, 16, 18, 20, 24, 28] },
        threads: {
            wrapper: (n) => ['setpriv', '--reuid=61998', '--regid=61998', '--clear-groups', 'prlimit', `--nproc=${n}:${n}`],
            limits: [2, 3, 4, 5, 6, 7, 8, 9],
            skip: !isRoot && 'needs root',
        },
    };
    for (const [what, { wrapper, limits, skip }] of Object.entries(scarce)) {
        test(`too few ${what} for a start end it with 1 and one line`, { skip }, async () => {
            let failed = 0;
            for (const limit of limits) {
                const daemon = new Daemon({ wrapper: wrapper(limit) });
                try {
                    await eventually(() => !daemon.running || daemon.stderr.includes('Starting TCP proxy'), 'a start or an end');
                    if (daemon.running) {
                        assert.equal((await daemon.stop()).code, 0, `${limit}: ${daemon.stderr}`);
                    } else {
                        assert.equal(daemon.end.code, 1, `${limit}: ${JSON.stringify(daemon.end)} ${daemon.stderr}`);
                        assert.match(daemon.stderr, /^(time=\S+ )?level=ERROR msg="[^\n]+\n$/, `${limit}`);
                        ++failed;
                    }
                } finally {
                    daemon.discard();
                }
            }
            assert.ok(failed > 0, 'no limit was too low');
        });
    }
});

describe('shutdown', () => {
    for (const signal of ['SIGTERM', 'SIGINT']) {
        test(`${signal} ends it with 0`, async () => {
            await withDaemon({}, async (daemon) => {
                await daemon.get('/health');
                const { code, ms } = await timedStop(daemon, signal);
                assert.equal(code, 0);
                assert.ok(ms < 2000 * (slow ? 4 : 1), `${ms} ms with nothing to wait for`);
            });
        });
    }
    test('a running request gets its time, and health says draining', async () => {
        await withDaemon({}, async (daemon) => {
            const running = daemon.run('sleep 1; echo finished');
            await eventually(() => daemon.survivors().length > 0, 'the command');
            daemon.signal('SIGTERM');
            const health = await eventually(async () => {
                const raw = await RawSocket.connect(daemon.port);
                raw.write(rawRequest('GET', '/health'));
                // A connection that had not spoken when the signal came may be closed without an answer.
                const answer = await raw.response().catch(() => undefined);
                raw.close();
                return answer?.status === 503 ? answer : undefined;
            }, '503');
            assert.deepEqual(JSON.parse(health.body), { status: 'draining' });
            assert.equal((await running).stdout, 'finished\n');
            assert.deepEqual(await daemon.wait(), { code: 0, signal: null });
        });
    });
    test('everything is gone within the budget: deaf commands, started processes, trees, background jobs', async () => {
        await withDaemon({}, async (daemon) => {
            await daemon.run('sleep 361 >/dev/null 2>&1 &');
            await daemon.start("setsid sleep 362 & trap '' TERM; while :; do sleep 0.1; done");
            const request = daemon.post('/run', { cmd: "trap '' TERM; while :; do sleep 0.1; done" }).catch(() => {});
            const silent = await RawSocket.connect(daemon.port);
            const half = await RawSocket.connect(daemon.port);
            half.write('POST /run HTT');
            await eventually(() => daemon.survivors().length >= 5, 'the commands');
            const { code, ms } = await timedStop(daemon);
            assert.equal(code, 0);
            assert.ok(ms < budget + 1500, `${ms} ms`);
            await request;
            silent.close();
            half.close();
        });
    });
    test('a started process gets TERM and may end in its own way', async () => {
        await withDaemon({}, async (daemon) => {
            const file = daemon.file('goodbye');
            await daemon.start(`trap 'echo bye > ${file}; exit' TERM; echo > ${file}.up; while :; do sleep 0.05; done`);
            await eventually(() => fs.existsSync(`${file}.up`), 'the trap');
            await daemon.stop();
            assert.equal(fs.readFileSync(file, 'utf8'), 'bye\n');
        });
    });
    test('a log that nobody reads does not hold it up', async () => {
        const daemon = new Daemon({ wrapper: ['sh', '-c', 'mkfifo log && exec "$@" 2>log', 'sh'] });
        let log;
        try {
            await eventually(() => fs.existsSync(daemon.file('log')), 'the pipe');
            log = fs.openSync(daemon.file('log'), fs.constants.O_RDWR | fs.constants.O_NONBLOCK);
            const untilAgain = (action) => {
                try {
                    for (;;) action();
                } catch (error) {
                    assert.equal(error.code, 'EAGAIN');
                }
            };
            const piece = Buffer.alloc(4096, '\n');
            await eventually(() => {
                untilAgain(() => (daemon.stderr += piece.toString('utf8', 0, fs.readSync(log, piece))));
                return daemon.stderr.includes('Starting TCP proxy');
            }, 'the start');
            for (const size of [4096, 1]) untilAgain(() => fs.writeSync(log, piece, 0, size));
            const { code, ms } = await timedStop(daemon);
            assert.equal(code, 0);
            assert.ok(ms < budget, `${ms} ms`);
            await daemon.assertClean();
        } finally {
            if (log !== undefined) fs.closeSync(log);
            daemon.discard();
        }
    });
    test('idle connections and connections that never spoke do not hold it up', async () => {
        await withDaemon({}, async (daemon) => {
            const silent = await RawSocket.connect(daemon.port);
            const idle = await RawSocket.connect(daemon.port);
            idle.write(rawRequest('GET', '/health'));
            await idle.response();
            const { ms } = await timedStop(daemon);
            assert.ok(ms < 2500 * (slow ? 4 : 1), `${ms} ms`);
            silent.close();
            idle.close();
        });
    });
    test('a log stream that is being followed ends', async () => {
        await withDaemon({}, async (daemon) => {
            const { id } = await daemon.start('echo x; sleep 363');
            const raw = await RawSocket.connect(daemon.port);
            raw.write(rawRequest('GET', `/process_logs_streaming?id=${id}`, daemon.secret));
            await raw.head();
            const { code, ms } = await timedStop(daemon);
            assert.equal(code, 0);
            assert.ok(ms < budget + 1500, `${ms} ms`);
            raw.close();
        });
    });
    test('the budget is configurable, a second SIGTERM does no harm', async () => {
        await withDaemon({ env: { [settings.shutdownTime]: '1' } }, async (daemon) => {
            const request = daemon.post('/run', { cmd: "trap '' TERM; while :; do sleep 0.1; done" }).catch(() => {});
            await eventually(() => daemon.survivors().length > 0, 'the command');
            daemon.signal('SIGTERM');
            const { code, ms } = await timedStop(daemon);
            assert.equal(code, 0);
            assert.ok(ms < 2500 * (slow ? 4 : 1), `${ms} ms`);
            await request;
        });
    });
});

describe('the entrypoint command', () => {
    const runs = (entrypoint, options, body = () => {}) =>
        withDaemon({ entrypoint, ...options }, async (daemon) => {
            await body(daemon);
            return { ...(await daemon.wait()), stdout: daemon.stdout, stderr: daemon.stderr };
        });
    const sh = (script) => ['sh', '-c', script];

    test('its code is the daemon\'s', async () => {
        for (const code of [0, 1, 3, 42, 127, 255]) {
            assert.equal((await runs(sh(`sleep 0.3; exit ${code}`))).code, code);
        }
    });
    test('its death by a signal is 128+n', async () => {
        for (const [name, code] of [['SEGV', 139], ['KILL', 137], ['TERM', 143]]) {
            assert.equal((await runs(sh(`sleep 0.3; kill -${name} $$`))).code, code);
        }
    });
    test('arguments go through as they are, a second -- too; output is inherited', async () => {
        const end = await runs(['sh', '-c', 'sleep 0.3; printf "%s|" "$@"', 'x', 'a b', '--', '$HOME', '']);
        assert.equal(end.stdout, 'a b|--|$HOME||');
    });
    test('it does not see what is the daemon\'s', async () => {
        const { stdout } = await runs(sh('sleep 0.3; env; ls -l /proc/self/fd'));
        assert.doesNotMatch(stdout, /^(SANDBOX_SECRET\w*|SANDBOX_AUTH_MODE|PORT|PROXY_PORT|ENVD_\w+)=/m);
        assert.match(stdout, /^PATH=/m);
        assert.equal(stdout.match(/ -> /g).length, 4, 'the three standard streams and the one of ls');
    });
    for (const [signal, number] of [['SIGTERM', 15], ['SIGINT', 2], ['SIGHUP', 1], ['SIGUSR1', 10], ['SIGUSR2', 12], ['SIGQUIT', 3], ['SIGWINCH', 28], ['SIGCONT', 18], ['SIGALRM', 14],
        ['SIGPIPE', 13], ['SIGTSTP', 20], ['SIGTTIN', 21], ['SIGTTOU', 22], ['SIGPROF', 27], ['SIGURG', 23], ['SIGIO', 29]]) {
        test(`${signal} is forwarded`, async () => {
            const end = await runs(sh(`trap 'exit ${number + 40}' ${signal.slice(3)}; echo up; while :; do sleep 0.05; done`), {}, async (daemon) => {
                await eventually(() => daemon.stdout.includes('up'), 'the trap');
                daemon.signal(signal);
            });
            assert.equal(end.code, number + 40, end.stderr);
        });
    }
    test('the signal ends it, and its code is told; one that is deaf is killed within the budget', async () => {
        const own = await runs(sh("trap 'exit 3' TERM; echo up; while :; do sleep 0.05; done"), {}, async (daemon) => {
            await eventually(() => daemon.stdout.includes('up'), 'the trap');
            daemon.signal('SIGTERM');
        });
        assert.equal(own.code, 3);
        const plain = await runs(['sleep', '364'], {}, async (daemon) => {
            await eventually(() => daemon.survivors().length === 1, 'the command');
            daemon.signal('SIGTERM');
        });
        assert.equal(plain.code, 143);
        // What it leaves behind does not hold up the end: not one of many, though it ends while those are looked through.
        const many = 200;
        const left = await runs(
            sh(`trap 'exit 3' TERM; for i in $(seq ${many}); do sleep 365 & done; wait`),
            { env: { [settings.shutdownTime]: '30' } },
            async (daemon) => {
                // A shell's child that is not yet what it is to become may lose the signal.
                const sleeps = () => daemon.survivors().filter((pid) => commandName(pid) === 'sleep').length;
                await eventually(() => sleeps() === many, 'the children');
                daemon.signal('SIGTERM');
            },
        );
        assert.equal(left.code, 3);
        const env = { [settings.shutdownTime]: '1' };
        const deaf = await runs(sh("trap '' TERM; echo up; while :; do sleep 0.05; done"), { env }, async (daemon) => {
            await eventually(() => daemon.stdout.includes('up'), 'the trap');
            daemon.signal('SIGTERM');
        });
        assert.equal(deaf.code, 137);
    });
    test('one that cannot start is logged, and the API stays up', async () => {
        for (const argv of [['/no/such/program'], ['no-such-program-in-path'], ['/etc/passwd']]) {
            await withDaemon({ entrypoint: argv }, async (daemon) => {
                await eventually(() => /level=ERROR.*(no such file|not found|permission denied|ENOENT|EACCES)/i.test(daemon.stderr), 'the log');
                assert.equal((await daemon.run('echo up')).stdout, 'up\n');
                assert.equal((await daemon.stop()).code, 0);
            });
        }
    });
    test('beside one that could not start, signals are ours as without any', async () => {
        for (const signal of ['SIGHUP', 'SIGQUIT']) {
            const end = await runs(['/no/such/program'], {}, async (daemon) => {
                await eventually(() => daemon.stderr.includes('cannot be started'), 'the log');
                daemon.signal(signal);
            });
            assert.equal(end.code, 0, end.stderr);
            assert.doesNotMatch(end.stderr, /forwarding/);
        }
    });
    test('the API works beside it, and its end takes the commands with it', async () => {
        const end = await runs(sh('sleep 1; exit 5'), {}, async (daemon) => {
            assert.equal((await daemon.run('echo beside')).stdout, 'beside\n');
            await daemon.start('setsid sleep 365 & sleep 366');
        });
        assert.equal(end.code, 5);
    });
    test('nothing behind -- is no entrypoint', async () => {
        await withDaemon({ args: ['--'] }, async (daemon) => {
            await delay(100);
            assert.ok(daemon.running);
        });
    });
    test('it has the limits and signals that the daemon was born with', async () => {
        const { stdout } = await runs(sh('sleep 0.3; ulimit -n; cat /proc/self/status'));
        const limit = fs.readFileSync('/proc/self/limits', 'latin1').match(/Max open files\s+(\S+)/)[1];
        assert.equal(stdout.split('\n')[0], limit);
        assert.match(stdout, /^SigBlk:\s+0{16}$/m);
        assert.match(stdout, /^SigIgn:\s+0{16}$/m);
    });
});

test('a daemon that is killed outright can be followed by another in the same place', async () => {
    await withDaemon({}, async (daemon) => {
        await daemon.start('sleep 367');
        await daemon.stop('SIGKILL');
        const next = { env: { PORT: String(daemon.port), PROXY_PORT: String(daemon.proxyPort) } };
        await withDaemon(next, async (second) => {
            assert.equal((await second.run('echo again')).stdout, 'again\n');
        });
        for (const pid of daemon.survivors()) process.kill(pid, 'SIGKILL');
    });
});
