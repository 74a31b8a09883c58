// The book of leases against a plain model: whatever the order of work, nothing is lost, doubled or committed early.
import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { BusRecord, Lease } from '../ports/event-bus.ts';
import { BOARD_BYTES, leaseBoard, WINDOW_BYTES } from './lease-board.ts';

const never = new AbortController().signal;
const T = { topic: 't', partition: 0 };

function record(offset: number, key: string): BusRecord {
  return { ...T, offset: BigInt(offset), key, value: new Uint8Array(), headers: {}, timestampMs: 0 };
}

const quiet = { onFull: () => undefined, onRoom: () => undefined, onProgress: () => undefined };

test('any order of finishing: the commit point is the lowest unfinished offset, keys stay in order, the window holds', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fc.integer({ min: 1, max: 3 }), fc.constantFrom('a', 'b', 'c', 'd')), { maxLength: 40 }),
      fc.integer({ min: 1, max: 8 }),
      fc.array(fc.nat(100), { minLength: 60, maxLength: 60 }),
      async (steps, window, choices) => {
        const board = leaseBoard({ ...quiet, window });
        board.assign([T]);
        // Gaps between offsets, as a compacted log has them.
        let offset = 0;
        const records = steps.map(([gap, key]) => record((offset += gap), key));
        for (const r of records) expect(board.offer(r)).toBe(true);
        for (const r of records) expect(board.offer(r)).toBe(false);
        const open: Lease[] = [];
        const done = new Set<bigint>();
        const seen: BusRecord[] = [];
        for (const choice of [...choices, ...Array.from({ length: 100 }, () => 0)]) {
          const soon = new AbortController();
          const taking = board.take(soon.signal);
          soon.abort();
          const lease = await taking;
          if (lease !== undefined) {
            open.push(lease);
            seen.push(lease.record);
          }
          expect(new Set(open.map((l) => l.record.key)).size).toBe(open.length);
          const oldest = records.find((r) => !done.has(r.offset))?.offset;
          const span = seen.filter((r) => oldest !== undefined && r.offset >= oldest);
          expect(span.length).toBeLessThanOrEqual(window);
          if (open.length > 0 && (lease === undefined || choice % 2 === 0)) {
            const [ended] = open.splice(choice % open.length, 1);
            ended?.ack();
            done.add(ended?.record.offset ?? -1n);
          }
          const first = records.find((r) => !done.has(r.offset));
          const inHand = seen.length === 0 ? undefined : board.commits()[0]?.offset;
          if (inHand !== undefined && first !== undefined) expect(inHand).toBeLessThanOrEqual(first.offset);
        }
        expect(done.size).toBe(records.length);
        for (const key of ['a', 'b', 'c', 'd']) {
          const offsets = seen.filter((r) => r.key === key).map((r) => Number(r.offset));
          expect(offsets).toEqual([...offsets].sort((x, y) => x - y));
        }
        const last = records.at(-1);
        if (last !== undefined) expect(board.commits()).toEqual([{ ...T, offset: last.offset + 1n }]);
      },
    ),
    { numRuns: 200 },
  );
});

test('a kept partition keeps its jobs over a rebalance, and what is delivered again is not started again', async () => {
  const board = leaseBoard({ ...quiet, window: 8 });
  board.assign([T, { topic: 't', partition: 1 }]);
  board.offer(record(0, 'a'));
  board.offer(record(1, 'b'));
  const lease = await board.take(never);
  board.assign([T]);
  expect(lease?.signal.aborted).toBe(false);
  expect(board.offer(record(0, 'a'))).toBe(false);
  expect(board.offer(record(1, 'b'))).toBe(false);
  expect(board.offer(record(2, 'c'))).toBe(true);
  lease?.ack();
  expect(board.commits()).toEqual([{ ...T, offset: 1n }]);
});

test('a partition that is lost and won back starts anew: an old acknowledgement is worth nothing', async () => {
  const board = leaseBoard({ ...quiet, window: 8 });
  board.assign([T]);
  board.offer(record(0, 'a'));
  const old = await board.take(never);
  board.assign([]);
  expect(old?.signal.aborted).toBe(true);
  board.assign([T]);
  old?.ack();
  expect(board.commits()).toEqual([]);
  expect(board.offer(record(0, 'a'))).toBe(true);
  const again = await board.take(never);
  old?.ack();
  expect(board.commits()).toEqual([]);
  again?.ack();
  expect(board.commits()).toEqual([{ ...T, offset: 1n }]);
});

test('what the group had committed beyond us is not ours any more', async () => {
  const board = leaseBoard({ ...quiet, window: 2 });
  board.assign([T]);
  for (let i = 0; i < 5; i++) board.offer(record(i, `k${i}`));
  const lease = await board.take(never);
  board.committedBefore({ ...T, offset: 4n });
  expect(lease?.signal.aborted).toBe(true);
  expect((await board.take(never))?.record.offset).toBe(4n);
  expect(board.commits()).toEqual([]);
});

