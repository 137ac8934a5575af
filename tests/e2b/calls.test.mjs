// What each call answers, by hand: codes, texts, users and paths.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import { describe, test } from 'node:test';
import { eventually, finish, isAlive, isRoot, memoryKb, slow } from '../blackbox/support/daemon.mjs';
import { openStream, output, stream, unary } from './support/connect.mjs';
import { startEnvd, useEnvd } from './support/envd.mjs';

const { d } = useEnvd();
const files = (method, message, headers) => unary(d.envdUrl, `filesystem.Filesystem/${method}`, message, headers);
const call = (method, message, headers) => unary(d.envdUrl, `process.Process/${method}`, message, headers);
const basic = (user) => ({ authorization: `Basic ${Buffer.from(`${user}:`).toString('base64')}` });
const at = (name) => d.file(name);
const fails = async (answer, status, code, message) => {
    const { status: got, type, json } = await answer;
    assert.deepEqual([got, type, json.code], [status, 'application/json', code], json.message);
    if (message instanceof RegExp) assert.match(json.message, message);
    else assert.equal(json.message, message);
};
const start = (cmd, more = {}) => ({ process: { cmd: '/bin/sh', args: ['-c', cmd] }, stdin: false, ...more });
// A command that says when there is input, and reads none of it before `next`.
const unread = (next) => ({ process: { cmd: '/bin/bash', args: ['-c', `until read -t 0; do sleep 0.01; done; echo waits; ${next}`] } });
async function started(message, url = d.envdUrl) {
    const process = openStream(url, 'process.Process/Start', message);
    await eventually(() => process.events.length > 0, 'the start');
    return { process, selector: { pid: process.events[0].json.event.start.pid } };
}

