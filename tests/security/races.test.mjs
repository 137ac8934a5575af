// Somebody in the sandbox swaps a directory for a link to elsewhere while the file routes are at work. Elsewhere nothing
// may be removed, changed, or copied from.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';
import { finish, isRoot, slow, useDaemon } from '../blackbox/support/daemon.mjs';

const d = useDaemon({ env: { ENVD_PORT: '0' } });
const rounds = slow ? 20 : 80;

// Exchanges two names for ever (renameat2(2), RENAME_EXCHANGE); both may come and go. Says at its end how often it could.
const program = `
    my $call = {x86_64 => 316, aarch64 => 276}->{$ARGV[2]} or die "unknown machine";
    my ($count, $end) = (0, 0);
    $SIG{TERM} = sub { $end = 1 };
    $| = 1; print "up\\n";
    while (!$end) { $count++ if syscall($call, -100, $ARGV[0], -100, $ARGV[1], 2) == 0; }
    print "$count\\n";`;
const machine = { x64: 'x86_64', arm64: 'aarch64' }[process.arch];

async function swapping(one, other, body) {
    const child = spawn('perl', ['-e', program, one, other, machine], { stdio: ['ignore', 'pipe', 'inherit'] });
    let said = '';
    child.stdout.on('data', (chunk) => (said += chunk));
    const exited = new Promise((resolve) => child.on('exit', resolve));
    try {
        while (!said.includes('up')) await new Promise((resolve) => child.stdout.once('data', resolve));
        await body();
    } finally {
        child.kill('SIGTERM');
        await exited;
    }
    const swaps = Number(said.trim().split('\n').at(-1));
    assert.ok(swaps > rounds, `${swaps} swaps`);
    return swaps;
}

const outsideContent = 'content of elsewhere';

// `work/elsewhere` with files, and its state as text.
function elsewhere() {
    const dir = d.file('elsewhere');
    fs.rmSync(dir, { recursive: true, force: true });
    fs.mkdirSync(path.join(dir, 'deep', 'er'), { recursive: true });
    for (const name of ['keep', 'deep/keep', 'deep/er/keep', 'f0', 'f1']) fs.writeFileSync(path.join(dir, name), outsideContent);
    return dir;
}
const snapshot = (dir) =>
    fs.readdirSync(dir, { recursive: true }).sort().map((name) => {
        const info = fs.lstatSync(path.join(dir, name));
        return `${name} ${info.ino} ${info.mode} ${info.uid} ${info.isFile() ? fs.readFileSync(path.join(dir, name)) : ''}`;
    });

// A tree with a directory `a` and a link `l` to elsewhere, which are swapped.
function tree(dir, outside) {
    fs.mkdirSync(path.join(dir, 'a', 'deep', 'er'), { recursive: true });
    for (let i = 0; i < 10; ++i) fs.writeFileSync(path.join(dir, 'a', `f${i}`), 'inside');
    fs.writeFileSync(path.join(dir, 'a', 'deep', 'er', 'keep'), 'inside');
    fs.symlinkSync(outside, path.join(dir, 'l'));
}

// All files below that are none of the links themselves.
const contents = (dir) =>
    fs.readdirSync(dir, { recursive: true, withFileTypes: true })
        .filter((e) => e.isFile())
        .map((e) => fs.readFileSync(path.join(e.parentPath ?? e.path, e.name), 'utf8'));

const envd = async (method, message) => {
    const headers = { 'content-type': 'application/json', 'x-access-token': d.secret };
    const answer = await fetch(`http://127.0.0.1:${d.envdPort}/filesystem.Filesystem/${method}`, { method: 'POST', headers, body: JSON.stringify(message) });
    return answer.json();
};

// By the daemon, because node's own removal does follow a swapped link. A swap in the wrong moment may leave something;
// then it is asked again.
async function removed(dir, remove = (path) => d.post('/delete_dir', { path })) {
    for (let n = 0; fs.existsSync(dir) && n < 100; ++n) await remove(dir);
    assert.ok(!fs.existsSync(dir), 'the tree is gone');
}

describe('removing', () => {
    for (const [name, remove] of [
        ['delete_dir', (dir) => d.post('/delete_dir', { path: dir })],
        ['Remove', (dir) => envd('Remove', { path: dir })],
    ]) {
        test(`${name} of a tree`, async (t) => {
            const outside = elsewhere();
            const before = snapshot(outside);
            const dir = d.file('tree');
            const swaps = await swapping(path.join(dir, 'a'), path.join(dir, 'l'), async () => {
                for (let i = 0; i < rounds; ++i) {
                    tree(dir, outside);
                    await removed(dir, remove);
                }
            });
            t.diagnostic(`${rounds} trees removed during ${swaps} swaps`);
            assert.deepEqual(snapshot(outside), before);
        });
    }
    test('delete_file of a name that is a link now and then', async () => {
        const outside = elsewhere();
        const before = snapshot(outside);
        const dir = d.file('tree');
        fs.mkdirSync(dir);
        const [file, link] = [path.join(dir, 'x'), path.join(dir, 'y')];
        await swapping(file, link, async () => {
            for (let i = 0; i < rounds; ++i) {
                fs.rmSync(file, { force: true });
                fs.rmSync(link, { force: true });
                fs.writeFileSync(file, 'inside');
                fs.symlinkSync(path.join(outside, 'keep'), link);
                await d.post('/delete_file', { path: file });
            }
        });
        fs.rmSync(dir, { recursive: true });
        assert.deepEqual(snapshot(outside), before);
    });
});

