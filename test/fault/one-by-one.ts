// Faults one after the other, a study for each: the fault begins, the study is sent, the fault ends, the study comes through.
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import topicsFile from '../../schemas/topics.json' with { type: 'json' };
import { processStart } from '../../deploy/local/processes.ts';
import type { StageExit, StageName } from '../../deploy/local/stages.ts';
import { flushArchives } from '../../services/cli/demo/steps.ts';
import { patientOf } from '../../services/cli/phantom/people.ts';
import type { Milestone } from '../../services/kernel/accounting.ts';
import { sendStudy, type SentStudy } from '../chaos/sender.ts';
import { until, type Pipeline } from '../integration/pipeline.ts';
import { committedTooFar, restAndCheck, type Verdict } from './verdict.ts';

export interface TimedFault {
  readonly fault: string;
  readonly place: string;
  /** Where the study has come to when the time of the fault begins to count. */
  readonly since: Milestone;
  /** What the study must come to, at the latest when the fault is over; 'archived': the archive holds all that is in the log. */
  readonly through: Milestone | 'archived';
  /** How long it lasts from `since` on; 'study' when a study can come through meanwhile, and must. */
  readonly lasts: number | 'study';
  begin(): Promise<void>;
  /** Begins what people do from `since` on until the study has come through, the fault or not. */
  meanwhile?(studies: number, over: AbortSignal): void;
  end(): Promise<void>;
}

export interface OneByOne {
  readonly faults: readonly Pick<TimedFault, 'fault' | 'place'>[];
  readonly studies: number;
  /** Tries that failed and were repeated after a wait, per stage. */
  readonly retries: Readonly<Record<string, number>>;
  /** Processes that gave up by themselves and were started again, as `stage code`. */
  readonly ownEnds: readonly string[];
  readonly verdict: Verdict;
}

const WITHIN_MS = 150_000;

export async function oneByOne(
  p: Pipeline,
  faults: readonly TimedFault[],
  o: { seed: number; ownEnds: readonly string[]; say: (line: string) => void },
): Promise<OneByOne> {
  const tooFar = new Set<string>();
  const sent: SentStudy[] = [];
  const index = newPatients(o.seed);
  const send = async (): Promise<number> => sent.push(await sendStudy({ pacs: p.pacs, seed: o.seed }, index.next().value));
  for (const fault of faults) {
    const found = await survive(p, fault, send).catch((error: unknown) => {
      throw new Error(`${fault.fault}, ${fault.place}`, { cause: error });
    });
    for (const one of found) tooFar.add(one);
    o.say(`${fault.fault}, ${fault.place}: survived`);
  }
  const verdict = await restAndCheck(p, sent, [...tooFar]);
  return {
    faults: faults.map(({ fault, place }) => ({ fault, place })),
    studies: sent.length,
    retries: await retriesOf(p),
    ownEnds: o.ownEnds,
    verdict,
  };
}

/** One fault and its study. Gives what was committed without an outcome while the fault was on. */
async function survive(p: Pipeline, fault: TimedFault, send: () => Promise<number>): Promise<string[]> {
  const over = new AbortController();
  try {
    await fault.begin();
    const { studies, tooFar } = await sendInto(p, fault, send, over.signal);
    await untilReached(p, fault.through, studies);
    return tooFar;
  } finally {
    over.abort();
  }
}

async function sendInto(
  p: Pipeline,
  fault: TimedFault,
  send: () => Promise<number>,
  over: AbortSignal,
): Promise<{ studies: number; tooFar: string[] }> {
  try {
    const studies = await send();
    await untilReached(p, fault.since, studies);
    fault.meanwhile?.(studies, over);
    if (fault.lasts === 'study') await untilReached(p, fault.through, studies);
    else await sleep(fault.lasts);
    return { studies, tooFar: await committedTooFar(p) };
  } finally {
    await fault.end();
  }
}

/** Numbers of studies of a patient each: select takes one of each patient, and each study shall come to the end. */
function* newPatients(seed: number): Generator<number, never> {
  for (let index = 0; ; index += 1) if (patientOf(seed, index).visit === 0) yield index;
}

async function untilReached(p: Pipeline, where: Milestone | 'archived', studies: number): Promise<void> {
  if (where === 'archived') {
    const isArchived = await flushArchives(p.ports, join(p.dir, 'event-log'), AbortSignal.timeout(WITHIN_MS));
    if (!isArchived) throw new Error('the archive does not have all that is in the log');
    // The gateway may be kept from telling of a study that was sent.
  } else if (where !== 'sent') await until(p, (a) => a.reached[where] === studies, WITHIN_MS);
}

async function retriesOf({ ports }: Pipeline): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const [stage, zone] of Object.entries(topicsFile.stages)) {
    const ends = await ports.bus.ends(await ports.bus.topics([`ct.${zone}.${stage}.retry.*`]));
    const n = ends.reduce((sum, e) => sum + Number(e.end), 0);
    if (n > 0) counts[stage] = n;
  }
  return counts;
}

export interface Keeper {
  readonly ownEnds: string[];
  readonly onExit: (exit: StageExit) => void;
  /** From now on a stage that gave up is started again, with the environment given for it. */
  attach(p: Pipeline, env: Readonly<Partial<Record<StageName, Record<string, string>>>>): void;
  stop(): Promise<void>;
}

/** What an orchestrator does: a process that ends is started again. */
export function keepUp(): Keeper {
  let start: ((name: StageName) => Promise<void>) | undefined;
  let stopping = false;
  const going = new Set<Promise<void>>();
  const ownEnds: string[] = [];
  return {
    ownEnds,
    onExit: ({ name, code, signal }) => {
      if (start === undefined || stopping) return;
      ownEnds.push(`${name} ${signal ?? code}`);
      const work = start(name).finally(() => going.delete(work));
      going.add(work);
    },
    attach: (p, env) => {
      const isUp = (name: StageName): boolean => {
        const pid = p.stages.pid(name);
        return pid !== undefined && processStart(pid) !== undefined;
      };
      start = async (name) => {
        while (!stopping && !isUp(name)) await p.stages.start(name, env[name]).catch(() => sleep(300));
      };
    },
    stop: async () => {
      stopping = true;
      await Promise.all(going);
    },
  };
}
