// Lets the wall clock of stages jump, for good or and back again, a study for each jump, in a whole pipeline.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { STAGE_NAMES, type StageName } from '../../../deploy/local/stages.ts';
import { startPipeline } from '../../integration/pipeline.ts';
import { keepUp, oneByOne, type OneByOne, type TimedFault } from '../one-by-one.ts';
import type { RunOptions } from '../one-by-one-command.ts';

const MINUTE_MS = 60_000;
const AWAY_MS = 6000;

/** S3 servers refuse a request whose clock is off by more than 15 minutes, so no study comes through a longer jump. */
const JUMPS: readonly (Pick<TimedFault, 'fault' | 'lasts'> & { readonly shiftMs: number })[] = [
  { fault: 'clock jumps 10 minutes ahead, and back after the study', shiftMs: 10 * MINUTE_MS, lasts: 'study' },
  { fault: 'clock jumps 10 minutes back, and ahead after the study', shiftMs: -10 * MINUTE_MS, lasts: 'study' },
  { fault: 'clock jumps 2 hours ahead for 6 s', shiftMs: 120 * MINUTE_MS, lasts: AWAY_MS },
  { fault: 'clock jumps 2 hours back for 6 s', shiftMs: -120 * MINUTE_MS, lasts: AWAY_MS },
];
const PLACES: readonly { readonly place: string; readonly stages: readonly StageName[] }[] = [
  { place: 'ingest', stages: ['ingest'] },
  { place: 'anonymise', stages: ['anonymise'] },
  { place: 'all services', stages: STAGE_NAMES },
];

export async function jumpClocks(o: Omit<RunOptions, 'most'> & { readonly places?: readonly string[] }): Promise<OneByOne> {
  const dir = await mkdtemp(join(tmpdir(), 'ctstream-clock-'));
  const fileOf = (stage: StageName): string => join(dir, stage);
  const set = async (stages: readonly StageName[], shiftMs: number): Promise<void> => {
    for (const stage of stages) await writeFile(fileOf(stage), String(shiftMs));
  };
  await set(STAGE_NAMES, 0);
  const environment = (stage: StageName): Record<string, string> => ({
    NODE_OPTIONS: `--import=${new URL('./register.ts', import.meta.url).href}`,
    CTSTREAM_CLOCK_FILE: fileOf(stage),
    KAFKA_SESSION_TIMEOUT_MS: '6000',
    RETRY_DELAYS_MS: '2000,4000,8000',
  });
  const keeper = keepUp();
  const p = await startPipeline({
    name: 'clock',
    centres: 1,
    platform: o.platform,
    env: Object.fromEntries(STAGE_NAMES.map((stage) => [stage, environment(stage)])),
    onExit: keeper.onExit,
  });
  keeper.attach(p, {});
  try {
    const faults = PLACES.filter(({ place }) => o.places?.includes(place) ?? true).flatMap(({ place, stages }) =>
      JUMPS.map(({ fault, lasts, shiftMs }) => ({
        fault,
        place,
        since: 'available' as const,
        through: 'anonymised' as const,
        lasts,
        begin: () => set(stages, shiftMs),
        end: () => set(stages, 0),
      })),
    );
    return await oneByOne(p, faults, { seed: o.seed, ownEnds: keeper.ownEnds, say: o.say });
  } finally {
    await keeper.stop();
    await p.stop();
    await rm(dir, { recursive: true, force: true });
  }
}
