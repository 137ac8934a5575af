// POST /run: results, ends, input, options, and what a command finds around itself.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { describe, test } from 'node:test';
import { delay, eventually, finish, isAlive, isRoot, slow, useDaemon } from './support/daemon.mjs';
import { curl } from './support/http.mjs';
import { RawSocket, rawRequest } from './support/raw.mjs';
import { settings } from './support/settings.mjs';

const d = useDaemon({ env: { [settings.killGrace]: '0.5' } });

test('stdout, stderr and code, in the order of the reference, and no other key', async () => {
    const answer = await d.post('/run', { cmd: 'echo out; echo err >&2; exit 3' });
    assert.equal(answer.status, 200);
    assert.equal(answer.headers.get('content-type'), 'application/json');
    assert.equal(answer.text, '{"stdout":"out\\n","stderr":"err\\n","error":"Non-zero exit code","code":3}\n');
    assert.equal((await d.post('/run', { cmd: 'true' })).text, '{"stdout":"","stderr":"","code":0}\n');
});

test('curl gets the same answer as node', async () => {
    const args = ['-H', `Authorization: Bearer ${d.secret}`, '-d', '{"cmd":"printf a; printf b >&2"}'];
    const { code, stdout } = await curl([...args, `${d.url}/koyeb-sandbox/run`]);
    assert.equal(code, 0);
    assert.deepEqual(JSON.parse(stdout), { stdout: 'a', stderr: 'b', code: 0 });
});

describe('ends', () => {
    test('all exit codes', async () => {
        const codes = Array.from({ length: 256 }, (_, i) => i);
        for (let at = 0; at < 256; at += 32) {
            const slice = codes.slice(at, at + 32);
            const ends = await Promise.all(slice.map((code) => d.run(`exit ${code}`)));
            assert.deepEqual(ends.map((e) => e.code), slice);
        }
        assert.equal((await d.run('exit 300')).code, 44);
        assert.equal((await d.run('exit 256')).code, 0);
    });
    test('a signal is told by name and as 128+n', async () => {
        for (const [name, code] of [['KILL', 137], ['SEGV', 139], ['TERM', 143], ['ABRT', 134], ['USR1', 138]]) {
            const end = await d.run(`kill -${name} $$`);
            assert.equal(end.code, code, name);
            assert.equal(end.signal, `SIG${name}`);
            assert.equal(end.error, 'Non-zero exit code');
        }
        const inside = await d.run('sh -c "kill -KILL \\$\\$"');
        assert.equal(inside.code, 137, 'the code of the inner shell');
        assert.ok(!('signal' in inside) || inside.signal === 'SIGKILL');
    });
    test('not found, not executable, syntax error', async () => {
        const missing = await d.run('no-such-program-here');
        assert.equal(missing.code, 127);
        assert.match(missing.stderr, /not found/);
        assert.equal((await d.run('/etc/passwd')).code, 126);
        assert.equal((await d.run('echo (')).code, 2);
    });
});

