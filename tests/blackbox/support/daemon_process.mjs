// Starts the real daemon on free ports in a directory of its own, and proves at the end that nothing of it is left.
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import assert from 'node:assert/strict';
import { fileURLToPath } from 'node:url';
import { request } from './http.mjs';

export const binary =
    process.env.SANDBOX_EXECUTOR ??
    fileURLToPath(new URL('../../../build/release/bin/sandbox-executor', import.meta.url));

// Sanitizer builds are slow and large: sizes scale down, limits on memory are not looked at.
export const slow = process.env.SANDBOX_SLOW === '1';
// A child of a daemon under ThreadSanitizer sees a copy of its memory until the execve, not the memory itself.
export const copiesMemory = process.env.SANDBOX_SANITIZE === 'thread';
export const isRoot = process.getuid() === 0;
// Why openDescriptors() and heldConnections() cannot look, or false: the daemon shows them to nobody but root.
export const hiddenDescriptors = !isRoot && 'needs root, to look at the descriptors of the daemon';

const marker = 'BLACKBOX_MARKER';

export const delay = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// Polls until `probe` gives something truthy.
export async function eventually(probe, what, timeoutMs = 10_000) {
    const end = Date.now() + timeoutMs * (slow ? 4 : 1);
    for (;;) {
        const value = await probe();
        if (value) return value;
        if (Date.now() > end) assert.fail(`not within ${timeoutMs} ms: ${what}`);
        await delay(10);
    }
}

function readProc(pid, name) {
    try {
        return fs.readFileSync(`/proc/${pid}/${name}`, 'latin1');
    } catch {
        return '';
    }
}

// Pids whose environment holds NAME=value; zombies have none.
export function processesWith(name, value) {
    const found = [];
    for (const entry of fs.readdirSync('/proc')) {
        if (!/^\d+$/.test(entry)) continue;
        if (readProc(entry, 'environ').split('\0').includes(`${name}=${value}`)) found.push(Number(entry));
    }
    return found;
}

export function isAlive(pid) {
    const stat = readProc(pid, 'stat');
    return stat !== '' && stat.slice(stat.lastIndexOf(')') + 2, stat.lastIndexOf(')') + 3) !== 'Z';
}

// The program that it runs, as ps shows it; '' when there is no such process.
export const commandName = (pid) => readProc(pid, 'comm').trim();

const describeProcesses = (pids) =>
    pids.map((pid) => `${pid} ${readProc(pid, 'cmdline').replaceAll('\0', ' ')}`).join('; ');

