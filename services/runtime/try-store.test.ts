// The object store at start: one that is full is no reason to end, and one that is poor is, also when that is found later.
import { expect, test } from '@jest/globals';
import { testContext } from '../../test/shared/test-context.ts';
import { Fault } from '../kernel/fault.ts';
import { tryStore } from './try-store.ts';

const fault = (code: 'STORE_FULL' | 'STORE_UNAVAILABLE' | 'BAD_CONFIG'): Fault => new Fault(code, code !== 'BAD_CONFIG', 'the store');

/** A store that answers so to one try after the other, and then is as it should be. */
function lab(...answers: Fault[]) {
  const notes: (() => string | undefined)[] = [];
  const ctx = {
    ...testContext({ clock: { nowMs: () => 0, sleep: async () => undefined } }),
    health: { ready: () => undefined, note: (read: () => string | undefined) => void notes.push(read) },
  };
  let tries = 0;
  const conformance = async (): Promise<void> => {
    tries += 1;
    const answer = answers.shift();
    if (answer !== undefined) throw answer;
  };
  return { ctx, conformance, tries: () => tries, notes: () => notes.map((read) => read()).filter((n) => n !== undefined) };
}

test('a full store ends no process: /readyz tells of it until the store has room and was tried', async () => {
  const { ctx, conformance, tries, notes } = lab(fault('STORE_FULL'), fault('STORE_UNAVAILABLE'), fault('STORE_FULL'));
  const beside = await tryStore(conformance, ctx);
  expect([tries(), notes()]).toEqual([1, [expect.stringContaining('no room')]]);
  await beside();
  expect([tries(), notes()]).toEqual([4, []]);
});

test('a store that is poor ends the process, at once or when there is room to find out; one that is away at start does too', async () => {
  for (const error of [fault('BAD_CONFIG'), fault('STORE_UNAVAILABLE')]) {
    const { ctx, conformance } = lab(error);
    await expect(tryStore(conformance, ctx)).rejects.toBe(error);
  }
  const poor = fault('BAD_CONFIG');
  const { ctx, conformance } = lab(fault('STORE_FULL'), poor);
  const beside = await tryStore(conformance, ctx);
  await expect(beside()).rejects.toBe(poor);
});

test('a store that was tried is not tried again, and a process that stops tries no more', async () => {
  const { ctx, conformance, tries } = lab();
  const beside = await tryStore(conformance, ctx);
  await beside();
  expect(tries()).toBe(1);
  const stopped = lab(fault('STORE_FULL'), fault('STORE_FULL'));
  const later = await tryStore(stopped.conformance, stopped.ctx);
  stopped.ctx.stop();
  await later();
  expect(stopped.tries()).toBe(1);
});
