// Commands that are ended: by a timeout, by a kill of the tree, by a signal.
import { isAlive } from '../../blackbox/support/daemon_process.mjs';
import { expect } from '../model.mjs';

export const weight = 5;

async function timeout({ api, content, counters }, rng) {
    const out = content.someText(rng, rng.size(20_000));
    const code = rng.below(256);
    const [trap, wanted] = rng.pick([
        ['', { code: 143, signal: 'SIGTERM' }],
        [`trap 'exit ${code}' TERM;`, { code: code === 0 ? 124 : code }],
    ]);
    const cmd = `${trap} ${out.command}; while :; do sleep 0.02; done`;
    const answer = await api.post('/run', { cmd, timeout: rng.between(150, 300) / 1000 });
    counters.commands += 1;
    const { stdout, stderr, ...rest } = answer.json;
    // A shell says so when what it waits for is ended by a signal.
    expect(['', 'Terminated\n'].includes(stderr), true, `stderr ${JSON.stringify(stderr)}`);
    // On a loaded machine the time may be up before the command has printed all, or even set its trap.
    expect(stdout, out.text.slice(0, stdout.length), 'output before the timeout');
    if (stdout !== '') expect(rest, { error: 'Command timed out', ...wanted, timed_out: true }, 'end by timeout');
    else expect([rest.timed_out, rest.error], [true, 'Command timed out'], 'end by timeout');
    return 1;
}

async function kill({ api, counters }, rng) {
    // It says something once all of it is there: one signal to a tree that still grows need not reach all of it.
    const tree = 'setsid sleep 1000 & (sleep 1000 &); sleep 1000 & echo $!; wait';
    const started = await api.post('/start_process', { cmd: tree });
    counters.commands += 1;
    counters.processes += 1;
    const { id, pid } = started.json;
    let child;
    await api.events('GET', `/process_logs_streaming?id=${id}`, undefined, {}, ({ data }) => {
        child = Number(data.data);
        return true;
    });
    const signalled = rng.chance(2);
    const answer = signalled
        ? await api.post('/signal_process', { id, signal: 'SIGKILL', tree: true })
        : await api.post('/kill_process', { id });
    const message = signalled ? 'Signal sent' : 'Process killed successfully';
    expect(answer.json, { success: true, message }, 'answer of the kill');
    await api.get(`/process_logs_streaming?id=${id}`); // to its end
    const { json } = await api.get(`/get_process?id=${id}`);
    const wanted = signalled ? ['killed', 137, 'SIGKILL'] : ['killed', 143, 'SIGTERM'];
    expect([json.status, json.exit_code, json.signal], wanted, 'end by kill');
    if (!signalled) expect([pid, child].filter(isAlive), [], 'living processes of the killed tree');
    return 4;
}

export const make = (world, rng) => (rng.chance(2) ? timeout(world, rng) : kill(world, rng));
