// The file routes, against a model of a directory that each lane has to itself.
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { expect } from '../model.mjs';

export const weight = 30;

const success = { success: true };
const missing = (operation, file) => `${operation} ${file}: no such file or directory`;

const [user, group] = execFileSync('stat', ['-c', '%U %G', '/proc/self'], { encoding: 'utf8' }).trim().split(' ');

// The whole answer of /stat for a file that this user has made.
function described(file, name, size) {
    const { mode, uid, gid, mtimeNs } = fs.lstatSync(file, { bigint: true });
    const second = new Date(Number(mtimeNs / 1_000_000_000n) * 1000).toISOString().slice(0, 19);
    const fraction = String(mtimeNs % 1_000_000_000n).padStart(9, '0').replace(/0+$/, '');
    return {
        success: true, path: file, name, type: 'file', size,
        mode: (Number(mode) & 0o7777).toString(8).padStart(4, '0'), uid: Number(uid), gid: Number(gid), user, group,
        modified_at: `${second}${fraction && `.${fraction}`}Z`,
    };
}

// `lane.files`: name of a file -> its bytes. What the model holds lies on the disk, and nothing else.
export async function make({ api, content, directory }, rng, lane) {
    lane.directory ??= path.join(directory, `lane-${lane.number}`);
    lane.files ??= new Map();
    const { files } = lane;
    const name = `f${rng.below(12)}`;
    const file = path.join(lane.directory, name);
    const old = files.get(name);
    const post = async (route, body, wanted) => {
        const answer = await api.post(route, body);
        expect(answer.status, 200, `status of ${route}`);
        expect(answer.json, wanted, `answer of ${route}`);
    };
    const write = async (bytes, extra) => {
        const text = rng.chance(2) && Buffer.from(bytes.toString()).equals(bytes);
        const body = { path: file, create_parents: true, content: bytes.toString(text ? 'utf8' : 'base64'), ...extra };
        if (!text) body.encoding = 'base64';
        await post('/write_file', body, success);
    };
    const fresh = () => {
        const size = rng.size(rng.chance(200) ? 5_000_000 : 60_000);
        return rng.chance(2) ? content.someText(rng, size).bytes : content.someBytes(rng, size).bytes;
    };
    if (old === undefined || rng.chance(4)) {
        const bytes = fresh();
        await write(bytes, rng.chance(3) ? { mode: '0640' } : {});
        files.set(name, bytes);
        return 1;
    }
    const other = `f${rng.below(12)}`;
    const otherFile = path.join(lane.directory, other);
    switch (rng.below(8)) {
        case 0: {
            const more = fresh().subarray(0, 20_000);
            if (old.length > 200_000) return 0;
            await write(more, { append: true });
            files.set(name, Buffer.concat([old, more]));
            return 1;
        }
        case 1: {
            const offset = rng.below(old.length + 10);
            const length = rng.below(old.length + 10);
            const wanted = { content: old.subarray(offset, offset + length).toString('base64'), encoding: 'base64' };
            await post('/read_file', { path: file, encoding: 'base64', offset, length }, wanted);
            return 1;
        }
        case 2: {
            await post('/stat', { path: file }, described(file, name, old.length));
            return 1;
        }
        case 3:
            if (other === name) return 0;
            await post('/copy', { source: file, destination: otherFile }, success);
            files.set(other, old);
            return 1;
        case 4:
            if (other === name) return 0;
            await post('/move', { source: file, destination: otherFile }, success);
            files.set(other, old);
            files.delete(name);
            expect(fs.existsSync(file), false, 'the moved file at its old place');
            return 1;
        case 5:
            await post('/list_dir', { path: lane.directory }, { entries: [...files.keys()].sort() });
            expect(fs.readFileSync(file), old, `${name} on the disk`);
            return 1;
        case 6:
            await post('/delete_file', { path: file }, success);
            files.delete(name);
            await post('/read_file', { path: file }, { error: missing('open', file) });
            return 2;
        default:
            return directories({ post, lane, file, other }, rng, old);
    }
}

async function directories({ post, lane, file }, rng, bytes) {
    const deep = path.join(lane.directory, '..', `tree-${lane.number}`);
    const copy = `${deep}-copy`;
    const inside = path.join(deep, 'a', 'b');
    await post('/make_dir', { path: inside }, success);
    await post('/copy', { source: file, destination: path.join(inside, 'x') }, success);
    await post('/copy', { source: deep, destination: copy }, success);
    await post('/read_file', { path: path.join(copy, 'a/b/x'), encoding: 'base64' }, { content: bytes.toString('base64'), encoding: 'base64' });
    await post('/delete_dir', { path: deep }, success);
    await post('/delete_dir', { path: copy }, success);
    expect([fs.existsSync(deep), fs.existsSync(copy)], [false, false], 'deleted directories');
    return 6;
}
