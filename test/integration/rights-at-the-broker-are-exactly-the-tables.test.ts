// Every Kafka user against every topic and every group, asked of the broker itself: what schemas/topics.json says is
// allowed, all else is refused by the server. A centre that leaves loses its rights.
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import pino from 'pino';
import { int32, int8, openWire, string, type Reader } from '../../deploy/local/kafka-wire.ts';
import type { Platform } from '../../deploy/local/platform.ts';
import { applyTopics, principals, topicPlans } from '../../services/adapters/kafka-topics.ts';
import { kafkaBus } from '../../services/adapters/kafkajs-bus.ts';
import { until } from '../shared/test-context.ts';
import { releasePlatform, testPlatform, testPrefix } from './support.ts';

const CENTRES = ['c01', 'c02'];
/** Users are the platform's, not the prefix': other files have the same names, so each login is set again before use. */
const prefix = testPrefix('rights');
const plans = topicPlans(CENTRES, 1);
const users = principals(CENTRES);
let platform: Platform;

const PRODUCE = 0;
const FETCH = 1;
const METADATA = 3;
const JOIN_GROUP = 11;
// Kafka's error codes (kafka.apache.org/protocol, "Error Codes").
const TOPIC_AUTHORIZATION_FAILED = 29;
const GROUP_AUTHORIZATION_FAILED = 30;
const INVALID_RECORD = 87;
const NONE = 0;

const passwordOf = (user: string): string => `pw-${user}`;

beforeAll(async () => {
  platform = await testPlatform();
  await platform.kafka.addUsers(users.map((username) => ({ username, password: passwordOf(username) })));
  await apply(CENTRES);
});

afterAll(async () => await releasePlatform());

async function apply(centres: readonly string[]): Promise<void> {
  const { brokers, admin } = platform.kafka;
  await applyTopics({ brokers, ...admin, prefix, centres, partitionsOverride: 1 });
}

async function as<T>(user: string, work: (wire: Awaited<ReturnType<typeof openWire>>) => Promise<T>): Promise<T> {
  const [host = '', port = ''] = platform.kafka.brokers[0]?.split(':') ?? [];
  const wire = await openWire({ host, port: Number(port), user: { username: user, password: passwordOf(user) } });
  try {
    return await work(wire);
  } finally {
    wire.close();
  }
}

const array = (items: readonly Buffer[]): Buffer => Buffer.concat([int32(items.length), ...items]);
const int64 = (value: bigint): Buffer => {
  const buffer = Buffer.alloc(8);
  buffer.writeBigInt64BE(value);
  return buffer;
};
const topicsArray = (partition: Buffer): Buffer => array(plans.map((p) => Buffer.concat([string(prefix + p.name), array([partition])])));

function read<T>(reader: Reader, one: () => T): T[] {
  return Array.from({ length: reader.int32() }, one);
}

/** Error code per topic of one Produce (v3) of nothing to all: the right is checked before the records are. */
async function producing(user: string): Promise<Map<string, number>> {
  return await as(user, async ({ send }) => {
    const nothing = Buffer.concat([int32(0), int32(0)]);
    const reader = await send(PRODUCE, 3, Buffer.concat([int16(-1), int16(1), int32(10_000), topicsArray(nothing)]), 'classic');
    return new Map(
      read(reader, () => {
        const name = reader.string() ?? '';
        const [error] = read(reader, () => {
          reader.int32();
          const code = reader.int16();
          reader.take(16);
          return code;
        });
        return [name.slice(prefix.length), error ?? NaN] as const;
      }),
    );
  });
}

const int16 = (value: number): Buffer => {
  const buffer = Buffer.alloc(2);
  buffer.writeInt16BE(value);
  return buffer;
};

/** Error code per topic of one Fetch (v4) of all from their beginning. */
async function fetching(user: string): Promise<Map<string, number>> {
  return await as(user, async ({ send }) => {
    const from = Buffer.concat([int32(0), int64(0n), int32(1024)]);
    const body = Buffer.concat([int32(-1), int32(0), int32(0), int32(1024), int8(0), topicsArray(from)]);
    const reader = await send(FETCH, 4, body, 'classic');
    reader.int32();
    return new Map(
      read(reader, () => {
        const name = reader.string() ?? '';
        const [error] = read(reader, () => {
          reader.int32();
          const code = reader.int16();
          reader.take(16);
          const aborted = reader.int32();
          reader.take(16 * Math.max(0, aborted));
          reader.bytes();
          return code;
        });
        return [name.slice(prefix.length), error ?? NaN] as const;
      }),
    );
  });
}

/** Topics that the broker shows to the user at all (Metadata v1, all topics). */
async function seeing(user: string): Promise<string[]> {
  return await as(user, async ({ send }) => {
    const reader = await send(METADATA, 1, int32(-1), 'classic');
    read(reader, () => [reader.int32(), reader.string(), reader.int32(), reader.string()]);
    reader.int32();
    const names = read(reader, () => {
      reader.int16();
      const name = reader.string() ?? '';
      reader.take(1);
      read(reader, () => [
        reader.int16(),
        reader.int32(),
        reader.int32(),
        read(reader, () => reader.int32()),
        read(reader, () => reader.int32()),
      ]);
      return name;
    });
    return names
      .filter((n) => n.startsWith(prefix))
      .map((n) => n.slice(prefix.length))
      .toSorted();
  });
}

