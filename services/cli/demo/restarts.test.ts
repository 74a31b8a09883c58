import { expect, test } from '@jest/globals';
import { setTimeout as sleep } from 'node:timers/promises';
import type { StageName } from '../../../deploy/local/stages.ts';
import { restarts, type RestartOptions } from './restarts.ts';

const EXIT = { name: 'assess', code: 1, signal: null } as const;

function setUp(o: Partial<RestartOptions> = {}): { r: ReturnType<typeof restarts>; started: StageName[]; said: string[] } {
  const started: StageName[] = [];
  const said: string[] = [];
  const r = restarts({ limit: 1, firstWaitMs: 1, say: (line) => said.push(line), ...o });
  r.attach({
    start: async (name) => void started.push(name),
    logFile: (name) => `logs/${name}.log`,
  });
  return { r, started, said };
}

test('a stage that ended is started again up to the limit, and each time it is said', async () => {
  const { r, started, said } = setUp();
  r.onExit(EXIT);
  while (started.length === 0) await sleep(1);
  r.onExit(EXIT);
  await sleep(20);
  expect(started).toEqual(['assess']);
  expect(said[0]).toMatch(/assess ended unexpectedly \(code 1\), see logs\/assess.log; it starts again/);
  expect(said.at(-1)).toMatch(/stays down/);
  await r.stop();
});

test('no stage is started after stop', async () => {
  const { r, started } = setUp({ firstWaitMs: 10, limit: 5 });
  r.onExit(EXIT);
  await r.stop();
  r.onExit(EXIT);
  await sleep(30);
  expect(started).toEqual([]);
});

test('a stage that cannot start does not end the process that watches it', async () => {
  const said: string[] = [];
  const r = restarts({ limit: 1, firstWaitMs: 1, say: (line) => said.push(line) });
  r.attach({ start: () => Promise.reject(new Error('assess ended while it started')), logFile: () => '' });
  r.onExit(EXIT);
  while (said.length < 2) await sleep(1);
  expect(said[1]).toBe('assess ended while it started');
  await r.stop();
});
