// What every event bus must do: run on the one in memory and on the real broker.
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { BusRecord, EventBus, Lease, OutgoingRecord, Subscription } from '../../services/ports/event-bus.ts';
import { until } from '../shared/test-context.ts';

export interface BusWorld {
  /** A new client. */
  bus(): EventBus;
  createTopic(name: string, partitions: number): Promise<void>;
  close(): Promise<void>;
}

const never = new AbortController().signal;

function record(topic: string, key: string, text: string): OutgoingRecord {
  return { topic, key, value: Buffer.from(text), headers: { ce_id: text, 'x-umlaut': 'Ä' } };
}

const textOf = (r: BusRecord): string => Buffer.from(r.value).toString();

async function takeOne(s: Subscription, limitMs = 15_000): Promise<Lease> {
  const lease = await s.take(AbortSignal.any([never, AbortSignal.timeout(limitMs)]));
  if (lease === undefined) throw new Error('no lease came');
  return lease;
}

/** What comes within the time; leases are left open. */
async function takeFor(s: Subscription, ms: number): Promise<Lease[]> {
  const signal = AbortSignal.timeout(ms);
  const leases: Lease[] = [];
  for (;;) {
    const lease = await s.take(signal);
    if (lease === undefined) return leases;
    leases.push(lease);
  }
}

