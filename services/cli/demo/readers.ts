// The demo's simulated readers: programs that use the readers' own API. Never called anything but simulated.
import { runSimulatedReader } from '../../label-queue/simulated-reader.ts';
import type { Running } from './deploy.ts';

export interface Readers {
  stop(): Promise<void>;
}

export function startReaders(running: Running, seed: number, signal: AbortSignal): Readers {
  const stop = new AbortController();
  const both = AbortSignal.any([stop.signal, signal]);
  const baseUrl = running.stages.apiUrl('label-queue');
  const working = running.provisioned.readers.map((r) =>
    runSimulatedReader({ baseUrl, readerId: r.id, token: r.token, seed, signal: both }).catch((error: unknown) => {
      if (!both.aborted)
        process.stderr.write(`the simulated reader ${r.id} stopped: ${error instanceof Error ? error.message : String(error)}\n`);
    }),
  );
  return {
    async stop() {
      stop.abort();
      await Promise.allSettled(working);
    },
  };
}
