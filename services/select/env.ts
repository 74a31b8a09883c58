// The environment of select, read once.
import { z } from 'zod';
import { databaseShape, erasureShape, kafkaShape, processShape, readEnv, stageShape } from '../runtime/env.ts';

export const selectEnvSchema = z.object({
  ...processShape,
  ...kafkaShape,
  ...databaseShape,
  ...stageShape,
  ...erasureShape,
  COHORT_FILE: z
    .string()
    .min(1)
    .default(new URL('./cohorts/demo.yaml', import.meta.url).pathname)
    .describe('Cohort file (YAML); its digest stands in every round.'),
  SELECT_EVERY_STUDIES: z.coerce
    .number()
    .int()
    .min(1)
    .default(50)
    .describe('A round closes when so many assessed studies wait below the cut.'),
  SELECT_EVERY_MS: z.coerce
    .number()
    .int()
    .min(100)
    .default(600_000)
    .describe('A round closes when an assessed study below the cut has waited so long.'),
  SELECT_HOLE_WAIT_MS: z.coerce
    .number()
    .int()
    .min(0)
    .default(3 * 3_600_000)
    .describe('How long an offset that did not come holds up its partition in the cut; longer than all retries take together.'),
  SELECT_TOKEN: z.string().min(16).optional().describe('Bearer token for POST /rounds; without it every POST is refused.'),
  API_HOST: z.string().min(1).default('127.0.0.1').describe('Address of POST /rounds; only callers on this machine may use it.'),
  API_PORT: z.coerce.number().int().min(0).max(65_535).default(0).describe('Port of POST /rounds; 0 takes any free one.'),
});

export type SelectEnv = z.output<typeof selectEnvSchema>;

export function readSelectEnv(): SelectEnv {
  return readEnv(selectEnvSchema);
}
