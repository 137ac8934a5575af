// The SDK's git helpers, which are commands underneath.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { finish } from '../blackbox/support/daemon.mjs';
import { useEnvd } from './support/envd.mjs';

const { d, sandbox } = useEnvd();
const git = (...args) => execFileSync('git', args, { cwd: d.work, encoding: 'utf8' });

test('a repository from init to push and clone', async () => {
    git('init', '-q', '--bare', 'remote.git');
    const repo = d.file('repo');
    await sandbox.git.init(repo, { initialBranch: 'main' });
    await sandbox.files.write(`${repo}/a.txt`, 'one\n');
    let status = await sandbox.git.status(repo);
    assert.deepEqual(status.fileStatus.map((f) => f.name), ['a.txt']);
    await sandbox.git.add(repo);
    await sandbox.git.commit(repo, 'first', { authorName: 'A', authorEmail: 'a@example.org' });
    status = await sandbox.git.status(repo);
    assert.deepEqual(status.fileStatus, []);
    await sandbox.git.createBranch(repo, 'side');
    const branches = await sandbox.git.branches(repo);
    assert.deepEqual([...branches.branches].sort(), ['main', 'side']);
    await sandbox.git.checkoutBranch(repo, 'main');
    await sandbox.git.remoteAdd(repo, 'origin', d.file('remote.git'));
    assert.equal(await sandbox.git.remoteGet(repo, 'origin'), d.file('remote.git'));
    await sandbox.git.push(repo, { remote: 'origin', branch: 'main', setUpstream: true });
    await sandbox.git.clone(d.file('remote.git'), { path: d.file('clone'), branch: 'main' });
    assert.equal(await sandbox.files.read(`${d.file('clone')}/a.txt`), 'one\n');
});

finish(d);
