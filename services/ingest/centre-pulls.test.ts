import { describe, expect, test } from '@jest/globals';
import { manualClock } from '../../test/shared/manual-clock.ts';
import { Fault } from '../kernel/fault.ts';
import type { StudyInstanceUid } from '../kernel/ids.ts';
import type { DicomWeb, RetrievedPart } from '../ports/dicomweb.ts';
import { systemClock } from '../runtime/system.ts';
import { centrePulls } from './centre-pulls.ts';
import type { PullLimits } from './centre-pulls.ts';
import { fairPlaces } from '../kernel/fair-places.ts';
import { slowPulls } from './slow-pulls.ts';

const signal = new AbortController().signal;
const study = '1.2' as StudyInstanceUid;
const turn = (): Promise<void> => new Promise(setImmediate);
const limits: PullLimits = {
  gate: { places: 2, failures: 3, openMs: 1000 },
  pace: { slowBytesPerSecond: 1000, judgeMs: 1000 },
  jobMs: 60_000,
  pullMs: 3_600_000,
  waitMs: { new: 60_000, again: 60_000 },
};

/** A PACS whose series is what the test pushes. */
function pushedPacs(): { web: DicomWeb; push(bytes: number): Promise<void>; end(): Promise<void>; asked(): number } {
  const readers: (() => void)[] = [];
  const queue: (number | 'end')[] = [];
  let asked = 0;
  async function* body(): AsyncGenerator<Uint8Array> {
    for (;;) {
      while (queue.length === 0) await new Promise<void>((resolve) => void readers.push(resolve));
      const next = queue.shift();
      if (next === 'end' || next === undefined) return;
      yield new Uint8Array(next);
    }
  }
  async function* parts(): AsyncGenerator<RetrievedPart> {
    yield { headers: new Map(), body: body() };
  }
  const add = async (item: number | 'end'): Promise<void> => {
    queue.push(item);
    for (const wake of readers.splice(0)) wake();
    await turn();
  };
  return {
    web: {
      async *studies() {},
      study: async () => [],
      series: async () => [],
      instances: async () => [],
      retrieveSeries: async () => ((asked += 1), parts()),
    },
    push: add,
    end: () => add('end'),
    asked: () => asked,
  };
}

async function readAll(web: DicomWeb): Promise<number> {
  let bytes = 0;
  for await (const part of (await web.retrieveSeries(study, '1', signal)) ?? []) for await (const chunk of part.body) bytes += chunk.length;
  return bytes;
}

const hang = (_web: DicomWeb, s: AbortSignal): Promise<never> =>
  new Promise((_, reject) => s.addEventListener('abort', () => reject(s.reason as Error)));
/** Asks for a series, for which a place is needed, and reads nothing. */
const take = async (web: DicomWeb): Promise<void> => void (await web.retrieveSeries(study, '1', signal));
const takeAndHang = async (web: DicomWeb, s: AbortSignal): Promise<never> => {
  await take(web);
  return await hang(web, s);
};
const waitForPacs = (web: DicomWeb): Promise<number> => readAll(web);