describe('requests that are refused', () => {
    test('without a command', async () => {
        for (const body of [{}, 'null', { cmd: '' }, { cmd: null }, { CMD: 'true' }, { cmd: '', args: [] }, { args: null }]) {
            for (const target of ['/run', '/run_streaming', '/start_process']) {
                const answer = await d.post(target, body);
                assert.equal(answer.status, 400, JSON.stringify(body));
                assert.deepEqual(answer.json, { error: 'Command is required' }, target);
            }
        }
    });
    test('bad JSON of every kind', async () => {
        const bodies = [
            '', ' ', '{', '{"cmd":"true"', '{"cmd":"true"} x', '{"cmd":"true"}{}', '{"cmd":"true",}', "{'cmd':'true'}",
            '{cmd:"true"}', '\ufeff{"cmd":"true"}', '/*c*/{"cmd":"true"}', '{"cmd":"a\nb"}', '{"cmd":"\\x41"}',
            '{"cmd":"true","timeout":NaN}', '{"cmd":"true","timeout":01}', '{"cmd":"tru', '[]', '"true"', '1', 'true',
            '["true"]', '{"cmd":1}', '{"cmd":["true"]}', '{"cmd":"true","cwd":1}', '{"cmd":"true","env":[]}',
            '{"cmd":"true","env":"A=1"}', '{"cmd":"true","env":{"A":1}}', '{"cmd":"true","env":{"A":["x"]}}',
            '{"args":"true"}', '{"args":[1]}', '{"cmd":"true","timeout":"1"}', '{"cmd":"true","stats":"yes"}',
            '{"cmd":"true","stdin":5}', '{"cmd":"true","user":5}', '{"cmd":"true","x":tru}', '{"cmd":"true"}\0',
            `${'['.repeat(100_000)}`, `{"cmd":"true","x":${'['.repeat(100_000)}${']'.repeat(100_000)}}`,
        ];
        for (const body of bodies) {
            const answer = await d.post('/run', body);
            assert.equal(answer.status, 400, body.slice(0, 80));
            assert.equal(answer.json.error, 'Invalid request', body.slice(0, 80));
        }
    });
    test('values that make no sense', async () => {
        for (const fields of [
            { timeout: -1 }, { timeout: 1e300 }, { timeout: '1' }, { timeout: true }, { on_disconnect: 'maybe' }, { encoding: 'rot13' }, { stdin: '%%%', stdin_encoding: 'base64' },
            { stdin: 'x', stdin_encoding: 'utf-7' }, { stdin_encoding: 'utf-7' }, { stdin_encoding: 5 }, { stdin: true }, { stdin: 1 }, { stats: 'yes' }, { user: 7 },
        ]) {
            const answer = await d.post('/run', { cmd: 'true', ...fields });
            assert.equal(answer.status, 400, JSON.stringify(fields));
            assert.ok(answer.json.error.length > 0);
        }
    });
    test('a working directory that is none', async () => {
        for (const cwd of ['/no/such/dir', '/etc/passwd', 'a\0b', '/etc/passwd/x']) {
            for (const target of ['/run', '/run_streaming', '/start_process']) {
                const answer = await d.post(target, { cmd: 'true', cwd });
                assert.equal(answer.status, 400, cwd);
                assert.deepEqual(answer.json, { error: `Invalid working directory: ${cwd}` });
            }
        }
    });
    test('what is accepted nevertheless', async () => {
        for (const body of [
            ' \r\n\t{"cmd":"echo ok"} \n', '{"cmd":"false","cmd":"echo ok"}', '{"\\u0063md":"echo ok"}',
            '{"cmd":"echo ok","unknown":{"a":[1,{"b":null}]}}', '{"cmd":"echo ok","cwd":null,"env":null,"timeout":null}',
            '{"cmd":"echo ok","cwd":"","env":{}}', `{"x":${'['.repeat(9000)}${']'.repeat(9000)},"cmd":"echo ok"}`,
            '{"cmd":"echo ok","stdin":false,"timeout":0}',
        ]) {
            const answer = await d.post('/run', body, { headers: { 'Content-Type': 'text/plain' } });
            assert.equal(answer.json.stdout, 'ok\n', body);
        }
    });
});

