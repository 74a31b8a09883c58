// The whole way from announced to anonymised, against the bytes that must move: read from the PACS, put, got, put again.
import { startStages } from '../deploy/local/stages.ts';
import { getObject, minioClient, putObject, readSeries, seriesBytes, sumOf } from './ingest-limits.ts';
import { feedStudy, sourceSlices, type FedStudy, type StudyShape } from './ingest-studies.ts';
import { benchPlatform, cpuSecondsOf, peakRssMbOf, tellEnd, type BenchPlatform } from './platform.ts';
import { say } from './report.ts';
import { clear, secondsOf, secondsUntil } from './through.ts';

export interface PipelineBenchOptions extends StudyShape {
  readonly dicom?: string;
  readonly rounds: number;
  readonly studies: number;
  readonly atOnce: number;
}

export const STEPS = ['wado', 'put', 'get', 'putAgain'] as const;
export type Step = (typeof STEPS)[number];

export interface PipelineBench {
  readonly bytes: number;
  readonly instances: number;
  /** Seconds of each round. */
  readonly steps: Readonly<Record<Step, number[]>>;
  readonly ours: number[];
  readonly stages: Readonly<Record<'ingest' | 'anonymise', { cpuSeconds: number; rssMb: number }>>;
}

const CENTRE = 'c01';
const STAGES = ['ingest', 'anonymise'] as const;

/** Runs the bench. Throws when a study is not anonymised. */
export const benchPipeline = async (o: PipelineBenchOptions): Promise<PipelineBench> => {
  const bench = await benchPlatform({ pacs: [CENTRE], partitions: 4 });
  try {
    return await measured(bench, o);
  } finally {
    await bench.stop();
  }
};

const measured = async (bench: BenchPlatform, o: PipelineBenchOptions): Promise<PipelineBench> => {
  const [pacs] = bench.platform.orthancs;
  if (pacs === undefined) throw new Error('there is no PACS');
  const sources = sourceSlices(o.dicom);
  const studies: FedStudy[] = [];
  for (let n = 1; n <= o.studies; n++) studies.push(await feedStudy(pacs, sources, o, `2.25.${n}0`));
  const bytes = studies.reduce((sum, s) => sum + s.sizeBytes, 0);
  say(`in the PACS: ${studies.length} studies of ${o.series} x ${o.slices} slices, ${Math.round(bytes / 1e6)} MB`);
  const stages = await startStages({ ...bench, only: [...STAGES], onExit: (exit) => tellEnd(bench, exit) });
  try {
    const client = minioClient(bench.platform);
    const bucket = `${bench.provisioned.bucketPrefix}ct-clinical`;
    const paths = studies.flatMap((s) => s.seriesUids.map((series) => `${s.uid}/series/${series}`));
    const body = await seriesBytes(pacs, paths[0] ?? '');
    const put = (name: string): Promise<number> =>
      secondsOf(() => sumOf(paths, o.atOnce, (_, i) => putObject(client, bucket, `${name}/${i}`, body)));
    const steps: Record<Step, number[]> = { wado: [], put: [], get: [], putAgain: [] };
    const ours: number[] = [];
    for (let round = 1; round <= o.rounds; round++) {
      steps.wado.push(await secondsOf(() => sumOf(paths, o.atOnce, (path) => readSeries(pacs, path))));
      steps.put.push(await put('first'));
      steps.get.push(await secondsOf(() => sumOf(paths, o.atOnce, (_, i) => getObject(client, bucket, `first/${i}`))));
      steps.putAgain.push(await put('second'));
      await clear(bench.store, 'ct-clinical');
      const done = { sequence: round, type: 'ctstream.research.v1.StudyAnonymised', topic: 'ct.research.study-anonymised.v1' } as const;
      ours.push(await secondsUntil(bench, studies, done));
      const limit = STEPS.reduce((sum, step) => sum + (steps[step].at(-1) ?? 0), 0);
      say(`round ${round}: limit ${limit.toFixed(2)} s, ours ${ours.at(-1)?.toFixed(2)} s`);
    }
    const usage = async (name: (typeof STAGES)[number]): Promise<{ cpuSeconds: number; rssMb: number }> => {
      const pid = stages.pid(name) ?? 0;
      return { cpuSeconds: await cpuSecondsOf(pid), rssMb: await peakRssMbOf(pid) };
    };
    const used = { ingest: await usage('ingest'), anonymise: await usage('anonymise') };
    return { bytes, instances: studies.reduce((sum, s) => sum + s.instanceCount, 0), steps, ours, stages: used };
  } finally {
    await stages.stop();
  }
};
