// One seeded run: studies flow, faults happen, everything comes to rest, and the invariants are checked.
import { setTimeout as sleep } from 'node:timers/promises';
import type { BusClient } from '../../services/ports/event-bus.ts';
import type { Account } from '../../services/kernel/accounting.ts';
import type { Pipeline } from '../integration/pipeline.ts';
import { findFaults, type Findings } from './checks.ts';
import { applyFault, type Arena } from './faults.ts';
import type { Keeper } from './keeper.ts';
import { notConsumed } from './log.ts';
import type { Fault, Place } from './plan.ts';
import { sendStudies, type SentStudy } from './sender.ts';

/** Environment of every stage: short waits, so that minutes are enough to see what hours bring. */
export const chaosEnv = (client: BusClient): Readonly<Record<string, string>> => ({
  KAFKA_SESSION_TIMEOUT_MS: '6000',
  RETRY_DELAYS_MS: '1000,3000,10000',
  KAFKA_CLIENT: client,
});

export interface FaultCount {
  readonly fault: Fault['kind'];
  readonly place: string;
  readonly times: number;
}

export interface ChaosResult {
  readonly seed: number;
  readonly minutes: number;
  readonly kafkaClient: BusClient;
  /** SIGKILLs that hit a running process. */
  readonly kills: number;
  readonly faults: readonly FaultCount[];
  /** Studies that a PACS took. */
  readonly studies: number;
  readonly lost: number;
  readonly doubled: number;
  readonly unaccounted: number;
  readonly hashMismatches: number;
  readonly deadLetters: number;
  /** Times that `account` was asked while faults went on, and studies whose offset it found committed without an outcome. */
  readonly samples: number;
  readonly committedTooFar: number;
  readonly manifests: Findings['manifests'];
  readonly records: number;
  readonly repeated: number;
  /** Where the studies stand in the end, by code. */
  readonly standing: Readonly<Record<string, number>>;
  /** Processes that gave up by themselves (a part was away for too long) and were started again, by stage and exit code. */
  readonly ownEnds: Readonly<Record<string, number>>;
  /** Seconds from the last fault until everything had come to rest. */
  readonly restSeconds: number;
  /** What is wrong, in words; empty for a good run. */
  readonly problems: readonly string[];
}

export interface ChaosOptions {
  readonly pipeline: Pipeline;
  readonly keeper: Keeper;
  readonly plan: readonly Fault[];
  /** What every service speaks to Kafka with. */
  readonly kafkaClient: BusClient;
  readonly seed: number;
  readonly minutes: number;
  /** A study is sent so often. */
  readonly studyEveryMs: number;
  /** Longest time from the last fault until all studies came to their end. */
  readonly restMs: number;
  readonly say: (line: string) => void;
  readonly signal: AbortSignal;
}

const ACCOUNT_WITHIN_MS = 60_000;
const SAMPLE_EVERY_MS = 8000;

/** Faults of a place one after the other, places side by side, each at its moment or as soon as its place is free. */
async function applyPlan(arena: Arena, plan: readonly Fault[], counts: Map<string, FaultCount>, o: ChaosOptions): Promise<void> {
  const started = performance.now();
  const ends = new Map<Place | 'second', Promise<void>>();
  for (const fault of plan) {
    const waitMs = fault.atMs - (performance.now() - started);
    if (waitMs > 0) await sleep(waitMs, undefined, { signal: o.signal });
    o.signal.throwIfAborted();
    // A second consumer has processes of its own; one at a time, or they would fill a small machine.
    const lane = fault.kind === 'second consumer' ? 'second' : fault.place;
    const work = (ends.get(lane) ?? Promise.resolve()).then(async () => {
      o.signal.throwIfAborted();
      await applyFault(arena, fault);
      const name = `${fault.kind} ${fault.place.replace(/\/\d+$/, '')}`;
      const place = fault.place.replace(/\/\d+$/, '');
      counts.set(name, { fault: fault.kind, place, times: (counts.get(name)?.times ?? 0) + 1 });
    });
    work.catch(() => undefined);
    ends.set(lane, work);
  }
  await Promise.all(ends.values());
}

interface Samples {
  taken: number;
  /** Studies with an offset below the commit and no outcome: a stage committed what was not done. */
  readonly tooFar: Set<string>;
}

/** `account` takes the committed offsets first and reads the log after, so an offset below the commit must have its outcome. */
async function sample(p: Pipeline, into: Samples, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    const now = await p.follower.account(AbortSignal.timeout(ACCOUNT_WITHIN_MS)).catch(() => undefined);
    if (now !== undefined) {
      into.taken += 1;
      // What the census lists may be announced a moment later; what a stage consumed may not.
      for (const s of now.studies)
        if (s.state === 'unaccounted' && s.code !== 'NOT_ANNOUNCED') into.tooFar.add(`${s.code} after ${s.reached}`);
    }
    await sleep(SAMPLE_EVERY_MS, undefined, { signal }).catch(() => undefined);
  }
}

