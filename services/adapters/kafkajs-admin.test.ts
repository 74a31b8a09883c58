// Which admin client is asked, with clients that can't be asked any more once one of their topics is gone, and that keep to the
// broker that they once found to lead, as kafkajs' are.
import { expect, test } from '@jest/globals';
import type { Admin } from 'kafkajs';
import { until } from '../../test/shared/test-context.ts';
import { busFault } from './kafka-client.ts';
import { kafkaAdmin } from './kafkajs-admin.ts';

function cluster(...topics: readonly string[]): {
  readonly topics: Set<string>;
  readonly clients: { connected: boolean }[];
  /** So many of the next lists are answered by no broker. */
  silent: number;
  /** The broker that leads all partitions. */
  leader: number;
  create(): Admin;
} {
  const there = new Set(topics);
  const clients: { connected: boolean }[] = [];
  const create = (): Admin => {
    const own = { connected: false };
    clients.push(own);
    const asked = new Set<string>();
    const { leader } = made;
    const client: Partial<Admin> = {
      connect: async () => {
        own.connected = true;
        await Promise.resolve();
      },
      disconnect: async () => {
        own.connected = false;
        await Promise.resolve();
      },
      listTopics: async () => {
        if (made.silent-- > 0) throw new TypeError('of null');
        return await Promise.resolve([...there]);
      },
      fetchTopicOffsets: async (topic) => {
        asked.add(topic);
        if (![...asked].every((t) => there.has(t))) throw Object.assign(new Error('?'), { type: 'UNKNOWN_TOPIC_OR_PARTITION' });
        if (leader !== made.leader) throw Object.assign(new Error('?'), { type: 'NOT_LEADER_FOR_PARTITION' });
        return await Promise.resolve([]);
      },
    };
    return client as Admin;
  };
  const made = { topics: there, clients, silent: 0, leader: 1, create };
  return made;
}

const ask = (topic: string) => (client: Admin) => client.fetchTopicOffsets(topic);

test('after a topic is gone the others are told of by a new client, and the old one is closed', async () => {
  const { topics, clients, create } = cluster('a', 'b');
  const admin = kafkaAdmin(create);
  for (const topic of ['a', 'b', 'a']) expect(await admin.about([topic], ask(topic))).toEqual([]);
  expect(clients).toHaveLength(1);
  topics.delete('a');
  topics.add('c');
  for (const topic of ['b', 'c']) expect(await admin.about([topic], ask(topic))).toEqual([]);
  expect(clients).toHaveLength(2);
  await until('the old one is closed', () => clients[0]?.connected === false);
  await expect(admin.about(['a'], ask('a'))).rejects.toMatchObject({ type: 'UNKNOWN_TOPIC_OR_PARTITION' });
  expect(await admin.about(['b'], ask('b'))).toEqual([]);
  await admin.close();
  await until('all are closed', () => clients.every((c) => !c.connected));
});

test('what is under way with the old client is still answered', async () => {
  const { topics, clients, create } = cluster('a', 'b');
  const admin = kafkaAdmin(create);
  let answer: (text: string) => void = () => undefined;
  const slow = admin.about(['a'], () => new Promise<string>((resolve) => (answer = resolve)));
  await until('it is asked', () => clients[0]?.connected === true);
  await new Promise((resolve) => setImmediate(resolve));
  topics.delete('a');
  expect(await admin.about(['b'], ask('b'))).toEqual([]);
  expect(clients.map((c) => c.connected)).toEqual([true, true]);
  answer('answer');
  expect(await slow).toBe('answer');
  await until('it is closed', () => clients[0]?.connected === false);
});

test('after a partition has moved the next question finds its new leader, and what is under way with the old client is still answered', async () => {
  const made = cluster('a');
  const { clients, create } = made;
  const admin = kafkaAdmin(create);
  expect(await admin.about(['a'], ask('a'))).toEqual([]);
  let answer: (text: string) => void = () => undefined;
  const slow = admin.about(['a'], () => new Promise<string>((resolve) => (answer = resolve)));
  await until('it is asked', () => clients[0]?.connected === true);
  await new Promise((resolve) => setImmediate(resolve));
  made.leader = 2;
  // As endsOf does: the adapter's own fault has the client's error as its cause.
  const refused = [1, 2].map(() =>
    admin.about(['a'], (client) => ask('a')(client).catch((error: unknown) => Promise.reject(busFault(error, 'asking')))),
  );
  await Promise.all(refused.map((asked) => expect(asked).rejects.toMatchObject({ code: 'BUS_UNAVAILABLE' })));
  expect(await admin.about(['a'], ask('a'))).toEqual([]);
  expect(clients.map((c) => c.connected)).toEqual([true, true]);
  answer('answer');
  expect(await slow).toBe('answer');
  await until('it is closed', () => clients[0]?.connected === false);
  await admin.close();
});

test('a list that no broker answers is asked for once more, then it is a fault that says so', async () => {
  const made = cluster('a');
  const admin = kafkaAdmin(made.create);
  made.silent = 1;
  expect(await admin.topics()).toEqual(['a']);
  made.silent = 2;
  await expect(admin.topics()).rejects.toMatchObject({
    code: 'BUS_UNAVAILABLE',
    message: 'BUS_UNAVAILABLE: listing topics: no broker answered',
  });
});
