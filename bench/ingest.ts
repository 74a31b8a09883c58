// Ingest against its limits and two peers: the same studies in the same PACS and store, in turn, in one run.
import { spawn } from 'node:child_process';
import { text } from 'node:stream/consumers';
import { startStages } from '../deploy/local/stages.ts';
import type { OrthancInstance } from '../deploy/local/platform.ts';
import type { DicomFile } from '../services/dicom/model.ts';
import { getObject, minioClient, pipeSeries, putObject, readSeries, seriesBytes, sumOf } from './ingest-limits.ts';
import type { PeerAnswer, PeerTask } from './ingest-peer-run.ts';
import { feedStudy, sourceSlices, type FedStudy, type StudyShape } from './ingest-studies.ts';
import { benchPlatform, cpuSecondsOf, peakRssMbOf, tellEnd, type BenchPlatform } from './platform.ts';
import { say } from './report.ts';
import { clear, secondsOf, secondsUntil } from './through.ts';

export interface IngestBenchOptions extends StudyShape {
  readonly dicom?: string;
  readonly rounds: number;
  readonly studies: number;
  readonly atOnce: number;
  /** Slices of the one study whose memory is measured. */
  readonly large: number;
}

export const CONTENDERS = ['wado', 'put', 'get', 'pipe', 'ours', 'client', 'slices'] as const;
export type Contender = (typeof CONTENDERS)[number];

export interface IngestBench {
  readonly bytes: number;
  readonly instances: number;
  /** Seconds of each round. */
  readonly seconds: Readonly<Record<Contender, number[]>>;
  /** Most memory of a process, in MB. */
  readonly rssMb: Readonly<{ ours: number; client: number; slices: number }>;
  /** Processor seconds of the ingest process, each round. */
  readonly cpuSeconds: readonly number[];
  /** One study by itself, from announced to stored, and the memory of the process that did only this. */
  readonly large: {
    readonly slices: number;
    readonly bytes: number;
    readonly seconds: number;
    readonly idleMb: number;
    readonly peakMb: number;
  };
}

const CENTRE = 'c01';
const BUCKET = 'ct-clinical';

/** Runs the bench. Throws when a study is not stored. */
export const benchIngest = async (o: IngestBenchOptions): Promise<IngestBench> => {
  const bench = await benchPlatform({ pacs: [CENTRE], partitions: 4 });
  try {
    return await measured(bench, o);
  } finally {
    await bench.stop();
  }
};

const measured = async (bench: BenchPlatform, o: IngestBenchOptions): Promise<IngestBench> => {
  const [pacs] = bench.platform.orthancs;
  if (pacs === undefined) throw new Error('there is no PACS');
  const sources = sourceSlices(o.dicom);
  const studies = await fedStudies(pacs, sources, o);
  const large = await feedStudy(pacs, sources, { series: 1, slices: o.large }, '2.25.9');
  say(`in the PACS: ${studies.length} studies of ${o.series} x ${o.slices} slices, one of ${o.large}`);
  const stages = await startStages({ ...bench, only: ['ingest'], onExit: (exit) => tellEnd(bench, exit) });
  try {
    const world: World = { bench, pacs, studies, atOnce: o.atOnce, pid: () => stages.pid('ingest') ?? 0 };
    const done = await inTurn(world, o.rounds);
    const oursMb = await peakRssMbOf(world.pid());
    // A process of its own, so that its peak is that of this study.
    await stages.kill('ingest', 'SIGTERM');
    await stages.start('ingest');
    const idleMb = await peakRssMbOf(world.pid());
    const seconds = await announced(world, [large], o.rounds + 1);
    const peakMb = await peakRssMbOf(world.pid());
    say(`${o.large} slices: ${seconds.toFixed(2)} s, ${peakMb} MB at most (${idleMb} MB before)`);
    return {
      ...done,
      bytes: sizeOf(studies),
      instances: studies.reduce((sum, s) => sum + s.instanceCount, 0),
      rssMb: { ...done.rssMb, ours: oursMb },
      large: { slices: o.large, bytes: large.sizeBytes, seconds, idleMb, peakMb },
    };
  } finally {
    await stages.stop();
  }
};

