// Watches by the SDK, and by polling as the synchronous Python SDK does it.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { test } from 'node:test';
import { eventually, finish, hiddenDescriptors } from '../blackbox/support/daemon.mjs';
import { openStream, stream, unary } from './support/connect.mjs';
import { sdk, startEnvd, useEnvd } from './support/envd.mjs';

const { d, sandbox } = useEnvd();

async function watched(name, options = {}) {
    const dir = d.file(name);
    fs.mkdirSync(dir);
    const events = [];
    const handle = await sandbox.files.watchDir(dir, (event) => events.push(event), options);
    const told = (type, file) => events.some((e) => e.type === type && e.name === file);
    return { dir, events, handle, told };
}

test('every kind of change', async () => {
    const { dir, told, handle, events } = await watched('kinds');
    fs.writeFileSync(`${dir}/f`, 'x');
    await eventually(() => told('create', 'f') && told('write', 'f'), 'create and write');
    fs.chmodSync(`${dir}/f`, 0o600);
    await eventually(() => told('chmod', 'f'), 'chmod');
    fs.renameSync(`${dir}/f`, `${dir}/g`);
    await eventually(() => told('rename', 'f') && told('create', 'g'), 'rename');
    fs.rmSync(`${dir}/g`);
    await eventually(() => told('remove', 'g'), 'remove');
    assert.ok(events.every((e) => e.entry === undefined));
    await handle.stop();
});

test('nothing is lost between the start and what comes right after it', async () => {
    for (let round = 0; round < 20; ++round) {
        const dir = d.file(`start-${round}`);
        fs.mkdirSync(`${dir}/sub`, { recursive: true });
        const call = openStream(d.envdUrl, 'filesystem.Filesystem/WatchDir', { path: dir, recursive: true });
        let number = 0;
        let first;
        // Files come all the time; those after the start event must be told.
        for (const end = Date.now() + 10_000; first === undefined || number < first + 3; ++number) {
            assert.ok(Date.now() < end, 'the start');
            fs.writeFileSync(`${dir}/sub/${number}`, '');
            await new Promise(setImmediate);
            if (first === undefined && call.events.length > 0) first = number + 1;
        }
        const told = () => new Set(call.events.map((e) => e.json.filesystem?.name));
        await eventually(() => told().has(`sub/${number - 1}`), 'the last');
        for (let n = first; n < number; ++n) assert.ok(told().has(`sub/${n}`), `${n} of ${first} to ${number}`);
        call.request.destroy();
    }
});

test('a watch that is not read holds up no other', async () => {
    const dir = d.file('unread');
    fs.mkdirSync(dir);
    const idle = openStream(d.envdUrl, 'filesystem.Filesystem/WatchDir', { path: dir, includeEntry: true });
    const busy = openStream(d.envdUrl, 'filesystem.Filesystem/WatchDir', { path: dir });
    await eventually(() => idle.events.length > 0 && busy.events.length > 0, 'the starts');
    (await idle.response).pause();
    const count = 20_000;
    for (let i = 0; i < count; ++i) {
        fs.writeFileSync(`${dir}/${i}`, '');
        if (i % 500 === 0) await new Promise(setImmediate);
    }
    const created = (call) => new Set(call.events.map((e) => e.json.filesystem).filter((c) => c?.type === 'EVENT_TYPE_CREATE').map((c) => c.name)).size;
    await eventually(() => created(busy) === count, 'all of it at the one who reads', 30_000);
    assert.ok(created(idle) < count);
    (await idle.response).resume();
    await eventually(() => created(idle) === count, 'all of it at the other', 30_000);
    for (const call of [idle, busy]) call.request.destroy();
});

test('an upload shows as created and written, and nothing of how it is done', async () => {
    const { dir, told, handle, events } = await watched('uploads');
    await sandbox.files.write(`${dir}/f`, 'first');
    await eventually(() => told('create', 'f') && told('write', 'f'), 'create and write');
    const before = events.length;
    await sandbox.files.write(`${dir}/f`, 'second');
    await eventually(() => events.slice(before).some((e) => e.type === 'write' && e.name === 'f'), 'write');
    await sandbox.files.write(`${dir}/last`, 'x');
    await eventually(() => told('write', 'last'), 'the last');
    assert.deepEqual(events.map((e) => `${e.type} ${e.name}`),
        ['create f', 'chmod f', 'write f', 'write f', 'create last', 'chmod last', 'write last']);
    await handle.stop();
});

