// docs/reliability.md names tests that exist: `folder_file` is a file of tests/folder, and what follows a colon a title in it.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { test } from 'node:test';

const read = (name) => fs.readFileSync(new URL(`../../${name}`, import.meta.url), 'utf8');

test('the tests that docs/reliability.md names exist', () => {
    let named = 0;
    for (const line of read('docs/reliability.md').split('\n')) {
        for (const [, folder, name, title] of line.matchAll(/`(blackbox|chaos|e2b|faults|security)_(\w+)`(?:: ([^|,;]+?) *(?=[|,;]))?/g)) {
            const file = `tests/${folder}/${name}.test.mjs`;
            assert.ok(fs.existsSync(new URL(`../../${file}`, import.meta.url)), `${file} is named and is not there`);
            if (title) assert.ok(read(file).includes(title), `no "${title}" in ${file}`);
            named += 1;
        }
    }
    assert.ok(named > 25, `${named} names`);
    const sources = ['unit', 'chaos'].flatMap((folder) => fs.readdirSync(new URL(`../${folder}`, import.meta.url), { recursive: true })
        .filter((f) => f.endsWith('.cpp')).map((f) => read(`tests/${folder}/${f}`))).join('');
    for (const [, name] of read('docs/reliability.md').matchAll(/`([A-Z][A-Za-z]{15,})`/g)) assert.ok(sources.includes(name), name);
});
