// A process context for tests: real shapes, log lines kept, stopped by the test.
import { Writable } from 'node:stream';
import type { Clock } from '../../services/ports/clock.ts';
import { createLog } from '../../services/runtime/log.ts';
import type { ProcessContext } from '../../services/runtime/process.ts';
import { systemClock, systemRandom } from '../../services/runtime/system.ts';
import { apiTelemetry, type Telemetry } from '../../services/runtime/telemetry.ts';

export interface TestContext extends ProcessContext {
  /** As SIGTERM does. */
  stop(): void;
  /** Log lines so far. */
  lines(): string[];
  /** What /readyz would say against it. */
  waitsFor(): string[];
  /** Runs what was given to onStop, last first. */
  close(): Promise<void>;
}

export function testContext(o: { name?: string; clock?: Clock; telemetry?: Telemetry } = {}): TestContext {
  const name = o.name ?? 'test';
  const abort = new AbortController();
  const kept: string[] = [];
  const sink = new Writable({
    write: (chunk: Buffer, _encoding, done) => {
      kept.push(chunk.toString());
      done();
    },
  });
  const checks: (() => true | string)[] = [];
  const stops: (() => Promise<void> | void)[] = [];
  return {
    name,
    log: createLog(name, 'debug', sink),
    clock: o.clock ?? systemClock,
    random: systemRandom,
    signal: abort.signal,
    telemetry: o.telemetry ?? apiTelemetry(name),
    health: { ready: (check) => void checks.push(check), note: () => undefined },
    onStop: (stop) => void stops.push(stop),
    stop: () => abort.abort(),
    lines: () =>
      kept
        .join('')
        .split('\n')
        .filter((l) => l !== ''),
    waitsFor: () => checks.map((check) => check()).filter((answer) => answer !== true),
    close: async () => {
      for (const stop of stops.reverse()) await stop();
    },
  };
}

/** Waits until the condition holds; for things that happen elsewhere. Fails with what it waited for. */
export async function until(what: string, holds: () => boolean | Promise<boolean>, limitMs = 20_000): Promise<void> {
  const end = Date.now() + limitMs;
  while (!(await holds())) {
    if (Date.now() > end) throw new Error(`waited in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