describe('filesystem', () => {
    test('Stat', async () => {
        await fails(files('Stat', { path: at('none') }), 404, 'not_found',
            `file not found: lstat ${at('none')}: no such file or directory`);
        fs.writeFileSync(at('stat'), 'four', { mode: 0o640 });
        const { entry } = (await files('Stat', { path: at('stat') })).json;
        assert.deepEqual(Object.keys(entry), ['name', 'type', 'path', 'size', 'mode', 'permissions', 'owner', 'group', 'modifiedTime']);
        assert.deepEqual([entry.size, entry.mode, entry.permissions], ['4', 0o640, '-rw-r-----']);
        assert.equal(entry.owner, os.userInfo().username);
        for (const [time, text] of [['01', '01Z'], ['01.5', '01.500Z'], ['01.00012', '01.000120Z'], ['01.12345678', '01.123456780Z']]) {
            spawnSync('touch', ['-d', `2026-01-02T03:04:${time}Z`, at('stat')]);
            assert.equal((await files('Stat', { path: at('stat') })).json.entry.modifiedTime, `2026-01-02T03:04:${text}`);
        }
    });
    test('links: the type and mode of the target, the rest their own', async () => {
        fs.mkdirSync(at('links/dir'), { recursive: true });
        fs.writeFileSync(at('links/dir/f'), 'content', { mode: 0o600 });
        const links = { file: 'dir/f', dir2: 'dir', chain: 'file', broken: 'nowhere', loop: 'loop' };
        for (const [name, target] of Object.entries(links)) fs.symlinkSync(target, at(`links/${name}`));
        const look = async (name) => {
            const { entry } = (await files('Stat', { path: at(`links/${name}`) })).json;
            return [entry.type, entry.symlinkTarget?.slice(at('links/').length), entry.mode, entry.permissions];
        };
        assert.deepEqual(await look('file'), ['FILE_TYPE_FILE', 'dir/f', 0o600, 'Lrwxrwxrwx']);
        assert.deepEqual(await look('dir2'), ['FILE_TYPE_DIRECTORY', 'dir', 0o755, 'Lrwxrwxrwx']);
        assert.deepEqual(await look('chain'), ['FILE_TYPE_FILE', 'dir/f', 0o600, 'Lrwxrwxrwx']);
        const [type, target] = await look('broken');
        assert.deepEqual([type, target], [undefined, 'broken']);
        await fails(files('ListDir', { path: at('links/loop') }), 400, 'failed_precondition', /symlink/);
        // Listed by the name that was asked for, and not followed below it.
        const { entries } = (await files('ListDir', { path: at('links/dir2'), depth: 9 })).json;
        assert.deepEqual(entries.map((e) => e.path), [at('links/dir2/f')]);
        const all = (await files('ListDir', { path: at('links'), depth: 9 })).json.entries.map((e) => e.path.slice(at('links/').length));
        assert.deepEqual(all, ['broken', 'chain', 'dir', 'dir/f', 'dir2', 'file', 'loop']);
    });
    test('permissions as Go shows them', async () => {
        fs.mkdirSync(at('modes'));
        const set = (name, mode, make) => (make(at(`modes/${name}`)), fs.chmodSync(at(`modes/${name}`), mode));
        set('sticky', 0o1777, fs.mkdirSync);
        set('setuid', 0o4755, (p) => fs.writeFileSync(p, ''));
        set('setgid', 0o2750, fs.mkdirSync);
        spawnSync('mkfifo', [at('modes/fifo')]);
        fs.chmodSync(at('modes/fifo'), 0o644);
        const { entries } = (await files('ListDir', { path: at('modes') })).json;
        assert.deepEqual(entries.map((e) => [e.name, e.permissions, e.mode, e.type]), [
            ['fifo', 'prw-r--r--', 0o644, undefined],
            ['setgid', 'dgrwxr-x---', 0o750, 'FILE_TYPE_DIRECTORY'],
            ['setuid', 'urwxr-xr-x', 0o755, 'FILE_TYPE_FILE'],
            ['sticky', 'dtrwxrwxrwx', 0o777, 'FILE_TYPE_DIRECTORY'],
        ]);
        const null_ = (await files('Stat', { path: '/dev/null' })).json.entry;
        assert.match(null_.permissions, /^Dcrw-/);
    });
    test('MakeDir', async () => {
        const made = await files('MakeDir', { path: at('made/a/b') });
        assert.deepEqual([made.json.entry.name, made.json.entry.type, made.json.entry.mode], ['b', 'FILE_TYPE_DIRECTORY', 0o755]);
        await fails(files('MakeDir', { path: at('made/a') }), 409, 'already_exists', `directory already exists: ${at('made/a')}`);
        fs.writeFileSync(at('made/f'), '');
        await fails(files('MakeDir', { path: at('made/f') }), 400, 'invalid_argument',
            `path already exists but it is not a directory: ${at('made/f')}`);
        await fails(files('MakeDir', { path: at('made/f/below') }), 500, 'internal', /^path is a file: /);
    });
    test('Move', async () => {
        fs.writeFileSync(at('from'), 'moved');
        fs.writeFileSync(at('to'), 'old');
        const { entry } = (await files('Move', { source: at('from'), destination: at('to') })).json;
        assert.deepEqual([entry.path, fs.readFileSync(at('to'), 'utf8')], [at('to'), 'moved']);
        const deeper = await files('Move', { source: at('to'), destination: at('new/parents/f') });
        assert.equal(deeper.json.entry.path, at('new/parents/f'));
        await fails(files('Move', { source: at('from'), destination: at('x') }), 404, 'not_found',
            `source file not found: lstat ${at('from')}: no such file or directory`);
        fs.symlinkSync('nowhere', at('dangling'));
        assert.equal((await files('Move', { source: at('dangling'), destination: at('dangling2') })).status, 200);
    });
    test('ListDir', async () => {
        await fails(files('ListDir', { path: at('none') }), 404, 'not_found', /^path not found: /);
        fs.writeFileSync(at('plain'), '');
        await fails(files('ListDir', { path: at('plain') }), 400, 'invalid_argument', `path is not a directory: ${at('plain')}`);
        await fails(files('ListDir', { path: at('none'), depth: -1 }), 400, 'invalid_argument', /depth/);
        fs.mkdirSync(at('empty'));
        assert.deepEqual((await files('ListDir', { path: at('empty') })).json, { entries: [] });
        const root = (await files('ListDir', { path: '/' })).json.entries;
        assert.ok(root.some((e) => e.path === '/etc') && root.every((e) => !e.path.startsWith('//')));
    });
    test('Remove', async () => {
        fs.mkdirSync(at('tree/deep'), { recursive: true });
        fs.writeFileSync(at('tree/deep/f'), '');
        assert.deepEqual((await files('Remove', { path: at('tree') })).json, {});
        assert.deepEqual((await files('Remove', { path: at('tree') })).json, {});
        assert.ok(!fs.existsSync(at('tree')));
        await fails(files('Remove', { path: '/' }), 500, 'internal', /RemoveAll|invalid/);
    });
    test('WatchDir', async () => {
        const watch = async (message) => (await stream(d.envdUrl, 'filesystem.Filesystem/WatchDir', message)).events.map((e) => e.json.error);
        const [missing] = await watch({ path: at('none') });
        assert.equal(missing.code, 'not_found');
        assert.match(missing.message, new RegExp(`^path ${at('none')} not found: `));
        const [plain] = await watch({ path: at('plain') });
        assert.deepEqual(plain, { code: 'invalid_argument', message: `path ${at('plain')} not a directory` });
        const [home] = await watch({ path: '~somebody/x' });
        assert.equal(home.code, 'invalid_argument');
    });
    test('somebody else\'s home is no path', async () => {
        for (const method of ['Stat', 'MakeDir', 'ListDir', 'Remove', 'CreateWatcher']) {
            await fails(files(method, { path: '~somebody/x' }), 400, 'invalid_argument', /cannot expand user-specific home dir/);
        }
    });
});

