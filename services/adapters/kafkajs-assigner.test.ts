// The deal of partitions: complete, even, and as still as it can be.
import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import kafkajs from 'kafkajs';
import { assignSticky, holdingIn, stickyAssigner, type Member } from './kafkajs-assigner.ts';
import type { PartitionName } from './lease-board.ts';

const TOPICS = ['a', 'b', 'c'];
const idOf = (p: PartitionName): string => `${p.topic}/${p.partition}`;
const all = (counts: readonly number[]): PartitionName[] =>
  counts.flatMap((n, t) => Array.from({ length: n }, (_, partition) => ({ topic: TOPICS[t] ?? '', partition })));
const fresh = (id: string): Member => ({ id, topics: TOPICS, owned: [], sinceMs: 0 });
const counts = fc.array(fc.integer({ min: 0, max: 60 }), { minLength: 1, maxLength: 3 });

/** Members as they are after a deal. */
function after(dealt: ReadonlyMap<string, PartitionName[]>): Member[] {
  return [...dealt].map(([id, owned]) => ({ id, topics: TOPICS, owned, sinceMs: 1 }));
}

function ownersOf(dealt: ReadonlyMap<string, PartitionName[]>): Map<string, string> {
  return new Map([...dealt].flatMap(([id, list]) => list.map((p) => [idOf(p), id] as const)));
}

function moved(before: ReadonlyMap<string, PartitionName[]>, now: ReadonlyMap<string, PartitionName[]>): string[] {
  const old = ownersOf(before);
  return [...ownersOf(now)].filter(([id, owner]) => old.get(id) !== owner).map(([id]) => id);
}

function expectFair(dealt: ReadonlyMap<string, PartitionName[]>, partitions: readonly PartitionName[]): void {
  expect([...dealt.values()].flat().map(idOf).sort()).toEqual(partitions.map(idOf).sort());
  const sizes = [...dealt.values()].map((list) => list.length);
  expect(Math.max(...sizes) - Math.min(...sizes)).toBeLessThanOrEqual(1);
}

test('one consumer more moves at most ceil(P / (N + 1)) partitions, one less only its own; nobody has two more than another', () => {
  fc.assert(
    fc.property(counts, fc.array(fc.nat(999), { minLength: 1, maxLength: 30 }), (sizes, steps) => {
      const partitions = all(sizes);
      let dealt = assignSticky([fresh('m0')], partitions);
      for (const [i, step] of steps.entries()) {
        const members = after(dealt);
        const leaver = step % 3 === 0 && members.length > 1 ? members[step % members.length] : undefined;
        const next = leaver === undefined ? [...members, fresh(`m${(step * 7) % 1000}-${i}`)] : members.filter((m) => m !== leaver);
        const now = assignSticky(next, partitions);
        expectFair(now, partitions);
        const limit = leaver === undefined ? Math.ceil(partitions.length / next.length) : leaver.owned.length;
        expect(moved(dealt, now).length).toBeLessThanOrEqual(limit);
        dealt = now;
      }
    }),
  );
});

test('whatever members claim, every partition has one owner; of two who claim it the one who got it later', () => {
  const member = fc.record({
    owned: fc.array(fc.record({ topic: fc.constantFrom('a', 'b', 'gone'), partition: fc.integer({ min: -1, max: 12 }) }), {
      maxLength: 20,
    }),
    sinceMs: fc.nat(5),
  });
  fc.assert(
    fc.property(counts, fc.array(member, { minLength: 1, maxLength: 8 }), (sizes, said) => {
      const partitions = all(sizes);
      expectFair(
        assignSticky(
          said.map((m, i) => ({ id: `m${i}`, topics: TOPICS, ...m })),
          partitions,
        ),
        partitions,
      );
    }),
  );
  const zombie = { id: 'a', topics: TOPICS, owned: all([2]), sinceMs: 1 };
  const heir = { id: 'b', topics: TOPICS, owned: all([2]).slice(1), sinceMs: 2 };
  expect(ownersOf(assignSticky([zombie, heir], all([2]))).get('a/1')).toBe('b');
});

test('a new member gets partitions of every topic, not all of one', () => {
  const partitions = all([48, 48]);
  const now = assignSticky([...after(assignSticky([fresh('x')], partitions)), fresh('y')], partitions);
  expect(now.get('y')?.filter((p) => p.topic === 'a')).toHaveLength(24);
});

test('a topic goes only to members that have found it', () => {
  const now = assignSticky([fresh('x'), { ...fresh('y'), topics: ['a'] }], all([2, 6]));
  expect(now.get('y')?.map((p) => p.topic)).toEqual(now.get('y')?.map(() => 'a'));
  expect([...now.values()].flat()).toHaveLength(8);
});

test('what a member has goes through the protocol to the leader; what can not be read is nothing', async () => {
  const cluster = { findTopicPartitionMetadata: () => [0, 1, 2, 3].map((partitionId) => ({ partitionId })) };
  const config = { cluster, groupId: 'g', logger: undefined } as never;
  const held = [
    { topic: 't', partition: 3 },
    { topic: 't', partition: 1 },
  ];
  const join = (partitions: PartitionName[]): Buffer =>
    stickyAssigner(() => ({ partitions, sinceMs: 5 }))(config).protocol({ topics: ['t'] }).metadata;
  const members = [
    { memberId: 'x', memberMetadata: join([]) },
    { memberId: 'y', memberMetadata: join(held) },
  ];
  const dealt = await stickyAssigner(() => ({ partitions: [], sinceMs: 0 }))(config).assign({ members, topics: ['t'] });
  const of = (id: string): unknown =>
    kafkajs.AssignerProtocol.MemberAssignment.decode(dealt.find((d) => d.memberId === id)?.memberAssignment ?? Buffer.alloc(0))?.assignment;
  expect([of('x'), of('y')]).toEqual([{ t: [0, 2] }, { t: [1, 3] }]);
  for (const text of ['', '{', '{}', '[[]]', '["x",[1,2],3]']) expect(holdingIn(Buffer.from(text))).toEqual({ owned: [], sinceMs: 0 });
});
