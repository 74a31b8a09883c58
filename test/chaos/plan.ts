// What is done to the running system, where and when: a pure function of the seed.
import { STAGE_NAMES, type StageName } from '../../deploy/local/stages.ts';
import { random, type Random } from '../../services/cli/phantom/random.ts';

/** A part of the platform, as deploy/local names it; the PACSs are numbered by centre, from 0. */
export type PartPlace = 'kafka' | 'minio' | 'postgres' | `orthanc/${number}`;
export type Place = StageName | PartPlace;

export type Fault =
  /** SIGKILL; started again at once. */
  | { readonly kind: 'kill'; readonly place: Place; readonly atMs: number }
  /** SIGSTOP, and SIGCONT after `forMs`. */
  | { readonly kind: 'pause'; readonly place: Place; readonly atMs: number; readonly forMs: number }
  /** Another process of the stage joins the group, and leaves it again after `forMs`, in order or by SIGKILL. */
  | {
      readonly kind: 'second consumer';
      readonly place: StageName;
      readonly atMs: number;
      readonly forMs: number;
      readonly endsBy: 'SIGTERM' | 'SIGKILL';
    };

export interface PlanOptions {
  readonly seed: number;
  readonly minutes: number;
  /** SIGKILLs, those of second consumers not counted. */
  readonly kills: number;
  readonly centres: number;
}

/** Stages of which several processes may share the work. The gateway has one state file, release one staging folder. */
const MAY_BE_TWO: readonly StageName[] = [
  'ingest',
  'anonymise',
  'assess',
  'select',
  'label-queue',
  'archiver-clinical',
  'archiver-research',
];

/** Of so many kills one hits a part of the platform: it takes everything down for seconds. */
const KILLS_PER_PART_KILL = 10;
const STAGE_PAUSE_EVERY_MS = 12_000;
const PART_PAUSE_EVERY_MS = 45_000;
const SECOND_EVERY_MS = 30_000;

/** Every card comes once before one comes again. */
function deck<T>(cards: readonly T[], draw: Random): () => T {
  let left: T[] = [];
  return () => {
    if (left.length === 0) left = [...cards];
    const [card] = left.splice(draw.whole(0, left.length - 1), 1);
    if (card === undefined) throw new Error('a deck without cards');
    return card;
  };
}

/** `count` moments, one somewhere in each of as many equal parts of the time. */
function moments(count: number, limitMs: number, draw: Random): number[] {
  const stepMs = limitMs / count;
  return Array.from({ length: count }, (_, i) => Math.floor((i + draw.next()) * stepMs));
}

function partPlaces(centres: number): PartPlace[] {
  return ['kafka', 'minio', 'postgres', ...Array.from({ length: centres }, (_, i) => `orthanc/${i}` as const)];
}

function kills(o: PlanOptions, limitMs: number): Fault[] {
  const draw = random(o.seed, 'kill');
  const stage = deck(STAGE_NAMES, draw);
  const part = deck(partPlaces(o.centres), draw);
  return moments(o.kills, limitMs, draw).map((atMs, i) => ({
    kind: 'kill',
    place: i % KILLS_PER_PART_KILL === KILLS_PER_PART_KILL - 1 ? part() : stage(),
    atMs,
  }));
}

function pauses(o: PlanOptions, limitMs: number): Fault[] {
  const draw = random(o.seed, 'pause');
  const stage = deck(STAGE_NAMES, draw);
  const part = deck(partPlaces(o.centres), draw);
  // Every second one outlasts the session timeout (6 s here): the group gives its partitions away, and it comes back as a zombie.
  const ofStages = moments(Math.floor(limitMs / STAGE_PAUSE_EVERY_MS), limitMs, draw).map((atMs, i) => {
    const forMs = i % 2 === 0 ? draw.whole(300, 3000) : draw.whole(7500, 10_000);
    return { kind: 'pause', place: stage(), atMs, forMs } as const;
  });
  const ofParts = moments(Math.floor(limitMs / PART_PAUSE_EVERY_MS), limitMs, draw).map((atMs) => {
    return { kind: 'pause', place: part(), atMs, forMs: draw.whole(1500, 7000) } as const;
  });
  return [...ofStages, ...ofParts];
}

function seconds(o: PlanOptions, limitMs: number): Fault[] {
  const draw = random(o.seed, 'second');
  const stage = deck(MAY_BE_TWO, draw);
  return moments(Math.floor(limitMs / SECOND_EVERY_MS), limitMs, draw).map((atMs) => ({
    kind: 'second consumer',
    place: stage(),
    atMs,
    forMs: draw.whole(5000, 12_000),
    endsBy: draw.chance(0.5) ? 'SIGKILL' : 'SIGTERM',
  }));
}

/** The faults in the order of their moments. The same options give the same list. */
export function planFaults(o: PlanOptions): Fault[] {
  const limitMs = o.minutes * 60_000;
  return [...kills(o, limitMs), ...pauses(o, limitMs), ...seconds(o, limitMs)].sort((a, b) => a.atMs - b.atMs);
}