describe('users and paths', () => {
    const home = os.userInfo().homedir;
    const pathOf = async (path, headers) => {
        const { json } = await files('Stat', { path }, headers);
        return json.entry?.path ?? json.message;
    };
    test('empty, home, relative and absolute', async () => {
        assert.equal(await pathOf(''), home);
        assert.equal(await pathOf('~'), home);
        assert.equal(await pathOf('.'), home);
        assert.match(await pathOf('~/no/../such'), new RegExp(`lstat ${home}/such:`));
        assert.match(await pathOf('no/../such/'), new RegExp(`lstat ${home}/such:`));
    });
    test('an unknown user, on any call', async () => {
        const message = "invalid username: 'no-such-user'";
        const unknown = basic('no-such-user');
        for (const method of ['Stat', 'MakeDir', 'ListDir', 'Remove', 'CreateWatcher', 'GetWatcherEvents']) {
            await fails(files(method, { path: '/tmp' }, unknown), 401, 'unauthenticated', message);
        }
        for (const method of ['List', 'SendInput', 'SendSignal']) await fails(call(method, {}, unknown), 401, 'unauthenticated', message);
        for (const method of ['process.Process/Start', 'process.Process/Connect', 'filesystem.Filesystem/WatchDir']) {
            const { status, events } = await stream(d.envdUrl, method, start('true'), unknown);
            assert.deepEqual([status, events[0].json.error], [200, { code: 'unauthenticated', message }], method);
        }
        await fails(files('Stat', { path: '/' }, basic('')), 401, 'unauthenticated', "invalid username: ''");
        // A number is no name.
        await fails(files('Stat', { path: '/' }, basic('0')), 401, 'unauthenticated', "invalid username: '0'");
    });
    test('another user runs, owns and has a home', { skip: !isRoot }, async () => {
        const other = basic('nobody');
        const { events } = await stream(d.envdUrl, 'process.Process/Start', start('id -un; id -gn; echo $USER $LOGNAME'), other);
        assert.match(output(events).toString(), /^nobody\nnogroup\nnobody nobody\n$/);
        fs.chmodSync(d.work, 0o755);
        const { entry } = (await files('MakeDir', { path: at('theirs/deep') }, other)).json;
        assert.deepEqual([entry.owner, entry.group], ['nobody', 'nogroup']);
        assert.equal(fs.statSync(at('theirs')).uid, 65534);
        const written = await fetch(`${d.envdUrl}/files?path=${at('theirs/new/f')}&username=nobody`, {
            method: 'POST', headers: { 'content-type': 'application/octet-stream' }, body: 'x' });
        assert.equal(written.status, 200);
        assert.deepEqual([fs.statSync(at('theirs/new')).uid, fs.statSync(at('theirs/new/f')).uid], [65534, 65534]);
        assert.equal(fs.statSync(at('theirs/new/f')).mode & 0o777, 0o644);
    });
    test('the scheme Basic in any case', { skip: !isRoot }, async () => {
        for (const scheme of ['Basic', 'basic', 'BASIC']) {
            const headers = { authorization: basic('nobody').authorization.replace('Basic', scheme) };
            const { events } = await stream(d.envdUrl, 'process.Process/Start', start('id -un'), headers);
            assert.equal(output(events).toString(), 'nobody\n', scheme);
        }
    });
    test('what the environment has, and no more', async () => {
        const { events } = await stream(d.envdUrl, 'process.Process/Start',
            { process: { cmd: '/usr/bin/env', envs: { A: '1', HOME: '/elsewhere' } } });
        const env = Object.fromEntries(output(events).toString().trim().split('\n').map((line) => line.split(/=(.*)/s)));
        const known = ['A', 'E2B_SANDBOX', 'HOME', 'LOGNAME', 'PATH', 'SANDBOX_COMMAND_ID', 'USER'];
        assert.deepEqual(Object.keys(env).sort(), known);
        assert.deepEqual([env.A, env.HOME, env.E2B_SANDBOX], ['1', '/elsewhere', 'true']);
        assert.equal(env.PATH, process.env.PATH, "the daemon's own");
    });
    test('directories to run in', async () => {
        const [error] = (await stream(d.envdUrl, 'process.Process/Start', { process: { cmd: 'pwd', cwd: 'no/such' } })).events;
        assert.deepEqual(error.json.error, { code: 'invalid_argument', message: `cwd '${home}/no/such' does not exist` });
        const where = async (cwd) => output((await stream(d.envdUrl, 'process.Process/Start', { process: { cmd: '/bin/pwd', cwd } })).events).toString();
        assert.equal(await where(undefined), `${fs.realpathSync(home)}\n`);
        assert.equal(await where('/usr'), '/usr\n');
    });
});

