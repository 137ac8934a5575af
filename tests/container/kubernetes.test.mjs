// The manifests, against the structure of their kinds: no cluster is needed.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { must } from './support/podman.mjs';

test('the manifests are valid', async () => {
    const check = fileURLToPath(new URL('check_manifests.py', import.meta.url));
    const manifests = ['sandbox', 'agent-sandbox'].map((name) =>
        fileURLToPath(new URL(`../../docker/kubernetes/${name}.yaml`, import.meta.url)),
    );
    await must('/usr/bin/python3', [check, '--self-test']);
    await must('/usr/bin/python3', [check, ...manifests]);
});
