// A daemon with the envd listener, and the SDK pointed at it.
import { createRequire } from 'node:module';
import fs from 'node:fs';
import path from 'node:path';
import { before } from 'node:test';
import { fileURLToPath } from 'node:url';
import { alone, sharedDaemon, startDaemon } from '../../blackbox/support/daemon.mjs';

const modules = process.env.E2B_MODULES ?? fileURLToPath(new URL('..', import.meta.url));
const require = createRequire(path.join(modules, 'package.json'));
export const sdkPath = require.resolve(process.env.E2B_PACKAGE ?? 'e2b');
export const sdk = require(sdkPath);

// Settings of the environment must not decide what the tests do.
for (const name of Object.keys(process.env)) if (name.startsWith('E2B_') && !['E2B_MODULES', 'E2B_PACKAGE'].includes(name)) delete process.env[name];

export async function startEnvd(env = { ENVD_INSECURE: '1' }, args = []) {
    const daemon = await startDaemon({ env: { ENVD_PORT: '0', ...env }, args });
    daemon.envdUrl = `http://127.0.0.1:${daemon.envdPort}`;
    return daemon;
}

// The SDK as with E2B_DEBUG=true and E2B_SANDBOX_URL.
export const debugSandbox = (daemon, options = {}) =>
    sdk.Sandbox.create({ debug: true, sandboxUrl: daemon.envdUrl, ...options });

// The SDK with an access token, at any of the daemon's ports.
export const tokenSandbox = (url, token) =>
    new sdk.Sandbox({
        sandboxId: 'local',
        sandboxUrl: url,
        envdVersion: '0.6.13',
        envdAccessToken: token,
        apiKey: 'e2b_0123456789abcdef',
    });

// One daemon, and one sandbox of it, for the tests of a file. `finish(daemon)` is the file's last statement.
export function useEnvd(env) {
    const holder = {};
    before(async () => {
        holder.daemon = alone ? await startEnvd(env) : sharedDaemon();
        if (!alone) holder.daemon.work = fs.mkdtempSync(path.join(holder.daemon.work, 'suite-'));
        holder.sandbox = await debugSandbox(holder.daemon);
    });
    const proxy = (name) =>
        new Proxy(holder, {
            get(target, property) {
                const object = target[name];
                const value = object[property];
                return typeof value === 'function' ? value.bind(object) : value;
            },
        });
    return { d: proxy('daemon'), sandbox: proxy('sandbox') };
}
