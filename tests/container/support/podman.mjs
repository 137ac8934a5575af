// Containers of the images under test, and the proof that none is left.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import fs from 'node:fs';
import { after } from 'node:test';
import { Api, eventually } from './api.mjs';

const prefix = process.env.SANDBOX_TEST_IMAGE ?? 'localhost/sandbox-test';
export const images = {
    base: process.env.SANDBOX_TEST_BASE ?? 'localhost/sandbox-base:bookworm',
    scratch: `${prefix}:scratch`,
    slim: `${prefix}:slim`,
    full: `${prefix}:latest`,
};
const label = `sandbox-test=${randomUUID()}`;

// { code, stdout, stderr } of a program, whatever its code.
export function execute(program, args, options = {}) {
    return new Promise((resolve) => {
        const child = execFile(
            program,
            args,
            { maxBuffer: 64 << 20, timeout: 300_000, ...options },
            (error, stdout, stderr) => resolve({ code: error ? (error.code ?? -1) : 0, stdout, stderr }),
        );
        child.stdin.on('error', () => {}).end();
    });
}

// The output of a program that must succeed.
export async function must(program, args, options) {
    const { code, stdout, stderr } = await execute(program, args, options);
    assert.equal(code, 0, `${program} ${args.join(' ')}: ${code}\n${stdout}${stderr}`);
    return stdout.trim();
}
// The monitor of a container notes there that the kernel took a process of it for want of memory (a file `oom`).
const cwd = fs.mkdtempSync('/tmp/sandbox-container-');
process.on('exit', () => fs.rmSync(cwd, { recursive: true }));
export const podman = (...args) => must('podman', args, { cwd });

// The runner prints at the end where the daemon ran.
export function ranIn(place) {
    if (process.env.SANDBOX_TEST_PLACES) fs.appendFileSync(process.env.SANDBOX_TEST_PLACES, `${place}\n`);
}

export class Container extends Api {
    // flags: of `podman run`; command: what follows the image; secret; place: its name in the list of images.
    static async create(image, { flags = [], command = [], secret = 'container-secret-9c41', place } = {}) {
        const name = `sandbox-test-${randomUUID().slice(0, 8)}`;
        await podman(
            'run', '-d', '--pull=never', '--name', name, '--label', label, '-e', `SANDBOX_SECRET=${secret}`,
            '-p', '127.0.0.1::3030', '-p', '127.0.0.1::3031', ...flags, image, ...command,
        );
        const container = new Container('', secret);
        container.name = name;
        container.place = place ?? image;
        return container;
    }

    // Started, and answering on its published port.
    static async start(image, options) {
        const container = await Container.create(image, options);
        try {
            for (const line of (await podman('port', container.name)).split('\n')) {
                const [, inner, port] = line.match(/^(\d+)\/tcp -> .*:(\d+)$/);
                if (inner === '3030') container.url = `http://127.0.0.1:${port}`;
                else container.proxyUrl = `http://127.0.0.1:${port}`;
            }
            await eventually(() => container.healthy(), () => container.logs());
        } catch (error) {
            await container.remove();
            throw error;
        }
        ranIn(container.place);
        return container;
    }

    async logs() {
        const { stdout, stderr } = await execute('podman', ['logs', this.name]);
        return stdout + stderr;
    }
    exited() {
        return podman('wait', this.name).then(Number);
    }
    state(format) {
        return podman('inspect', '--format', `{{.State.${format}}}`, this.name);
    }
    // Zombies as the container's own /proc shows them.
    async zombies() {
        const stats = await this.output('cat /proc/[0-9]*/stat 2>/dev/null || true');
        return stats.split('\n').filter((line) => line.replace(/\(.*\)/, '').split(/ +/)[1] === 'Z').length;
    }
    remove() {
        return podman('rm', '-f', '-t', '0', this.name);
    }
}

export async function withContainer(image, options, body) {
    const container = await Container.start(image, options);
    try {
        return await body(container);
    } catch (error) {
        error.message += `\nlog of the container:\n${await container.logs()}`;
        throw error;
    } finally {
        await container.remove();
    }
}

after(async () => {
    assert.equal(await podman('ps', '-aq', '--filter', `label=${label}`), '', 'no container is left');
});
