// Sizes: what passes through must not stay in memory.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { describe, test } from 'node:test';
import { eventually, finish, memoryKb, slow, useDaemon } from './support/daemon.mjs';
import { RawSocket, rawRequest } from './support/raw.mjs';

const d = useDaemon();
const gigabyte = slow ? 64_000_000 : 1_000_000_000;
// SANDBOX_HUGE=1 streams ten gigabytes, which takes a minute or two.
const streamed = process.env.SANDBOX_HUGE === '1' ? 10 * gigabyte : gigabyte;
const patience = 120_000 * Math.max(1, streamed / 1e9);

function assertSmall(t, limit = 32_000) {
    const kb = memoryKb(d.pid, 'VmHWM');
    t.diagnostic(`${kb} kB at most`);
    if (!slow) assert.ok(kb < limit, `${kb} kB`);
}

// Sends a request and counts, without keeping it, what comes back; `count` sees each piece.
async function drain(bytes, count) {
    const raw = await RawSocket.connect(d.port);
    const head = (async () => {
        raw.write(bytes);
        const answer = await raw.head(patience);
        return answer;
    })();
    const { status } = await head;
    assert.equal(status, 200);
    raw.socket.removeAllListeners('data');
    let tail = Buffer.alloc(0);
    const take = (chunk) => {
        count(chunk);
        tail = chunk.length < 400 ? Buffer.concat([tail, chunk]).subarray(-400) : chunk.subarray(-400);
    };
    take(raw.buffer);
    raw.socket.on('data', take);
    await eventually(() => tail.subarray(-7).toString() === '\r\n0\r\n\r\n', 'the end of the answer', patience);
    raw.close();
    return tail.toString('latin1');
}

function counter(byte) {
    const seen = { wanted: 0 };
    seen.take = (chunk) => {
        let wanted = 0;
        for (let i = 0; i < chunk.length; ++i) wanted += chunk[i] === byte;
        seen.wanted += wanted;
    };
    return seen;
}

describe('a gigabyte', () => {
    test('through /run_streaming, in one line', async (t) => {
        const seen = counter(0x57);
        const tail = await drain(
            rawRequest('POST', '/run_streaming', d.secret, { cmd: `head -c ${streamed} /dev/zero | tr '\\0' W` }), seen.take,
        );
        assert.match(tail, /event: complete\ndata: \{"code":0,"error":false\}/);
        assert.equal(seen.wanted, streamed);
        assertSmall(t);
    });
    test('through /run_streaming, in lines of 99 bytes', async (t) => {
        const size = Math.floor(streamed / 400) * 99;
        const seen = counter(0x57);
        await drain(
            rawRequest('POST', '/run_streaming', d.secret, { cmd: `yes $(head -c 98 /dev/zero | tr '\\0' W) | head -c ${size}` }),
            seen.take,
        );
        assert.equal(seen.wanted, (size / 99) * 98);
        assertSmall(t);
    });
    test('through /run', async (t) => {
        const seen = counter(0x57);
        const tail = await drain(rawRequest('POST', '/run', d.secret, { cmd: `head -c ${gigabyte} /dev/zero | tr '\\0' W` }), seen.take);
        assert.match(tail, /","stderr":"","code":0\}\n/);
        assert.equal(seen.wanted, gigabyte);
        assertSmall(t);
        assert.deepEqual(fs.readdirSync(d.tmp), []);
    });
});

test('a large file, read as text: memory stays small', async (t) => {
    const size = gigabyte / 10;
    fs.writeFileSync(d.file('big'), Buffer.alloc(size, 'W'));
    const seen = counter(0x57);
    await drain(rawRequest('POST', '/read_file', d.secret, { path: d.file('big') }), seen.take);
    assert.equal(seen.wanted, size);
    assertSmall(t, 64_000);
});

test('a large file, written as text: memory stays small', async (t) => {
    const content = 'v'.repeat(slow ? 5_000_000 : 50_000_000);
    const answer = await d.post('/write_file', { path: d.file('big-out'), content });
    assert.deepEqual(answer.json, { success: true });
    assert.equal(fs.statSync(d.file('big-out')).size, content.length);
    assertSmall(t, 64_000);
});

test('many large answers that nobody reads cost little', async () => {
    const count = slow ? 5 : 40;
    const sockets = await Promise.all(Array.from({ length: count }, async () => {
        const raw = await RawSocket.connect(d.port);
        raw.socket.pause();
        raw.write(rawRequest('POST', '/run_streaming', d.secret, { cmd: 'yes' }));
        return raw;
    }));
    await eventually(() => d.survivors().length >= count, 'the commands');
    if (!slow) assert.ok(memoryKb(d.pid, 'VmRSS') < 64_000, `${memoryKb(d.pid, 'VmRSS')} kB`);
    assert.equal((await d.get('/health')).status, 200);
    for (const raw of sockets) raw.close();
    await d.noSurvivors('the end of the commands');
});

finish(d);
