// For the self-test: a wire, or a client, that loses one byte.
import net from 'node:net';

// A TCP proxy to `target` that leaves out byte number `at` of all that the target sends; with `within`, the last byte of
// the first piece behind it that holds this text. Many bytes of HTTP may be lost without harm: in a Date, in the rest of
// a stream whose reader has left. Not so those of an answer that is told with its length.
export async function lossyProxy(target, at, within) {
    let passed = 0;
    let done = false;
    const position = (chunk) => {
        if (done) return -1;
        if (within === undefined) return at - passed;
        return passed >= at && chunk.includes(within) ? chunk.length - 1 : -1;
    };
    const server = net.createServer({ allowHalfOpen: true }, (client) => {
        const upstream = net.connect({ host: '127.0.0.1', port: target, allowHalfOpen: true });
        upstream.on('data', (chunk) => {
            const index = position(chunk);
            passed += chunk.length;
            const lost = index >= 0 && index < chunk.length;
            done ||= lost;
            client.write(lost ? Buffer.concat([chunk.subarray(0, index), chunk.subarray(index + 1)]) : chunk);
        });
        upstream.on('end', () => client.end());
        client.pipe(upstream);
        for (const [one, other] of [[client, upstream], [upstream, client]]) {
            one.on('error', () => other.destroy());
            one.on('close', () => other.destroy());
        }
    });
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
    return server;
}

// Leaves out one byte in the middle of answer number `at`, behind all framing.
export function lossyReader(at) {
    let seen = 0;
    return (bytes) => {
        if (++seen < at || bytes.length < 200) return bytes;
        at = Infinity;
        const middle = bytes.length >> 1;
        return Buffer.concat([bytes.subarray(0, middle), bytes.subarray(middle + 1)]);
    };
}
