// A FUSE file system that takes requests and never answers. It ends with the process that holds its descriptor, 3.
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { isRoot } from './daemon_process.mjs';

// Shell commands that mount it at $HUNG, which they make.
export const mountHung =
    'mkdir -p "$HUNG" && exec 3<>/dev/fuse && mount -i -t fuse -o fd=3,rootmode=40000,user_id=0,group_id=0 none "$HUNG"';
// The argv of a shell with mounts of its own.
export const withOwnMounts = (script) => ['unshare', '--mount', 'sh', '-c', script];

// For the `skip` of a test: false where it can be mounted, else why not.
export function whyNotHung() {
    if (!isRoot) return 'needs root';
    const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'sandbox-hung-'));
    const [program, ...args] = withOwnMounts(mountHung);
    const tried = spawnSync(program, args, { env: { ...process.env, HUNG: `${dir}/hung` } });
    fs.rmSync(dir, { recursive: true });
    return tried.status === 0 ? false : `no FUSE here: ${tried.stderr}`;
}

// The wrapper of a daemon beside whose working directory it lies, as `hung`.
export const besideHung = withOwnMounts(`HUNG=$PWD/hung; ${mountHung} && "$0" "$@" 3<&-`);
