// GET /openapi.json describes the API, and real answers hold against it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { finish, useDaemon } from './support/daemon.mjs';
import { parseStrict } from './support/sse.mjs';
import { validate } from './support/schema.mjs';

const d = useDaemon();
let api;
const seen = new Set();

const paths = [
    '/health', '/run', '/run_streaming', '/write_file', '/read_file', '/delete_file', '/make_dir', '/delete_dir', '/list_dir',
    '/stat', '/move', '/copy', '/bind_port', '/unbind_port', '/start_process', '/list_processes', '/kill_process',
    '/signal_process', '/get_process', '/send_stdin', '/process_logs_streaming', '/metrics', '/openapi.json',
];

function deref(node) {
    while (node?.$ref) node = node.$ref.slice(2).split('/').reduce((at, key) => at[key.replaceAll('~1', '/')], api);
    return node;
}

// Sends a request and holds the answer against what the description says of its path, method and status.
async function checked(method, target, body, options) {
    const answer = await d.request(method, target, body, options);
    const path = target.split('?')[0];
    const operation = api.paths[path]?.[method.toLowerCase()];
    assert.ok(operation, `${method} ${path} is described`);
    const response = deref(operation.responses[answer.status] ?? operation.responses.default);
    assert.ok(response, `${method} ${path} ${answer.status} is described`);
    const type = answer.headers.get('content-type')?.split(';')[0];
    const media = response.content?.[type];
    assert.ok(media, `${method} ${path} ${answer.status} ${type} is described`);
    if (type === 'application/json' && path !== '/openapi.json') {
        assert.ok(media.schema, 'with a schema');
        assert.deepEqual(validate(api, media.schema, answer.json), [], `${method} ${path}: ${answer.text}`);
    }
    if (body && typeof body === 'object' && answer.status < 400) {
        const schema = deref(operation.requestBody).content['application/json'].schema;
        assert.deepEqual(validate(api, schema, body), [], `request of ${path}`);
    }
    seen.add(path);
    return answer;
}
const post = (path, body, options) => checked('POST', path, body, options);
const get = (target, options) => checked('GET', target, undefined, options);

test('it is OpenAPI 3.1 and names every path and its secret', async () => {
    const answer = await d.get('/openapi.json', { secret: null });
    assert.equal(answer.status, 200);
    assert.equal(answer.headers.get('content-type'), 'application/json');
    api = answer.json;
    assert.match(api.openapi, /^3\.1\.\d+$/);
    assert.ok(api.info.title && api.info.version);
    assert.deepEqual(Object.keys(api.paths).filter((p) => paths.includes(p)).sort(), [...paths].sort());
    const scheme = Object.values(api.components.securitySchemes).find((s) => s.type === 'http');
    assert.equal(scheme.scheme.toLowerCase(), 'bearer');
    const ids = Object.values(api.paths).flatMap((p) => Object.values(p).map((o) => o.operationId).filter(Boolean));
    assert.equal(new Set(ids).size, ids.length, 'operation ids are unique');
});

test('every reference leads somewhere', () => {
    const walk = (node) => {
        if (Array.isArray(node)) node.forEach(walk);
        else if (node && typeof node === 'object') {
            if (typeof node.$ref === 'string') assert.ok(deref(node), node.$ref);
            Object.values(node).forEach(walk);
        }
    };
    walk(api);
});

test('health and commands', async () => {
    await get('/health');
    await post('/run', { cmd: 'echo x; exit 3', cwd: '/', env: { A: 'b' } });
    await post('/run', { cmd: 'kill -KILL $$', stats: true });
    await post('/run', { cmd: 'echo a; sleep 396', timeout: 0.1 });
    await post('/run', { args: ['printf', 'x'], encoding: 'base64', stdin: 'eA==', stdin_encoding: 'base64' });
    await post('/run', { cmd: 'sleep 0.5 & echo x', on_disconnect: 'continue' });
    for (const body of ['{', {}, { cmd: 'true', cwd: '/none' }]) await post('/run', body);
    await post('/run', { cmd: 'true' }, { secret: 'wrong' });
    await post('/run', { args: ['/no/such/program'] });
    const stream = await post('/run_streaming', { cmd: 'echo x', keepalive: 10, flush_ms: 10 });
    assert.equal(parseStrict(stream.bytes).length, 2);
});

test('files', async () => {
    const path = d.file('api');
    await post('/write_file', { path, content: 'x', mode: '0600', create_parents: true });
    await post('/write_file', { path, content: 'eA==', encoding: 'base64', append: true });
    await post('/write_file', { path: '/no/such/x', content: 'x' });
    await post('/read_file', { path });
    await post('/read_file', { path, encoding: 'base64', offset: 0, length: 1 });
    await post('/read_file', { path: '/no/such' });
    await post('/stat', { path });
    await post('/stat', { path: '/no/such' });
    await post('/copy', { source: path, destination: `${path}-copy` });
    await post('/move', { source: `${path}-copy`, destination: `${path}-moved` });
    await post('/move', { source: `${path}-copy`, destination: `${path}-moved` });
    await post('/make_dir', { path: `${path}-dir` });
    await post('/make_dir', { path: `${path}/under` });
    await post('/list_dir', { path: `${path}-dir` });
    await post('/list_dir', { path: d.work });
    await post('/list_dir', { path: '/no/such' });
    await post('/delete_file', { path });
    await post('/delete_file', { path });
    await post('/delete_dir', { path: `${path}-dir` });
    await post('/delete_dir', { path: '' });
});

test('processes', async () => {
    const { json } = await post('/start_process', { cmd: 'cat', stdin: true, tag: 't', cwd: '/', env: {}, timeout: 60 });
    await post('/send_stdin', { id: json.id, data: 'x\n' });
    await post('/send_stdin', { id: json.id, data: 'eA==', encoding: 'base64', close: true });
    await d.ended(json.id);
    await get(`/process_logs_streaming?id=${json.id}&follow=false`);
    await get(`/process_logs_streaming?id=`);
    const running = (await post('/start_process', { cmd: 'sleep 397' })).json;
    await get('/list_processes');
    await get('/list_processes?all=true');
    await get(`/get_process?id=${running.id}`);
    await get(`/get_process?id=${json.id}`);
    await get('/get_process?id=nope');
    await post('/signal_process', { id: running.id, signal: 'SIGCONT', tree: true });
    await post('/signal_process', { id: 'nope', signal: 'SIGCONT' });
    await post('/send_stdin', { id: running.id, data: 'x' });
    await post('/kill_process', { id: running.id });
    await post('/kill_process', { id: running.id });
    await post('/kill_process', {});
    await post('/start_process', {});
});

test('ports and the rest', async () => {
    await post('/bind_port', { port: '18999' });
    await post('/bind_port', { port: 18999 });
    await post('/bind_port', { port: 'x' });
    await post('/unbind_port', { port: '1' });
    await post('/unbind_port', {});
    await get('/metrics');
    await get('/openapi.json');
    assert.deepEqual(paths.filter((p) => !seen.has(p)), [], 'paths without a checked answer');
});

finish(d);