const isAtRest = (a: Account, sent: number): boolean =>
  a.totals.sent >= sent && a.studies.every((s) => s.state !== 'unaccounted' && (s.state !== 'waiting' || s.code === 'AWAITING_RELEASE'));

/** Asks until every study came to its end and no stage has anything left. The last account, at rest or not. */
async function untilAtRest(o: ChaosOptions, sent: number): Promise<{ account: Account; problems: string[] }> {
  const deadline = performance.now() + o.restMs;
  let told = '';
  for (;;) {
    o.signal.throwIfAborted();
    const { follower } = o.pipeline;
    const late = performance.now() > deadline;
    const account = await follower.account(AbortSignal.timeout(ACCOUNT_WITHIN_MS)).catch((error: unknown) => {
      if (late) throw error;
      return undefined;
    });
    if (account !== undefined) {
      const lag = await notConsumed(o.pipeline.ports);
      if (isAtRest(account, sent) && lag.length === 0) return { account, problems: [] };
      const left = `${account.totals.sent} of ${sent} sent, ${JSON.stringify(account.reasons)}, not consumed: ${lag.join(', ')}`;
      if (late) return { account, problems: [`not at rest ${o.restMs / 1000} s after the last fault: ${left}`] };
      if (left !== told) o.say(`coming to rest: ${left}`);
      told = left;
    }
    await sleep(1000, undefined, { signal: o.signal });
  }
}

/** The archivers write a few seconds after the events: waits until two checks agree, or gives the last. */
async function findFaultsPatiently(o: ChaosOptions, sent: readonly SentStudy[]): Promise<Findings> {
  const deadline = performance.now() + 90_000;
  for (;;) {
    const found = await findFaults(o.pipeline, sent);
    if ((found.lost.length === 0 && found.doubled.length === 0) || performance.now() > deadline) return found;
    await sleep(5000, undefined, { signal: o.signal });
  }
}

/** Runs the plan on a running pipeline whose stages the keeper keeps. */
export async function runChaos(o: ChaosOptions): Promise<ChaosResult> {
  const { pipeline, keeper, plan } = o;
  let kills = 0;
  const counts = new Map<string, FaultCount>();
  const sent: SentStudy[] = [];
  const samples: Samples = { taken: 0, tooFar: new Set() };
  const arena: Arena = { pipeline, keeper, env: chaosEnv(o.kafkaClient), killed: () => void (kills += 1) };
  const over = new AbortController();
  const stop = AbortSignal.any([over.signal, o.signal]);
  const sending = sendStudies({
    pacs: pipeline.pacs,
    seed: o.seed,
    everyMs: o.studyEveryMs,
    signal: stop,
    onSent: (s) => sent.push(s),
  });
  sending.catch(() => undefined);
  const sampling = sample(pipeline, samples, stop);
  const telling = setInterval(() => o.say(`${kills} kills, ${sent.length} studies sent, ${samples.taken} accounts taken`), 15_000);
  try {
    await applyPlan(arena, plan, counts, o);
  } finally {
    clearInterval(telling);
    over.abort();
    await sampling;
  }
  o.say(`${kills} kills; the faults are over, and ${sent.length} studies were sent`);
  await sending;
  const restStarted = performance.now();
  const { account, problems } = await untilAtRest(o, sent.length);
  const restSeconds = Math.round((performance.now() - restStarted) / 1000);
  const found = await findFaultsPatiently(o, sent);
  const unaccounted = account.studies.filter((s) => s.state === 'unaccounted');
  return {
    seed: o.seed,
    minutes: o.minutes,
    kafkaClient: o.kafkaClient,
    kills,
    faults: [...counts.values()].sort((a, b) => (`${a.fault} ${a.place}` < `${b.fault} ${b.place}` ? -1 : 1)),
    studies: sent.length,
    lost: found.lost.length + account.missing.length,
    doubled: found.doubled.length,
    unaccounted: unaccounted.length,
    hashMismatches: found.hashMismatches.length,
    deadLetters: found.deadLetters.length,
    samples: samples.taken,
    committedTooFar: samples.tooFar.size,
    manifests: found.manifests,
    records: found.records,
    repeated: found.repeated,
    standing: account.reasons,
    ownEnds: Object.fromEntries([...keeper.ownEnds].sort()),
    restSeconds,
    problems: [
      ...problems,
      ...unaccounted.map((s) => `unaccounted: ${s.key} (${s.code} after ${s.reached})`),
      ...account.missing.map((m) => `missing from the log: ${m}`),
      ...account.bad.map((b) => `${b.records} bad records in ${b.topic} (${b.code})`),
      ...[...samples.tooFar].map((s) => `committed without an outcome: ${s}`),
      ...found.lost.map((l) => `lost: ${l}`),
      ...found.doubled.map((d) => `doubled: ${d}`),
      ...found.hashMismatches.map((h) => `other bytes: ${h}`),
      ...found.deadLetters,
    ],
  };
}