describe('a slow PACS', () => {
  test('gives its place up and goes on without one; a fast one counts again', async () => {
    const clock = manualClock();
    const line = fairPlaces(1);
    const pacs = pushedPacs();
    const slow = centrePulls('slow', pacs.web, limits, { line, slow: slowPulls(9), clock });
    const other = centrePulls('other', pacs.web, limits, { line, slow: slowPulls(9), clock });
    const pulled = slow.pull(signal, waitForPacs);
    await turn();
    let isDone = false;
    const good = other.pull(signal, async (web) => {
      await take(web);
      isDone = true;
    });
    await turn();
    expect([isDone, other.waiting('place'), slow.running('with')]).toEqual([false, 1, 1]);
    await pacs.push(10);
    await clock.advance(1000);
    await good;
    expect([isDone, slow.running('with'), slow.running('without')]).toEqual([true, 0, 1]);
    await pacs.push(1000);
    await clock.advance(1000);
    expect([line.taken(), slow.running('with')]).toEqual([1, 1]);
    await pacs.end();
    expect(await pulled).toBe(1010);
    expect(line.taken()).toBe(0);
  });

  test('only so many of all centres go on without one; the next keeps its place until one of them has ended', async () => {
    const clock = manualClock();
    const [line, few] = [fairPlaces(2), slowPulls(1)];
    const pacss = [pushedPacs(), pushedPacs()];
    const [a, b] = pacss.map(({ web }, i) => centrePulls(`c${i}`, web, limits, { line, slow: few, clock }));
    const pulled = [a?.pull(signal, waitForPacs), b?.pull(signal, waitForPacs)];
    await turn();
    await clock.advance(1000);
    expect([few.count(), line.taken(), a?.running('without'), b?.running('with')]).toEqual([1, 1, 1, 1]);
    await pacss[0]?.end();
    await pulled[0];
    expect(few.count()).toBe(0);
    await clock.advance(1000);
    expect([few.count(), line.taken()]).toEqual([1, 0]);
    await pacss[1]?.end();
    await pulled[1];
    expect([few.count(), line.taken()]).toEqual([0, 0]);
  });

  test('the time that a pull goes on without a place is not its own; with one it is', async () => {
    const judged = { ...limits, pace: { slowBytesPerSecond: 1000, judgeMs: 20 }, jobMs: 100 };
    const pullWith = async (most: number): Promise<number> => {
      const pacs = pushedPacs();
      const pulled = centrePulls('c', pacs.web, judged, { line: fairPlaces(1), slow: slowPulls(most), clock: systemClock }).pull(
        signal,
        async (web, s) => await Promise.race([readAll(web), hang(web, s)]),
      );
      setTimeout(() => void pacs.end(), 400);
      return await pulled;
    };
    expect(await pullWith(1)).toBe(0);
    // It waits, and is no dead letter: what it did not get is a place beside the slow ones.
    await expect(pullWith(0)).rejects.toMatchObject({ code: 'PACS_BUSY' });
  });

  test('a study that does not come in hours waits, whatever it was slow by, and is no dead letter', async () => {
    const pullOf = (more: Partial<PullLimits>): Promise<never> =>
      centrePulls(
        'c',
        pushedPacs().web,
        { ...limits, pullMs: 20, ...more },
        { line: fairPlaces(1), slow: slowPulls(1), clock: systemClock },
      ).pull(signal, hang);
    await expect(pullOf({})).rejects.toMatchObject({ code: 'PACS_BUSY', retryable: true });
    await expect(pullOf({ bytes: { perSecond: 1, burst: 1 } })).rejects.toMatchObject({ code: 'PACS_QUOTA', retryable: true });
  });

  test('its next pull starts without a place, and those that wait for one come out of the line', async () => {
    const clock = manualClock();
    const line = fairPlaces(1);
    const pacs = pushedPacs();
    const slow = centrePulls('slow', pacs.web, { ...limits, gate: { ...limits.gate, places: 3 } }, { line, slow: slowPulls(9), clock });
    const stop = new AbortController();
    const pulls = [slow.pull(stop.signal, waitForPacs), slow.pull(stop.signal, waitForPacs)];
    await turn();
    expect(pacs.asked()).toBe(1);
    await clock.advance(1000);
    expect(pacs.asked()).toBe(2);
    pulls.push(slow.pull(stop.signal, waitForPacs));
    await turn();
    expect([pacs.asked(), line.taken(), slow.running('without')]).toEqual([3, 0, 3]);
    for (let i = 0; i < 3; i += 1) await pacs.end();
    await Promise.allSettled(pulls);
    // A pull that was done at once: the next one waits for a place again.
    const next = slow.pull(stop.signal, takeAndHang);
    await turn();
    expect(slow.running('with')).toBe(1);
    stop.abort(new Error('stop'));
    await expect(next).rejects.toThrow('stop');
  });

  test('a pull of searches alone says nothing of its streams: the next one starts without a place all the same', async () => {
    const clock = manualClock();
    const pacs = pushedPacs();
    const slow = centrePulls('slow', pacs.web, limits, { line: fairPlaces(1), slow: slowPulls(9), clock });
    const pulled = slow.pull(signal, waitForPacs);
    await turn();
    await clock.advance(1000);
    await pacs.end();
    await pulled;
    await slow.pull(signal, async (web) => await web.study(study, signal));
    const next = slow.pull(signal, waitForPacs);
    await turn();
    expect([slow.running('with'), slow.running('without')]).toEqual([0, 1]);
    await pacs.end();
    await next;
  });

  test('searches need no place: a PACS that does not even answer those never holds one', async () => {
    const line = fairPlaces(1);
    const pulls = centrePulls('c', { ...pushedPacs().web, study: () => new Promise(() => undefined) }, limits, {
      line,
      slow: slowPulls(9),
      clock: manualClock(),
    });
    const stop = new AbortController();
    const searching = pulls.pull(stop.signal, async (web, s) => await Promise.race([web.study(study, s), hang(web, s)]));
    await turn();
    expect([line.taken(), pulls.running('without')]).toEqual([0, 1]);
    stop.abort(new Error('stop'));
    await expect(searching).rejects.toThrow('stop');
  });

  test('a long search is no slow pull: the stream behind it stands in the line and takes no slow one', async () => {
    const clock = manualClock();
    const [line, few] = [fairPlaces(1), slowPulls(9)];
    const pacs = pushedPacs();
    let found: () => void = () => undefined;
    const searched = new Promise<[]>((resolve) => (found = () => resolve([])));
    const other = centrePulls('other', pushedPacs().web, limits, { line, slow: few, clock });
    const pulls = centrePulls('c', { ...pacs.web, study: () => searched }, limits, { line, slow: few, clock });
    const stop = new AbortController();
    const holding = other.pull(stop.signal, takeAndHang);
    await turn();
    const pulled = pulls.pull(signal, async (web) => {
      await web.study(study, signal);
      return await readAll(web);
    });
    await turn();
    for (let i = 0; i < 3; i += 1) await clock.advance(1000);
    expect(few.count()).toBe(0);
    found();
    await turn();
    expect([pulls.waiting('place'), line.taken(), pacs.asked()]).toEqual([1, 1, 0]);
    stop.abort(new Error('stop'));
    await expect(holding).rejects.toThrow('stop');
    await turn();
    expect(pulls.running('with')).toBe(1);
    await pacs.end();
    await pulled;
  });

  test('what waits for the store is not slow, however little it moves', async () => {
    const clock = manualClock();
    const line = fairPlaces(1);
    const pulls = centrePulls('c', pushedPacs().web, limits, { line, slow: slowPulls(9), clock });
    const stop = new AbortController();
    const storing = pulls.pull(stop.signal, takeAndHang);
    await turn();
    for (let i = 0; i < 5; i += 1) await clock.advance(1000);
    expect([line.taken(), pulls.running('with')]).toEqual([1, 1]);
    stop.abort(new Error('stop'));
    await expect(storing).rejects.toThrow('stop');
  });
});

