import { expect, test } from '@jest/globals';
import { Fault } from '../kernel/fault.ts';
import { centreGate } from './centre-gate.ts';

let now = 0;
const clock = { nowMs: () => now, sleep: async () => undefined };
const limits = { places: 2, failures: 3, openMs: 1000 };
const signal = new AbortController().signal;
const unreachable = () => Promise.reject(new Fault('PACS_UNREACHABLE', true, 'x'));

test('no more jobs at a time than places, and one that is aborted while it waits leaves the queue', async () => {
  const gate = centreGate('c', limits, clock);
  const ends: (() => void)[] = [];
  let running = 0;
  const job = () => gate.enter(signal, () => new Promise<void>((done) => ((running += 1), ends.push(done))));
  const jobs = [job(), job(), job()];
  const impatient = new AbortController();
  const left = gate.enter(impatient.signal, async () => (running += 100));
  await new Promise(setImmediate);
  expect(running).toBe(2);
  impatient.abort(new Error('left'));
  await expect(left).rejects.toThrow('left');
  ends[0]?.();
  await new Promise(setImmediate);
  expect(running).toBe(3);
  for (const end of ends) end();
  await Promise.all(jobs);
  expect(running).toBe(3);
});

test('failures in a row open the breaker; after its time one job may try, and a success closes it', async () => {
  const gate = centreGate('c', limits, clock);
  let asked = 0;
  const failing = () => gate.enter(signal, () => ((asked += 1), unreachable()));
  for (let i = 0; i < 3; i += 1) await expect(failing()).rejects.toMatchObject({ code: 'PACS_UNREACHABLE' });
  await expect(failing()).rejects.toMatchObject({ code: 'PACS_UNREACHABLE', retryable: true });
  expect(asked).toBe(3);
  now += 1001;
  await expect(failing()).rejects.toBeInstanceOf(Fault);
  expect(asked).toBe(4);
  now += 1001;
  expect(await gate.enter(signal, async () => 'well')).toBe('well');
  await expect(failing()).rejects.toBeInstanceOf(Fault);
  await expect(failing()).rejects.toBeInstanceOf(Fault);
  expect(asked).toBe(6);
});
