// Mixes calls of every kind against one daemon for some time, and checks each answer against a model. At the end the
// daemon must hold no more than after the warm-up. Usage: node soak.mjs [--minutes N] [--seed N] [--lanes N]
// [--kinds KIND,…] [--deadline SECONDS] [--fault answer|wire|relay]; `--fault` loses one byte on purpose, and the run must then fail.
import fs from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { Daemon, delay, eventually, hiddenDescriptors, slow } from '../blackbox/support/daemon_process.mjs';
import { Api } from './client.mjs';
import { lossyProxy, lossyReader } from './faulty_wire.mjs';
import { descriptorsOf, footprint, metric } from './footprint.mjs';
import { Content, Mismatch, Rng, expect } from './model.mjs';
import { Targets } from './calls/forwarder.mjs';

const allKinds = ['run', 'run_streaming', 'logs', 'stdin', 'files', 'forwarder', 'envd', 'ending', 'disconnect', 'refusals'];
// What may be more at the end than after the warm-up. An allocator keeps some of what a burst needed, hence the megabytes;
// a sanitizer keeps much more.
const bounds = { rssKb: slow ? Infinity : 16 * 1024, descriptors: 0, threads: 0 };
const mostOfCgroups = 64;
// The table keeps the last 1000 ended processes with their logs: memory grows until it is full.
const keptProcesses = 1000;

const { values: options } = parseArgs({
    options: {
        minutes: { type: 'string', default: '2' },
        seed: { type: 'string' },
        lanes: { type: 'string', default: '16' },
        deadline: { type: 'string', default: '60' },
        kinds: { type: 'string' },
        fault: { type: 'string' },
    },
});
const seed = options.seed ?? String(Date.now() % 1_000_000_007);
const kinds = options.kinds?.split(',') ?? allKinds;
const minutes = Number(options.minutes);
const deadlineMs = Number(options.deadline) * 1000 * (slow ? 4 : 1);
const say = (text) => console.log(text);

class Soak {
    constructor() {
        this.checked = Object.fromEntries(kinds.map((kind) => [kind, 0]));
        this.counters = { commands: 0, processes: 0 };
        this.lanes = Array.from({ length: Number(options.lanes) }, (_, number) => ({ number, next: 0 }));
    }
    get total() {
        return Object.values(this.checked).reduce((a, b) => a + b, 0);
    }

    async start() {
        this.calls = Object.fromEntries(await Promise.all(kinds.map(async (kind) => [kind, await import(`./calls/${kind}.mjs`)])));
        this.wheel = kinds.flatMap((kind) => Array(this.calls[kind].weight).fill(kind));
        const env = { ENVD_PORT: '0', SANDBOX_LOG_BUDGET: String(64 << 20), SANDBOX_KILL_GRACE: '30' };
        this.daemon = await new Daemon({ secret: `soak-${seed}`, env }).ready();
        const { daemon } = this;
        this.fresh = await this.settled();
        this.wires = [];
        const through = async (kind, port) => {
            if (options.fault !== kind) return port;
            const at = new Rng(seed, 'fault').between(50_000, 200_000);
            const proxy = await lossyProxy(port, at, kind === 'wire' ? 'Content-Type: application/json' : undefined);
            this.wires.push(proxy);
            return proxy.address().port;
        };
        const onBody = options.fault === 'answer' ? lossyReader(new Rng(seed, 'fault').between(20, 100)) : undefined;
        const common = { secret: daemon.secret, deadlineMs, onBody };
        const api = new Api({ ...common, port: await through('wire', daemon.port) });
        const envd = new Api({ ...common, port: daemon.envdPort, headers: { 'x-access-token': daemon.secret } });
        const directory = path.join(daemon.dir, 'soak');
        fs.mkdirSync(directory);
        this.targets = await new Targets().start();
        const content = new Content(seed);
        this.world = {
            api, envd, directory, content, deadlineMs, targets: this.targets, counters: this.counters,
            forwarderPort: await through('relay', daemon.proxyPort),
        };
        for (const name of ['text', 'bytes']) {
            const file = path.join(directory, name);
            content[`${name}File`] = file;
            const body = { path: file, content: content[name].toString('base64'), encoding: 'base64' };
            expect((await api.post('/write_file', body)).json, { success: true }, 'answer of /write_file');
            expect(fs.readFileSync(file), content[name], 'the content on the disk');
        }
        await api.post('/bind_port', { port: this.targets.port('a') });
    }

