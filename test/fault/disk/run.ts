// MinIO's disk is full from before a study is pulled, or from when it is stored and has to be anonymised, and has room again
// some seconds later. A whole pipeline; the disk is a small file system in memory, which only root may mount.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Platform } from '../../../deploy/local/platform.ts';
import { startPipeline, type Pipeline } from '../../integration/pipeline.ts';
import { keepUp, oneByOne, type OneByOne, type TimedFault } from '../one-by-one.ts';
import { smallDisk, type SmallDisk } from '../small-disk.ts';

export interface DiskOptions {
  readonly platform: Platform;
  readonly seed: number;
  /** Most faults. */
  readonly most?: number;
  readonly say: (line: string) => void;
}

const FULL_MS = 15_000;
const ENV = { RETRY_DELAYS_MS: '2000,4000,8000' };
/** Each of both, so many times. */
const ROUNDS = 3;

export async function fillDisk(o: DiskOptions): Promise<OneByOne> {
  const disk = await smallDisk(o.platform);
  const keeper = keepUp();
  const env = { ingest: ENV, anonymise: ENV, assess: ENV };
  try {
    const p = await startPipeline({ name: 'full-disk', centres: 1, platform: o.platform, env, onExit: keeper.onExit });
    try {
      keeper.attach(p, env);
      const faults = Array.from({ length: ROUNDS }, () => [beforeThePull(disk), onceStored(p, disk)]).flat();
      return await oneByOne(p, faults.slice(0, o.most), { seed: o.seed, ownEnds: keeper.ownEnds, say: o.say });
    } finally {
      await keeper.stop();
      await p.stop();
    }
  } finally {
    await disk.unmount();
  }
}

const FAULT = {
  fault: `MinIO's disk is full, for ${FULL_MS / 1000} s`,
  since: 'available',
  through: 'anonymised',
  lasts: FULL_MS,
} as const;

const beforeThePull = (disk: SmallDisk): TimedFault => ({
  ...FAULT,
  place: 'before the study is pulled',
  begin: disk.fill,
  end: async () => disk.free(),
});

function onceStored(p: Pipeline, disk: SmallDisk): TimedFault {
  let filling: Promise<void> = Promise.resolve();
  const fillOnceStored = async (): Promise<void> => {
    const stored = async (): Promise<number> => (await p.follower.account(AbortSignal.timeout(60_000))).reached.stored;
    const before = await stored();
    for (let i = 0; i < 600 && (await stored()) === before; i += 1) await sleep(20);
    await disk.fill();
  };
  return {
    ...FAULT,
    place: 'once the study is stored',
    begin: async () => {
      filling = fillOnceStored();
      filling.catch(() => undefined);
    },
    end: async () => {
      await filling;
      disk.free();
    },
  };
}