describe('copying', () => {
    const otherDisk = ['/dev/shm'].find((dir) => fs.existsSync(dir) && fs.statSync(dir).dev !== fs.statSync('/tmp').dev);
    for (const [name, target, transfer, skip] of [
        ['copy', () => d.file('copy'), (source, destination) => d.post('/copy', { source, destination }), false],
        ['move to another file system', () => `${otherDisk}/sandbox-race-${process.pid}`,
            (source, destination) => d.post('/move', { source, destination }), !otherDisk && 'no second file system'],
    ]) {
        test(`${name} takes nothing from elsewhere`, { skip }, async (t) => {
            const outside = elsewhere();
            const before = snapshot(outside);
            const dir = d.file('tree');
            const copy = target();
            let whole = 0;
            await swapping(path.join(dir, 'a'), path.join(dir, 'l'), async () => {
                for (let i = 0; i < rounds; ++i) {
                    tree(dir, outside);
                    const { json } = await transfer(dir, copy);
                    if (json.success) whole += 1;
                    if (fs.existsSync(copy)) {
                        assert.ok(!contents(copy).includes(outsideContent), 'content of elsewhere was copied');
                        fs.rmSync(copy, { recursive: true });
                    }
                    await removed(dir);
                }
            });
            t.diagnostic(`${whole} of ${rounds} were whole`);
            assert.ok(whole > 0);
            assert.deepEqual(snapshot(outside), before);
        });
    }
});

test('ListDir shows nothing of elsewhere below its start', async () => {
    const outside = elsewhere();
    fs.writeFileSync(path.join(outside, 'deep', 'only-elsewhere'), 'x');
    const dir = d.file('tree');
    tree(dir, outside);
    await swapping(path.join(dir, 'a'), path.join(dir, 'l'), async () => {
        for (let i = 0; i < rounds; ++i) {
            const { entries } = await envd('ListDir', { path: dir, depth: 10 });
            assert.ok(!entries.some((e) => e.name === 'only-elsewhere'), JSON.stringify(entries.map((e) => e.path)));
        }
    });
    fs.rmSync(dir, { recursive: true });
});

describe('writing', () => {
    // A path through a link is the caller's wish, so a write may end here or there, but whole and in one place.
    test('write_file through a directory that is swapped', async () => {
        const outside = elsewhere();
        fs.rmSync(path.join(outside, 'f0'));
        const before = snapshot(outside);
        const dir = d.file('tree');
        tree(dir, outside);
        const content = 'n'.repeat(100_000);
        await swapping(path.join(dir, 'a'), path.join(dir, 'l'), async () => {
            for (let i = 0; i < rounds; ++i) {
                assert.deepEqual((await d.post('/write_file', { path: path.join(dir, 'a', 'f0'), content })).json, { success: true });
            }
        });
        const real = fs.lstatSync(path.join(dir, 'a')).isSymbolicLink() ? path.join(dir, 'l') : path.join(dir, 'a');
        for (const place of [outside, real]) {
            const file = path.join(place, 'f0');
            if (fs.existsSync(file)) assert.ok([content, 'inside'].includes(fs.readFileSync(file, 'utf8')), `${file} is whole`);
        }
        assert.equal(fs.readdirSync(real).length, 11, 'nothing staged is left');
        assert.deepEqual(snapshot(outside).filter((line) => !line.startsWith('f0 ')), before);
        fs.rmSync(dir, { recursive: true });
    });
    test('an upload for another user makes nobody the owner of what was there', { skip: !isRoot && 'needs root' }, async () => {
        const outside = elsewhere();
        const before = snapshot(outside);
        const dir = d.file('tree');
        tree(dir, outside);
        const url = `http://127.0.0.1:${d.envdPort}/files?username=nobody&path=`;
        const headers = { 'content-type': 'application/octet-stream', 'x-access-token': d.secret };
        await swapping(path.join(dir, 'a'), path.join(dir, 'l'), async () => {
            for (let i = 0; i < rounds; ++i) {
                const file = path.join(dir, 'a', 'new', `dir${i}`, 'file');
                await (await fetch(url + encodeURIComponent(file), { method: 'POST', headers, body: 'x' })).arrayBuffer();
            }
        });
        assert.deepEqual(snapshot(outside).filter((line) => !line.startsWith('new')), before);
        fs.rmSync(dir, { recursive: true });
    });
});

test('at the end', () => {
    fs.rmSync(d.file('elsewhere'), { recursive: true });
    assert.deepEqual(fs.readdirSync(d.work), []);
});
finish(d);
