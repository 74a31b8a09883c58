// The two clients behind the event bus on one broker, in turn: publishing, consuming by leases, latency, idle cost, rebalance.
import kafkajs from 'kafkajs';
import pino from 'pino';
import { setTimeout as sleep } from 'node:timers/promises';
import { openBus } from '../services/adapters/event-bus.ts';
import {
  BUS_CLIENTS,
  type BusClient,
  type EventBus,
  type Lease,
  type OutgoingRecord,
  type Subscription,
} from '../services/ports/event-bus.ts';
import { benchPlatform, type BenchPlatform } from './platform.ts';
import { medianOf, say } from './report.ts';

export interface BusOptions {
  readonly rounds: number;
  /** Events of each way of publishing. */
  readonly events: number;
}

export const PARTITIONS = 48;
export const WINDOW = 64;
/** Publish calls at a time, and records of one call when they come in batches. */
export const CALLS = 64;
export const BATCH = 100;
/** Records in hand of each partition when another consumer comes. */
export const HELD = 4;
const VALUE_BYTES = 1024;
const LATENCY_EVENTS = 100;
const IDLE_MS = 3000;

/** Of one run of one client. Rates are events a second; processor time is user and system of this process. */
export interface BusFigures {
  readonly singleRate: number;
  readonly singleCpuMs: number;
  readonly batchRate: number;
  readonly batchCpuMs: number;
  readonly consumeRate: number;
  readonly consumeCpuMs: number;
  /** From publish to take on an idle bus, median. */
  readonly latencyMs: number;
  /** Processor milliseconds a second of a consumer of all partitions without records. */
  readonly idleCpuMs: number;
  /** From `subscribe` of the second consumer until it holds every record of its share. */
  readonly joinMs: number;
  /** From `stop` of the second consumer until the first holds every record again. */
  readonly leaveMs: number;
  /** Partitions that went to the second one: half is the share. */
  readonly moved: number;
  /** Records that the first consumer had in hand, kept, and was given again. */
  readonly doubled: number;
}

export type BusRuns = Readonly<Record<BusClient, BusFigures[]>>;

/** Runs the bench. Throws when a record is missing. */
export const benchBus = async (o: BusOptions): Promise<BusRuns> => {
  const bench = await benchPlatform({ pacs: [] });
  const runs: BusRuns = { kafkajs: [], platformatic: [] };
  try {
    // Nothing of the first connections and compilations is in a figure.
    for (const client of BUS_CLIENTS) await run(bench, client, Math.min(2000, o.events));
    for (let round = 1; round <= o.rounds; round += 1) {
      for (const client of round % 2 === 1 ? BUS_CLIENTS : BUS_CLIENTS.toReversed()) {
        const figures = await run(bench, client, o.events);
        runs[client].push(figures);
        say(`round ${round}, ${client}: ${JSON.stringify(figures)}`);
      }
    }
  } finally {
    await bench.stop();
  }
  return runs;
};

let drawn = 0;

const run = async ({ platform: { kafka } }: BenchPlatform, client: BusClient, events: number): Promise<BusFigures> => {
  const prefix = `bench-${(drawn += 1)}-`;
  await createTopics(kafka, [`${prefix}work.v1`, `${prefix}held.v1`]);
  const open = (): Promise<EventBus> =>
    openBus({ client, brokers: kafka.brokers, ...kafka.admin, prefix, clientId: 'bench', log: pino({ level: 'silent' }) });
  const [one, two] = await Promise.all([open(), open()]);
  try {
    const records = Array.from({ length: events }, (_, i) => recordOf('work.v1', i));
    const single = await timed(() => publishSingly(one, records));
    const batch = await timed(() => publishInBatches(one, records));
    const subscription = await one.subscribe({ group: 'work', topics: ['work.v1'], window: WINDOW });
    const consume = await timed(() => takeAll(subscription, 2 * events));
    const latencyMs = await latency(one, subscription);
    const idle = await timed(() => sleep(IDLE_MS));
    await subscription.stop();
    const perThousand = (cpuMs: number, n: number): number => round((cpuMs * 1000) / n, 1);
    return {
      singleRate: round(events / single.seconds),
      singleCpuMs: perThousand(single.cpuMs, events),
      batchRate: round(events / batch.seconds),
      batchCpuMs: perThousand(batch.cpuMs, events),
      consumeRate: round((2 * events) / consume.seconds),
      consumeCpuMs: perThousand(consume.cpuMs, 2 * events),
      latencyMs,
      idleCpuMs: round(idle.cpuMs / idle.seconds, 1),
      ...(await rebalance(one, two)),
    };
  } finally {
    await Promise.all([one.close(), two.close()]);
  }
};

const round = (value: number, digits = 0): number => Number(value.toFixed(digits));

const timed = async (work: () => Promise<unknown>): Promise<{ seconds: number; cpuMs: number }> => {
  const [cpu, start] = [process.cpuUsage(), performance.now()];
  await work();
  const seconds = (performance.now() - start) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  return { seconds, cpuMs: (user + system) / 1000 };
};

