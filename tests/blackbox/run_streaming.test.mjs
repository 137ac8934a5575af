// POST /run_streaming: the event stream, as a strict reader and as both public SDKs see it.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import { describe, test } from 'node:test';
import { alone, delay, eventually, finish, hiddenDescriptors, isRoot, memoryKb, openDescriptors, slow, useDaemon } from './support/daemon.mjs';
import { curl, curlProcess, sha256 } from './support/http.mjs';
import { RawSocket, rawRequest } from './support/raw.mjs';
import { settings } from './support/settings.mjs';
import { chunksOf, follow, parseAsJs, parseAsPython, parseStrict, textOf } from './support/sse.mjs';

const d = useDaemon({ env: { [settings.killGrace]: '0.5' } });

const open = (fields, options) => d.post('/run_streaming', fields, { ...options, stream: true });

// The events, checked with all three readers against each other.
async function stream(fields) {
    const response = await open(typeof fields === 'string' ? { cmd: fields } : fields);
    assert.equal(response.status, 200);
    const chunks = await chunksOf(response);
    const bytes = Buffer.concat(chunks);
    const events = parseStrict(bytes);
    assert.deepEqual(parseAsJs(chunks), events.map(({ event, data }) => ({ event, data })));
    const python = parseAsPython(bytes);
    assert.deepEqual(python.outputs, events.filter((e) => e.event === 'output').map((e) => e.data));
    const last = events.at(-1);
    assert.ok(last.event === 'complete' || last.event === 'error', 'a terminal event at the end');
    assert.equal(events.filter((e) => e.event === 'complete' || e.event === 'error').length, 1);
    if (last.event === 'complete') assert.equal(python.code, last.data.code);
    return events;
}
const pieces = (events, name = 'stdout') =>
    events.filter((e) => e.event === 'output' && e.data.stream === name).map((e) => e.data.data);

test('the form of the reference', async () => {
    const response = await open({ cmd: 'echo line' });
    assert.equal(response.headers.get('content-type'), 'text/event-stream');
    assert.equal(response.headers.get('cache-control'), 'no-cache');
    assert.equal(response.headers.get('x-accel-buffering'), 'no');
    assert.equal(response.headers.get('connection'), 'keep-alive');
    assert.equal(
        await response.text(),
        'event: output\ndata: {"data":"line","stream":"stdout"}\n\n' +
            'event: complete\ndata: {"code":0,"error":false}\n\n',
    );
    const { stdout } = await curl(['-N', '-H', `Authorization: Bearer ${d.secret}`, '-d', '{"cmd":"echo c >&2; exit 4"}',
        `${d.url}/run_streaming`]);
    assert.deepEqual(parseStrict(stdout), [
        { event: 'output', data: { data: 'c', stream: 'stderr' } },
        { event: 'complete', data: { code: 4, error: true } },
    ]);
});

test('the headers leave before the command says anything', async () => {
    const raw = await RawSocket.connect(d.port);
    raw.write(rawRequest('POST', '/run_streaming', d.secret, { cmd: 'sleep 321' }));
    assert.equal((await raw.head(5000)).status, 200);
    raw.close();
    await d.noSurvivors('the end of the silent command');
});

