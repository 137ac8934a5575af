// What the calls are made of and checked against: numbers, text and bytes that follow from the seed alone.
import { createCipheriv, createHash } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';

// Deterministic numbers (mulberry32), one stream for each list of words.
export class Rng {
    constructor(...words) {
        this.state = createHash('sha256').update(words.join('/')).digest().readUInt32LE(0);
    }
    u32() {
        this.state = (this.state + 0x6d2b79f5) | 0;
        let t = Math.imul(this.state ^ (this.state >>> 15), this.state | 1);
        t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
        return (t ^ (t >>> 14)) >>> 0;
    }
    // 0 <= n < limit
    below(limit) {
        return Math.floor((this.u32() / 2 ** 32) * limit);
    }
    between(low, high) {
        return low + this.below(high - low + 1);
    }
    chance(oneIn) {
        return this.below(oneIn) === 0;
    }
    pick(list) {
        return list[this.below(list.length)];
    }
    // Sizes of every magnitude: small ones often, `limit` seldom.
    size(limit) {
        return Math.floor(limit ** (this.u32() / 2 ** 32)) - (this.chance(8) ? 1 : 0);
    }
}

const words = ['x', 'ok', 'byte', ' ', '\t', '"', '\\', '<&>', 'é', '€', '漢字', '😀', '\u2028', '\u001b[1m', "'"];

// Text as lines, and bytes. Both lie as files in the sandbox, so that a command can print any piece of them.
export class Content {
    constructor(seed, size = 6 << 20) {
        const rng = new Rng(seed, 'content');
        this.lines = [];
        this.offsets = [0];
        let at = 0;
        while (at < size) {
            let line = '';
            for (let i = rng.chance(200) ? rng.below(4000) : rng.below(12); i > 0; --i) line += rng.pick(words);
            line += rng.chance(40) ? '\r\n' : '\n';
            this.lines.push(line);
            at += Buffer.byteLength(line);
            this.offsets.push(at);
        }
        this.text = Buffer.from(this.lines.join(''));
        const key = createHash('sha256').update(`bytes ${seed}`).digest().subarray(0, 16);
        this.bytes = createCipheriv('aes-128-ctr', key, Buffer.alloc(16)).update(Buffer.alloc(size));
    }

    // Whole lines, about `length` bytes of them.
    someText(rng, length) {
        const first = rng.below(this.lines.length);
        const wanted = this.offsets[first] + length;
        let last = first;
        while (last < this.lines.length && this.offsets[last + 1] <= wanted) ++last;
        const offset = this.offsets[first];
        const end = this.offsets[last];
        const bytes = this.text.subarray(offset, end);
        const command = `dd if=${this.textFile} ${range(offset, end - offset)}`;
        return { text: bytes.toString(), bytes, lines: this.lines.slice(first, last), command };
    }

    someBytes(rng, length) {
        const offset = rng.below(this.bytes.length - length);
        const bytes = this.bytes.subarray(offset, offset + length);
        return { bytes, command: `dd if=${this.bytesFile} ${range(offset, length)}` };
    }
}

const range = (offset, length) =>
    `bs=65536 iflag=skip_bytes,count_bytes skip=${offset} count=${length} status=none`;

// An answer that is not what the model says.
export class Mismatch extends Error {}

function firstDifference(actual, wanted) {
    const a = Buffer.from(actual);
    const w = Buffer.from(wanted);
    let at = 0;
    while (at < a.length && a[at] === w[at]) ++at;
    const around = (bytes) => JSON.stringify(bytes.subarray(Math.max(0, at - 16), at + 16).toString('latin1'));
    return `${a.length} bytes instead of ${w.length}, different from byte ${at} on: ${around(a)} instead of ${around(w)}`;
}

// Strings, buffers and plain values, to the last byte.
export function expect(actual, wanted, what) {
    if (wanted instanceof Uint8Array ? actual instanceof Uint8Array && Buffer.compare(actual, wanted) === 0 : isDeepStrictEqual(actual, wanted)) {
        return;
    }
    if ((typeof wanted === 'string' && typeof actual === 'string') || wanted instanceof Uint8Array) {
        throw new Mismatch(`${what}: ${firstDifference(actual ?? '', wanted)}`);
    }
    if (wanted && actual && typeof wanted === 'object' && typeof actual === 'object') {
        for (const key of new Set([...Object.keys(wanted), ...Object.keys(actual)])) expect(actual[key], wanted[key], `${what}.${key}`);
    }
    throw new Mismatch(`${what}: ${brief(actual)} instead of ${brief(wanted)}`);
}

const brief = (value) => (JSON.stringify(value) ?? 'nothing').slice(0, 300);
