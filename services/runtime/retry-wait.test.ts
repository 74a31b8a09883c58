// How long a parked record waits, whatever the clocks of those who parked it and who read it say.
import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { Fault } from '../kernel/fault.ts';
import { retryTopic } from '../kernel/route.ts';
import type { BusRecord, OutgoingRecord } from '../ports/event-bus.ts';
import { afterFailure, HEADER, RETRY_DELAYS, waitOf } from './retry.ts';

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

test('a record that only waited for its turn comes again at once, however often, and has lost no try', () => {
  const stage = { name: 'ingest', zone: 'clinical', consumes: ['ct.clinical.<centre>.study-available.v1'] } as const;
  const waited = new Fault('PACS_BUSY', true, 'x', { onlyWaited: true });
  const delivered = (record: OutgoingRecord): BusRecord => ({ ...record, partition: 3, offset: 7n, timestampMs: 0 });
  const origin = {
    [HEADER.originTopic]: 'ct.clinical.c01.study-available.v1',
    [HEADER.originPartition]: '1',
    [HEADER.originOffset]: '5',
  };
  let record: BusRecord = { ...parked('ct.clinical.c01.study-available.v1', 0), partition: 1, offset: 5n, headers: { ce_id: 'x' } };
  for (let i = 0; i < 9; i += 1) {
    const failure = afterFailure({ stage, record, fault: waited, nowMs: 1000 });
    expect([failure.where, failure.attempt, failure.record.topic]).toEqual(['retry', 0, retryTopic('clinical', 'ingest', '5m')]);
    expect(failure.record.headers).toEqual({
      ce_id: 'x',
      ...origin,
      [HEADER.attempt]: '0',
      [HEADER.code]: 'PACS_BUSY',
      [HEADER.due]: '1000',
    });
    record = delivered(failure.record);
  }
  // After all that the first failure is the first of all tries.
  const failed = afterFailure({ stage, record, fault: new Fault('INCOMPLETE_TRANSFER', true, 'x'), nowMs: 1000 });
  expect([failed.where, failed.attempt, failed.record.topic]).toEqual(['retry', 1, retryTopic('clinical', 'ingest', '30s')]);
});

test('a record that a PACS fails on waits for an hour at a time, however often it was tried', () => {
  const stage = { name: 'ingest', zone: 'clinical', consumes: ['ct.clinical.<centre>.study-available.v1'] } as const;
  const fault = new Fault('PACS_ERROR', true, 'WADO-RS: HTTP 500');
  let record: BusRecord = parked('ct.clinical.c01.study-available.v1', 0);
  const steps = Array.from({ length: 30 }, () => {
    const failure = afterFailure({ stage, record, fault, nowMs: 1000 });
    record = { ...failure.record, partition: 0, offset: 0n, timestampMs: 0 };
    return failure.record.topic;
  });
  const topics = ['30s', '5m', ...Array.from({ length: 28 }, () => '1h')].map((delay) => retryTopic('clinical', 'ingest', delay));
  expect([steps, record.headers[HEADER.attempt]]).toEqual([topics, '30']);
});

test('a record that has failed as often as it may and then waits for its turn is no dead letter by that', () => {
  const stage = { name: 'ingest', zone: 'clinical', consumes: ['ct.clinical.<centre>.study-available.v1'] } as const;
  const headers = {
    [HEADER.originTopic]: 'ct.clinical.c01.study-available.v1',
    [HEADER.originPartition]: '1',
    [HEADER.originOffset]: '5',
    [HEADER.attempt]: '12',
  };
  const record = { ...parked(retryTopic('clinical', 'ingest', '1h'), 0), headers };
  const after = (fault: Fault) => afterFailure({ stage, record, fault, nowMs: 1000 });
  expect(after(new Fault('JOB_TIMEOUT', true, 'x', { onlyWaited: true }))).toMatchObject({ where: 'retry', attempt: 12 });
  expect(after(new Fault('JOB_TIMEOUT', true, 'x'))).toMatchObject({ where: 'dead', attempt: 13 });
});

test('tries that failed because something was away take none from the record: what fails otherwise has as many as ever', () => {
  const stage = { name: 'ingest', zone: 'clinical', consumes: ['ct.clinical.<centre>.study-available.v1'] } as const;
  const AWAY = ['PACS_UNREACHABLE', 'STORE_UNAVAILABLE', 'BUS_UNAVAILABLE'] as const;
  const FAILS = ['UNEXPECTED', 'JOB_TIMEOUT', 'PROCESS_DIED'] as const;
  const isAway = (code: string): boolean => (AWAY as readonly string[]).includes(code);
  fc.assert(
    fc.property(fc.array(fc.constantFrom(...AWAY, ...FAILS), { maxLength: 30 }), (codes) => {
      let record: BusRecord = parked('ct.clinical.c01.study-available.v1', 0);
      let failures = 0;
      for (const [i, code] of codes.entries()) {
        const failure = afterFailure({ stage, record, fault: new Fault(code, true, 'x'), nowMs: 1000 });
        if (!isAway(code)) failures += 1;
        expect([failure.attempt, failure.where]).toEqual([i + 1, failures > RETRY_DELAYS.length ? 'dead' : 'retry']);
        if (failure.where === 'dead') return;
        record = { ...failure.record, partition: 0, offset: 0n, timestampMs: 0 };
      }
    }),
  );
});