    async lane(lane, going) {
        while (!this.failure && going()) {
            const number = lane.next++;
            const rng = new Rng(seed, lane.number, number);
            const kind = rng.pick(this.wheel);
            try {
                this.checked[kind] += await this.calls[kind].make(this.world, rng, lane);
            } catch (error) {
                const stack = error instanceof Mismatch ? '' : `\n${error.stack}`;
                this.failure ??= `${kind}, call ${number} of lane ${lane.number}: ${error.message}${stack}`;
            }
        }
    }

    // All lanes while `going` says so; afterwards nothing is under way and no connection is open.
    async mix(going) {
        await Promise.all(this.lanes.map((lane) => this.lane(lane, going)));
        if (this.failure) throw new Mismatch(this.failure);
        this.world.api.close();
        this.world.envd.close();
    }

    // What the daemon holds once it is idle: when nothing changes any more, and the threads of its pools are down to
    // `threads` (they go after ten seconds without work).
    async settled(threads = Infinity) {
        let last;
        let since = Date.now();
        const calm = () => {
            const { rssKb, ...now } = footprint(this.daemon.pid);
            const key = JSON.stringify(now);
            if (key !== last) since = Date.now();
            last = key;
            return Date.now() - since > 1000 && now.children === 0 && now.threads <= threads;
        };
        await eventually(calm, 'an idle daemon', 20_000).catch(() => {});
        return footprint(this.daemon.pid);
    }

    async metrics() {
        const { bytes } = await this.world.api.get('/metrics');
        this.world.api.close();
        return bytes.toString();
    }
}

const megabytes = (kb) => `${(kb / 1024).toFixed(1)} MB`;

async function main(soak) {
    const began = Date.now();
    const elapsed = () => (Date.now() - began) / 60_000;
    await soak.start();
    const { fresh } = soak;
    say(`seed ${seed}, daemon ${soak.daemon.pid}; fresh: ${megabytes(fresh.rssKb)}, ${fresh.descriptors} descriptors, ${fresh.threads} threads`);

    if (hiddenDescriptors) say('descriptors are not counted: it needs root');

    const full = () => soak.counters.processes >= keptProcesses;
    await soak.mix(() => elapsed() < minutes * 0.2 || (!full() && elapsed() < minutes));
    const warm = await soak.settled(fresh.threads);
    const warmDescriptors = descriptorsOf(soak.daemon.pid);
    say(`warm after ${soak.total} calls: ${megabytes(warm.rssKb)}, ${warm.descriptors} descriptors, ${warm.threads} threads`);

    await soak.mix(() => elapsed() < minutes);
    const end = await soak.settled(fresh.threads);
    const endDescriptors = descriptorsOf(soak.daemon.pid);
    const text = await soak.metrics();
    const seconds = (Date.now() - began) / 1000;
    say(`checked ${soak.total} calls in ${seconds.toFixed(0)} s: ${Object.entries(soak.checked).map(([k, n]) => `${k} ${n}`).join(', ')}`);
    say(`end: ${megabytes(end.rssKb)}, ${end.descriptors} descriptors, ${end.threads} threads`);

    expect([end.children, ...soak.daemon.survivors()], [0], 'processes left of commands that have ended');
    for (const [what, more] of Object.entries(bounds)) {
        if (end[what] <= warm[what] + more) continue;
        const held = what === 'descriptors' ? `\nwarm: ${warmDescriptors.sort().join(' ')}\nend: ${endDescriptors.sort().join(' ')}` : '';
        throw new Mismatch(`${what}: ${end[what]} at the end, ${warm[what]} after the warm-up, bound +${more}${held}`);
    }
    if (end.ofCgroups > mostOfCgroups) throw new Mismatch(`${end.ofCgroups} descriptors of spare cgroups, bound ${mostOfCgroups}`);
    expect(metric(text, 'sandbox_commands_started_total'), soak.counters.commands, 'commands started, by the metrics');
    expect(metric(text, 'sandbox_commands_running'), 0, 'commands running, by the metrics');
    expect(await soak.daemon.stop(), { code: 0, signal: null }, 'end of the daemon');
    await soak.daemon.assertClean();
}

const soak = new Soak();
try {
    await main(soak);
    say('passed');
} catch (error) {
    say(`FAILED after ${soak.total} checked calls: ${error instanceof Mismatch ? error.message : error.stack}`);
    say(`again: --seed ${seed} --lanes ${options.lanes}`);
    if (soak.daemon?.end) say(`the daemon has ended: ${JSON.stringify(soak.daemon.end)}`);
    if (soak.daemon) say(soak.daemon.stderr.split('\n').slice(-20).join('\n'));
    process.exitCode = 1;
} finally {
    soak.daemon?.discard();
    soak.targets?.stop();
    for (const wire of soak.wires ?? []) wire.close();
    soak.world?.api.close();
    soak.world?.envd.close();
    if (process.exitCode) await delay(100).then(() => process.exit());
}
