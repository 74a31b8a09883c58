// How long the studies of 47 centres wait, from announced to stored, with a bad centre beside them and without one.
import { writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { startStages } from '../deploy/local/stages.ts';
import { avroCodec } from '../services/adapters/avro-codec.ts';
import type { DicomFile } from '../services/dicom/model.ts';
import { revisionOf } from '../services/kernel/digest.ts';
import type { CentreId, StudyInstanceUid } from '../services/kernel/ids.ts';
import { startSmallPacs, type Manner, type PacsInstance, type SmallPacs } from '../test/shared/small-pacs.ts';
import { copyOf, sourceSlices } from './ingest-studies.ts';
import { benchPlatform, tellEnd, type BenchPlatform } from './platform.ts';
import { medianOf, say } from './report.ts';
import { watchTopics } from './watch-topics.ts';

export interface FairnessOptions {
  readonly rounds: number;
  /** Of each good centre in each run. */
  readonly studies: number;
  readonly slices: number;
  /** Time over which they are announced. */
  readonly seconds: number;
  /** Of the good centres' PACS, before each answer. */
  readonly latency: number;
}

/** The bad centres of a run. The first run has none. */
export const SCENES = ['none', 'hung', 'drip', 'flood', 'hung12'] as const;
export type Scene = (typeof SCENES)[number];

/** Waiting times in seconds, of each round. */
export type Waits = Readonly<Record<Scene, readonly (readonly number[])[]>>;

export const GOOD_CENTRES = 47;
export const TIMES_MORE = 100;
/** Studies that a hung or dripping centre announces first: more than it has connections. */
export const BAD_STUDIES = 10;
const HUNG_CENTRES = 12;
const TOPIC = 'ct.clinical.study-stored.v1';

const good = Array.from({ length: GOOD_CENTRES }, (_, i) => `good-${i + 1}`);
const hung = Array.from({ length: HUNG_CENTRES }, (_, i) => `hung-${i + 1}`);
const BAD: Readonly<Record<Scene, readonly string[]>> = {
  none: [],
  hung: hung.slice(0, 1),
  drip: ['drip'],
  flood: ['flood'],
  hung12: hung,
};
const MANNER: Readonly<Record<Scene, Manner>> = { none: 'well', hung: 'hangs', drip: 'drips', flood: 'well', hung12: 'hangs' };

/** Runs the bench. Throws when a study is not stored. */
export const benchFairness = async (o: FairnessOptions): Promise<Waits> => {
  const bench = await benchPlatform({ pacs: [], more: [...good, ...hung, 'drip', 'flood'], partitions: 2 });
  const servers: SmallPacs[] = [];
  try {
    const server = async (latencyMs: number): Promise<SmallPacs> => {
      const made = await startSmallPacs({ latencyMs });
      servers.push(made);
      return made;
    };
    const shared = await server(o.latency);
    const pacs = new Map<string, SmallPacs>(good.map((centre) => [centre, shared]));
    for (const centre of [...hung, 'drip', 'flood']) pacs.set(centre, await server(o.latency));
    return await measured(bench, pacs, o);
  } finally {
    await Promise.all(servers.map((s) => s.close()));
    await bench.stop();
  }
};

const measured = async (bench: BenchPlatform, pacs: ReadonlyMap<string, SmallPacs>, o: FairnessOptions): Promise<Waits> => {
  const entries = [...pacs].map(([id, { dicomWebUrl }]) => ({ id, dicomWebUrl, username: 'u', password: 'p', namespace: id }));
  await writeFile(bench.provisioned.file('centres.json'), JSON.stringify(entries), { mode: 0o600 });
  // Ingest with its defaults, but that what fails at the end of a run is tried again soon.
  const env = { ingest: { RETRY_DELAYS_MS: '500,500,500', PACS_BREAKER_MS: '1000' } };
  const stages = await startStages({ ...bench, only: ['ingest'], env, onExit: (exit) => tellEnd(bench, exit) });
  const stored = await followStored(bench);
  const world: World = { bench, pacs, stored: stored.byStudy, sources: sourceSlices(undefined) };
  const waits: Record<Scene, number[][]> = { none: [], hung: [], drip: [], flood: [], hung12: [] };
  try {
    // Nothing of the first connections and compilations is in a figure.
    await run(world, 'none', { ...o, studies: 1, seconds: 2 });
    for (let round = 1; round <= o.rounds; round += 1) {
      for (const scene of SCENES) {
        const seconds = await run(world, scene, o);
        waits[scene].push(seconds);
        say(`round ${round}, ${scene}: p50 ${medianOf(seconds).toFixed(2)} s, max ${Math.max(...seconds).toFixed(2)} s`);
      }
    }
  } finally {
    await stored.stop();
    await stages.stop();
  }
  return waits;
};

interface World {
  readonly bench: BenchPlatform;
  readonly pacs: ReadonlyMap<string, SmallPacs>;
  /** Time of the stored event by StudyInstanceUID. */
  readonly stored: ReadonlyMap<string, number>;
  readonly sources: readonly DicomFile[];
}

const followStored = async ({ bus }: BenchPlatform): Promise<{ byStudy: Map<string, number>; stop(): Promise<void> }> => {
  const codec = avroCodec();
  const byStudy = new Map<string, number>();
  const watch = await watchTopics(bus, [TOPIC]);
  const reading = (async () => {
    for await (const record of watch.records()) {
      const { type, value, timeMs } = codec.decode(record);
      if (type === 'ctstream.clinical.v1.StudyStored') byStudy.set(value.studyInstanceUid, timeMs);
    }
  })();
  const stop = async (): Promise<void> => {
    await watch.stop();
    await reading;
  };
  return { byStudy, stop };
};

let drawn = 0;

/** A study in the centre's PACS; its files are made when they are asked for. */
const newStudy = ({ pacs, sources }: World, centre: string, slices: number): string => {
  drawn += 1;
  const study = `2.25.7${drawn}`;
  const instances = Array.from({ length: slices }, (_, i): PacsInstance => {
    const [seriesInstanceUid, sopInstanceUid] = [`${study}.1`, `${study}.1.${i + 1}`];
    return {
      seriesInstanceUid,
      sopInstanceUid,
      get bytes() {
        const source = sources[i % sources.length];
        if (source === undefined) throw new Error('there is no slice to copy');
        return copyOf(source, [study, seriesInstanceUid, sopInstanceUid], i + 1);
      },
    };
  });
  pacs.get(centre)?.studies.set(study, instances);
  return study;
};

const announce = async ({ bench, pacs }: World, studies: readonly { centre: string; study: string }[]): Promise<void> => {
  const codec = avroCodec();
  const records = studies.map(({ centre, study }) => {
    const instances = pacs.get(centre)?.studies.get(study) ?? [];
    const value = {
      centre: centre as CentreId,
      studyInstanceUid: study as StudyInstanceUid,
      revision: revisionOf(instances.map(({ seriesInstanceUid, sopInstanceUid }) => ({ seriesInstanceUid, sopInstanceUid }))),
      sequence: 1,
      instanceCount: instances.length,
      seriesCount: 1,
      modalities: ['CT'],
      noticedBy: 'poll',
    };
    return codec.encode(
      { type: 'ctstream.clinical.v1.StudyAvailable', value },
      { id: `bench-${study}`, source: 'bench', timeMs: Date.now() },
    );
  });
  await bench.bus.publish(records);
};

/** One run: the bad centres announce theirs first, then the good ones one after the other, evenly. Seconds that the latter waited. */
const run = async (world: World, scene: Scene, o: FairnessOptions): Promise<number[]> => {
  const count = scene === 'flood' ? TIMES_MORE * o.studies : BAD_STUDIES;
  const bad = BAD[scene].flatMap((centre) => Array.from({ length: count }, () => ({ centre, study: newStudy(world, centre, o.slices) })));
  for (const centre of BAD[scene]) setManner(world, centre, MANNER[scene]);
  if (bad.length > 0) await announce(world, bad);
  const announced = new Map<string, number>();
  const startMs = Date.now();
  const total = o.studies * GOOD_CENTRES;
  for (let n = 0; n < total; n += 1) {
    await sleep(Math.max(0, startMs + (n * o.seconds * 1000) / total - Date.now()));
    const centre = good[n % GOOD_CENTRES] ?? '';
    const study = newStudy(world, centre, o.slices);
    announced.set(study, Date.now());
    await announce(world, [{ centre, study }]);
  }
  await untilStored(world, [...announced.keys()]);
  // Well again: what the bad ones announced is not lost, and not left to the next run.
  for (const centre of BAD[scene]) {
    setManner(world, centre, 'well');
    if (scene !== 'flood') world.pacs.get(centre)?.breakAll();
  }
  await untilStored(
    world,
    bad.map((b) => b.study),
  );
  for (const one of world.pacs.values()) one.studies.clear();
  return [...announced].map(([study, ms]) => ((world.stored.get(study) ?? 0) - ms) / 1000);
};

const setManner = ({ pacs }: World, centre: string, manner: Manner): void => {
  const one = pacs.get(centre);
  if (one !== undefined) one.manner = manner;
};

const GIVE_UP_MS = 120_000;

const untilStored = async ({ stored }: World, studies: readonly string[]): Promise<void> => {
  const deadline = Date.now() + GIVE_UP_MS;
  for (;;) {
    const missing = studies.filter((s) => !stored.has(s)).length;
    if (missing === 0) return;
    if (Date.now() > deadline) throw new Error(`${missing} of ${studies.length} studies are not stored after ${GIVE_UP_MS / 1000} s`);
    await sleep(50);
  }
};
