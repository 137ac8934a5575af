// Requests that are wrong: each gets its one right answer and disturbs nothing.
import { expect } from '../model.mjs';

export const weight = 6;

const cases = [
    ['POST', '/run', '{', 400],
    ['POST', '/run', {}, 400],
    ['POST', '/run', { cmd: 'true', cwd: '/no/such/directory' }, 400],
    ['GET', '/run', undefined, 405],
    ['POST', '/nowhere', {}, 404],
    ['POST', '/kill_process', { id: 'unknown' }, 400],
    ['POST', '/bind_port', { port: '99999' }, 400],
    ['GET', '/get_process?id=unknown', undefined, 404],
    ['POST', '/run', { args: ['/no/such/program'] }, 500],
];

export async function make({ api }, rng) {
    if (rng.chance(4)) {
        const answer = await api.post('/run', { cmd: 'true' }, { authorization: `Bearer ${rng.u32()}` });
        expect([answer.status, answer.json], [401, { error: 'Unauthorized' }], 'a wrong secret');
        return 1;
    }
    if (rng.chance(3)) {
        const answer = await api.get('/health', { authorization: '' });
        expect([answer.status, answer.json], [200, { status: 'ok' }], 'health');
        return 1;
    }
    const [method, target, body, status] = rng.pick(cases);
    const answer = await api.call(method, target, body);
    expect(answer.status, status, `status of ${method} ${target} ${JSON.stringify(body)}`);
    expect(typeof answer.json.error, 'string', `error of ${method} ${target}`);
    return 1;
}
