// Every test that tests/blackbox/README.md names exists.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const tests = fileURLToPath(new URL('..', import.meta.url));
const read = (...parts) => fs.readFileSync(path.join(tests, ...parts), 'utf8');

function unitTests() {
    const names = new Set();
    for (const entry of fs.readdirSync(path.join(tests, 'unit'), { withFileTypes: true })) {
        if (!entry.isDirectory()) continue;
        for (const file of fs.readdirSync(path.join(tests, 'unit', entry.name))) {
            if (!file.endsWith('.cpp')) continue;
            const source = read('unit', entry.name, file);
            for (const [, suite, name] of source.matchAll(/^TEST(?:_F|_P)?\(\s*(\w+),\s*(\w+)\)/gm)) names.add(`${suite}.${name}`);
        }
    }
    return names;
}

function titles(file) {
    const source = read(file);
    return new Set([...source.matchAll(/\btest\(\s*(['`"])((?:\\.|(?!\1)[^\\])*)\1/g)].map((m) => m[2].replaceAll("\\'", "'")));
}

test('the tests that are named exist', () => {
    const known = { unit: unitTests() };
    let rows = 0;
    for (const line of read('blackbox', 'README.md').split('\n')) {
        const cells = line.match(/^\|(.*)\|(.*)\|$/);
        if (!cells || /^-+$/.test(cells[2].trim()) || cells[2].trim() === 'tests') continue;
        rows += 1;
        let file;
        // `file: `title`, `title`; `Suite.Name``
        for (const [, folder, name, quoted] of cells[2].matchAll(/(?:^|[\s;])(?:(e2b\/)?(\w+):)|`((?:[^`])*)`/g)) {
            if (name) {
                file = folder ? `${folder}${name}.test.mjs` : `blackbox/${name}.test.mjs`;
                known[file] ??= titles(file);
            } else if (/^[A-Z]\w+\.[A-Z]\w+$/.test(quoted)) {
                assert.ok(known.unit.has(quoted), `no unit test ${quoted}`);
            } else {
                assert.ok(file, `whose is "${quoted}"?`);
                assert.ok(known[file].has(quoted), `no test "${quoted}" in ${file}`);
            }
        }
        assert.ok(file || /`[A-Z]\w+\.[A-Z]/.test(cells[2]), `no test in: ${line}`);
    }
    assert.ok(rows > 80, `${rows} rows`);
});