test('partitions take turns', async () => {
  const board = leaseBoard({ ...quiet, window: 8 });
  board.assign([T, { topic: 't', partition: 1 }]);
  for (let i = 0; i < 4; i++) board.offer(record(i, `k${i}`));
  for (let i = 0; i < 4; i++) board.offer({ ...record(i, `k${i}`), partition: 1 });
  const partitions: (number | undefined)[] = [];
  for (let i = 0; i < 8; i++) partitions.push((await board.take(never))?.record.partition);
  expect(partitions).toEqual([0, 1, 0, 1, 0, 1, 0, 1]);
});

test('closing with an error gives it to those who wait and those who come', async () => {
  const board = leaseBoard({ ...quiet, window: 8 });
  const waiting = board.take(never);
  board.close(new Error('LOG_TRUNCATED'));
  await expect(waiting).rejects.toThrow('LOG_TRUNCATED');
  await expect(board.take(never)).rejects.toThrow('LOG_TRUNCATED');
});

test('large records fill a partition long before its window does, and every one of them is taken in the end', async () => {
  const size = WINDOW_BYTES / 4;
  const told: string[] = [];
  const board = leaseBoard({
    window: 2048,
    onFull: () => void told.push('full'),
    onRoom: () => void told.push('room'),
    onProgress: () => undefined,
  });
  board.assign([T]);
  const count = 20;
  for (let i = 0; i < count; i++) board.offer({ ...record(i, String(i)), value: new Uint8Array(size) });
  expect([board.inHand(), board.isFull(T), told]).toEqual([4, true, ['full']]);
  const open: Lease[] = [];
  for (let taken = 0; taken < count;) {
    const soon = new AbortController();
    const taking = board.take(soon.signal);
    soon.abort();
    const lease = await taking;
    if (lease === undefined) {
      // The last one first: what waits behind an older record holds no bytes any more.
      expect(open.reduce((sum, { record: r }) => sum + r.value.length, 0)).toBeLessThanOrEqual(WINDOW_BYTES);
      open.pop()?.ack();
    } else {
      taken += 1;
      expect(lease.record.value.length).toBe(size);
      open.push(lease);
    }
  }
  for (const lease of open) lease.ack();
  expect(board.commits()).toEqual([{ ...T, offset: BigInt(count) }]);
  expect([board.isFull(T), told]).toEqual([false, ['full', 'room']]);
});

test.each<[string, (n: number) => Partial<BusRecord>]>([
  ['value', () => ({ value: new Uint8Array(WINDOW_BYTES / 4) })],
  ['key', (n) => ({ key: 'k'.repeat(WINDOW_BYTES / 4) + n })],
  ['headers', () => ({ headers: { x: 'h'.repeat(WINDOW_BYTES / 4) } })],
])('a partition is full of large records whatever is large of them: %s', async (_what, part) => {
  const board = leaseBoard({ ...quiet, window: 2048 });
  board.assign([T]);
  for (let i = 0; i < 20; i++) board.offer({ ...record(i, String(i)), ...part(i) });
  expect([board.inHand(), board.isFull(T)]).toEqual([4, true]);
  const first = await board.take(never);
  const second = await board.take(never);
  // What waits behind an older record holds nothing any more.
  second?.ack();
  expect(board.inHand()).toBe(5);
  first?.ack();
  expect([board.inHand(), board.commits()]).toEqual([4, [{ ...T, offset: 2n }]]);
});

test('many partitions of large records have a bound together, none waits for the others, and every record is taken in the end', async () => {
  const size = WINDOW_BYTES / 4;
  const partitions = (2 * BOARD_BYTES) / WINDOW_BYTES;
  const each = 6;
  const board = leaseBoard({ ...quiet, window: 2048 });
  const names = Array.from({ length: partitions }, (_, partition) => ({ topic: 't', partition }));
  board.assign(names);
  for (const name of names) for (let i = 0; i < each; i++) board.offer({ ...record(i, String(i)), ...name, value: new Uint8Array(size) });
  expect(board.inHand() * size).toBeLessThanOrEqual(BOARD_BYTES + partitions * size);
  const open: Lease[] = [];
  const started = new Set<number>();
  for (let taken = 0; taken < partitions * each;) {
    const soon = new AbortController();
    const taking = board.take(soon.signal);
    soon.abort();
    const lease = await taking;
    if (lease === undefined) {
      expect(started.size).toBe(partitions);
      expect(open.length * size).toBeLessThanOrEqual(BOARD_BYTES + partitions * size);
      open.pop()?.ack();
    } else {
      taken += 1;
      started.add(lease.record.partition);
      open.push(lease);
    }
  }
  for (const lease of open) lease.ack();
  expect(board.commits()).toHaveLength(partitions);
  expect(names.map((name) => board.isFull(name))).toEqual(names.map(() => false));
});