// A number of kB from /proc/<pid>/status, such as VmRSS or VmHWM.
export function memoryKb(pid, field) {
    const match = readProc(pid, 'status').match(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm'));
    assert.ok(match, `no ${field} of process ${pid}`);
    return Number(match[1]);
}

function descriptorTargets(pid) {
    return fs.readdirSync(`/proc/${pid}/fd`).map((fd) => {
        try {
            return fs.readlinkSync(`/proc/${pid}/fd/${fd}`);
        } catch {
            return '/'; // closed meanwhile
        }
    });
}

// Counts, whenever it is asked, how many of these RawSockets have their other end held by the process. Unlike a
// difference of openDescriptors() it sees nothing else that the process opens or closes meanwhile.
export function heldConnections(pid, raws) {
    const pair = (near, far) => `${near} ${far}`; // of ports: one number may be used towards several others
    const pairs = new Set(raws.map(({ socket }) => pair(socket.remotePort, socket.localPort))); // unknown once closed
    const port = (address) => parseInt(address.split(':')[1], 16);
    return () => {
        const inodes = new Set();
        for (const line of (readProc('self', 'net/tcp') + readProc('self', 'net/tcp6')).split('\n')) {
            const [, local, remote, , , , , , , inode] = line.trim().split(/\s+/); // man 5 proc
            if (inode && pairs.has(pair(port(local), port(remote)))) inodes.add(`socket:[${inode}]`);
        }
        return descriptorTargets(pid).filter((name) => inodes.has(name)).length;
    };
}

// Not what a cgroup costs that waits for the next command: how many of them there are depends on how many commands ran
// at once before. A directory of a cgroup may be shown as the root.
export function openDescriptors(pid) {
    return descriptorTargets(pid).filter((name) => name !== '/' && !name.startsWith('/sys/fs/cgroup/')).length;
}

function cleanEnvironment() {
    const env = {};
    for (const name of ['PATH', 'HOME', 'ASAN_OPTIONS', 'UBSAN_OPTIONS', 'TSAN_OPTIONS', 'LSAN_OPTIONS']) {
        if (process.env[name] !== undefined) env[name] = process.env[name];
    }
    return env;
}

export class Daemon {
    // options: env (undefined removes a variable), args, entrypoint (argv behind `--`), wrapper (argv put in front
    // of the program), inner (the program is a child of the wrapper, not the wrapper itself), secret, dir (kept).
    constructor(options = {}) {
        this.options = options;
        this.secret = options.secret ?? 'blackbox-secret-6f1e';
        this.token = randomUUID();
        this.ownsDir = !options.dir;
        this.dir = options.dir ?? fs.mkdtempSync(path.join(os.tmpdir(), 'sandbox-blackbox-'));
        fs.chmodSync(this.dir, 0o755);
        this.tmp = path.join(this.dir, `tmp-${this.token.slice(0, 8)}`);
        fs.mkdirSync(this.tmp);
        fs.chmodSync(this.tmp, 0o777);
        this.work = path.join(this.dir, 'work');
        fs.mkdirSync(this.work, { recursive: true });
        this.stdout = '';
        this.stderr = '';
        const env = {
            ...cleanEnvironment(),
            TMPDIR: this.tmp,
            PORT: '0',
            PROXY_PORT: '0',
            SANDBOX_SECRET: this.secret,
            [marker]: this.token,
            ...options.env,
        };
        for (const name of Object.keys(env)) if (env[name] === undefined) delete env[name];
        const argv = [...(options.wrapper ?? []), binary, ...(options.args ?? [])];
        if (options.entrypoint) argv.push('--', ...options.entrypoint);
        this.child = spawn(argv[0], argv.slice(1), { env, cwd: this.work, stdio: ['ignore', 'pipe', 'pipe'] });
        this.child.stdout.on('data', (chunk) => (this.stdout += chunk));
        this.child.stderr.on('data', (chunk) => (this.stderr += chunk));
        this.exited = new Promise((resolve, reject) => {
            this.child.on('error', reject);
            this.child.on('exit', (code, signal) => resolve({ code, signal }));
        });
        this.exited.then((end) => (this.end = end), () => {});
    }

    get running() {
        return this.end === undefined;
    }

    // The daemon's own pid, also behind a wrapper.
    get pid() {
        if (!this.options.inner) return this.child.pid;
        const children = readProc(this.child.pid, `task/${this.child.pid}/children`).trim();
        return Number(children.split(' ')[0]);
    }

    logged(message, field) {
        const line = this.stderr.split('\n').find((l) => l.includes(message) && l.includes(`${field}=`));
        return line?.match(new RegExp(`${field}="?([^\\s"]+)`))?.[1];
    }

    // With the ports known: `port`, `proxyPort`, and `envdPort` where it was asked for.
    async ready() {
        const { env = {}, args = [] } = this.options;
        const envd = env.ENVD_PORT !== undefined || args.some((arg) => arg.startsWith('--envd-port'));
        await eventually(
            () => {
                if (!this.running) {
                    throw new Error(`the daemon ended (${JSON.stringify(this.end)}) before it was ready:\n${this.stderr}`);
                }
                this.port = Number(this.logged('"Starting sandbox-executor"', 'port'));
                this.proxyPort = Number(this.logged('"Starting TCP proxy"', 'port'));
                if (envd) this.envdPort = Number(this.logged('"Starting envd API"', 'port'));
                return this.port > 0 && this.proxyPort > 0 && (!envd || this.envdPort > 0);
            },
            `ports in the log; stderr: ${this.stderr}`,
        );
        this.url = `http://127.0.0.1:${this.port}`;
        return this;
    }

    request(method, target, body, options = {}) {
        const secret = options.secret === undefined ? this.secret : options.secret;
        return request(this.url, method, target, body, { ...options, secret });
    }
    get(target, options) {
        return this.request('GET', target, undefined, options);
    }
    post(target, body, options) {
        return this.request('POST', target, body, options);
    }
    // A command that must have been accepted.
    async run(cmd, fields = {}) {
        const answer = await this.post('/run', { cmd, ...fields });
        assert.equal(answer.status, 200, answer.text);
        return answer.json;
    }
    async start(cmd, fields = {}) {
        const answer = await this.post('/start_process', { cmd, ...fields });
        assert.equal(answer.status, 201, answer.text);
        return answer.json;
    }
    async list(query = '') {
        const answer = await this.get(`/list_processes${query}`);
        assert.equal(answer.status, 200, answer.text);
        return answer.json.processes;
    }
    async entry(id) {
        return (await this.list()).find((p) => p.id === id);
    }
    async ended(id, timeoutMs) {
        const probe = async () => {
            const found = await this.entry(id);
            return found && found.status !== 'running' ? found : undefined;
        };
        return eventually(probe, `end of process ${id}`, timeoutMs);
    }
    file(name) {
        return path.join(this.work, name);
    }

    // Living processes of this daemon's commands.
    survivors() {
        return processesWith(marker, this.token).filter(
            (pid) => pid !== this.pid && pid !== this.child.pid && isAlive(pid),
        );
    }

    // Waits for their end, which somebody else brings about.
    async noSurvivors(what = 'the end of the tree') {
        await eventually(() => this.survivors().length === 0, what).catch((error) => {
            throw new Error(`${error.message}: ${describeProcesses(this.survivors())}`);
        });
    }

    signal(name) {
        process.kill(this.pid, name);
    }

    async stop(signal = 'SIGTERM') {
        if (this.running) this.signal(signal);
        return this.wait();
    }
    async wait(timeoutMs = 15_000) {
        let timer;
        const late = new Promise((_, reject) => {
            timer = setTimeout(() => reject(new Error(`the daemon did not end:\n${this.stderr}`)), timeoutMs);
        });
        try {
            return await Promise.race([this.exited, late]);
        } finally {
            clearTimeout(timer);
        }
    }

    // Nothing lives, nothing lies about, no sanitizer spoke.
    async assertClean() {
        assert.ok(!this.running, 'stop it first');
        const left = () => processesWith(marker, this.token).filter(isAlive);
        await eventually(() => left().length === 0, 'the end of all processes').catch((error) => {
            const names = describeProcesses(left());
            this.discard();
            throw new Error(`processes left behind: ${names}`, { cause: error });
        });
        const files = fs.readdirSync(this.tmp);
        assert.deepEqual(files, [], 'files left in the temporary directory');
        assert.doesNotMatch(this.stderr, /Sanitizer|runtime error:|level=(CRITICAL|FATAL)/);
        this.discard();
    }

    // For hooks: ends what is left, removes the directory, tells nothing.
    discard() {
        if (this.running) this.child.kill('SIGKILL');
        for (const pid of processesWith(marker, this.token)) {
            try {
                process.kill(pid, 'SIGKILL');
            } catch {
                // ended on its own
            }
        }
        if (this.ownsDir) fs.rmSync(this.dir, { recursive: true, force: true });
    }
}
