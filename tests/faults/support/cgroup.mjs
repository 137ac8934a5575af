// A cgroup of a test's own, of either version, with one limit.
import fs from 'node:fs';
import { eventually } from '../../blackbox/support/daemon.mjs';

const names = {
    memory: { v1: 'memory.limit_in_bytes', v2: 'memory.max' },
    pids: { v1: 'pids.max', v2: 'pids.max' },
};

export class Cgroup {
    constructor(controller, limit) {
        const v1 = `/sys/fs/cgroup/${controller}`;
        const version = fs.existsSync(`${v1}/cgroup.procs`) ? 'v1' : 'v2';
        this.path = `${version === 'v1' ? v1 : '/sys/fs/cgroup'}/sandbox-faults-${process.pid}-${Cgroup.count++}`;
        fs.mkdirSync(this.path);
        try {
            this.write(names[controller][version], limit);
        } catch (error) {
            fs.rmdirSync(this.path);
            throw error;
        }
    }
    static count = 0;

    // Why there can be none, or false.
    static unavailable(controller) {
        try {
            fs.rmdirSync(new Cgroup(controller, 1 << 30).path);
            return false;
        } catch (error) {
            return `no ${controller} cgroup here: ${error.message}`;
        }
    }

    static async with(controller, limit, body) {
        const group = new Cgroup(controller, limit);
        try {
            return await body(group);
        } finally {
            await eventually(() => group.remove(), 'an empty cgroup');
        }
    }

    // Puts a program into it.
    get wrapper() {
        return ['sh', '-c', `echo $$ > ${this.path}/cgroup.procs && exec "$0" "$@"`];
    }
    write(name, value) {
        fs.writeFileSync(`${this.path}/${name}`, String(value));
    }
    read(name) {
        return fs.readFileSync(`${this.path}/${name}`, 'utf8');
    }
    // Processes that the kernel killed for this limit.
    oomKills() {
        const file = fs.existsSync(`${this.path}/memory.events`) ? 'memory.events' : 'memory.oom_control';
        return Number(this.read(file).match(/^oom_kill (\d+)/m)?.[1] ?? 0);
    }
    remove() {
        try {
            fs.rmdirSync(this.path);
            return true;
        } catch {
            return false;
        }
    }
}
