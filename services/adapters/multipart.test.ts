import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { boundaryOf, MULTIPART_LIMITS, multipartParts, MultipartError } from './multipart.ts';

interface Part {
  headers: [string, string][];
  body: Uint8Array;
}

function encode(parts: readonly Part[], boundary: string, preamble = '', padding = ''): Buffer {
  const pieces: Buffer[] = [Buffer.from(preamble, 'latin1')];
  for (const part of parts) {
    pieces.push(
      Buffer.from(`--${boundary}${padding}\r\n${part.headers.map(([k, v]) => `${k}: ${v}\r\n`).join('')}\r\n`, 'latin1'),
      Buffer.from(part.body),
      Buffer.from('\r\n'),
    );
  }
  pieces.push(Buffer.from(`--${boundary}--\r\nepilogue`, 'latin1'));
  return Buffer.concat(pieces);
}

async function* chunked(bytes: Uint8Array, cuts: readonly number[]): AsyncGenerator<Uint8Array> {
  const at = [...new Set(cuts.map((c) => c % (bytes.length + 1)))].sort((a, b) => a - b);
  let from = 0;
  for (const cut of [...at, bytes.length]) {
    yield bytes.subarray(from, cut);
    from = cut;
  }
}

async function readAll(
  source: AsyncIterable<Uint8Array>,
  boundary: string,
  limits = MULTIPART_LIMITS,
): Promise<{ headers: [string, string][]; body: string }[]> {
  const out: { headers: [string, string][]; body: string }[] = [];
  for await (const part of multipartParts(source, boundary, limits)) {
    const chunks: Uint8Array[] = [];
    for await (const chunk of part.body) chunks.push(Uint8Array.from(chunk));
    out.push({ headers: [...part.headers], body: Buffer.concat(chunks).toString('latin1') });
  }
  return out;
}

const BOUNDARY = 'b-1';
// Bytes made of the boundary's own pieces, so that near-boundaries are common.
const tricky = fc
  .array(
    fc.oneof(
      fc.constantFrom('\r\n', '--', '-', '\r', '\n', BOUNDARY, `\r\n--${BOUNDARY}`, `\r\n--${BOUNDARY}-`, `\r\n--${BOUNDARY} x`, ' ', '\0'),
      fc.string({ unit: 'binary-ascii', maxLength: 4 }),
    ),
    { maxLength: 12 },
  )
  .map((pieces) => Buffer.from(pieces.join(''), 'latin1'));

// What RFC 2046 itself calls a delimiter can't stand in a body without a declared length.
const isDelimiter = new RegExp(`\\r\\n--${BOUNDARY}(--|[ \\t]*\\r\\n)`);
const undeclared = tricky.filter(
  (b) =>
    !isDelimiter.test(`\r\n${b.toString('latin1')}\r\n`) &&
    !isDelimiter.test(`${b.toString('latin1')}\r\n--`) &&
    !`${b.toString('latin1')}`.endsWith(`\r\n--${BOUNDARY}`),
);

