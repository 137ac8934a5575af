// A command that is being started in a directory of a hung file system: the daemon has made the child, and the child is
// stuck. Nobody else may notice.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { copiesMemory, eventually, withDaemon } from '../blackbox/support/daemon.mjs';
import { mountHung, whyNotHung, withOwnMounts } from '../blackbox/support/hung_file_system.mjs';
import { RawSocket, rawRequest } from '../blackbox/support/raw.mjs';
import { parseStrict } from '../blackbox/support/sse.mjs';

const server = fileURLToPath(new URL('support/hung_fuse.pl', import.meta.url));
const skip = whyNotHung();

// Runs `body` with a daemon beside whose working directory the file system `hung` lies; `answer` lets it answer.
async function withHung(body) {
    // No child of the shell, whose only child is the daemon.
    const serve = `file_system=$(perl ${server} >/dev/null & echo $!); exec 3<&-; echo $file_system >file_system`;
    const wrapper = withOwnMounts(`HUNG=$PWD/hung; ${mountHung}; ${serve}; "$0" "$@"; code=$?; kill $file_system; exit $code`);
    await withDaemon({ wrapper, inner: true }, async (daemon) => {
        const answer = () => process.kill(Number(fs.readFileSync(daemon.file('file_system'), 'utf8')), 'SIGUSR1');
        await body(daemon, answer);
    });
}

const children = (daemon) =>
    fs.readdirSync(`/proc/${daemon.pid}/task`).flatMap((thread) =>
        fs.readFileSync(`/proc/${daemon.pid}/task/${thread}/children`, 'latin1').split(' ').filter(Boolean));

test('its child holds nothing of others: stdin ends, connections close', { skip }, async () => {
    await withHung(async (daemon) => {
        const reader = await daemon.start('cat; exit 7', { stdin: true });
        const closing = await RawSocket.connect(daemon.port);
        await daemon.get('/health');

        const abort = new AbortController();
        const stuck = daemon.post('/run', { cmd: 'true', cwd: 'hung' }, { signal: abort.signal }).then(() => 'answered', () => 'left');
        await eventually(() => children(daemon).length === 2, 'the stuck child');

        assert.deepEqual((await daemon.post('/send_stdin', { id: reader.id, data: 'x', close: true })).json, { success: true, bytes: 1 });
        assert.equal((await daemon.ended(reader.id)).exit_code, 7);
        closing.write(rawRequest('GET', '/health', undefined, undefined, { Connection: 'close' }));
        assert.equal((await closing.response()).status, 200);
        await closing.closed();
        closing.close();
        abort.abort();
        assert.equal(await stuck, 'left');
    });
});

// Where a child has a copy of the daemon's memory, what was given up is killed as soon as it runs instead.
test('its timeout counts while it is stuck, and it never runs', { skip }, async () => {
    await withHung(async (daemon, answer) => {
        const ran = daemon.file('ran');
        const stuck = { cmd: `touch ${ran}`, cwd: 'hung', timeout: 0.2 };
        assert.deepEqual((await daemon.post('/run', stuck)).json, { stdout: '', stderr: '', error: 'Command timed out', code: 124, timed_out: true });
        const { duration_ms, ...rest } = (await daemon.post('/run', { ...stuck, stats: true })).json;
        assert.equal(rest.max_rss_bytes, 0);
        assert.ok(duration_ms >= 200);
        assert.deepEqual(parseStrict((await daemon.post('/run_streaming', stuck)).bytes).map((e) => [e.event, e.data]), [
            ['complete', { code: 124, error: true, timed_out: true }],
        ]);
        const started = await daemon.post('/start_process', stuck);
        assert.equal(started.status, 500);
        assert.deepEqual(started.json, {
            id: '', pid: 0, status: '', error: 'failed to start command: timed out while it was being started', success: false,
        });
        assert.equal(children(daemon).length, 4);
        answer();
        await eventually(() => children(daemon).length === 0, 'nobody is stuck any more');
        if (!copiesMemory) assert.equal(fs.existsSync(ran), false);
        // And not those who are in time.
        const late = daemon.post('/run', { cmd: 'echo late', cwd: 'hung', timeout: 3000 });
        await eventually(() => children(daemon).length === 1, 'the next one');
        answer();
        assert.equal((await late).json.stdout, 'late\n');
    });
});

test('a lost connection ends it while it is stuck', { skip }, async () => {
    await withHung(async (daemon, answer) => {
        const ran = daemon.file('ran');
        for (const target of ['/run', '/run_streaming']) {
            const leaving = await RawSocket.connect(daemon.port);
            leaving.write(rawRequest('POST', target, daemon.secret, { cmd: `touch ${ran}`, cwd: 'hung' }));
            const staying = await RawSocket.connect(daemon.port);
            staying.write(rawRequest('POST', target, daemon.secret, { cmd: 'true', cwd: 'hung', on_disconnect: 'continue' }));
            await eventually(() => children(daemon).length === 2, 'the stuck children');
            const connections = async () => Number((await daemon.get('/metrics')).text.match(/^sandbox_http_connections (\d+)$/m)[1]);
            const before = await connections();
            leaving.close();
            await eventually(async () => (await connections()) < before, 'it is given up');
            answer();
            await eventually(() => children(daemon).length === 0, 'nobody is stuck any more');
            staying.close();
        }
        if (!copiesMemory) assert.equal(fs.existsSync(ran), false);
    });
});