describe('lines', () => {
    const table = [
        ['a\\n\\n\\nb\\n', ['a', '', '', 'b']],
        ['no newline', ['no newline']],
        ['', []],
        ['\\n', ['']],
        ['x\\ry\\n', ['x\ry']],
        ['a\\r\\nb\\r\\n', ['a', 'b']],
        ['tab\\tquote\\042back\\134slash\\n', ['tab\tquote"back\\slash']],
        ['ab\\0cd\\n', ['ab\0cd']],
        // The boundaries at which Python splits lines.
        ['v\\013f\\014c\\034d\\035e\\036n\\302\\205l\\342\\200\\250p\\342\\200\\251e\\n', [
            'v\x0bf\x0cc\x1cd\x1de\x1en\x85l\u2028p\u2029e']],
        ['h\\303\\251 \\342\\202\\254 \\360\\237\\230\\200\\n', ['hé € 😀']],
        ['data: x\\n\\nevent: complete\\n', ['data: x', '', 'event: complete']],
        ['bad \\377\\376 \\303(\\n', ['bad \ufffd\ufffd \ufffd(']],
        ['cut \\342\\202', ['cut \ufffd\ufffd']],
    ];
    for (const [format, expected] of table) {
        test(`printf '${format}'`, async () => {
            const events = await stream(`printf '${format}'`);
            assert.deepEqual(pieces(events), expected);
        });
    }
    test('the exact text can be had back', async () => {
        for (const text of ['a', 'a\n', 'a\r\n', 'a\r\r\r\n', 'b\r', '\r', '\r\n', '\n\r', 'a\nb', 'a\r\nb\n\nc\rd\r\n', '\r\r']) {
            const events = await stream({ cmd: 'cat', stdin: text });
            assert.equal(textOf(events, 'stdout'), text, JSON.stringify(events));
            for (const { data } of events.filter((e) => e.event === 'output')) {
                assert.ok(!('eol' in data) || data.eol !== '\n', 'a plain newline needs no mark');
            }
        }
        const [plain, windows, bare] = await stream({ cmd: 'cat', stdin: 'a\nb\r\nc' });
        assert.deepEqual(plain.data, { data: 'a', stream: 'stdout' });
        assert.equal(windows.data.eol, '\r\n');
        assert.equal(bare.data.eol, '');
    });
    test('a character that is split over two writes is whole', async () => {
        const cmd = "printf '\\360\\237'; sleep 0.15; printf '\\230'; sleep 0.15; printf '\\200 \\342\\202'; sleep 0.15; printf '\\254\\n'";
        assert.deepEqual(pieces(await stream(cmd)), ['😀 €']);
    });
    test('a partial line is held until its newline', async () => {
        assert.deepEqual(pieces(await stream("printf 'one '; sleep 0.2; printf 'line\\n'")), ['one line']);
    });
    test('order within each stream, both streams complete, the end last', async () => {
        const n = slow ? 5000 : 50_000;
        const events = await stream(`seq 1 ${n} & seq 1 ${n} >&2; wait; exit 6`);
        const expected = Array.from({ length: n }, (_, i) => String(i + 1));
        assert.deepEqual(pieces(events, 'stdout'), expected);
        assert.deepEqual(pieces(events, 'stderr'), expected);
        assert.deepEqual(events.at(-1), { event: 'complete', data: { code: 6, error: true } });
    });
    test('very long lines go on in further events', async () => {
        const mib = 1024 * 1024;
        const sizes = [mib - 1, mib, mib + 1, 3 * mib + 5];
        for (const size of sizes) {
            const events = await stream(`head -c ${size} /dev/zero | tr '\\0' q; echo; echo next`);
            const outputs = events.filter((e) => e.event === 'output');
            assert.equal(outputs.at(-1).data.data, 'next');
            const long = outputs.slice(0, -1);
            assert.equal(long.length, Math.ceil(size / mib));
            assert.ok(long.slice(0, -1).every((e) => e.data.partial === true));
            assert.ok(!('partial' in long.at(-1).data));
            assert.ok(long.map((e) => e.data.data).join('') === 'q'.repeat(size));
        }
    });
    test('a long line of wide characters is never cut inside one', async () => {
        const events = await stream(`head -c 1500000 /dev/zero | sed 's/\\x00/€/g'; echo`);
        assert.ok(textOf(events, 'stdout') === `${'€'.repeat(1_500_000)}\n`);
    });
});

