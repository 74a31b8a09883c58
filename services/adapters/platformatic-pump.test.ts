// The fetch loop against brokers that are functions: who is asked for what, after leaders and assignments changed.
import { afterEach, expect, test } from '@jest/globals';
import { setTimeout as sleep } from 'node:timers/promises';
import { until } from '../../test/shared/test-context.ts';
import type { BusRecord } from '../ports/event-bus.ts';
import { partitionId } from './kafka-offsets.ts';
import { fetchLoop, type FetchLoop } from './platformatic-pump.ts';
import type { Fetched, Fetcher, Place } from './platformatic-fetch.ts';

const A = { topic: 't', partition: 0 };
const B = { topic: 't', partition: 1 };

/** Every fetch of a place gives one record after a moment, at the offset that was asked for. */
function pump(): {
  loop: FetchLoop;
  leaders: Map<string, number>;
  full: Set<string>;
  got: { node: number; id: string; offset: bigint }[];
  at: (id: string) => number;
  looks: { nothing?: () => void };
} {
  const leaders = new Map([
    [partitionId(A), 1],
    [partitionId(B), 1],
  ]);
  const full = new Set<string>();
  const got: { node: number; id: string; offset: bigint }[] = [];
  const looks: { nothing?: () => void } = {};
  const busy = new Set<number>();
  const byLeader = async <P extends Place>(places: readonly P[]): Promise<Map<number, P[]>> => {
    if (places.length === 0) looks.nothing?.();
    return Promise.resolve(Map.groupBy(places, (p) => leaders.get(partitionId(p.name)) ?? 1));
  };
  const fetch = async <P extends Place>(node: number, places: readonly P[]): Promise<Fetched<P>[]> => {
    expect(busy.has(node)).toBe(false);
    busy.add(node);
    await sleep(2);
    busy.delete(node);
    return places
      .filter((p) => leaders.get(partitionId(p.name)) === node)
      .map((place) => {
        got.push({ node, id: partitionId(place.name), offset: place.next });
        const record: BusRecord = { ...place.name, offset: place.next, key: '', value: new Uint8Array(), headers: {}, timestampMs: 0 };
        return { place, records: [record], next: place.next + 1n };
      });
  };
  const fetcher: Fetcher = { byLeader, fetch, forget: () => undefined, close: async () => Promise.resolve() };
  const loop = fetchLoop({
    fetcher,
    asking: { ends: async () => Promise.resolve([]) },
    board: { offer: () => true, isFull: (p) => full.has(partitionId(p)) },
    log: { debug: () => undefined },
    what: 'fetching',
    onFault: (fault) => {
      throw fault;
    },
  });
  return { loop, leaders, full, got, looks, at: (id) => got.findLast((g) => g.id === id)?.node ?? -1 };
}

const begin = (loop: FetchLoop, p: typeof A): void => loop.begin({ point: { ...p, offset: 0n }, committed: false });

let stop: (() => Promise<void>) | undefined;
afterEach(async () => await stop?.());

test('a partition that moved to another broker while it was full is asked for there once it has room', async () => {
  const { loop, leaders, full, got, at } = pump();
  stop = loop.stop;
  begin(loop, A);
  begin(loop, B);
  await loop.run();
  await until('both are fetched', () => at('t/0') === 1 && at('t/1') === 1, 5000);
  full.add('t/1');
  leaders.set('t/1', 2);
  await sleep(20);
  const before = got.length;
  full.delete('t/1');
  loop.ring();
  await until('the other broker is asked', () => at('t/1') === 2, 5000);
  expect(got.slice(before).some((g) => g.id === 't/0')).toBe(true);
  const offsets = got.filter((g) => g.id === 't/1').map((g) => g.offset);
  expect(offsets).toEqual(offsets.map((_, i) => BigInt(i)));
});

test('what is assigned in the moment in which a broker was found to lead nothing is fetched', async () => {
  for (let ticks = 0; ticks < 12; ticks += 1) {
    const { loop, at, looks } = pump();
    stop = loop.stop;
    begin(loop, A);
    await loop.run();
    await until('the first is fetched', () => at('t/0') === 1, 5000);
    // The look of the loop that finds nothing, and so many ticks after it the next assignment.
    const found = new Promise<void>((resolve) => (looks.nothing = resolve));
    loop.keep([]);
    await found;
    for (let tick = 0; tick < ticks; tick += 1) await Promise.resolve();
    begin(loop, B);
    await loop.run();
    await until('the second is fetched', () => at('t/1') === 1, 5000);
    await loop.stop();
  }
}, 120_000);
