import { expect, test } from '@jest/globals';
import net from 'node:net';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import fc from 'fast-check';
import { kafkaSocket, wholeResponses } from './kafka-socket.ts';

function framed(body: Uint8Array): Buffer {
  const size = Buffer.alloc(4);
  size.writeInt32BE(body.length);
  return Buffer.concat([size, body]);
}

test('however the bytes are cut, all whole responses come, in order, and never a part of one', () => {
  const bodies = fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 12 });
  fc.assert(
    fc.property(bodies, fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1 }), fc.nat(50), (list, cuts, missing) => {
      const all = Buffer.concat(list.map(framed));
      const wire = all.subarray(0, Math.max(0, all.length - missing));
      const whole = wholeResponses();
      const got: Buffer[] = [];
      for (let at = 0, n = 0; at < wire.length; n += 1) {
        const step = cuts[n % cuts.length] ?? 1;
        const responses = whole(wire.subarray(at, at + step));
        if (responses !== undefined) got.push(Buffer.from(responses));
        at += step;
      }
      let expected = 0;
      for (const body of list) {
        if (expected + 4 + body.length > wire.length) break;
        expected += 4 + body.length;
      }
      expect(Buffer.concat(got).equals(all.subarray(0, expected))).toBe(true);
      // Each piece is made of whole responses.
      for (const piece of got) {
        let at = 0;
        while (at < piece.length) at += 4 + piece.readInt32BE(at);
        expect(at).toBe(piece.length);
      }
    }),
    { numRuns: 500 },
  );
});

test('what a connection had begun when it broke is never heard of', async () => {
  const responses = [framed(Buffer.from('first')), framed(Buffer.from('cut off')).subarray(0, 7)];
  const server = net.createServer((connection) => connection.end(Buffer.concat(responses)));
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = server.address() as AddressInfo;
  const heard: Buffer[] = [];
  const socket = kafkaSocket({ host: '127.0.0.1', port, ssl: null as never, onConnect: () => undefined });
  socket.on('data', (chunk) => heard.push(chunk));
  await once(socket, 'close');
  server.close();
  expect(Buffer.concat(heard).toString('latin1')).toBe('\0\0\0\x05first');
});