describe('directory and environment', () => {
    test('the working directory, also through a link and relative', async () => {
        fs.mkdirSync(d.file('real'));
        fs.symlinkSync('real', d.file('link'));
        assert.equal((await d.run('/bin/pwd -P', { cwd: d.file('real') })).stdout, `${d.file('real')}\n`);
        assert.equal((await d.run('pwd', { cwd: d.file('link') })).stdout, `${d.file('link')}\n`);
        assert.equal((await d.run('/bin/pwd -P', { cwd: 'real' })).stdout, `${d.file('real')}\n`);
        assert.equal((await d.run('/bin/pwd -P', { cwd: '' })).stdout, `${d.work}\n`);
    });
    test('variables are added, null is empty, the last of two wins', async () => {
        const show = 'printf "%s|%s|%s" "$A" "${N-unset}" "$PATH"';
        const end = await d.run(show, { env: { A: 'ä "quoted" $x\n2', N: null } });
        assert.equal(end.stdout, `ä "quoted" $x\n2||${process.env.PATH}`);
        const twice = await d.post('/run', '{"cmd":"printf %s $A","env":{"A":"1","A":"2"}}');
        assert.equal(twice.json.stdout, '2');
        const input = await d.post('/run', '{"stdin":"1","cmd":"false","cmd":"cat","stdin":"2"}');
        assert.deepEqual(input.json, { stdout: '2', stderr: '', code: 0 });
        assert.equal((await d.run('printf %s "$PATH"', { env: { PATH: '/bin:/usr/bin' } })).stdout, '/bin:/usr/bin');
    });
    test('commands and environments larger than 128 KiB', async () => {
        for (const size of [140 * 1024, 3 * 1024 * 1024]) {
            const pad = 'x'.repeat(size);
            const end = await d.run(`v='${pad}'; printf %s "$v" | wc -c; exit 7`);
            assert.equal(end.stdout.trim(), String(size));
            assert.equal(end.code, 7);
        }
        const heredoc = await d.run(`cat <<'END' | wc -l\n${'line\n'.repeat(60_000)}END\n`);
        assert.equal(heredoc.stdout.trim(), '60000');
        const large = await d.run(`: ${'x'.repeat(200_000)}\ncat; echo done`, { stdin: 'input' });
        assert.equal(large.stdout, 'inputdone\n', 'stdin belongs to the command, not to its text');
        const env = {};
        for (let i = 0; i < 20; ++i) env[`BIG_${i}`] = 'y'.repeat(50_000);
        assert.equal((await d.run('env | grep -c ^BIG_', { env })).stdout.trim(), '20');
    });
    test('a start that the kernel refuses names the errno', async () => {
        const tooBig = await d.post('/run', { cmd: 'true', env: { A: 'x'.repeat(200_000) } });
        if (tooBig.status !== 200) {
            assert.equal(tooBig.status, 500);
            assert.match(tooBig.json.error, /E2BIG|argument list too long/i);
        }
        for (const fields of [{ cmd: 'echo a\0b' }, { cmd: 'true', env: { A: 'x\0y' } }, { args: ['echo', 'a\0b'] }]) {
            const answer = await d.post('/run', fields);
            assert.ok(answer.status === 400 || answer.status === 500, answer.text);
            assert.match(answer.json.error, /invalid argument|NUL|EINVAL/i);
        }
        const missing = await d.post('/run', { args: ['/no/such/program'] });
        assert.equal(missing.status, 500);
        assert.match(missing.json.error, /ENOENT|no such file/i);
        const denied = await d.post('/run', { args: ['/etc/passwd'] });
        assert.equal(denied.status, 500);
        assert.match(denied.json.error, /EACCES|permission denied/i);
    });
    test('what a command is born with', async () => {
        const status = (await d.run('cat /proc/self/status')).stdout;
        for (const mask of ['SigBlk', 'SigIgn', 'SigCgt']) {
            assert.match(status, new RegExp(`^${mask}:\\s+0{16}$`, 'm'), mask);
        }
        assert.equal((await d.run('umask')).stdout.trim().padStart(4, '0'), process.umask().toString(8).padStart(4, '0'));
        const fds = (await d.run('ls -l /proc/self/fd')).stdout.trim().split('\n').slice(1);
        assert.equal(fds.length, 4, `0, 1, 2 and the one of ls: ${fds}`);
        assert.ok(fds.some((line) => line.includes('0 -> /dev/null')));
        const [, , , , group, session] = (await d.run('cat /proc/self/stat')).stdout.replace(/\(.*\)/, 'x').split(' ');
        assert.notEqual(session, '0');
        const daemonSession = fs.readFileSync(`/proc/${d.pid}/stat`, 'latin1').replace(/\(.*\)/, 'x').split(' ')[5];
        assert.notEqual(session, daemonSession);
        assert.equal(group, session, 'the session leader is the group leader');
        const limit = fs.readFileSync('/proc/self/limits', 'latin1').match(/Max open files\s+(\S+)/)[1];
        assert.equal((await d.run('ulimit -n')).stdout.trim(), limit === 'unlimited' ? 'unlimited' : limit);
        // Soon after its start, and by itself: the daemon keeps its own score.
        const score = (process) => Number(fs.readFileSync(`/proc/${process}/oom_score_adj`, 'latin1'));
        const own = score('self');
        const raised = Math.min(own + 100, 1000);
        const wait = `until [ $(cat /proc/$$/oom_score_adj) = ${raised} ]; do sleep 0.01; done; cat /proc/self/oom_score_adj`;
        assert.equal((await d.run(wait, { timeout: 20 })).stdout, `${raised}\n`);
        // From its beginning, where the daemon is root and starts it on a thread.
        const read = isRoot ? 'cat /proc/self/oom_score_adj' : wait;
        assert.equal((await d.run(read, { cwd: '/', timeout: 20 })).stdout, `${raised}\n`);
        assert.equal(score(d.pid), own);
    });
});

