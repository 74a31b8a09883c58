// What a group has lost, in every position of its place against the log.
import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { lossOf } from './lost-place.ts';

test.each([
  ['has committed nothing', -1n, undefined],
  ['is at the start', 10n, undefined],
  ['is at the end', 20n, undefined],
  ['is one before the start', 9n, { reason: 'DELETED', lost: { first: 9n, last: 9n, records: 1n }, goesOnAt: 10n }],
  ['is far before the start', 0n, { reason: 'DELETED', lost: { first: 0n, last: 9n, records: 10n }, goesOnAt: 10n }],
  ['is past the end', 21n, { reason: 'MADE_ANEW', goesOnAt: 10n }],
  ['was reset by kafkajs', -2n, { reason: 'RESET', goesOnAt: 10n }],
])('a group that %s', (_, committed, expected) => {
  expect(lossOf(committed, { first: 10n, end: 20n })).toEqual(expected);
});

test('property: where it goes on nothing is lost any more, and what it lost reaches from its place to there', () => {
  fc.assert(
    fc.property(fc.bigInt(-2n, 60n), fc.bigInt(0n, 30n), fc.bigInt(0n, 30n), (committed, first, length) => {
      const span = { first, end: first + length };
      const loss = lossOf(committed, span);
      if (loss === undefined) return;
      expect(lossOf(loss.goesOnAt, span)).toBeUndefined();
      if (loss.lost !== undefined) expect([loss.lost.first, loss.lost.last + 1n]).toEqual([committed, loss.goesOnAt]);
    }),
  );
});