describe('multipartParts', () => {
  test('any split of the stream gives the same parts, with bytes like a boundary inside', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(undeclared, { maxLength: 4 }),
        fc.array(fc.nat(), { maxLength: 40 }),
        fc.constantFrom('', ' ', '\t  '),
        async (bodies, cuts, padding) => {
          const parts = bodies.map((body, i) => ({
            headers: [
              ['content-type', 'application/dicom'],
              ['x-n', String(i)],
            ] as [string, string][],
            body,
          }));
          const bytes = encode(parts, BOUNDARY, parts.length === 0 ? '' : 'a preamble\r\n', padding);
          const read = await readAll(chunked(bytes, cuts), BOUNDARY);
          expect(read).toEqual(parts.map((p) => ({ headers: p.headers, body: p.body.toString('latin1') })));
        },
      ),
      { numRuns: 400 },
    );
  });

  test('a part with a Content-Length may hold the boundary itself', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(tricky, { minLength: 1, maxLength: 4 }), fc.array(fc.nat(), { maxLength: 40 }), async (bodies, cuts) => {
        const parts = bodies.map((body) => ({ headers: [['content-length', String(body.length)]] as [string, string][], body }));
        const read = await readAll(chunked(encode(parts, BOUNDARY), cuts), BOUNDARY);
        expect(read.map((p) => p.body)).toEqual(bodies.map((b) => b.toString('latin1')));
      }),
      { numRuns: 400 },
    );
  });

  test('a stream cut off anywhere before its closing boundary is an error, never a shorter answer', async () => {
    const bytes = encode(
      [
        { headers: [['a', 'b']], body: Buffer.from('hello') },
        { headers: [['content-length', '3']], body: Buffer.from('abc') },
      ],
      BOUNDARY,
    );
    const closing = bytes.indexOf(`--${BOUNDARY}--`) + BOUNDARY.length + 4;
    for (let end = 0; end < closing; end += 1)
      await expect(readAll(chunked(bytes.subarray(0, end), []), BOUNDARY)).rejects.toThrow(MultipartError);
    await expect(readAll(chunked(bytes.subarray(0, closing), []), BOUNDARY)).resolves.toHaveLength(2);
  });

  test('a wrong Content-Length, an endless header and too many parts are errors', async () => {
    const wrong = encode([{ headers: [['content-length', '4']], body: Buffer.from('hello') }], BOUNDARY);
    await expect(readAll(chunked(wrong, [7, 30]), BOUNDARY)).rejects.toThrow('Content-Length');
    const endless = Buffer.from(`--${BOUNDARY}\r\n${'x'.repeat(5000)}`);
    await expect(readAll(chunked(endless, []), BOUNDARY, { maxHeaderBytes: 1000, maxParts: 5 })).rejects.toThrow('too long');
    const many = encode(
      Array.from({ length: 3 }, () => ({ headers: [], body: Buffer.from('x') })),
      BOUNDARY,
    );
    await expect(readAll(chunked(many, []), BOUNDARY, { maxHeaderBytes: 1000, maxParts: 2 })).rejects.toThrow('too many parts');
  });

  test('the source is pulled no further than the reader reads, and closed when it stops', async () => {
    let pulled = 0;
    let closed = false;
    async function* source(): AsyncGenerator<Uint8Array> {
      try {
        yield Buffer.from(`--${BOUNDARY}\r\n\r\n`);
        for (;;) {
          pulled += 1;
          yield Buffer.alloc(1000, 0x41);
        }
      } finally {
        closed = true;
      }
    }
    for await (const part of multipartParts(source(), BOUNDARY)) {
      let read = 0;
      for await (const chunk of part.body) {
        read += chunk.length;
        if (read > 5000) break;
      }
      expect(pulled).toBeLessThan(9);
      break;
    }
    expect(closed).toBe(true);
  });

  test('a body that is left is skipped', async () => {
    const bytes = encode(
      [
        { headers: [], body: Buffer.from('one') },
        { headers: [['k', 'v']], body: Buffer.from('two') },
      ],
      BOUNDARY,
    );
    const seen: string[] = [];
    for await (const part of multipartParts(chunked(bytes, [3, 9, 20]), BOUNDARY)) seen.push(part.headers.get('k') ?? '-');
    expect(seen).toEqual(['-', 'v']);
  });
});

describe('boundaryOf', () => {
  test('reads quoted and bare boundaries, and refuses none', () => {
    expect(boundaryOf('multipart/related; type="application/dicom"; boundary=abc-1')).toBe('abc-1');
    expect(boundaryOf('Multipart/Related; boundary="a b;c"; type=x')).toBe('a b;c');
    expect(boundaryOf('application/dicom')).toBeUndefined();
    expect(() => boundaryOf('multipart/related; type="application/dicom"')).toThrow(MultipartError);
  });
});