describe('input', () => {
    test('none means /dev/null', async () => {
        assert.deepEqual(await d.run('cat'), { stdout: '', stderr: '', code: 0 });
    });
    test('text and bytes', async () => {
        assert.equal((await d.run('cat', { stdin: 'ä\nb' })).stdout, 'ä\nb');
        assert.equal((await d.run('cat; echo end', { stdin: '' })).stdout, 'end\n');
        const bytes = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
        const fields = { stdin: bytes.toString('base64'), stdin_encoding: 'base64', encoding: 'base64' };
        assert.deepEqual(Buffer.from((await d.run('cat', fields)).stdout, 'base64'), bytes);
    });
    test('far more than a pipe holds, to a reader that is slow, and to one that never reads', async () => {
        const stdin = 'z'.repeat(slow ? 2_000_000 : 20_000_000);
        assert.equal((await d.run('sleep 0.2; wc -c', { stdin })).stdout.trim(), String(stdin.length));
        assert.equal((await d.run('exit 5', { stdin })).code, 5);
        assert.equal((await d.run('cat', { stdin: stdin.slice(0, 1_000_000) })).stdout.length, 1_000_000);
    });
});

describe('options', () => {
    test('args run without a shell', async () => {
        const end = await d.post('/run', { args: ['printf', '%s|', 'a b', '$HOME', '*', '', 'ä'] });
        assert.equal(end.json.stdout, 'a b|$HOME|*||ä|');
    });
    test('another user', { skip: !isRoot && 'needs root' }, async () => {
        const end = await d.run('id -u; id -g; id -G', { user: 'nobody', cwd: '/' });
        assert.equal(end.stdout, '65534\n65534\n65534\n');
        const unknown = await d.post('/run', { cmd: 'true', user: 'no-such-user-here' });
        assert.ok(unknown.status >= 400 && unknown.status < 600, unknown.text);
        assert.match(unknown.json.error, /user/i);
    });
    test('stats', async () => {
        const end = await d.run('head -c 30000000 /dev/zero | tail -c 1 | wc -c', { stats: true });
        const numbers = Object.entries(end).filter(([, value]) => typeof value === 'number');
        assert.ok(end.duration_ms > 0);
        assert.ok(numbers.length >= 5, `code, duration, two times and the memory: ${JSON.stringify(end)}`);
        assert.ok(!('duration_ms' in (await d.run('true'))));
    });
    test('a timeout ends the tree and keeps what was printed', async () => {
        const began = Date.now();
        const file = d.file('timeout-pid');
        const end = await d.run(`echo before; setsid sleep 311 & echo $! > ${file}; sleep 312`, { timeout: 0.3 });
        assert.ok(Date.now() - began < 10_000);
        assert.equal(end.stdout, 'before\n');
        assert.equal(end.timed_out, true);
        assert.equal(end.code, 143);
        assert.equal(end.signal, 'SIGTERM');
        await d.noSurvivors('the end of the tree');
    });
    test('a timeout is never code 0, and KILL follows TERM', async () => {
        const zero = await d.run('trap "exit 0" TERM; while :; do sleep 0.05; done', { timeout: 0.3 });
        assert.deepEqual([zero.code, zero.timed_out], [124, true]);
        const own = await d.run('trap "exit 9" TERM; while :; do sleep 0.05; done', { timeout: 0.3 });
        assert.deepEqual([own.code, own.timed_out], [9, true]);
        const deaf = await d.run('trap "" TERM; while :; do sleep 0.05; done', { timeout: 0.2 });
        assert.deepEqual([deaf.code, deaf.timed_out, deaf.signal], [137, true, 'SIGKILL']);
        const early = await d.run('echo quick', { timeout: 30 });
        assert.deepEqual(early, { stdout: 'quick\n', stderr: '', code: 0 });
    });
});

