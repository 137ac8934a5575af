// GET /process_logs_streaming: nothing lost, nothing out of order, resumable, and no reader can hurt the daemon.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { describe, test } from 'node:test';
import { alone, delay, eventually, finish, hiddenDescriptors, heldConnections, memoryKb, slow, useDaemon } from './support/daemon.mjs';
import { curl } from './support/http.mjs';
import { RawSocket, rawRequest } from './support/raw.mjs';
import { chunksOf, follow, parseAsJs, parseStrict, textOf } from './support/sse.mjs';

const d = useDaemon();
const open = (id, query = '', options) => d.get(`/process_logs_streaming?id=${id}${query}`, { ...options, stream: true });

async function logs(id, query = '', headers = {}) {
    const response = await open(id, query, { headers });
    assert.equal(response.status, 200);
    assert.equal(response.headers.get('content-type'), 'text/event-stream');
    const chunks = await chunksOf(response);
    const events = parseStrict(Buffer.concat(chunks));
    assert.deepEqual(parseAsJs(chunks), events.map(({ event, data }) => ({ event, data })));
    return events;
}
const lines = (events) => events.filter((e) => e.event === 'log').map((e) => e.data.data);
const history = (id, query = '') => logs(id, `&follow=false${query}`);
const numbered = (from, to) => Array.from({ length: to - from + 1 }, (_, i) => String(from + i));

test('the form of an event, and of the end', async () => {
    const { id } = await d.start('echo out; sleep 0.05; echo err >&2');
    const events = await logs(id);
    assert.equal(events.length, 3);
    for (const [i, name, text] of [[0, 'stdout', 'out'], [1, 'stderr', 'err']]) {
        assert.equal(events[i].event, 'log');
        assert.deepEqual(Object.keys(events[i].data), ['timestamp', 'stream', 'data']);
        assert.match(events[i].data.timestamp, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z$/);
        assert.equal(events[i].data.stream, name);
        assert.equal(events[i].data.data, text);
        assert.ok(Number.isInteger(events[i].id));
    }
    assert.ok(events[1].id > events[0].id);
    assert.equal(events[2].event, 'complete');
    assert.deepEqual(events[2].data, { message: 'stream ended' });
    const { stdout } = await curl(['-N', '-H', `Authorization: Bearer ${d.secret}`, `${d.url}/process_logs_streaming?id=${id}`]);
    assert.deepEqual(lines(parseStrict(stdout)), ['out', 'err']);
});

test('both streams in order of arrival', async () => {
    const { id } = await d.start('for i in 1 2 3; do echo o$i; sleep 0.03; echo e$i >&2; sleep 0.03; done');
    await d.ended(id);
    assert.deepEqual(lines(await logs(id)), ['o1', 'e1', 'o2', 'e2', 'o3', 'e3']);
});

test('the exact text can be had back', async () => {
    for (const text of ['a', 'a\n', 'a\r\n\n\nb\r', '\r\r\n', 'x\ry\n', 'é€😀\u2028\u0085\x0b\n']) {
        fs.writeFileSync(d.file('text'), text);
        const { id } = await d.start(`cat ${d.file('text')}`);
        assert.equal(textOf(await logs(id)), text, JSON.stringify(text));
    }
});

test('exact bytes, for a process that was started so and for a reader who asks', async () => {
    const cmd = `printf 'a\\377\\0\\r\\n\\nno end'`;
    const wanted = Buffer.from('a\xff\0\r\n\nno end', 'latin1');
    const bytesOf = (text) => {
        const events = text.split('\n').filter((line) => line.startsWith('data: {"timestamp"')).map((line) => JSON.parse(line.slice(6)));
        for (const event of events) assert.deepEqual([event.encoding, event.eol], ['base64', undefined]);
        return Buffer.concat(events.map((event) => Buffer.from(event.data, 'base64')));
    };
    const exact = await d.start(cmd, { encoding: 'base64' });
    assert.deepEqual(bytesOf((await d.get(`/process_logs_streaming?id=${exact.id}`)).text), wanted);
    const asText = await d.get(`/process_logs_streaming?id=${exact.id}&encoding=utf-8`);
    assert.ok(asText.text.includes('"data":"a\\ufffd\\u0000","eol":"\\r\\n"'), asText.text);
    const plain = await d.start(cmd);
    assert.deepEqual(bytesOf((await d.get(`/process_logs_streaming?id=${plain.id}&encoding=base64`)).text), wanted);
    assert.equal((await d.get(`/process_logs_streaming?id=${plain.id}&encoding=hex`)).status, 400);
});

test('keep-alive comments, when asked for', async () => {
    const { id } = await d.start('sleep 0.5');
    const { text } = await d.get(`/process_logs_streaming?id=${id}&keepalive=0.1`);
    assert.ok(text.startsWith(': '), text);
    for (const wrong of ['x', '-1', 'nan', '1e9', '']) {
        assert.equal((await d.get(`/process_logs_streaming?id=${id}&keepalive=${wrong}`)).status, 400, wrong);
    }
    const silent = await d.start('sleep 0.3');
    assert.equal((await d.get(`/process_logs_streaming?id=${silent.id}`)).text, 'event: complete\ndata: {"message": "stream ended"}\n\n');
});

