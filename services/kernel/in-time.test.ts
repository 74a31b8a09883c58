import { afterEach, beforeEach, expect, jest, test } from '@jest/globals';
import { inTime } from './in-time.ts';

const never = new Promise<never>(() => undefined);

beforeEach(() => void jest.useFakeTimers());
afterEach(() => void jest.useRealTimers());

test('work that ignores its signal is left alone, whether the abort came before it began, meanwhile, or by its time', async () => {
  const stop = new AbortController();
  const ends = [
    expect(inTime(60_000, AbortSignal.abort(new Error('gone')), () => never)).rejects.toThrow('gone'),
    expect(inTime(60_000, stop.signal, () => never)).rejects.toThrow('stopped'),
    expect(inTime(1000, new AbortController().signal, () => never)).rejects.toMatchObject({ code: 'JOB_TIMEOUT' }),
  ];
  stop.abort(new Error('stopped'));
  await jest.advanceTimersByTimeAsync(6000);
  await Promise.all(ends);
});
