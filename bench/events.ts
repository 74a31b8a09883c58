// Many studies through the event plane, and how ingest scales when the PACS is the slow part.
import { setTimeout as sleep } from 'node:timers/promises';
import { avroCodec } from '../services/adapters/avro-codec.ts';
import { join } from 'node:path';
import { provision } from '../deploy/local/provision.ts';
import { startStages, type RunningStages } from '../deploy/local/stages.ts';
import { localAccess, operatorPorts } from '../services/cli/deployment.ts';
import { followLog } from '../services/cli/follow-log.ts';
import type { Account } from '../services/kernel/accounting.ts';
import { announceAll, madeUpAnnouncement } from './events-gateway.ts';
import { startStub, type StubProcess } from './events-processes.ts';
import { benchPlatform, cpuSecondsOf, tellEnd, type BenchPlatform } from './platform.ts';
import { say } from './report.ts';

export interface EventsBenchOptions {
  readonly studies: number;
  readonly centres: number;
  /** What a study takes at the simulated PACS. */
  readonly latencyMs: number;
  readonly consumers: readonly number[];
  /** How long each number of consumers is looked at. */
  readonly seconds: number;
}

export interface ScaleRow {
  readonly consumers: number;
  readonly studiesPerSecond: number;
}

export interface EventsBench {
  readonly studies: number;
  /** From the first announcement until the last study is decided. */
  readonly seconds: number;
  readonly announcedSeconds: number;
  readonly records: number;
  readonly account: Pick<Account, 'totals' | 'reached' | 'reasons'> & {
    readonly missing: number;
    readonly bad: number;
    readonly seconds: number;
  };
  readonly cpuSeconds: Readonly<Record<string, number>>;
  readonly scaling: readonly ScaleRow[];
}

const FLOW = [
  'ct.clinical.study-stored.v1',
  'ct.research.study-anonymised.v1',
  'ct.research.study-assessed.v1',
  'ct.research.study-selected.v1',
  'ct.research.study-excluded.v1',
] as const;
/** Jobs at a time in each stub process, and records of a partition in hand: a handler without work is done at once. */
const LOOP = { CONCURRENCY: '64', WINDOW: '512' };
/** Jobs at a time in each process of the scaling table. */
const PULLS = 4;

/** Runs the bench. Throws when the studies are not decided in time. */
export const benchEvents = async (o: EventsBenchOptions): Promise<EventsBench> => {
  const centres = Array.from({ length: o.centres }, (_, i) => `c${String(i + 1).padStart(2, '0')}`);
  const bench = await benchPlatform({ pacs: centres.slice(0, 1), more: centres.slice(1), partitions: 12 });
  try {
    const through = await manyStudies(bench, Math.ceil(o.studies / o.centres));
    return { ...through, scaling: o.consumers.length === 0 ? [] : await scaling(bench, o) };
  } finally {
    await bench.stop();
  }
};

/** Records in each topic of the flow. */
const counted = async ({ bus }: BenchPlatform, topics: readonly string[] = FLOW): Promise<Map<string, number>> => {
  const sums = new Map<string, number>();
  for (const { topic, first, end } of await bus.ends(topics)) sums.set(topic, (sums.get(topic) ?? 0) + Number(end - first));
  return sums;
};

const STALLED_MS = 60_000;

/** Shows what comes until `total` studies are selected or excluded. */
const untilDecided = async (bench: BenchPlatform, total: number): Promise<void> => {
  let [best, bestMs, shownMs] = [0, performance.now(), 0];
  for (;;) {
    const now = await counted(bench);
    const [stored = 0, anonymised = 0, assessed = 0, selected = 0, excluded = 0] = FLOW.map((topic) => now.get(topic) ?? 0);
    const sum = stored + anonymised + assessed + selected + excluded;
    if (sum > best) [best, bestMs] = [sum, performance.now()];
    if (performance.now() - shownMs > 5000) {
      say(`of ${total}: stored ${stored}, anonymised ${anonymised}, assessed ${assessed}, selected ${selected}, excluded ${excluded}`);
      shownMs = performance.now();
    }
    if (selected + excluded >= total) return;
    if (performance.now() - bestMs > STALLED_MS) throw new Error(`nothing has moved for ${STALLED_MS / 1000} s`);
    await sleep(500);
  }
};