test('HEAD of a running process\'s log ends at once', async () => {
    const { id } = await d.start('sleep 371');
    const answer = await d.request('HEAD', `/process_logs_streaming?id=${id}`);
    assert.deepEqual([answer.status, answer.text], [200, '']);
    assert.equal((await d.post('/kill_process', { id })).status, 200);
});

test('a silent process: the headers leave at once, lines come as they are written', async () => {
    const raw = await RawSocket.connect(d.port);
    const { id } = await d.start('sleep 0.7; echo late; sleep 351');
    raw.write(rawRequest('GET', `/process_logs_streaming?id=${id}`, d.secret));
    assert.equal((await raw.head(5000)).status, 200);
    assert.match((await raw.chunk(5000)).toString(), /"data":"late"/);
    raw.close();
    await d.post('/kill_process', { id });
});

test('300 times one line: none is lost, live or after', async () => {
    const count = slow ? 60 : 300;
    for (let at = 0; at < count; at += 20) {
        const batch = await Promise.all(Array.from({ length: 20 }, (_, i) => d.start(`echo line-${at + i}`)));
        await Promise.all(batch.map(async ({ id }, i) => {
            const live = await logs(id);
            assert.deepEqual(lines(live), [`line-${at + i}`], 'live');
            assert.deepEqual(lines(await history(id)), [`line-${at + i}`], 'after');
        }));
    }
});

test('short jobs keep their tail', async () => {
    const jobs = await Promise.all(Array.from({ length: slow ? 5 : 20 }, () => d.start('seq 1 3000')));
    for (const { id } of jobs) assert.deepEqual(lines(await logs(id)), numbered(1, 3000));
});

// Lines and gaps together tell of every line, in order.
function assertAccounted(events, total) {
    let next = 1;
    for (const { event, data } of events) {
        if (event === 'gap') next += data.lines;
        if (event !== 'log') continue;
        assert.equal(Number(data.data), next);
        next += 1;
    }
    assert.equal(next, total + 1);
}

test('seq 1 20000, live and after', async () => {
    const { id } = await d.start('seq 1 20000');
    const live = await logs(id);
    assertAccounted(live, 20_000);
    const after = await history(id);
    assertAccounted(after, 20_000);
    assert.equal(after[0].event, 'gap');
    assert.equal(after[0].data.lines, 10_000);
    assert.equal(after[0].data.bytes, numbered(1, 10_000).join('\n').length + 1);
    assert.deepEqual(lines(after), numbered(10_001, 20_000));
    assert.equal(after.at(-1).event, 'complete');
});

test('a reader that keeps up sees every line, however many', async () => {
    const { id } = await d.start('for i in $(seq 0 149); do seq $((i*100+1)) $((i*100+100)); sleep 0.002; done');
    const live = await logs(id);
    assert.ok(!live.some((e) => e.event === 'gap'));
    assert.deepEqual(lines(live), numbered(1, 15_000));
});

test('many readers of a long log, quick and slow, at the same time', async () => {
    const { id } = await d.start('seq 1 9000; sleep 0.3');
    const quick = Array.from({ length: 4 }, () => logs(id));
    const slowly = async () => {
        const raw = await RawSocket.connect(d.port);
        raw.socket.pause();
        raw.write(rawRequest('GET', `/process_logs_streaming?id=${id}`, d.secret));
        await delay(600);
        raw.socket.resume();
        const answer = await raw.response();
        raw.close();
        return parseStrict(answer.body);
    };
    for (const events of await Promise.all([...quick, slowly(), slowly()])) {
        assert.deepEqual(lines(events), numbered(1, 9000));
        assert.equal(events.at(-1).event, 'complete');
    }
    assert.equal((await d.get('/health')).status, 200);
});

