// GET /metrics: Prometheus text behind the secret, with numbers that are true.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventually, finish, memoryKb, useDaemon } from './support/daemon.mjs';
import { curl } from './support/http.mjs';

const d = useDaemon();

// Parses the text format; fails on anything that is none.
function parse(text) {
    const samples = [];
    const types = new Map();
    assert.ok(text.endsWith('\n'));
    for (const line of text.split('\n')) {
        if (line === '') continue;
        const meta = line.match(/^# (HELP|TYPE) ([a-zA-Z_:][\w:]*) (.*)$/);
        if (meta) {
            if (meta[1] === 'TYPE') {
                assert.match(meta[3], /^(counter|gauge|histogram|summary|untyped)$/);
                assert.ok(!types.has(meta[2]), `two types of ${meta[2]}`);
                types.set(meta[2], meta[3]);
            }
            continue;
        }
        const [, name, labels, value] =
            line.match(/^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (-?[0-9.]+(?:[eE][+-]?\d+)?|[+-]Inf|NaN)$/) ?? assert.fail(line);
        const set = {};
        for (const [, key, text] of (labels ?? '').matchAll(/([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)",?/g)) set[key] = text;
        const base = name.replace(/_(bucket|sum|count)$/, '');
        assert.ok(types.has(name) || types.has(base), `${name} has a type`);
        samples.push({ name, labels: set, value: Number(value) });
    }
    const keys = samples.map((s) => s.name + JSON.stringify(s.labels));
    assert.equal(new Set(keys).size, keys.length, 'each series once');
    return samples;
}

const sample = async () => {
    const answer = await d.get('/metrics');
    assert.equal(answer.status, 200);
    assert.match(answer.headers.get('content-type'), /^text\/plain/);
    return parse(answer.text);
};
const total = (samples, pattern, labels = {}) =>
    samples
        .filter((s) => pattern.test(s.name) && Object.entries(labels).every(([, v]) => Object.values(s.labels).includes(v)))
        .reduce((sum, s) => sum + s.value, 0);

test('it needs the secret', async () => {
    assert.equal((await d.get('/metrics', { secret: null })).status, 401);
    const { stdout } = await curl(['-H', `Authorization: Bearer ${d.secret}`, `${d.url}/metrics`]);
    parse(stdout);
});

test('every promised kind is there', async () => {
    const names = (await sample()).map((s) => s.name).join('\n');
    for (const word of [/request/, /command/, /process/, /bytes/, /orphan|reaped/, /lag/, /resident|rss/]) assert.match(names, word);
});

test('requests are counted by route and status', async () => {
    const before = await sample();
    for (let i = 0; i < 3; ++i) await d.run('true');
    await d.post('/run', '{');
    await d.get('/nope');
    const after = await sample();
    const grown = (labels) => total(after, /request/, labels) - total(before, /request/, labels);
    assert.equal(grown({ route: '/run', status: '200' }), 3);
    assert.equal(grown({ route: '/run', status: '400' }), 1);
    assert.ok(grown({ status: '404' }) >= 1);
    assert.ok(!after.some((s) => Object.values(s.labels).includes('/nope')), 'unknown paths make no series');
});

test('processes by state, commands and memory', async () => {
    const { id } = await d.start('sleep 395');
    const done = await d.start('exit 1');
    await d.ended(done.id);
    const now = await sample();
    assert.equal(total(now, /process/, { state: 'running' }), 1);
    assert.ok(total(now, /process/, { state: 'failed' }) >= 1);
    const rss = now.find((s) => /resident|rss/.test(s.name)).value;
    const real = memoryKb(d.pid, 'VmRSS') * 1024;
    assert.ok(rss > real / 2 && rss < real * 2, `${rss} told, ${real} real`);
    await d.post('/kill_process', { id });
    await eventually(async () => total(await sample(), /process/, { state: 'killed' }) >= 1, 'the killed one');
});

finish(d);
