// A short run of `npm run chaos` with a fixed seed: services and parts of the platform are killed, stopped and doubled at
// random moments; nothing is lost or doubled. Also: the plan is a function of the seed.
import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { STAGE_NAMES } from '../../deploy/local/stages.ts';
import { DEFAULT_CLIENT } from '../../services/ports/event-bus.ts';
import { runInFolder } from '../chaos/in-folder.ts';
import { planFaults } from '../chaos/plan.ts';

const OPTIONS = { minutes: 0.6, kills: 12, centres: 2, seed: 5, kafkaClient: DEFAULT_CLIENT };

test('the seed makes the plan', () => {
  fc.assert(
    fc.property(fc.nat(), fc.integer({ min: 1, max: 20 }), fc.integer({ min: 10, max: 400 }), (seed, minutes, kills) => {
      const options = { seed, minutes, kills, centres: 3 };
      const plan = planFaults(options);
      expect(planFaults(options)).toEqual(plan);
      expect(planFaults({ ...options, seed: seed + 1 })).not.toEqual(plan);
      const killed = plan.filter((f) => f.kind === 'kill').map((f) => f.place);
      expect(killed).toHaveLength(kills);
      for (const name of STAGE_NAMES) expect(killed).toContain(name);
      expect(plan.every((f) => f.atMs >= 0 && f.atMs < minutes * 60_000)).toBe(true);
    }),
    { numRuns: 50 },
  );
});

test('random faults lose and double nothing', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'ctstream-random-faults-'));
  const signal = new AbortController().signal;
  const result = await runInFolder({ ...OPTIONS, dir, studyEveryMs: 4000, restMs: 120_000, say: () => undefined, signal });
  expect(result).toMatchObject({
    problems: [],
    lost: 0,
    doubled: 0,
    unaccounted: 0,
    hashMismatches: 0,
    deadLetters: 0,
    committedTooFar: 0,
  });
  expect(result.kills).toBeGreaterThanOrEqual(OPTIONS.kills);
  expect(result.studies).toBeGreaterThan(0);
  await rm(dir, { recursive: true, force: true });
});
