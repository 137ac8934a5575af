// A command that is being started in a directory of a hung file system: the daemon has made the child, and the child is
// stuck. Nobody else may notice.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { eventually, isRoot, withDaemon } from '../blackbox/support/daemon.mjs';
import { RawSocket, rawRequest } from '../blackbox/support/raw.mjs';

const server = fileURLToPath(new URL('support/hung_fuse.pl', import.meta.url));
const mount = 'mkdir "$HUNG" && exec 3<>/dev/fuse && mount -i -t fuse -o fd=3,rootmode=40000,user_id=0,group_id=0 none "$HUNG"';
const inNamespace = (script) => ['unshare', '--mount', 'sh', '-c', script];

function unavailable() {
    if (!isRoot) return 'needs root';
    const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'sandbox-hung-'));
    const [program, ...args] = inNamespace(mount);
    const tried = spawnSync(program, args, { env: { ...process.env, HUNG: `${dir}/hung` } });
    fs.rmSync(dir, { recursive: true });
    return tried.status === 0 ? false : `no FUSE here: ${tried.stderr}`;
}

test('its child holds nothing of others: stdin ends, connections close', { skip: unavailable() }, async () => {
    // No child of the shell, whose only child is the daemon.
    const serve = `file_system=$(perl ${server} >/dev/null & echo $!); exec 3<&-`;
    const wrapper = inNamespace(`HUNG=$PWD/hung; ${mount}; ${serve}; "$0" "$@"; code=$?; kill $file_system; exit $code`);
    await withDaemon({ wrapper, inner: true }, async (daemon) => {
        const reader = await daemon.start('cat; exit 7', { stdin: true });
        const closing = await RawSocket.connect(daemon.port);
        await daemon.get('/health');

        const abort = new AbortController();
        const stuck = daemon.post('/run', { cmd: 'true', cwd: 'hung' }, { signal: abort.signal }).then(() => 'answered', () => 'left');
        const children = () =>
            fs.readdirSync(`/proc/${daemon.pid}/task`).flatMap((thread) =>
                fs.readFileSync(`/proc/${daemon.pid}/task/${thread}/children`, 'latin1').split(' ').filter(Boolean));
        await eventually(() => children().length === 2, 'the stuck child');

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
