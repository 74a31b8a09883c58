// A thread of `ctstream deid`: does one task after the other, as they come.
import { parentPort, workerData } from 'node:worker_threads';
import { deidWork } from './deid-work.ts';
import type { DeidFolders, DeidWork } from './deid-work.ts';
import type { Answer, Task } from './deid-pool.ts';

const work: DeidWork = deidWork(workerData as DeidFolders);

parentPort?.on('message', ({ id, method, args }: Task) => {
  const answer: Answer = { id };
  try {
    answer.value = (work[method] as (...args: readonly unknown[]) => unknown)(...args);
  } catch (error) {
    answer.error = error instanceof Error ? error : new Error(String(error));
  }
  parentPort?.postMessage(answer);
});