describe('options', () => {
    test('flush_ms sends a held piece', async () => {
        const seen = [];
        const response = await open({ cmd: "printf 'prompt> '; sleep 1; echo typed", flush_ms: 50 });
        await follow(response, (e) => void seen.push({ ...e, at: Date.now() }));
        assert.equal(seen[0].data.data, 'prompt> ');
        assert.equal(seen[0].data.partial, true);
        assert.equal(seen[1].data.data, 'typed');
        assert.ok(!('partial' in seen[1].data));
        assert.ok(seen[1].at - seen[0].at > 500, 'it came before the rest');
    });
    test('base64 carries exact bytes', async () => {
        const bytes = randomBytes(slow ? 300_000 : 3_000_000);
        fs.writeFileSync(d.file('random'), bytes);
        const events = await stream({ cmd: `cat ${d.file('random')}`, encoding: 'base64' });
        const outputs = events.filter((e) => e.event === 'output');
        const got = Buffer.concat(outputs.map((e) => Buffer.from(e.data.data, 'base64')));
        assert.equal(sha256(got), sha256(bytes));
        assert.ok(outputs.every((e) => !('eol' in e.data)));
    });
    test('keep-alive comments come when asked for, and only then', async () => {
        const response = await open({ cmd: 'sleep 1.4; echo x', keepalive: 0.4 });
        const parser = await follow(response, () => false, { comments: true });
        assert.ok(parser.comments >= 2, `${parser.comments} comments`);
        const plain = await open({ cmd: 'sleep 1; echo x' });
        await follow(plain, () => false);
    });
    test('timeout, args, stdin, user, stats', async () => {
        const late = (await stream({ cmd: 'echo a; sleep 322', timeout: 0.3 })).at(-1);
        assert.equal(late.data.timed_out, true);
        assert.equal(late.data.code, 143);
        assert.equal(late.data.error, true);
        assert.equal(late.data.signal, 'SIGTERM');
        assert.deepEqual(pieces(await stream({ args: ['printf', '%s\\n', '$HOME'] })), ['$HOME']);
        assert.deepEqual(pieces(await stream({ cmd: 'cat', stdin: 'in' })), ['in']);
        assert.ok((await stream({ cmd: 'true', stats: true })).at(-1).data.duration_ms >= 0);
        if (isRoot) assert.deepEqual(pieces(await stream({ cmd: 'id -u', user: 'nobody', cwd: '/' })), ['65534']);
    });
    test('a signal', async () => {
        assert.deepEqual((await stream('kill -SEGV $$')).at(-1).data, { code: 139, error: true, signal: 'SIGSEGV' });
    });
    test('a start that fails names the errno, and no complete follows', async () => {
        const response = await open({ args: ['/no/such/program'] });
        const text = await response.text();
        if (response.status === 200) {
            const events = parseStrict(text);
            assert.deepEqual(events.map((e) => e.event), ['error']);
            assert.match(events[0].data.error, /ENOENT|no such file/i);
        } else {
            assert.equal(response.status, 500);
            assert.match(JSON.parse(text).error, /ENOENT|no such file/i);
        }
    });
});

test('a background job does not hold up the end and never gets SIGPIPE', async () => {
    const file = d.file('streaming-background');
    const began = Date.now();
    const events = await stream(`(sleep 0.5; echo a; sleep 0.1; echo b; echo alive > ${file}; sleep 323) & echo hi`);
    assert.ok(Date.now() - began < 5000);
    assert.deepEqual(pieces(events), ['hi']);
    assert.deepEqual(events.at(-1).data, { code: 0, error: false, pipes_open: true });
    await eventually(() => fs.existsSync(file), 'the job got past its writes');
    for (const pid of d.survivors()) process.kill(pid, 'SIGKILL');
    await d.noSurvivors('the end of the job');
});

test('output that comes in small steps arrives in small steps', async () => {
    const at = [];
    const response = await open({ cmd: 'for i in 1 2 3; do echo $i; sleep 0.3; done' });
    await follow(response, () => void at.push(Date.now()));
    assert.ok(at[1] - at[0] > 100 && at[2] - at[1] > 100, `${at}`);
});

