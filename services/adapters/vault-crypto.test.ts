// Digests, boxes and the wrapped data key of the vault.
import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { randomBytes } from 'node:crypto';
import { newDataKey, unwrapDataKey, vaultCrypto, wrapDataKey } from './vault-crypto.ts';

const bytes = (n: number): fc.Arbitrary<Uint8Array> => fc.uint8Array({ minLength: n, maxLength: n });

test('the data key opens under the key file that wrapped it, and under no other', () => {
  fc.assert(
    fc.property(bytes(32), bytes(32), bytes(32), (fileKey, other, dataKey) => {
      fc.pre(!Buffer.from(fileKey).equals(other));
      const wrapped = wrapDataKey(fileKey, dataKey);
      expect(unwrapDataKey(fileKey, wrapped)?.equals(dataKey)).toBe(true);
      expect(unwrapDataKey(other, wrapped)).toBeUndefined();
      expect(wrapped.includes(Buffer.from(dataKey))).toBe(false);
    }),
    { numRuns: 50 },
  );
});

test('a changed, cut or empty box opens nothing', () => {
  const [fileKey, dataKey] = [randomBytes(32), newDataKey()];
  const wrapped = wrapDataKey(fileKey, dataKey);
  for (let at = 0; at < wrapped.length; at++) {
    const changed = Buffer.from(wrapped);
    changed[at] = (changed[at] ?? 0) ^ 1;
    expect(unwrapDataKey(fileKey, changed)).toBeUndefined();
    expect(unwrapDataKey(fileKey, wrapped.subarray(0, at))).toBeUndefined();
  }
  expect(() => wrapDataKey(randomBytes(31), dataKey)).toThrow('32 bytes');
});

test('a box opens in its own place only', () => {
  const crypto = vaultCrypto(newDataKey());
  const box = crypto.seal(Buffer.from('secret'), 'row-1');
  expect(crypto.open(box, 'row-1').toString()).toBe('secret');
  expect(() => crypto.open(box, 'row-2')).toThrow();
  expect(() => vaultCrypto(newDataKey()).open(box, 'row-1')).toThrow();
});

test('digests differ by purpose, part and key, and parts do not run together', () => {
  const [one, two] = [vaultCrypto(newDataKey()), vaultCrypto(newDataKey())];
  const all = [
    one.digest('patient', 'ab', 'c'),
    one.digest('patient', 'a', 'bc'),
    one.digest('study', 'ab', 'c'),
    two.digest('patient', 'ab', 'c'),
  ];
  expect(new Set(all).size).toBe(4);
  expect(one.digest('patient', 'ab', 'c')).toBe(all[0]);
});