describe('a quota', () => {
  const oneAMinute = { ...limits, studies: { perSecond: 1 / 60, burst: 1 } };

  test('a centre above its studies waits without a place, is seen to wait, and gets every one of them', async () => {
    const clock = manualClock();
    const line = fairPlaces(1);
    const waited: number[] = [];
    const pulls = centrePulls('c', pushedPacs().web, oneAMinute, {
      line,
      slow: slowPulls(9),
      clock,
      quotaWaited: (s) => void waited.push(s),
    });
    let done = 0;
    const all = [1, 2, 3].map(() => pulls.pull(signal, async () => void (done += 1)));
    await turn();
    expect([done, line.taken(), pulls.waiting('quota')]).toEqual([1, 0, 2]);
    await clock.advance(60_000);
    await turn();
    expect(done).toBe(2);
    await clock.advance(60_000);
    await Promise.all(all);
    expect([done, pulls.waiting('quota')]).toEqual([3, 0]);
    expect(waited).toEqual([60, 120]);
  });

  test('a wait that is too long is told by its code, and is no failure of the PACS', async () => {
    const clock = manualClock();
    const line = fairPlaces(1);
    const pulls = centrePulls(
      'c',
      pushedPacs().web,
      { ...oneAMinute, waitMs: { new: 20, again: 20 } },
      { line, slow: slowPulls(9), clock },
    );
    await pulls.pull(signal, async () => undefined);
    const late = [1, 2, 3, 4].map(() => pulls.pull(signal, async () => undefined));
    for (const one of late) await expect(one).rejects.toMatchObject({ code: 'PACS_QUOTA', retryable: true });
    expect(pulls.breaker()).toBe('closed');
    await clock.advance(60_000);
    expect(await pulls.pull(signal, async () => 'well')).toBe('well');
  });

  test('without a quota the code of a long wait is PACS_BUSY, and the wait ends when the work begins', async () => {
    const pulls = centrePulls(
      'c',
      pushedPacs().web,
      { ...limits, waitMs: { new: 20, again: 20 } },
      { line: fairPlaces(2), slow: slowPulls(9), clock: systemClock },
    );
    const stop = new AbortController();
    const held = [1, 2].map(() => pulls.pull(stop.signal, hang));
    await expect(pulls.pull(signal, async () => undefined)).rejects.toMatchObject({ code: 'PACS_BUSY' });
    expect(pulls.running('without')).toBe(2);
    stop.abort(new Error('stop'));
    for (const one of held) await expect(one).rejects.toThrow('stop');
  });

  test('bytes wait within the stream, and neither that nor the wait for a turn counts as time of the job', async () => {
    const pacs = pushedPacs();
    const bytes = { perSecond: 1000, burst: 100 };
    const pulls = centrePulls(
      'c',
      pacs.web,
      { ...limits, bytes, jobMs: 60, gate: { ...limits.gate, places: 1 } },
      { line: fairPlaces(1), slow: slowPulls(9), clock: systemClock },
    );
    const both = [pulls.pull(signal, readAll), pulls.pull(signal, async () => 'second')];
    await turn();
    for (let i = 0; i < 4; i += 1) await pacs.push(100);
    await pacs.end();
    expect(await Promise.all(both)).toEqual([400, 'second']);
  });

  test('a job whose partition is lost while it waits leaves every line and has used up nothing', async () => {
    const clock = manualClock();
    const line = fairPlaces(1);
    const pulls = centrePulls(
      'c',
      pushedPacs().web,
      { ...oneAMinute, gate: { ...limits.gate, places: 1 } },
      { line, slow: slowPulls(9), clock },
    );
    await pulls.pull(signal, async () => undefined);
    const lost = new AbortController();
    const waiting = [1, 2].map(() => pulls.pull(lost.signal, async () => undefined));
    await turn();
    expect([pulls.waiting('quota'), pulls.waiting('connection')]).toEqual([1, 1]);
    lost.abort(new Error('the partition was lost'));
    for (const one of waiting) await expect(one).rejects.toThrow('the partition was lost');
    expect([pulls.waiting('quota'), pulls.waiting('connection'), pulls.waiting('place'), line.taken()]).toEqual([0, 0, 0, 0]);
    await clock.advance(60_000);
    expect(await pulls.pull(signal, async () => 'well')).toBe('well');
  });
});

test('work beyond its time is a fault with that code, and its places are free again', async () => {
  const line = fairPlaces(1);
  const pulls = centrePulls('c', pushedPacs().web, { ...limits, jobMs: 20 }, { line, slow: slowPulls(9), clock: systemClock });
  await expect(pulls.pull(signal, hang)).rejects.toMatchObject({ code: 'JOB_TIMEOUT' });
  expect([line.taken(), pulls.running('with'), pulls.running('without')]).toEqual([0, 0, 0]);
});

test('the breaker is seen from outside', async () => {
  const clock = manualClock();
  const pulls = centrePulls('c', pushedPacs().web, limits, { line: fairPlaces(1), slow: slowPulls(9), clock });
  const refused = (): Promise<never> => pulls.pull(signal, () => Promise.reject(new Fault('PACS_UNAUTHORISED', true, 'x')));
  for (let i = 0; i < 3; i += 1) await expect(refused()).rejects.toMatchObject({ code: 'PACS_UNAUTHORISED' });
  expect(pulls.breaker()).toBe('open');
  await clock.advance(1000);
  expect(pulls.breaker()).toBe('half-open');
  await pulls.pull(signal, async () => undefined);
  expect(pulls.breaker()).toBe('closed');
});