describe('output', () => {
    test('both streams at once, far beyond a pipe', async () => {
        const n = slow ? 20_000 : 300_000;
        const end = await d.run(`seq 1 ${n} >&2 & seq 1 ${n}; wait`);
        const expected = Array.from({ length: n }, (_, i) => `${i + 1}\n`).join('');
        assert.ok(end.stdout === expected && end.stderr === expected);
        assert.equal((await d.run('head -c 65537 /dev/zero | tr "\\0" e >&2')).stderr.length, 65537);
        assert.equal((await d.run('head -c 3000000 /dev/zero | tr "\\0" e >&2; echo o')).stderr.length, 3_000_000);
    });
    test('text is text: escapes, splits, invalid bytes', async () => {
        assert.equal((await d.run('printf "\\001\\033[0m\\042\\134\\t\\r\\n<&>\\177"')).stdout, '\x01\x1b[0m"\\\t\r\n<&>\x7f');
        assert.equal((await d.run('printf "\\303"; sleep 0.2; printf "\\251"')).stdout, 'é');
        assert.equal((await d.run('printf "\\360\\237"; sleep 0.1; printf "\\230"; sleep 0.1; printf "\\200"')).stdout, '😀');
        assert.equal((await d.run('printf "a\\377b\\303"')).stdout, 'a\ufffdb\ufffd');
        assert.equal((await d.run('printf "\\361\\200\\200A"')).stdout, '\ufffd\ufffd\ufffdA');
        assert.equal((await d.run('printf "\\355\\240\\200"')).stdout, '\ufffd\ufffd\ufffd');
        assert.equal((await d.run('printf "\\342\\200\\250\\302\\205"')).stdout, '\u2028\u0085');
        assert.equal((await d.run('printf "\\0"')).stdout, '\0');
    });
    test('base64 is exact', async () => {
        const end = await d.run('cat; cat /dev/null >&2', {
            stdin: Buffer.from([0, 255, 10, 13, 128]).toString('base64'), stdin_encoding: 'base64', encoding: 'base64',
        });
        assert.deepEqual([...Buffer.from(end.stdout, 'base64')], [0, 255, 10, 13, 128]);
        assert.equal(end.stderr, '');
    });
    test('a background job does not hold up the answer, lives on, and never gets SIGPIPE', async () => {
        const began = Date.now();
        const file = d.file('background');
        const job = `for i in 1 2 3 4 5 6; do sleep 0.1; echo more || echo pipe > ${file}.bad; done; echo alive > ${file}; sleep 313`;
        const end = await d.run(`(${job}) & echo hi; echo $!`);
        assert.ok(Date.now() - began < 5000);
        const [hi, pid] = end.stdout.split('\n');
        assert.equal(hi, 'hi');
        assert.equal(end.pipes_open, true);
        assert.equal(end.code, 0);
        await eventually(() => fs.existsSync(file), 'the job got past its writes');
        assert.ok(!fs.existsSync(`${file}.bad`));
        assert.ok(isAlive(Number(pid)));
        for (const left of d.survivors()) process.kill(left, 'SIGKILL');
        await d.noSurvivors('the end of the job');
    });
    test('a background job without the pipes leaves no mark on the answer', async () => {
        const end = await d.run('sleep 0.4 > /dev/null 2>&1 & echo hi');
        assert.deepEqual(end, { stdout: 'hi\n', stderr: '', code: 0 });
        await d.noSurvivors('the end of the job');
    });
});

describe('disconnects', () => {
    const tree = (file) => `setsid sh -c 'echo $$ > ${file}; sleep 314' & (sleep 315 &); sleep 316`;
    for (const way of ['close', 'reset', 'half-close']) {
        test(`${way} ends the whole tree`, async () => {
            const { RawSocket, rawRequest } = await import('./support/raw.mjs');
            const raw = await RawSocket.connect(d.port);
            const file = d.file(`tree-${way}`);
            raw.write(rawRequest('POST', '/run', d.secret, { cmd: tree(file) }));
            await eventually(() => d.survivors().length >= 5, 'the tree');
            if (way === 'close') raw.close();
            else if (way === 'reset') raw.reset();
            else raw.halfClose();
            await d.noSurvivors('the end of the tree');
            raw.close();
        });
    }
    test('an aborted fetch ends it, "continue" lets it go on', async () => {
        const cut = async (fields) => {
            const abort = new AbortController();
            const pending = d.post('/run', fields, { signal: abort.signal });
            await eventually(() => d.survivors().length > 0, 'the command');
            abort.abort();
            await assert.rejects(pending);
        };
        await cut({ cmd: 'sleep 317' });
        await d.noSurvivors('the end');
        const file = d.file('continued');
        await cut({ cmd: `sleep 0.6; echo output; echo finished > ${file}`, on_disconnect: 'continue' });
        await eventually(() => fs.existsSync(file), 'the command that goes on');
    });
    test('a killed curl ends it', async () => {
        const { curlProcess } = await import('./support/http.mjs');
        const child = curlProcess(['-H', `Authorization: Bearer ${d.secret}`, '-d', '{"cmd":"sleep 318"}', `${d.url}/run`]);
        await eventually(() => d.survivors().length > 0, 'the command');
        child.kill('SIGKILL');
        await d.noSurvivors('the end');
    });
});

