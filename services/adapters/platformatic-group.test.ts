// The deal in the library's form: everything is dealt once, and what a member says it has stays with it.
import { expect, test } from '@jest/globals';
import type { ClusterMetadata, ClusterTopicMetadata, ExtendedGroupProtocolSubscription } from '@platformatic/kafka';
import { sayHolding } from './kafkajs-assigner.ts';
import type { PartitionName } from './lease-board.ts';
import { deal } from './platformatic-group.ts';

function metadataOf(topics: Readonly<Record<string, number>>): ClusterMetadata {
  const entries = Object.entries(topics).map(([name, partitionsCount]): [string, ClusterTopicMetadata] => [
    name,
    { id: name, partitions: [], partitionsCount, lastUpdate: 0 },
  ]);
  return { id: 'c', brokers: new Map(), controllerId: 0, topics: new Map(entries), lastUpdate: 0 };
}

function member(memberId: string, topics: string[], partitions: readonly PartitionName[] = []): ExtendedGroupProtocolSubscription {
  return { memberId, version: 0, topics, metadata: sayHolding({ partitions, sinceMs: 1 }) };
}

function dealt(members: readonly ExtendedGroupProtocolSubscription[], topics: Readonly<Record<string, number>>): Map<string, string[]> {
  const answer = deal('a', new Map(members.map((m) => [m.memberId, m])), new Set(), metadataOf(topics));
  return new Map(
    answer.map(({ memberId, assignments }) => [
      memberId,
      [...assignments.values()].flatMap(({ topic, partitions }) => partitions.map((p) => `${topic}/${p}`)),
    ]),
  );
}

test('a second member takes half and the first keeps the rest', () => {
  const owned = Array.from({ length: 6 }, (_, partition) => ({ topic: 'x', partition }));
  const shares = dealt([member('a', ['x'], owned), member('b', ['x'])], { x: 6 });
  expect(shares.get('a')).toEqual(['x/0', 'x/1', 'x/2']);
  expect(shares.get('b')).toEqual(['x/3', 'x/4', 'x/5']);
});

test('a topic goes only to who has named it, and a member without a share is told so', () => {
  const shares = dealt([member('a', ['x', 'y']), member('b', ['x']), member('c', [])], { x: 1, y: 2 });
  expect([...shares.values()].flat().sort()).toEqual(['x/0', 'y/0', 'y/1']);
  expect(shares.get('a')).toEqual(expect.arrayContaining(['y/0', 'y/1']));
  expect(shares.get('c')).toEqual([]);
});

test('what a member says that nobody can read counts as nothing', () => {
  const shares = dealt([{ ...member('a', ['x']), metadata: Buffer.from('{') }, member('b', ['x'])], { x: 2 });
  expect([...shares.values()].map((list) => list.length)).toEqual([1, 1]);
});
