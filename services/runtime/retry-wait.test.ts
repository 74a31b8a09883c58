// How long a parked record waits, whatever the clocks of those who parked it and who read it say.
import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { retryTopic } from '../kernel/route.ts';
import { HEADER, RETRY_DELAYS, waitOf } from './retry.ts';

const HOUR_MS = 3_600_000;

const parked = (topic: string, dueMs: number) => ({
  topic,
  partition: 0,
  offset: 0n,
  key: 'k',
  value: new Uint8Array(),
  headers: { [HEADER.due]: String(dueMs) },
  timestampMs: 0,
});

test('a record waits until it is due', () => {
  const record = parked(retryTopic('clinical', 'ingest', '5m'), 1_000_000);
  expect(waitOf(record, 900_000)).toBe(100_000);
  expect(waitOf(record, 1_000_001)).toBe(0);
});

test('a record that was parked while the clock was hours ahead waits no longer than its topic says', () => {
  const nowMs = 1_600_000_000_000;
  expect(waitOf(parked(retryTopic('clinical', 'ingest', '30s'), nowMs + 2 * HOUR_MS), nowMs)).toBe(30_000);
  expect(waitOf(parked(retryTopic('clinical', 'ingest', '30s'), nowMs + 2 * HOUR_MS), nowMs, [1000, 2000, 3000])).toBe(1000);
});

test('whatever the clocks say, the wait is between nothing and the delay of the topic', () => {
  fc.assert(
    fc.property(fc.constantFrom(...RETRY_DELAYS), fc.integer(), fc.integer(), ([name, delayMs], dueMs, nowMs) => {
      const waitMs = waitOf(parked(retryTopic('research', 'assess', name), dueMs), nowMs);
      expect(waitMs).toBeGreaterThanOrEqual(0);
      expect(waitMs).toBeLessThanOrEqual(delayMs);
    }),
  );
});