describe('processes', () => {
    test('an unknown pid or tag, for every call', async () => {
        const pid = { process: { pid: 4_000_000 } };
        const message = 'process with pid 4000000 not found';
        for (const [method, more] of [['SendInput', { input: { stdin: '' } }], ['CloseStdin'], ['SendSignal', { signal: 9 }], ['Update', { pty: { size: { cols: 1, rows: 1 } } }]]) {
            await fails(call(method, { ...pid, ...more }), 404, 'not_found', message);
        }
        const connect = await stream(d.envdUrl, 'process.Process/Connect', { process: { tag: 'none' } });
        assert.deepEqual(connect.events[0].json.error, { code: 'not_found', message: 'process with tag none not found' });
        const input = await stream(d.envdUrl, 'process.Process/StreamInput', { start: pid });
        assert.deepEqual(input.events[0].json.error, { code: 'not_found', message });
    });
    test('List: what runs, also what the other dialect has started and what is as large as can be', async () => {
        const shell = await d.start('exec sleep 100', { tag: 'of-koyeb' });
        const args = ['-c', `sleep 100 & echo $!; exit 0 #${'x'.repeat(20_000)}`];
        const { process: held, selector } = await started({ process: { cmd: '/bin/bash', args, envs: { A: 'b' } }, stdin: false });
        await eventually(() => !isAlive(selector.pid), 'the end of the leader');
        const { status, json } = await call('List', {});
        assert.equal(status, 200);
        const mine = json.processes.find((one) => one.pid === selector.pid);
        assert.deepEqual(mine.config, { cmd: '/bin/bash', args, envs: { A: 'b' } });
        const other = json.processes.find((one) => one.pid === shell.pid);
        assert.deepEqual(other, { config: { cmd: 'sh', args: ['-c', 'exec sleep 100'], envs: {} }, pid: shell.pid, tag: 'of-koyeb' });
        await fails(call('SendSignal', { process: { tag: '' }, signal: 'SIGNAL_SIGKILL' }), 404, 'not_found', 'process with tag  not found');
        await call('SendSignal', { process: { tag: 'of-koyeb' }, signal: 'SIGNAL_SIGKILL' });
        assert.equal((await d.ended(shell.id)).status, 'killed');
        process.kill(Number(output(held.events)), 'SIGKILL');
        await eventually(() => held.ended, 'the end of its output');
    });
    test('stdin that was never there, is closed, or is a terminal', async () => {
        const { process, selector } = await started({ ...start('cat; exec sleep 1000'), stdin: true });
        for (let i = 0; i < 2; ++i) assert.deepEqual((await call('CloseStdin', { process: selector })).json, {});
        await call('SendSignal', { process: selector, signal: 'SIGNAL_SIGKILL' });
        await eventually(() => process.ended, 'the end');
        const sleeper = await started(start('sleep 1000'));
        await fails(call('SendInput', { process: sleeper.selector, input: { stdin: 'eA==' } }), 500, 'internal',
            'error writing to stdin: stdin not enabled or closed');
        await fails(call('Update', { process: sleeper.selector, pty: { size: { cols: 1, rows: 1 } } }), 500, 'internal',
            'error resizing tty: tty not assigned to process');
        await call('SendSignal', { process: sleeper.selector, signal: 'SIGNAL_SIGKILL' });
        const pty = await started({ ...start('sleep 1000'), pty: { size: { cols: 80, rows: 24 } } });
        await fails(call('SendInput', { process: pty.selector, input: { stdin: 'eA==' } }), 500, 'internal', /^error writing to stdin: /);
        await fails(call('CloseStdin', { process: pty.selector }), 500, 'unknown',
            'error closing stdin: cannot close stdin for PTY process — send Ctrl+D (0x04) instead');
        await call('SendSignal', { process: pty.selector, signal: 'SIGNAL_SIGKILL' });
        await eventually(() => pty.process.ended, 'the end');
    });
    test('stdin ends behind what is still being sent', async () => {
        const { process, selector } = await started(unread(`until [ -e ${at('read-now')} ]; do sleep 0.01; done; wc -c`));
        const send = (bytes) => call('SendInput', { process: selector, input: { stdin: bytes.toString('base64') } });
        const sent = send(Buffer.alloc(300_000, 'x'));
        await eventually(() => output(process.events).toString() === 'waits\n', 'the first of it');
        assert.deepEqual((await call('CloseStdin', { process: selector })).json, {});
        await fails(send(Buffer.from('late')), 500, 'internal', 'error writing to stdin: stdin not enabled or closed');
        fs.writeFileSync(at('read-now'), '');
        assert.deepEqual((await sent).json, {});
        await eventually(() => process.ended, 'the end');
        assert.equal(output(process.events).toString(), 'waits\n300000\n');
    });
    test('stdin ends with its process, also for who has it from there', async () => {
        const reader = 'exec 3<&0; cat <&3 3<&- >/dev/null 2>&1 & echo $!';
        for (const [end, signal] of [['exit 0'], ['wait', 'SIGNAL_SIGKILL']]) {
            const { process, selector } = await started({ ...start(`${reader}; ${end}`), stdin: true });
            const descendant = await eventually(() => Number(output(process.events)), 'the pid');
            if (signal) assert.deepEqual((await call('SendSignal', { process: selector, signal })).json, {});
            await eventually(() => process.ended, 'the end');
            await eventually(() => !isAlive(descendant), `the end of what read, after ${end}`);
        }
    });
    test('what a call sends and nobody reads is not kept in memory', { skip: slow }, async () => {
        const own = await startEnvd();
        const { process, selector } = await started(unread('exec sleep 1000'), own.envdUrl);
        const before = memoryKb(own.pid, 'VmRSS');
        const message = { process: selector, input: { stdin: Buffer.alloc(40_000_000, 'x').toString('base64') } };
        const sent = unary(own.envdUrl, 'process.Process/SendInput', message);
        await eventually(() => output(process.events).toString() === 'waits\n', 'the first of it');
        await eventually(() => memoryKb(own.pid, 'VmRSS') - before < 40_000, 'the memory');
        await unary(own.envdUrl, 'process.Process/SendSignal', { process: selector, signal: 'SIGNAL_SIGKILL' });
        assert.equal((await sent).json.code, 'internal');
        await own.stop();
        await own.assertClean();
    });
    test('a script that no argument can hold, and an argument that is none', async () => {
        const large = 'x'.repeat(200_000);
        const told = async (cmd, args) => (await stream(d.envdUrl, 'process.Process/Start', { process: { cmd, args }, stdin: false })).events;
        for (const options of [['-c'], ['-e', '-c'], ['-ec']]) {
            const script = `: ${large}; echo "$0 $# $1 $2"; [ ! -e /proc/self/fd/3 ] && echo none; exit 5`;
            const events = await told('/bin/sh', [...options, script, 'name', 'a', 'b']);
            assert.equal(output(events).toString(), 'name 2 a b\nnone\n', options.join(' '));
            assert.equal(events.at(-2).json.event.end.exitCode, 5);
        }
        const [{ json: { error } }] = await told('/bin/echo', [large]);
        assert.equal(error.code, 'invalid_argument');
        assert.match(error.message, /argument list too long/);
    });
    test('ends by signal, in words', async () => {
        for (const [signal, words] of [['TERM', 'terminated'], ['INT', 'interrupt'], ['HUP', 'hangup'], ['KILL', 'killed'], ['XCPU', 'CPU time limit exceeded']]) {
            const { events } = await stream(d.envdUrl, 'process.Process/Start', start(`ulimit -c 0; kill -${signal} $$`));
            const { end } = events.at(-2).json.event;
            assert.deepEqual(end, { exitCode: -1, status: `signal: ${words}`, error: `signal: ${words}` });
        }
    });
    test('stdin is a pipe unless it is refused', async () => {
        const { process, selector } = await started({ process: { cmd: 'cat' } });
        await call('SendInput', { process: selector, input: { stdin: Buffer.from('by default').toString('base64') } });
        await call('CloseStdin', { process: selector });
        await eventually(() => process.ended, 'the end');
        assert.equal(output(process.events).toString(), 'by default');
        const { events } = await stream(d.envdUrl, 'process.Process/Start', start('readlink /proc/self/fd/0'));
        assert.equal(output(events).toString(), '/dev/null\n');
    });
    test('a terminal has one stream, its size, and a session of its own', async () => {
        const { events } = await stream(d.envdUrl, 'process.Process/Start',
            { ...start('stty size; echo err >&2; tty; cut -d" " -f6 /proc/$$/stat'), pty: { size: { cols: 132, rows: 43 } } });
        const pid = events[0].json.event.start.pid;
        const [size, error, tty, session] = output(events, 'pty').toString().split('\r\n').map((line) => line.trim());
        assert.deepEqual([size, error, session], ['43 132', 'err', String(pid)]);
        assert.match(tty, /^\/dev\/pts\/\d+$/);
        assert.equal(output(events, 'stdout').length + output(events, 'stderr').length, 0);
    });
    test('data comes in pieces of at most 32 KiB, or 16 of a terminal', async () => {
        for (const [more, stream_, most] of [[{}, 'stdout', 32768], [{ pty: { size: { cols: 80, rows: 24 } } }, 'pty', 16384]]) {
            const { events } = await stream(d.envdUrl, 'process.Process/Start', { ...start('head -c 300000 /dev/zero'), ...more });
            const sizes = events.map((e) => e.json.event?.data?.[stream_]).filter(Boolean).map((b) => Buffer.from(b, 'base64').length);
            assert.ok(Math.max(...sizes) <= most);
            assert.equal(sizes.reduce((a, b) => a + b), 300000);
        }
    });
});