/** The suite. `make` gives a world of its own. */
export function busSuite(name: string, make: () => Promise<BusWorld>): void {
  // Real parts on a busy machine: a limit, not an expectation.
  describe(`event bus: ${name}`, () => {
    let world: BusWorld;
    let n = 0;
    const fresh = async (partitions: number): Promise<{ bus: EventBus; topic: string; group: string }> => {
      const topic = `t${++n}.events.v1`;
      await world.createTopic(topic, partitions);
      return { bus: world.bus(), topic, group: `g${n}` };
    };
    beforeAll(async () => {
      world = await make();
    });
    afterAll(async () => {
      await world.close();
    });

    test('a record comes back with key, bytes, headers and place', async () => {
      const { bus, topic, group } = await fresh(1);
      await bus.publish([{ ...record(topic, 'k|1', 'x'), value: Uint8Array.of(0, 255, 1) }]);
      const s = await bus.subscribe({ group, topics: [topic], window: 8 });
      const { record: r } = await takeOne(s);
      expect([r.topic, r.partition, r.offset, r.key, [...r.value], r.headers]).toEqual([
        topic,
        0,
        0n,
        'k|1',
        [0, 255, 1],
        { ce_id: 'x', 'x-umlaut': 'Ä' },
      ]);
      await s.stop();
    });

    test('records of one key come in order and one at a time, other keys meanwhile', async () => {
      const { bus, topic, group } = await fresh(1);
      await bus.publish([record(topic, 'a', 'a1'), record(topic, 'a', 'a2'), record(topic, 'b', 'b1')]);
      const s = await bus.subscribe({ group, topics: [topic], window: 8 });
      const first = await takeOne(s);
      const second = await takeOne(s);
      expect([textOf(first.record), textOf(second.record)]).toEqual(['a1', 'b1']);
      expect((await takeFor(s, 300)).map((l) => textOf(l.record))).toEqual([]);
      first.ack();
      expect(textOf((await takeOne(s)).record)).toBe('a2');
      await s.stop();
    });

    test('only what is finished without a gap is committed', async () => {
      const { bus, topic, group } = await fresh(1);
      await bus.publish(['a', 'b', 'c'].map((k) => record(topic, k, k)));
      const one = await bus.subscribe({ group, topics: [topic], window: 8 });
      const leases = [await takeOne(one), await takeOne(one), await takeOne(one)];
      leases[1]?.ack();
      leases[2]?.ack();
      await one.stop();
      expect(await bus.committed(group, [topic])).toEqual([]);
      const two = await bus.subscribe({ group, topics: [topic], window: 8 });
      const again = [await takeOne(two), await takeOne(two), await takeOne(two)];
      expect(again.map((l) => textOf(l.record))).toEqual(['a', 'b', 'c']);
      again[0]?.ack();
      again[1]?.ack();
      await two.stop();
      expect(await bus.committed(group, [topic])).toEqual([{ topic, partition: 0, offset: 2n }]);
      const three = await bus.subscribe({ group, topics: [topic], window: 8 });
      expect(textOf((await takeOne(three)).record)).toBe('c');
      await three.stop();
    });

    test('no more than the window is in hand, and what lies beyond comes as room is made', async () => {
      const { bus, topic, group } = await fresh(1);
      await bus.publish(Array.from({ length: 10 }, (_, i) => record(topic, `k${i}`, `r${i}`)));
      const s = await bus.subscribe({ group, topics: [topic], window: 4 });
      const leases = [await takeOne(s), await takeOne(s), await takeOne(s), await takeOne(s), ...(await takeFor(s, 300))];
      expect(leases.map((l) => textOf(l.record))).toEqual(['r0', 'r1', 'r2', 'r3']);
      // The oldest is not finished: the window can't move.
      leases[1]?.ack();
      expect(await takeFor(s, 300)).toEqual([]);
      leases[0]?.ack();
      expect([textOf((await takeOne(s)).record), textOf((await takeOne(s)).record)]).toEqual(['r4', 'r5']);
      await s.stop();
    });

    test('a released record comes again', async () => {
      const { bus, topic, group } = await fresh(1);
      await bus.publish([record(topic, 'a', 'a1'), record(topic, 'a', 'a2')]);
      const s = await bus.subscribe({ group, topics: [topic], window: 8 });
      (await takeOne(s)).release();
      const again = await takeOne(s);
      expect(textOf(again.record)).toBe('a1');
      again.ack();
      expect(textOf((await takeOne(s)).record)).toBe('a2');
      await s.stop();
    });

    test('take gives nothing once its signal aborts or the subscription stops', async () => {
      const { bus, topic, group } = await fresh(1);
      const s = await bus.subscribe({ group, topics: [topic], window: 8 });
      expect(await s.take(AbortSignal.abort())).toBeUndefined();
      const waiting = s.take(never);
      await s.stop();
      expect(await waiting).toBeUndefined();
      expect(await s.take(never)).toBeUndefined();
    });

    test('a partition that goes to another consumer aborts its jobs, and their acknowledgement counts no more', async () => {
      const { bus, topic, group } = await fresh(4);
      await bus.publish(Array.from({ length: 40 }, (_, i) => record(topic, `k${i}`, `r${i}`)));
      const one = await bus.subscribe({ group, topics: [topic], window: 64 });
      const held = new Map<string, Lease>();
      while (held.size < 40) {
        const lease = await takeOne(one);
        held.set(textOf(lease.record), lease);
      }
      const two = await world.bus().subscribe({ group, topics: [topic], window: 64 });
      await until('half of the partitions move', () => [...held.values()].some((l) => l.signal.aborted));
      const lost = [...held.values()].filter((l) => l.signal.aborted);
      const lostPartitions = new Set(lost.map((l) => l.record.partition));
      expect(lostPartitions.size).toBe(2);
      for (const lease of held.values()) lease.ack();
      const second = new Map<string, Lease>();
      while (second.size < lost.length) {
        const lease = await takeOne(two);
        second.set(textOf(lease.record), lease);
      }
      // Everything that was lost comes again, and nothing that was kept: it was in flight, not new.
      expect([...second.keys()].sort()).toEqual(lost.map((l) => textOf(l.record)).sort());
      expect(await takeFor(one, 500)).toEqual([]);
      await one.stop();
      const committed = await bus.committed(group, [topic]);
      expect(committed.filter((c) => lostPartitions.has(c.partition) && c.offset > 0n)).toEqual([]);
      for (const lease of second.values()) lease.ack();
      await two.stop();
      const ends = await bus.ends([topic]);
      const after = await bus.committed(group, [topic]);
      expect(new Map(after.map((c) => [c.partition, c.offset]))).toEqual(new Map(ends.map((e) => [e.partition, e.end])));
    });

    test('topics of a centre that comes later are found', async () => {
      const bus = world.bus();
      const kind = `late${++n}.v1`;
      await world.createTopic(`ct.clinical.c01.${kind}`, 1);
      const s = await bus.subscribe({ group: `late${n}`, topics: [`ct.clinical.<centre>.${kind}`], window: 8 });
      await bus.publish([record(`ct.clinical.c01.${kind}`, 'a', 'first')]);
      const first = await takeOne(s);
      await world.createTopic(`ct.clinical.c02.${kind}`, 1);
      await bus.publish([record(`ct.clinical.c02.${kind}`, 'a', 'second')]);
      expect(textOf((await takeOne(s)).record)).toBe('second');
      // The job that ran meanwhile kept its lease.
      expect(first.signal.aborted).toBe(false);
      first.ack();
      await s.stop();
      expect(await bus.topics([`ct.clinical.<centre>.${kind}`])).toEqual([`ct.clinical.c01.${kind}`, `ct.clinical.c02.${kind}`]);
      expect(await bus.committed(`late${n}`, [`ct.clinical.c01.${kind}`])).toEqual([
        { topic: `ct.clinical.c01.${kind}`, partition: 0, offset: 1n },
      ]);
    });

    test('ends and read give exactly what lies between the offsets, in order', async () => {
      const { bus, topic } = await fresh(3);
      await bus.publish(Array.from({ length: 90 }, (_, i) => record(topic, `k${i}`, `r${i}`)));
      const ends = await bus.ends([topic]);
      expect(ends.map((e) => [e.partition, e.first])).toEqual([
        [0, 0n],
        [1, 0n],
        [2, 0n],
      ]);
      expect(ends.reduce((sum, e) => sum + Number(e.end), 0)).toBe(90);
      await bus.publish([record(topic, 'later', 'later')]);
      const got: BusRecord[] = [];
      for await (const r of bus.read(ends.map((e) => ({ ...e, first: 2n })))) got.push(r);
      const places = got.map((r) => `${r.partition}:${r.offset}`);
      expect(places).toEqual(
        ends.flatMap((e) => Array.from({ length: Math.max(0, Number(e.end) - 2) }, (_, i) => `${e.partition}:${i + 2}`)),
      );
      expect(got.some((r) => textOf(r) === 'later')).toBe(false);
    });

    test('lag is the distance from what is committed to the end', async () => {
      const { bus, topic, group } = await fresh(1);
      await bus.publish(['a', 'b', 'c'].map((k) => record(topic, k, k)));
      const s = await bus.subscribe({ group, topics: [topic], window: 8 });
      (await takeOne(s)).ack();
      await until('the commit', async () => (await s.lag())[0]?.committed === 1n);
      expect(await s.lag()).toEqual([{ topic, partition: 0, committed: 1n, end: 3n }]);
      await s.stop();
    });
  });
}