test('links are created, and not written', async () => {
    const { dir, told, handle, events } = await watched('links');
    fs.writeFileSync(d.file('linked'), 'content');
    fs.linkSync(d.file('linked'), `${dir}/hard`);
    fs.symlinkSync('hard', `${dir}/soft`);
    await sandbox.files.write(`${dir}/last`, 'x');
    await eventually(() => told('write', 'last'), 'the last');
    assert.deepEqual(events.map((e) => `${e.type} ${e.name}`),
        ['create hard', 'create soft', 'create last', 'chmod last', 'write last']);
    await handle.stop();
});

test('recursive: directories that appear, with what is in them, and that move', async () => {
    const { dir, told, handle } = await watched('deep', { recursive: true, includeEntry: true });
    fs.mkdirSync(`${dir}/a/b/c`, { recursive: true });
    fs.writeFileSync(`${dir}/a/b/c/f`, 'x');
    await eventually(() => told('create', 'a/b/c/f'), 'a file in new directories');
    fs.renameSync(`${dir}/a`, `${dir}/z`);
    await eventually(() => told('rename', 'a') && told('create', 'z/b/c/f'), 'the move');
    fs.writeFileSync(`${dir}/z/b/c/later`, 'x');
    await eventually(() => told('write', 'z/b/c/later'), 'a file below the new name');
    await handle.stop();
});

test('entries', async () => {
    const { dir, events, handle } = await watched('entries', { includeEntry: true });
    fs.writeFileSync(`${dir}/f`, 'four');
    await eventually(() => events.some((e) => e.type === 'write' && e.entry?.size === 4), 'an entry');
    const { entry } = events.find((e) => e.type === 'write');
    assert.deepEqual([entry.name, entry.path, entry.type], ['f', `${dir}/f`, 'file']);
    await handle.stop();
});

test('without recursion what is deeper is not told', async () => {
    const { dir, events, told, handle } = await watched('shallow');
    fs.mkdirSync(`${dir}/sub`);
    fs.writeFileSync(`${dir}/sub/f`, 'x');
    fs.writeFileSync(`${dir}/end`, 'x');
    await eventually(() => told('write', 'end'), 'the end');
    assert.deepEqual([...new Set(events.map((e) => e.name))], ['sub', 'end']);
    await handle.stop();
});

test('a storm of changes, with everything told in the end', async () => {
    const { dir, events, handle } = await watched('storm', { recursive: true });
    await sandbox.commands.run(
        'for i in $(seq 300); do mkdir d$i; for j in 1 2 3 4; do echo $j > d$i/f$j; done; done', { cwd: dir });
    const created = () => new Set(events.filter((e) => e.type === 'create').map((e) => e.name));
    await eventually(() => created().size === 300 * 5, 'all 1500');
    await handle.stop();
});

test('more changes than the queue of the kernel holds', async () => {
    const dir = d.file('overflow');
    fs.mkdirSync(dir);
    const limit = Number(fs.readFileSync('/proc/sys/fs/inotify/max_queued_events', 'utf8'));
    if (limit > 200_000) return; // too many to make
    const { json } = await unary(d.envdUrl, 'filesystem.Filesystem/CreateWatcher', { path: dir });
    const count = limit + 15_000; // what the watch keeps, and what the kernel does, is less
    for (let i = 0; i < count; ++i) fs.closeSync(fs.openSync(`${dir}/${i}`, 'w'));
    const seen = new Set();
    await eventually(async () => {
        const answer = await unary(d.envdUrl, 'filesystem.Filesystem/GetWatcherEvents', json);
        for (const event of answer.json.events) if (event.type === 'EVENT_TYPE_CREATE') seen.add(event.name);
        return seen.size === count;
    }, `all ${count}`, 60_000);
    assert.match(d.stderr, /watch queue overflow/);
    await unary(d.envdUrl, 'filesystem.Filesystem/RemoveWatcher', json);
});