const manyStudies = async (bench: BenchPlatform, each: number): Promise<Omit<EventsBench, 'scaling'>> => {
  const total = each * bench.provisioned.centres.length;
  const real = await startStages({
    ...bench,
    only: ['select', 'label-queue'],
    env: {
      select: { ...LOOP, LOG_LEVEL: 'warn', SELECT_EVERY_STUDIES: '2000', SELECT_EVERY_MS: '3000' },
      'label-queue': { LOG_LEVEL: 'warn' },
    },
    onExit: (exit) => tellEnd(bench, exit),
  });
  const stubs: StubProcess[] = [];
  try {
    stubs.push(...(await Promise.all((['ingest', 'anonymise', 'assess'] as const).map((name) => startStub(bench, name, { env: LOOP })))));
    say(`${total} studies of ${bench.provisioned.centres.length} centres, pixel work and object bytes replaced by stubs`);
    const startedMs = performance.now();
    const cpuBefore = process.cpuUsage();
    const seconds = (): number => (performance.now() - startedMs) / 1000;
    const announced = announceAll(bench, each).then(seconds);
    const [announcedSeconds] = await Promise.all([announced, untilDecided(bench, total)]);
    const took = seconds();
    const gateway = process.cpuUsage(cpuBefore);
    const cpuSeconds = await cpuOf(bench, real, stubs);
    await Promise.all(stubs.map((stub) => stub.stop()));
    await real.stop();
    return {
      studies: total,
      seconds: took,
      announcedSeconds,
      account: await accounted(bench),
      records: await allRecords(bench),
      cpuSeconds: { ...cpuSeconds, 'gateway and this bench': (gateway.user + gateway.system) / 1e6 },
    };
  } finally {
    await Promise.all(stubs.map((stub) => stub.stop()));
    await real.stop();
  }
};

const cpuOf = async (bench: BenchPlatform, real: RunningStages, stubs: readonly StubProcess[]): Promise<Record<string, number>> => {
  const of: Record<string, number> = {};
  for (const stub of stubs) of[stub.name] = await stub.cpuSeconds();
  for (const name of ['select', 'label-queue'] as const) of[name] = await cpuSecondsOf(real.pid(name) ?? 0);
  of['Kafka'] = await cpuSecondsOf(bench.platform.kafka.pid);
  return of;
};

const allRecords = async (bench: BenchPlatform): Promise<number> => {
  const topics = await bench.bus.topics(['ct.*']);
  return [...(await counted(bench, topics)).values()].reduce((sum, n) => sum + n, 0);
};

const accounted = async (bench: BenchPlatform): Promise<EventsBench['account']> => {
  const ports = await operatorPorts(localAccess(bench.platform, bench.provisioned));
  const startedMs = performance.now();
  try {
    const { totals, reached, reasons, missing, bad } = await followLog(ports).account(AbortSignal.timeout(300_000));
    const seconds = (performance.now() - startedMs) / 1000;
    say(`account in ${seconds.toFixed(1)} s: sent ${totals.sent}, unaccounted ${totals.unaccounted}`);
    return { totals, reached, reasons, missing: missing.length, bad: bad.length, seconds };
  } finally {
    await ports.close();
  }
};

/** Studies stored a second with so many ingest processes, each with PULLS at a time, while the PACS takes `latencyMs` a study. */
const scaling = async (main: BenchPlatform, o: EventsBenchOptions): Promise<ScaleRow[]> => {
  const prefix = 'scale-';
  const centres = main.provisioned.centres;
  const provisioned = await provision(main.platform, { centres, prefix, dir: join(main.dir, 'scale-secrets'), partitions: 12 });
  const bus = main.busOf(prefix);
  const bench: BenchPlatform = { ...main, provisioned, bus };
  try {
    const perConsumer = (PULLS * 1000) / o.latencyMs;
    const most = Math.max(...o.consumers);
    // Enough that every partition has work to the end, whatever the keys' luck.
    const backlog = Math.ceil(
      o.consumers.reduce((sum, n) => sum + n, 0) * perConsumer * (o.seconds + 15) + most * perConsumer * o.seconds * 4,
    );
    const codec = avroCodec();
    const each = Math.ceil(backlog / centres.length);
    await bus.publish(
      centres.flatMap((centre) =>
        Array.from({ length: each }, (_, i) =>
          codec.encode(madeUpAnnouncement(centre, i + 1), { id: `${centre}-${i}`, source: 'bench', timeMs: Date.now() }),
        ),
      ),
    );
    const rows: ScaleRow[] = [];
    for (const consumers of o.consumers) {
      rows.push(await scaledTo(bench, consumers, o));
      say(`${consumers} consumers: ${rows.at(-1)?.studiesPerSecond} studies/s`);
    }
    return rows;
  } finally {
    await bus.close();
  }
};

const scaledTo = async (bench: BenchPlatform, consumers: number, o: EventsBenchOptions): Promise<ScaleRow> => {
  const env = { CONCURRENCY: String(PULLS) };
  const start = (): Promise<StubProcess> => startStub(bench, 'ingest', { latencyMs: o.latencyMs, env });
  const processes = await Promise.all(Array.from({ length: consumers }, start));
  try {
    // The last to come makes the group assign its partitions once more.
    await sleep(6000);
    const stored = async (): Promise<number> => (await counted(bench, [FLOW[0]])).get(FLOW[0]) ?? 0;
    const [before, startedMs] = [await stored(), performance.now()];
    await sleep(o.seconds * 1000);
    const rate = ((await stored()) - before) / ((performance.now() - startedMs) / 1000);
    return { consumers, studiesPerSecond: Math.round(rate * 10) / 10 };
  } finally {
    await Promise.all(processes.map((one) => one.stop()));
  }
};