test('blanks before the answer, when asked for', async () => {
    const raw = await RawSocket.connect(d.port);
    raw.write(rawRequest('POST', '/run', d.secret, { cmd: 'sleep 0.5; echo out; exit 3', keepalive: 0.1 }));
    assert.equal((await raw.head()).status, 200);
    const text = (await raw.until((buffer) => buffer.includes('0\r\n\r\n') && buffer)).toString();
    raw.close();
    assert.ok(text.startsWith('1\r\n \r\n1\r\n \r\n'), text);
    const answer = await d.post('/run', { cmd: 'sleep 0.3; echo out; exit 3', keepalive: 0.1 });
    assert.deepEqual(answer.json, { stdout: 'out\n', stderr: '', error: 'Non-zero exit code', code: 3 });
    assert.equal((await d.post('/run', { cmd: 'true', keepalive: -1 })).status, 400);
    const gone = await RawSocket.connect(d.port);
    gone.write(rawRequest('POST', '/run', d.secret, { cmd: 'sleep 377', keepalive: 0.05 }));
    await gone.head();
    gone.close();
    await d.noSurvivors();
});

test('two hundred at once', async () => {
    const count = slow ? 50 : 200;
    const ends = await Promise.all(Array.from({ length: count }, (_, i) => d.run(`sleep 0.2; echo ${i}; exit ${i % 7}`)));
    ends.forEach((end, i) => assert.deepEqual([end.stdout, end.code], [`${i}\n`, i % 7]));
    await delay(0);
});

describe('an answer larger than the memory for it', () => {
    const size = 12_000_000;
    const body = (answer) => JSON.parse(answer.body);

    test('begins while the command runs, and has its end', async () => {
        const cmd = `head -c ${size} /dev/zero | tr '\\0' a; while [ ! -e seen ]; do sleep 0.02; done; echo late >&2; exit 7`;
        const raw = await RawSocket.connect(d.port);
        raw.write(rawRequest('POST', '/run', d.secret, { cmd, cwd: d.tmp }));
        await raw.until((bytes) => bytes.length > size / 2);
        fs.writeFileSync(`${d.tmp}/seen`, '');
        const end = body(await raw.response());
        assert.deepEqual([end.stdout.length, end.stderr, end.code], [size, 'late\n', 7]);
        assert.ok(/^a+$/.test(end.stdout));
        raw.close();
        fs.unlinkSync(`${d.tmp}/seen`);
    });
    test('a reader that does not read does not hold up the command, and gets all of it later', async () => {
        const cmd = `head -c ${3 * size} /dev/zero | tr '\\0' b; touch written`;
        const raw = await RawSocket.connect(d.port);
        raw.socket.pause();
        raw.write(rawRequest('POST', '/run', d.secret, { cmd, cwd: d.tmp }));
        await eventually(() => fs.existsSync(`${d.tmp}/written`), 'the end of the command');
        raw.socket.resume();
        const end = body(await raw.response({ timeoutMs: 60_000 }));
        assert.deepEqual([end.stdout.length, end.code], [3 * size, 0]);
        raw.close();
        fs.unlinkSync(`${d.tmp}/written`);
    });
    test('as base64, it is the same bytes', async () => {
        const end = await d.run(`yes 0123456789 | head -c ${size}`, { encoding: 'base64' });
        const text = Buffer.from(end.stdout, 'base64').toString();
        assert.equal(text.length, size);
        assert.equal(text, '0123456789\n'.repeat(size / 11 + 1).slice(0, size));
    });
    test('a reader that goes away ends the command', async () => {
        const raw = await RawSocket.connect(d.port);
        raw.write(rawRequest('POST', '/run', d.secret, { cmd: 'yes' }));
        await raw.until((bytes) => bytes.length > size);
        raw.close();
        await d.noSurvivors('the end of the command');
    });
});

finish(d);