test('watchers that are polled', async () => {
    const dir = d.file('polled');
    fs.mkdirSync(dir);
    const call = (method, message) => unary(d.envdUrl, `filesystem.Filesystem/${method}`, message);
    const { json: { watcherId } } = await call('CreateWatcher', { path: dir, recursive: true });
    assert.deepEqual((await call('GetWatcherEvents', { watcherId })).json, { events: [] });
    fs.writeFileSync(`${dir}/f`, '');
    let events = [];
    await eventually(async () => (events = events.concat((await call('GetWatcherEvents', { watcherId })).json.events)).length > 0, 'an event');
    assert.deepEqual(events[0], { name: 'f', type: 'EVENT_TYPE_CREATE' });
    assert.deepEqual((await call('RemoveWatcher', { watcherId })).json, {});
    assert.deepEqual((await call('GetWatcherEvents', { watcherId })).json,
        { code: 'not_found', message: `watcher with id ${watcherId} not found` });
});

test('watchers that are forgotten make room: the one that was not asked for the longest goes', async () => {
    const dir = d.file('forgotten');
    fs.mkdirSync(dir);
    const call = (method, message) => unary(d.envdUrl, `filesystem.Filesystem/${method}`, message);
    const create = async () => (await call('CreateWatcher', { path: dir })).json.watcherId;
    const asked = async (watcherId) => (await call('GetWatcherEvents', { watcherId })).status;
    const [used, forgotten] = [await create(), await create()];
    assert.equal(await asked(used), 200);
    const others = [];
    while (others.length < 255) others.push(await create());
    assert.equal(await asked(forgotten), 404);
    assert.equal(await asked(used), 200);
    assert.equal(await asked(others[0]), 200);
    for (const watcherId of [used, ...others]) await call('RemoveWatcher', { watcherId });
});

test('errors and the deadline', async () => {
    await assert.rejects(sandbox.files.watchDir(d.file('missing'), () => {}), sdk.FileNotFoundError);
    fs.writeFileSync(d.file('plain'), '');
    await assert.rejects(sandbox.files.watchDir(d.file('plain'), () => {}), sdk.InvalidArgumentError);
    const timed = await stream(d.envdUrl, 'filesystem.Filesystem/WatchDir', { path: d.work }, { 'connect-timeout-ms': '50' });
    assert.deepEqual(timed.events.map((e) => e.json.start ?? e.json.error?.code), [{}, 'deadline_exceeded']);
});

test('watches share one descriptor of the kernel, and leave none', { skip: hiddenDescriptors }, async () => {
    const own = await startEnvd();  // whose watches are these alone
    const notifiers = () => fs.readdirSync(`/proc/${own.pid}/fd`).filter((fd) => {
        try {
            return fs.readlinkSync(`/proc/${own.pid}/fd/${fd}`).includes('inotify');
        } catch {
            return false;
        }
    }).length;
    const before = notifiers();  // that of the cgroups
    const calls = [1, 2, 3].map(() => openStream(own.envdUrl, 'filesystem.Filesystem/WatchDir', { path: own.work }));
    await eventually(() => calls.every((c) => c.events.length === 1), 'the starts');
    assert.equal(notifiers() - before, 2, 'one, and its duplicate');
    for (const call of calls) call.request.destroy();
    await eventually(() => notifiers() === before, 'the end of the watches');
    await own.stop();
    await own.assertClean();
});

test('a watch does not hold up the shutdown', async () => {
    const own = await startEnvd();
    const call = openStream(own.envdUrl, 'filesystem.Filesystem/WatchDir', { path: own.work });
    await eventually(() => call.events.length === 1, 'the start');
    const began = Date.now();
    await own.stop();
    assert.ok(Date.now() - began < 2000, `${Date.now() - began} ms`);
    assert.equal(call.events.at(-1).json.error.code, 'unavailable');
    await own.assertClean();
});

finish(d);
