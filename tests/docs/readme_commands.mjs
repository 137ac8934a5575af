// Keeps the documentation true: runs every command of README.md that is followed by its answer against a live daemon,
// and holds the lists of endpoints, settings and links against what they describe.
//
// In README.md a block ```sh run is followed by a block ```answer. Answers are compared without white space; "…" stands
// for anything. The port numbers and the directory of the examples are replaced, so that nothing is fixed here.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../', import.meta.url));
const binary = process.env.SANDBOX_EXECUTOR ?? path.join(root, 'build/release/bin/sandbox-executor');
const readme = fs.readFileSync(path.join(root, 'README.md'), 'utf8');
const examples = [...readme.matchAll(/^```sh run\n(.*?)^```\n```answer\n(.*?)^```$/gms)].map(([, script, answer]) => ({
    script,
    answer,
}));

const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'sandbox-readme-'));
const children = [];
after(() => {
    for (const child of children) if (child.exitCode === null) child.kill('SIGKILL');
    fs.rmSync(directory, { recursive: true, force: true });
});

// Runs a program to its end; its output and code.
function run(program, args, options = {}) {
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], ...options });
    children.push(child);
    const result = { stdout: '', stderr: '' };
    child.stdout.on('data', (chunk) => (result.stdout += chunk));
    child.stderr.on('data', (chunk) => (result.stderr += chunk));
    return new Promise((resolve, reject) => {
        child.on('error', reject);
        child.on('close', (code) => resolve({ ...result, code }));
    });
}

function freePort() {
    return new Promise((resolve) => {
        const server = net.createServer().listen(0, '127.0.0.1', () => {
            const { port } = server.address();
            server.close(() => resolve(port));
        });
    });
}

async function startDaemon(secret) {
    const env = {
        PATH: `${path.dirname(process.execPath)}:${process.env.PATH}`,
        TMPDIR: directory,
        PORT: '0',
        PROXY_PORT: '0',
        SANDBOX_SECRET: secret,
    };
    for (const name of ['ASAN_OPTIONS', 'UBSAN_OPTIONS', 'TSAN_OPTIONS', 'LSAN_OPTIONS']) {
        if (process.env[name] !== undefined) env[name] = process.env[name];
    }
    const child = spawn(binary, [], { cwd: directory, env, stdio: ['ignore', 'ignore', 'pipe'] });
    children.push(child);
    let log = '';
    const ports = await new Promise((resolve, reject) => {
        child.on('error', reject);
        child.on('exit', () => reject(new Error(`the daemon has ended: ${log}`)));
        child.stderr.on('data', (chunk) => {
            log += chunk;
            const http = log.match(/"Starting sandbox-executor".* port=(\d+)/);
            const proxy = log.match(/"Starting TCP proxy" port=(\d+)/);
            if (http && proxy) resolve({ http: http[1], proxy: proxy[1] });
        });
    });
    return { child, ports };
}

const squeeze = (text) => text.replace(/\s+/g, '');
function matcher(answer) {
    const literal = (text) => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
    return new RegExp(`^${squeeze(answer).split('…').map(literal).join('.*?')}$`, 's');
}

test('the README has commands with answers', () => {
    assert.ok(examples.length >= 20, `only ${examples.length}`);
    assert.equal(readme.match(/^```sh run$/gm).length, examples.length, 'every one is followed by its answer');
});

test('every command of the README gives the answer that it shows', { timeout: 240_000 }, async () => {
    const secret = 'readme-secret';
    const { child, ports } = await startDaemon(secret);
    const port = await freePort();
    const localize = (text) =>
        text
            .replaceAll('127.0.0.1:3031', `127.0.0.1:${ports.proxy}`)
            .replaceAll('8080', port)
            .replaceAll('/tmp/sandbox-demo', path.join(directory, 'demo'));
    const mark = '=====next example=====';
    const script = examples.map((e) => `${localize(e.script)}\nprintf '\\n%s\\n' '${mark}'`).join('\n');
    const done = await run('bash', ['-e', '-u', '-c', script], {
        env: {
            PATH: process.env.PATH,
            URL: `http://127.0.0.1:${ports.http}`,
            AUTH: `Authorization: Bearer ${secret}`,
        },
    });
    const answers = done.stdout.split(`\n${mark}\n`);
    examples.forEach((example, i) => {
        const wanted = localize(example.answer);
        const got = answers[i] ?? 'nothing: an earlier command has failed';
        assert.match(squeeze(got), matcher(wanted), `${example.script}gives\n${got}\ninstead of\n${wanted}`);
    });
    assert.equal(done.code, 0, done.stderr);
    child.removeAllListeners('exit');
    const ended = new Promise((resolve) => child.on('exit', (code, signal) => resolve({ code, signal })));
    child.kill('SIGTERM');
    assert.deepEqual(await ended, { code: 0, signal: null });
});

test('every endpoint of the API description has a command', () => {
    const api = JSON.parse(fs.readFileSync(path.join(root, 'docs/openapi.json'), 'utf8'));
    const commands = examples.map((e) => e.script).join('\n');
    const missing = Object.keys(api.paths).filter((p) => !new RegExp(`\\$URL${p}[ "?]`).test(commands));
    const missingMore = missing.filter((p) => !new RegExp(`\\$URL${p}$`, 'm').test(commands));
    assert.deepEqual(missingMore, []);
});

test('every setting is in the table, with its default', async () => {
    const { stdout, code } = await run(binary, ['--help']);
    assert.equal(code, 0);
    const settings = [...stdout.matchAll(/^ {2}(--[a-z-]+) [A-Z]+ +([A-Z_]+)\n +(.*)$/gm)];
    assert.ok(settings.length >= 20, stdout);
    for (const [, flag, variable, help] of settings) {
        const row = readme.split('\n').find((line) => line.startsWith(`| \`${variable}\` | \`${flag}\` |`));
        assert.ok(row, `no row for ${variable} and ${flag}`);
        const standard = help.match(/\(([^ )]+)\)$/)?.[1];
        if (standard) assert.equal(row.split('|')[3].trim(), `\`${standard}\``, variable);
    }
    const rows = readme.match(/^\| `[A-Z_]+` \| `--/gm);
    assert.equal(rows.length, settings.length, 'rows without a setting');
});

test('links between the documents lead somewhere', () => {
    const documents = ['README.md', 'CONTRIBUTING.md', 'CHANGELOG.md', 'conan/README.md'].concat(
        fs.readdirSync(path.join(root, 'docs')).filter((name) => name.endsWith('.md')).map((name) => `docs/${name}`),
    );
    for (const document of documents) {
        const text = fs.readFileSync(path.join(root, document), 'utf8');
        for (const [, target] of text.matchAll(/\]\(([^)#:\s]+)(?:#[^)]*)?\)/g)) {
            const file = path.join(root, path.dirname(document), target);
            assert.ok(fs.existsSync(file), `${document} links to ${target}`);
        }
    }
});