test('an HTTP/1.0 client gets the stream until the connection ends', async () => {
    const raw = await RawSocket.connect(d.port);
    const body = '{"cmd":"seq 1 3"}';
    raw.write(`POST /run_streaming HTTP/1.0\r\nAuthorization: Bearer ${d.secret}\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
    const head = await raw.head();
    assert.equal(head.headers['transfer-encoding'], undefined);
    const events = parseStrict(await raw.rest());
    assert.deepEqual(pieces(events), ['1', '2', '3']);
    raw.close();
});

test('the connection goes on after a stream, also with requests sent ahead', async () => {
    const raw = await RawSocket.connect(d.port);
    const wanted = rawRequest('POST', '/run_streaming', d.secret, { cmd: 'sleep 0.2; echo x' });
    raw.write(wanted + rawRequest('GET', '/health') + wanted);
    for (const expected of [['x'], null, ['x']]) {
        const answer = await raw.response();
        assert.equal(answer.status, 200);
        if (expected) assert.deepEqual(pieces(parseStrict(answer.body)), expected);
    }
    raw.close();
});

test('a slow reader slows the command down, loses nothing, and costs no memory', async () => {
    const n = slow ? 30_000 : 400_000;
    const raw = await RawSocket.connect(d.port);
    raw.socket.pause();
    raw.write(rawRequest('POST', '/run_streaming', d.secret, { cmd: `seq 1 ${n}; echo $(date +%s%N) > ${d.file('seq-end')}` }));
    await delay(slow ? 300 : 700);
    if (!slow) {
        assert.ok(!fs.existsSync(d.file('seq-end')), 'the command waits for its reader');
        if (alone) assert.ok(memoryKb(d.pid, 'VmRSS') < 32_000, `${memoryKb(d.pid, 'VmRSS')} kB`);
    }
    const parts = [];
    raw.socket.removeAllListeners('data');
    raw.socket.on('data', (chunk) => {
        parts.push(chunk);
        if (parts.length % 50 === 0) {
            raw.socket.pause();
            setTimeout(() => raw.socket.resume(), 2);
        }
    });
    raw.socket.resume();
    await eventually(() => parts.at(-1)?.subarray(-5).toString() === '0\r\n\r\n', 'the end of the stream', 60_000);
    raw.close();
    const text = Buffer.concat(parts).toString('latin1');
    const numbers = [...text.matchAll(/"data":"(\d+)"/g)].map((m) => Number(m[1]));
    assert.equal(numbers.length, n);
    assert.ok(numbers.every((value, i) => value === i + 1));
});

describe('disconnects end the whole tree', () => {
    const trees = {
        silent: "setsid sh -c 'sleep 324' & (sleep 325 &); sleep 326",
        talking: "setsid sh -c 'yes' & (sleep 327 &); yes no",
        deaf: "trap '' TERM; setsid sh -c \"trap '' TERM; while :; do sleep 0.1; done\" & while :; do sleep 0.1; done",
    };
    for (const [name, cmd] of Object.entries(trees)) {
        for (const way of ['close', 'reset', 'half-close']) {
            test(`${name}, ${way}`, async () => {
                const raw = await RawSocket.connect(d.port);
                raw.write(rawRequest('POST', '/run_streaming', d.secret, { cmd }));
                await raw.head();
                await eventually(() => d.survivors().length >= 3, 'the tree');
                if (name === 'talking') raw.socket.pause();
                if (way === 'close') raw.close();
                else if (way === 'reset') raw.reset();
                else raw.halfClose();
                if (name === 'talking') raw.socket.resume();
                raw.buffer = Buffer.alloc(0);
                await d.noSurvivors('the end of the tree');
                raw.close();
            });
        }
    }
    test('a killed curl', async () => {
        const child = curlProcess(['-H', `Authorization: Bearer ${d.secret}`, '-d', '{"cmd":"sleep 328 | cat"}', `${d.url}/run_streaming`]);
        await eventually(() => d.survivors().length >= 2, 'the tree');
        child.kill('SIGKILL');
        await d.noSurvivors('the end of the tree');
    });
    test('"continue" lets it go on, with its output read', async () => {
        const abort = new AbortController();
        const file = d.file('streaming-continued');
        const cmd = `echo go; sleep 0.3; seq 1 100000; echo $? > ${file}`;
        const response = await open({ cmd, on_disconnect: 'continue' }, { signal: abort.signal });
        await follow(response, () => true);
        abort.abort();
        await eventually(() => fs.existsSync(file) && fs.readFileSync(file, 'utf8') === '0\n', 'the command that goes on');
    });
    test('many of them leave no descriptor', { skip: !alone || hiddenDescriptors }, async () => {
        const storm = async () => {
            await Promise.all(Array.from({ length: 30 }, async () => {
                const abort = new AbortController();
                const response = await open({ cmd: 'echo on; sleep 329' }, { signal: abort.signal });
                await follow(response, () => true).catch(() => {});
                abort.abort();
            }));
            await d.noSurvivors('the end of the commands');
        };
        await storm(); // what is kept for the next commands is there now
        await delay(200);
        const before = openDescriptors(d.pid);
        await storm();
        await eventually(() => openDescriptors(d.pid) <= before + 4, 'the descriptors');
    });
});

finish(d);
