// Clients that leave in the middle: the tree ends, the file stays what it was, the daemon goes on.
import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { eventually, isAlive } from '../../blackbox/support/daemon_process.mjs';
import { rawRequest } from '../../blackbox/support/raw.mjs';
import { envelope } from '../../e2b/support/connect.mjs';
import { expect } from '../model.mjs';

export const weight = 5;

// Sends bytes and drops the connection once `ready` says so; some by FIN, some by reset.
async function drop(port, bytes, rng, ready) {
    const socket = net.connect(port, '127.0.0.1');
    socket.on('error', () => {});
    await new Promise((resolve) => socket.once('connect', resolve));
    if (rng.chance(2)) socket.resume(); // else the answer is never read
    await new Promise((resolve) => socket.write(bytes, resolve));
    await ready();
    if (rng.chance(2)) socket.resetAndDestroy();
    else socket.destroy();
}

async function command({ api, directory, counters }, rng, lane) {
    const file = path.join(directory, `pids-${lane.number}`);
    const body = rng.pick(['sleep 1000', 'yes', 'setsid sleep 1000 & sleep 1000']);
    const request = { cmd: `echo $$ > ${file}.new; mv ${file}.new ${file}; ${body}` };
    const route = rng.pick(['/run', '/run_streaming']);
    await drop(api.port, rawRequest('POST', route, api.secret, request), rng, () =>
        eventually(() => fs.existsSync(file), 'the start of the command', 60_000));
    counters.commands += 1;
    const pid = Number(fs.readFileSync(file, 'utf8'));
    await eventually(() => !isAlive(pid), `the end of a command whose client has gone`, 30_000);
    fs.unlinkSync(file);
    return 1;
}

async function upload({ api, content, directory }, rng, lane) {
    const file = path.join(directory, `cut-${lane.number}`);
    const { text, bytes } = content.someText(rng, rng.size(5000));
    expect((await api.post('/write_file', { path: file, content: text })).json, { success: true }, 'answer of /write_file');
    const request = rawRequest('POST', '/write_file', api.secret, { path: file, content: 'n'.repeat(rng.size(200_000) + 10) });
    await drop(api.port, request.slice(0, rng.between(1, request.length - 1)), rng, async () => {});
    const { json } = await api.post('/read_file', { path: file, encoding: 'base64' });
    expect(Buffer.from(json.content, 'base64'), bytes, 'a file whose replacement broke off');
    expect((await api.post('/delete_file', { path: file })).json, { success: true }, 'answer of /delete_file');
    return 4;
}

// A relay that is dropped with bytes under way.
async function relay({ content, targets, forwarderPort }, rng) {
    await targets.enter();
    const { bytes } = content.someBytes(rng, rng.size(300_000));
    await drop(forwarderPort, bytes, rng, async () => {});
    targets.leave();
    return 1;
}

// An envd client that leaves: there the process goes on, until it is signalled.
async function envdClient({ envd, counters }, rng) {
    const process = { cmd: '/bin/sh', args: ['-c', rng.pick(['exec sleep 1000', 'exec yes'])], cwd: '/' };
    const headers = { 'content-type': 'application/connect+json' };
    const response = await envd.open('POST', '/process.Process/Start', envelope({ process, stdin: false }), headers);
    const [first] = await once(response, 'data');
    const { pid } = JSON.parse(first.subarray(5, 5 + first.readUInt32BE(1))).event.start;
    counters.commands += 1;
    response.destroy();
    const listed = async () => (await envd.post('/process.Process/List', {})).json.processes.some((p) => p.pid === pid);
    expect(await listed(), true, 'the process of an envd client that has left');
    const answer = await envd.post('/process.Process/SendSignal', { process: { pid }, signal: 'SIGNAL_SIGKILL' });
    expect(answer.json, {}, 'answer of SendSignal');
    await eventually(async () => !(await listed()), 'the end of a signalled process', 30_000);
    return 4;
}

const mixture = [command, command, upload, upload, relay, envdClient];
export const make = (world, rng, lane) => rng.pick(mixture)(world, rng, lane);