const sizeOf = (studies: readonly FedStudy[]): number => studies.reduce((sum, s) => sum + s.sizeBytes, 0);

const fedStudies = async (pacs: OrthancInstance, sources: readonly DicomFile[], o: IngestBenchOptions): Promise<FedStudy[]> => {
  const studies: FedStudy[] = [];
  for (let n = 1; n <= o.studies; n++) studies.push(await feedStudy(pacs, sources, o, `2.25.${n}0`));
  return studies;
};

interface World {
  readonly bench: BenchPlatform;
  readonly pacs: OrthancInstance;
  readonly studies: readonly FedStudy[];
  readonly atOnce: number;
  pid(): number;
}

const announced = ({ bench }: World, studies: readonly FedStudy[], sequence: number): Promise<number> =>
  secondsUntil(bench, studies, { sequence, type: 'ctstream.clinical.v1.StudyStored', topic: 'ct.clinical.study-stored.v1' });

/** A peer as a process of its own; its start does not count. */
const peerOf = async ({ bench, pacs, studies, atOnce }: World, peer: PeerTask['peer']): Promise<PeerAnswer> => {
  const task: PeerTask = {
    peer,
    pacs,
    minio: bench.platform.minio,
    bucket: bench.provisioned.bucketPrefix + BUCKET,
    atOnce,
    series: studies.flatMap((s) => s.seriesUids.map((series) => ({ study: s.uid, series, instances: s.instances.get(series) ?? [] }))),
  };
  const child = spawn(process.execPath, ['--no-warnings', new URL('ingest-peer-run.ts', import.meta.url).pathname], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  child.stdin.end(JSON.stringify(task));
  const answer = await text(child.stdout);
  if (answer === '') throw new Error(`the peer ${peer} failed`);
  await clear(bench.store, BUCKET);
  return JSON.parse(answer) as PeerAnswer;
};

const inTurn = async (world: World, rounds: number): Promise<Pick<IngestBench, 'seconds' | 'rssMb' | 'cpuSeconds'>> => {
  const { bench, pacs, studies, atOnce } = world;
  const seconds: Record<Contender, number[]> = { wado: [], put: [], get: [], pipe: [], ours: [], client: [], slices: [] };
  const rssMb = { ours: 0, client: 0, slices: 0 };
  const cpuSeconds: number[] = [];
  const client = minioClient(bench.platform);
  const bucket = bench.provisioned.bucketPrefix + BUCKET;
  const paths = studies.flatMap((s) => s.seriesUids.map((series) => `${s.uid}/series/${series}`));
  const body = await seriesBytes(pacs, paths[0] ?? '');
  const key = (i: number): string => `limit/${i}`;
  for (let round = 1; round <= rounds; round++) {
    seconds.wado.push(await secondsOf(() => sumOf(paths, atOnce, (path) => readSeries(pacs, path))));
    seconds.put.push(await secondsOf(() => sumOf(paths, atOnce, (_, i) => putObject(client, bucket, key(i), body))));
    seconds.get.push(await secondsOf(() => sumOf(paths, atOnce, (_, i) => getObject(client, bucket, key(i)))));
    await clear(bench.store, BUCKET);
    seconds.pipe.push(
      await secondsOf(() =>
        sumOf(paths, atOnce, (path, i) => pipeSeries(pacs, path, { client, bucket, key: key(i), length: body.length })),
      ),
    );
    await clear(bench.store, BUCKET);
    const cpuBefore = await cpuSecondsOf(world.pid());
    seconds.ours.push(await announced(world, studies, round));
    cpuSeconds.push((await cpuSecondsOf(world.pid())) - cpuBefore);
    for (const [name, peer] of [
      ['client', 'dicomweb-client'],
      ['slices', 'object-per-slice'],
    ] as const) {
      const answer = await peerOf(world, peer);
      seconds[name].push(answer.seconds);
      rssMb[name] = Math.max(rssMb[name], answer.maxRssMb);
    }
    say(`round ${round}: ${CONTENDERS.map((c) => `${c} ${Math.round(sizeOf(studies) / 1e6 / (seconds[c].at(-1) ?? 1))}`).join(', ')} MB/s`);
  }
  return { seconds, rssMb, cpuSeconds };
};
