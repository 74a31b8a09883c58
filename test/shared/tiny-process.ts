// A process of runtime/ that does nothing: for tests of its life from outside. DO says how it ends.
import { z } from 'zod';
import { Fault } from '../../services/kernel/fault.ts';
import { ConfigError, processShape, readEnv } from '../../services/runtime/env.ts';
import { runProcess } from '../../services/runtime/process.ts';

const env = readEnv(
  z.object({ ...processShape, DO: z.enum(['wait', 'fail', 'config', 'fault', 'reject', 'throw', 'hang', 'linger', 'starting']) }),
);

await runProcess({ name: 'tiny', env }, async (ctx) => {
  if (env.DO === 'starting') while (!ctx.signal.aborted) await ctx.clock.sleep(1000, ctx.signal);
  let ready = false;
  ctx.health.ready(() => ready || 'not begun');
  ctx.onStop(() => void process.stderr.write('closed\n'));
  ctx.telemetry.counter('ctstream_tiny_total', 2, { colour: 'red' });
  await ctx.telemetry.span('work', {}, async () => ctx.log.info({ studyInstanceUid: '1.2.3', nested: { patientId: 'P1' } }, 'in a span'));
  if (env.DO === 'fail') throw new Error('Ivanov is not iterable');
  if (env.DO === 'config') throw new ConfigError(['A: wrong', 'B: wrong too']);
  if (env.DO === 'fault') throw new Fault('LOG_TRUNCATED', false, 't/0: committed 1');
  if (env.DO === 'reject') void Promise.reject(new Error('Ivanov'));
  if (env.DO === 'throw') setImmediate(() => void (JSON.parse('Ivanov') as unknown));
  if (env.DO === 'hang') ctx.onStop(() => new Promise(() => undefined));
  // Long enough for a second signal to come meanwhile.
  if (env.DO === 'linger') ctx.onStop(() => new Promise((resolve) => setTimeout(resolve, 700)));
  ready = true;
  while (!ctx.signal.aborted) await ctx.clock.sleep(1000, ctx.signal);
});