const createTopics = async (kafka: BenchPlatform['platform']['kafka'], names: readonly string[]): Promise<void> => {
  const sasl = { mechanism: 'scram-sha-512', ...kafka.admin } as const;
  const admin = new kafkajs.Kafka({ brokers: kafka.brokers, sasl, logLevel: kafkajs.logLevel.NOTHING }).admin();
  await admin.connect();
  await admin.createTopics({ topics: names.map((topic) => ({ topic, numPartitions: PARTITIONS })), waitForLeaders: true });
  await admin.disconnect();
};

const value = Buffer.alloc(VALUE_BYTES, 'x');
const recordOf = (topic: string, i: number): OutgoingRecord => ({
  topic,
  key: `c01|2.25.${i}`,
  value,
  headers: { ce_id: `bench-${i}`, ce_type: 'ctstream.bench.v1', ce_time: '2026-01-01T00:00:00Z' },
});

/** As a stage does: one call for each event, many jobs at a time. */
const publishSingly = async (bus: EventBus, records: readonly OutgoingRecord[]): Promise<void> => {
  const left = records.values();
  const job = async (): Promise<void> => {
    for (const record of left) await bus.publish([record]);
  };
  await Promise.all(Array.from({ length: CALLS }, job));
};

/** As an outbox does. */
const publishInBatches = async (bus: EventBus, records: readonly OutgoingRecord[]): Promise<void> => {
  for (let i = 0; i < records.length; i += BATCH) await bus.publish(records.slice(i, i + BATCH));
};

const placeOf = ({ record }: Lease): string => `${record.partition}/${record.offset}`;

const takeAll = async (s: Subscription, count: number): Promise<void> => {
  const seen = new Set<string>();
  const limit = AbortSignal.timeout(60_000);
  while (seen.size < count) {
    const lease = await s.take(limit);
    if (lease === undefined) throw new Error(`${count - seen.size} of ${count} records did not come`);
    seen.add(placeOf(lease));
    lease.ack();
  }
};

const latency = async (bus: EventBus, s: Subscription): Promise<number> => {
  const times: number[] = [];
  for (let i = 0; i < LATENCY_EVENTS; i += 1) {
    const start = performance.now();
    const [lease] = await Promise.all([s.take(AbortSignal.timeout(10_000)), bus.publish([recordOf('work.v1', i)])]);
    if (lease === undefined) throw new Error('a record did not come');
    lease.ack();
    times.push(performance.now() - start);
  }
  return round(medianOf(times), 2);
};

interface Holder {
  /** Not aborted. */
  held(): Lease[];
  readonly given: string[];
  stop(): Promise<void>;
}

/** A consumer whose jobs don't end. */
const holder = async (bus: EventBus): Promise<Holder> => {
  const s = await bus.subscribe({ group: 'held', topics: ['held.v1'], window: WINDOW });
  const leases: Lease[] = [];
  const taking = (async () => {
    for (let l = await s.take(new AbortController().signal); l !== undefined; l = await s.take(new AbortController().signal))
      leases.push(l);
  })();
  return {
    held: () => leases.filter((l) => !l.signal.aborted),
    get given() {
      return leases.map(placeOf);
    },
    stop: async () => (await s.stop(), await taking),
  };
};

const rebalance = async (a: EventBus, b: EventBus): Promise<Pick<BusFigures, 'joinMs' | 'leaveMs' | 'moved' | 'doubled'>> => {
  const ends = async (): Promise<number> => (await a.ends(['held.v1'])).filter((e) => e.end < HELD).length;
  for (let i = 0; (await ends()) > 0; i += 200) await a.publish(Array.from({ length: 200 }, (_, k) => recordOf('held.v1', i + k)));
  const total = Number((await a.ends(['held.v1'])).reduce((sum, e) => sum + e.end, 0n));
  const first = await holder(a);
  await untilTrue('the first holds all', () => first.held().length === total);
  const kept = new Set(first.given);
  const start = performance.now();
  const second = await holder(b);
  await untilTrue('both hold all', () => second.held().length > 0 && first.held().length + second.held().length === total);
  const joinMs = round(performance.now() - start);
  const moved = new Set(second.held().map((l) => l.record.partition)).size;
  const still = new Set(first.held().map(placeOf));
  const doubled = first.given.slice(kept.size).filter((place) => still.has(place)).length;
  const leaving = performance.now();
  await second.stop();
  await untilTrue('the first holds all again', () => first.held().length === total);
  const leaveMs = round(performance.now() - leaving);
  await first.stop();
  return { joinMs, leaveMs, moved, doubled };
};

const untilTrue = async (what: string, is: () => boolean): Promise<void> => {
  for (const end = Date.now() + 60_000; !is(); await sleep(5)) if (Date.now() > end) throw new Error(`not in a minute: ${what}`);
};