/** Error code of a JoinGroup (v5) without a member id: it leaves nothing behind. The right is checked before all else. */
async function joining(user: string, groups: readonly string[]): Promise<number[]> {
  return await as(user, async ({ send }) => {
    const codes: number[] = [];
    for (const group of groups) {
      const protocol = Buffer.concat([string('range'), int32(0)]);
      const body = Buffer.concat([
        string(group),
        int32(10_000),
        int32(10_000),
        string(''),
        int16(-1),
        string('consumer'),
        array([protocol]),
      ]);
      const reader = await send(JOIN_GROUP, 5, body, 'classic');
      reader.int32();
      codes.push(reader.int16());
    }
    return codes;
  });
}

test('every user and every topic: the broker takes and gives what the tables say, and refuses all else', async () => {
  for (const user of users) {
    const [wrote, got, saw] = [await producing(user), await fetching(user), await seeing(user)];
    const expected = plans.map((p) => [
      p.name,
      p.writers.includes(user) ? INVALID_RECORD : TOPIC_AUTHORIZATION_FAILED,
      p.readers.includes(user) ? NONE : TOPIC_AUTHORIZATION_FAILED,
    ]);
    expect({ user, topics: plans.map((p) => [p.name, wrote.get(p.name), got.get(p.name)]) }).toEqual({ user, topics: expected });
    const visible = plans.filter((p) => p.writers.includes(user) || p.readers.includes(user)).map((p) => p.name);
    expect({ user, saw }).toEqual({ user, saw: visible.toSorted() });
  }
});

test('of the clinical topics a centre writes its own three and reads its status; a research service touches none', async () => {
  const own = (kind: string): string => `ct.clinical.c01.${kind}.v1`;
  const codes = (map: Map<string, number>, allowed: number): string[] => [...map].filter(([, c]) => c === allowed).map(([n]) => n);
  expect(codes(await producing('gateway-c01'), INVALID_RECORD).toSorted()).toEqual(
    [own('census'), own('intake-refused'), own('study-available')].toSorted(),
  );
  expect(codes(await fetching('gateway-c01'), NONE)).toEqual([own('study-status')]);
  for (const user of ['assess', 'select', 'label-queue', 'release', 'archiver-research']) {
    const touched = [...codes(await producing(user), INVALID_RECORD), ...codes(await fetching(user), NONE)];
    expect({ user, clinical: touched.filter((n) => n.startsWith('ct.clinical.')) }).toEqual({ user, clinical: [] });
  }
});

test('every user and every group: only its own', async () => {
  const groups = users.flatMap((u) => [u, `${u}.retry`]);
  const readers = new Set(plans.flatMap((p) => p.readers));
  for (const user of users) {
    const codes = await joining(
      user,
      groups.map((g) => prefix + g),
    );
    const mine = (g: string): boolean => readers.has(user) && (g === user || g === `${user}.retry`);
    const expected = groups.map((g) => [g, mine(g) ? 'let in' : 'refused']);
    expect({ user, groups: groups.map((g, i) => [g, codes[i] === GROUP_AUTHORIZATION_FAILED ? 'refused' : 'let in']) }).toEqual({
      user,
      groups: expected,
    });
  }
});

test('a centre that leaves loses its rights at the next provisioning; the others and other deployments keep theirs', async () => {
  const other = testPrefix('rights-other');
  const { brokers, admin } = platform.kafka;
  const bus = kafkaBus({
    brokers,
    username: 'gateway-c02',
    password: passwordOf('gateway-c02'),
    prefix: other,
    clientId: 'other',
    log: pino({ level: 'silent' }),
  });
  const record = { topic: 'ct.clinical.c02.census.v1', key: 'c02', value: Buffer.from('x'), headers: {} };
  try {
    await applyTopics({ brokers, ...admin, prefix: other, centres: CENTRES, partitionsOverride: 1 });
    await apply(['c01']);
    await until('the broker acts on it', async () => (await producing('gateway-c02')).get(record.topic) === TOPIC_AUTHORIZATION_FAILED);
    const answers = [...(await producing('gateway-c02')).values(), ...(await fetching('gateway-c02')).values()];
    expect([...new Set(answers)]).toEqual([TOPIC_AUTHORIZATION_FAILED]);
    expect(await seeing('gateway-c02')).toEqual([]);
    expect(await joining('gateway-c02', [`${prefix}gateway-c02`])).toEqual([GROUP_AUTHORIZATION_FAILED]);
    expect((await fetching('ingest')).get('ct.clinical.c02.study-available.v1')).toBe(TOPIC_AUTHORIZATION_FAILED);
    expect((await producing('gateway-c01')).get('ct.clinical.c01.census.v1')).toBe(INVALID_RECORD);
    await bus.publish([record]);
  } finally {
    await bus.close();
  }
});