describe('plain HTTP', () => {
    const get = (path, headers) => fetch(d.envdUrl + path, { headers });
    test('/metrics', async () => {
        const answer = await get('/metrics');
        assert.equal(answer.headers.get('cache-control'), 'no-store');
        const json = await answer.json();
        const names = ['ts', 'cpu_count', 'cpu_used_pct', 'mem_total_mib', 'mem_used_mib', 'mem_total', 'mem_used', 'mem_cache', 'disk_used', 'disk_total'];
        assert.deepEqual(Object.keys(json), names);
        for (const name of names) assert.equal(typeof json[name], 'number', name);
        assert.ok(Math.abs(json.ts - Date.now() / 1000) < 60 && json.cpu_used_pct >= 0 && json.cpu_used_pct <= 100);
        assert.ok(json.mem_used <= json.mem_total && json.disk_used <= json.disk_total && json.mem_total > 0);
    });
    test('/health is empty', async () => {
        const answer = await get('/health');
        assert.deepEqual([answer.status, await answer.text(), answer.headers.get('content-length')], [204, '', null]);
    });
    test('errors of a download', async () => {
        const message = async (path) => {
            const answer = await get(path);
            const json = await answer.json();
            assert.deepEqual([answer.status, answer.headers.get('content-type')], [json.code, 'application/json; charset=utf-8']);
            return [json.code, json.message];
        };
        assert.deepEqual(await message(`/files?path=${at('none')}`), [404, `path '${at('none')}' does not exist`]);
        assert.deepEqual(await message(`/files?path=${d.work}`), [400, `path '${d.work}' is a directory`]);
        assert.deepEqual(await message('/files'), [400, `path '${os.userInfo().homedir}' is a directory`]);
        assert.equal((await message('/files?path=~somebody/x'))[0], 400);
        fs.symlinkSync('round', at('round'));
        spawnSync('mkfifo', [at('fifo')]);
        for (const path of [at('round'), at('fifo'), at('a%00b'), '/dev/null']) {
            assert.equal((await message(`/files?path=${path}`))[0], 500, path);
        }
    });
    test('a download is compressed for who asks for it', async () => {
        const content = 'abc'.repeat(200_000);
        fs.writeFileSync(at('packed'), content);
        const path = `/files?path=${at('packed')}`;
        const asked = async (headers) => {
            const answer = await get(path, headers);
            return [answer.status, answer.headers.get('content-encoding'), (await answer.text()) === content];
        };
        assert.deepEqual(await asked({ 'accept-encoding': 'gzip' }), [200, 'gzip', true]);
        assert.deepEqual(await asked({ 'accept-encoding': 'identity;q=0, gzip' }), [200, 'gzip', true]);
        assert.deepEqual(await asked({ 'accept-encoding': 'gzip, deflate' }), [200, null, true]);
        assert.deepEqual((await asked({ 'accept-encoding': 'identity;q=0' }))[0], 406);
        assert.deepEqual((await asked({ 'accept-encoding': '*;q=0' }))[0], 406);
        const ranged = await get(path, { 'accept-encoding': 'gzip', range: 'bytes=1-3' });
        assert.deepEqual([ranged.status, ranged.headers.get('content-encoding'), await ranged.text()], [206, null, 'bca']);
        const wrong = await get(path, { 'accept-encoding': 'gzip, identity;q=0', 'if-match': '"other"' });
        assert.equal(wrong.status, 412);
        fs.writeFileSync(at('nothing'), '');
        const empty = await get(`/files?path=${at('nothing')}`, { 'accept-encoding': 'gzip' });
        assert.deepEqual([empty.status, await empty.text()], [200, '']);
        assert.match(await (await get('/files?path=/proc/version', { 'accept-encoding': 'gzip' })).text(), /^Linux version/);
    });
    test('unknown paths and methods', async () => {
        assert.equal((await get('/nothing')).status, 404);
        assert.equal((await fetch(`${d.envdUrl}/health`, { method: 'POST', body: '' })).status, 405);
        assert.equal((await fetch(`${d.envdUrl}/files`, { method: 'DELETE' })).status, 405);
    });
    test('metadata: the limits', async () => {
        const post = async (headers) => {
            const answer = await fetch(`${d.envdUrl}/files?path=${at('meta')}`, {
                method: 'POST', headers: { 'content-type': 'application/octet-stream', ...headers }, body: 'x' });
            return [answer.status, (await answer.json()).message ?? 'ok'];
        };
        assert.deepEqual(await post({ [`x-metadata-${'k'.repeat(246)}`]: 'v' }), [200, 'ok']);
        const [status, message] = await post({ [`x-metadata-${'k'.repeat(247)}`]: 'v' });
        assert.equal(status, 400);
        assert.match(message, /^invalid metadata: /);
        assert.equal((await post({ 'x-metadata-a': 'ü' }))[0], 400);
        assert.equal((await post({ 'x-metadata-a': 'v'.repeat(2000) }))[0], 200);
        assert.equal((await post({ 'x-metadata-a': 'v'.repeat(4096 - 9) }))[0], 400);
    });
    test('what /init leaves alone is told in the log', async () => {
        const init = (body) => fetch(`${d.envdUrl}/init`, { method: 'POST', body: JSON.stringify(body) });
        const before = Date.now();
        assert.equal((await init({ timestamp: '2001-01-01T00:00:00Z', caBundle: 'x', volumeMounts: [] })).status, 204);
        assert.ok(Math.abs(Date.now() - before) < 60_000, 'the clock is as it was');
        const logged = (pattern) => eventually(() => pattern.test(d.stderr), `${pattern} in the log`);
        for (const name of ['caBundle', 'volumeMounts']) await logged(new RegExp(`/init: left alone.*member="?${name}`));
        await logged(/\/init: the clock differs.*ahead_ms=\d{10}/);
    });
});

finish(d);