describe('resume', () => {
    test('Last-Event-ID goes on behind N, from= starts at N', async () => {
        const { id } = await d.start('seq 1 50');
        await d.ended(id);
        const all = await history(id);
        const log = all.filter((e) => e.event === 'log');
        for (let i = 1; i < log.length; ++i) assert.equal(log[i].id, log[i - 1].id + 1);
        const nth = log[19].id;
        assert.deepEqual(lines(await logs(id, '&follow=false', { 'Last-Event-ID': String(nth) })), numbered(21, 50));
        assert.deepEqual(lines(await history(id, `&from=${nth}`)), numbered(20, 50));
        const again = (await history(id, `&from=${nth}`)).filter((e) => e.event === 'log');
        assert.deepEqual(again, log.slice(19), 'what an event holds is fixed');
        assert.deepEqual(lines(await logs(id, '', { 'Last-Event-ID': String(log.at(-1).id) })), []);
        // Behind the end there is nothing, however far behind.
        for (const end of ['51', '9223372036854775808', '18446744073709551614', '18446744073709551615']) {
            assert.deepEqual(lines(await logs(id, '', { 'Last-Event-ID': end })), [], end);
            assert.deepEqual(lines(await history(id, `&from=${end}`)), [], end);
        }
        for (const wrong of ['abc', '18446744073709551616', '-1', '1.5', '%201']) {
            assert.equal((await d.get(`/process_logs_streaming?id=${id}&from=${wrong}`)).status, 400, wrong);
        }
    });
    test('a reader cut at random places puts the whole together', async () => {
        const total = slow ? 1000 : 5000;
        const { id } = await d.start(`for i in $(seq 1 ${total / 100}); do seq $((i*100-99)) $((i*100)); sleep 0.01; done`);
        const got = [];
        let last;
        for (let round = 1; ; ++round) {
            const abort = new AbortController();
            const headers = last === undefined ? {} : { 'Last-Event-ID': String(last) };
            const response = await open(id, '', { headers, signal: abort.signal });
            let left = 37 * round;
            let complete = false;
            await follow(response, (e) => {
                if (e.event === 'log') {
                    got.push(e.data.data);
                    last = e.id;
                    left -= 1;
                }
                complete = e.event === 'complete';
                return complete || left === 0;
            });
            abort.abort();
            if (complete) break;
        }
        assert.deepEqual(got, numbered(1, total));
    });
});

describe('long lines and much output', () => {
    test('a line of 2 MiB does not stop the process', async () => {
        const { id } = await d.start("head -c 2097152 /dev/zero | tr '\\0' w; echo; echo after");
        assert.equal((await d.ended(id)).exit_code, 0);
        const text = textOf(await history(id), 'stdout');
        assert.ok(text === `${'w'.repeat(2_097_152)}\nafter\n`);
    });
    test('the byte budget wins, and the gap says how much is missing', { skip: slow && 'size' }, async () => {
        const { id } = await d.start("yes $(head -c 9999 /dev/zero | tr '\\0' v) | head -n 3000; echo the end");
        await d.ended(id, 30_000);
        const events = await history(id);
        const kept = textOf(events, 'stdout').length;
        const gap = events.find((e) => e.event === 'gap');
        assert.ok(kept <= 16 * 1024 * 1024 && kept > 12 * 1024 * 1024, `${kept} bytes kept`);
        assert.equal(gap.data.bytes + kept, 3000 * 10_000 + 8);
        assert.equal(gap.data.lines + lines(events).length, 3001);
        assert.equal(lines(events).at(-1), 'the end');
    });
    test('memory stays small under many logs', { skip: slow || !alone }, async () => {
        for (let i = 0; i < 6; ++i) {
            const { id } = await d.start("yes $(head -c 999 /dev/zero | tr '\\0' u) | head -n 15000");
            await d.ended(id, 30_000);
        }
        assert.ok(memoryKb(d.pid, 'VmRSS') < 48_000, `${memoryKb(d.pid, 'VmRSS')} kB`);
    });
});

test('a daemonised child goes on writing after the leader has ended', async () => {
    const { id } = await d.start('(for i in 1 2 3 4 5; do sleep 0.15; echo later $i; done; sleep 352) & echo first');
    const live = await logs(id);
    assert.equal(lines(live)[0], 'first');
    assert.equal(live.at(-1).event, 'complete', 'the end of the leader ends the live stream');
    await eventually(async () => lines(await history(id)).includes('later 5'), 'later output is stored');
    assert.deepEqual(lines(await history(id)), ['first', ...[1, 2, 3, 4, 5].map((i) => `later ${i}`)]);
    assert.equal((await d.post('/kill_process', { id })).json.success, true);
});

test('readers that leave are forgotten', { skip: !alone || hiddenDescriptors }, async () => {
    const { id } = await d.start('sleep 353');
    const readers = await Promise.all(Array.from({ length: 50 }, async () => {
        const raw = await RawSocket.connect(d.port);
        raw.write(rawRequest('GET', `/process_logs_streaming?id=${id}`, d.secret));
        await raw.head();
        return raw;
    }));
    const held = heldConnections(d.pid, readers);
    assert.equal(held(), 50);
    readers.forEach((raw, i) => (i % 2 ? raw.reset() : raw.close()));
    await eventually(() => held() === 0, 'the descriptors of readers that left');
    await d.post('/kill_process', { id });
});

test('an unknown id, a hostile id, and none', async () => {
    for (const id of ['nope', 'a"\nevent: complete\ndata: {}\n\n', '\u2028']) {
        const response = await open(encodeURIComponent(id));
        const text = await response.text();
        if (response.status === 200) {
            const events = parseStrict(text);
            assert.deepEqual(events, [{ event: 'error', data: { error: `process not found: ${id}` } }]);
        } else {
            assert.equal(JSON.parse(text).error, `process not found: ${id}`);
        }
    }
    for (const query of ['', '?id=', '?x=1']) {
        const answer = await d.get(`/process_logs_streaming${query}`);
        assert.equal(answer.status, 400);
        assert.equal(answer.json.error, 'Process ID is required');
    }
});

finish(d);
