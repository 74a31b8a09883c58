import { expect, test } from '@jest/globals';
import { Fault } from '../kernel/fault.ts';
import { centreGate } from './centre-gate.ts';
import { places } from './places.ts';

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

test('half open: one job asks the PACS while the others wait for what becomes of it', async () => {
  const gate = centreGate('c', limits, clock);
  for (let i = 0; i < 3; i += 1) await expect(gate.enter(signal, unreachable)).rejects.toMatchObject({ code: 'PACS_UNREACHABLE' });
  now += 1001;
  let asked = 0;
  const ends: (() => void)[] = [];
  const job = () => gate.enter(signal, () => new Promise<void>((done) => ((asked += 1), ends.push(done))));
  const jobs = [job(), job(), job()];
  await new Promise(setImmediate);
  expect(asked).toBe(1);
  ends[0]?.();
  await new Promise(setImmediate);
  expect(asked).toBe(3);
  for (const end of ends) end();
  await Promise.all(jobs);
});

test('half open: when the one fails the others are sent away, and that does not keep the breaker open longer', async () => {
  const gate = centreGate('c', limits, clock);
  for (let i = 0; i < 3; i += 1) await expect(gate.enter(signal, unreachable)).rejects.toBeInstanceOf(Fault);
  now += 1001;
  let asked = 0;
  const jobs = [1, 2, 3].map(() => gate.enter(signal, () => ((asked += 1), unreachable())));
  for (const result of await Promise.allSettled(jobs)) expect(result.status).toBe('rejected');
  expect(asked).toBe(1);
  now += 999;
  await expect(gate.enter(signal, async () => 'well')).rejects.toBeInstanceOf(Fault);
  now += 2;
  expect(await gate.enter(signal, async () => 'well')).toBe('well');
});

test('a refused password opens the breaker too, and the answer says so', async () => {
  const gate = centreGate('c', limits, clock);
  let asked = 0;
  const refused = () => gate.enter(signal, () => ((asked += 1), Promise.reject(new Fault('PACS_UNAUTHORISED', true, 'x'))));
  for (let i = 0; i < 5; i += 1) await expect(refused()).rejects.toMatchObject({ code: 'PACS_UNAUTHORISED' });
  expect(asked).toBe(3);
});

test('centres with a slow PACS hold their own places of the process, and the rest goes on', async () => {
  const slots = places(() => 3);
  const [slow, other] = [centreGate('slow', limits, clock), centreGate('other', limits, clock)];
  let slowRunning = 0;
  const stop = new AbortController();
  const hang = () =>
    new Promise<never>((_, reject) => {
      slowRunning += 1;
      stop.signal.addEventListener('abort', () => reject(stop.signal.reason as Error));
    });
  const waiting = Array.from({ length: 50 }, () => slow.enter(stop.signal, () => slots.run(stop.signal, hang)));
  await new Promise(setImmediate);
  expect(await other.enter(signal, () => slots.run(signal, async () => 'well'))).toBe('well');
  expect(slowRunning).toBe(2);
  stop.abort(new Error('stop'));
  for (const result of await Promise.allSettled(waiting)) expect(result.status).toBe('rejected');
});

test('new ones and those that come again take turns, each in order, and whoever comes to a line late is next', async () => {
  const slots = places(() => 1);
  const order: string[] = [];
  let end: (() => void) | undefined;
  const held = slots.run(signal, () => new Promise<void>((resolve) => (end = resolve)));
  const come = (name: string, line?: 'new' | 'again') => slots.run(signal, async () => void order.push(name), line);
  const all = [come('n1'), come('n2'), come('n3'), come('a1', 'again'), come('a2', 'again')];
  await new Promise(setImmediate);
  end?.();
  await Promise.all([held, ...all]);
  expect(order).toEqual(['a1', 'n1', 'a2', 'n2', 'n3']);
});
