// MinIO on a small disk that is full or not, as wanted: a file system in memory, whose size is that of what lies in it.
// Only root may mount it.
import { execFileSync } from 'node:child_process';
import { statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { restartPart } from '../../deploy/local/parts.ts';
import type { Platform } from '../../deploy/local/platform.ts';

export interface SmallDisk {
  /** Not a block more than it holds. */
  fill(): Promise<void>;
  free(): void;
  /** Ends MinIO too. */
  unmount(): Promise<void>;
}

const SIZE = '192m';
const TRIES = 20;

/** Gives an empty MinIO its disk. */
export async function smallDisk(platform: Platform): Promise<SmallDisk> {
  const at = join(platform.dir, 'minio', 'data');
  const mount = (...words: string[]): void => void execFileSync('mount', words, { stdio: 'pipe' });
  const remount = (size: string): void => mount('-o', `remount,size=${size}`, at);
  await restartPart(platform.dir, 'minio', undefined, 'stop');
  mount('-t', 'tmpfs', '-o', `size=${SIZE}`, 'tmpfs', at);
  await restartPart(platform.dir, 'minio', undefined, 'start');
  return {
    fill: async () => {
      // MinIO may write between the look and the mount, which then refuses.
      for (let tries = 1; ; tries += 1) {
        const { bsize, blocks, bfree } = await statfs(at);
        try {
          remount(String((blocks - bfree) * bsize));
          return;
        } catch (error) {
          if (tries === TRIES) throw error;
        }
      }
    },
    free: () => remount(SIZE),
    unmount: async () => {
      await restartPart(platform.dir, 'minio', undefined, 'stop');
      execFileSync('umount', [at], { stdio: 'pipe' });
    },
  };
}
