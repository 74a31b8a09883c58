// The environment of ingest.
import { tmpdir } from 'node:os';
import { z } from 'zod';
import { LEAST_BYTES_PER_S, LONGEST_PULL_MS } from '../kernel/sweep.ts';
import { kafkaShape, processShape, readEnv, stageShape, storeShape } from '../runtime/env.ts';

const positive = z.coerce.number().int().min(1);

const shape = {
  ...processShape,
  ...kafkaShape,
  ...storeShape,
  ...stageShape,
  CENTRES_FILE: z.string().min(1).describe('JSON file (mode 0600) with the centres: id, dicomWebUrl, username, password.'),
  PACS_CONNECTIONS: positive.max(32).default(2).describe('Studies pulled from one centre at a time.'),
  PACS_TIMEOUT_MS: positive.default(30_000).describe('Longest wait for a search answer, and longest silence within a stream.'),
  PACS_SLOW_BYTES_PER_S: positive
    .default(1024 * 1024)
    .describe(
      'A pull that waits for its PACS and moves less than this gives its place among CONCURRENCY to others and goes on without one.',
    ),
  PACS_SLOW_PULLS: z.coerce
    .number()
    .int()
    .min(0)
    .default(24)
    .describe('Most such pulls of all centres at a time, about 16 MB each; further ones keep their places.'),
  PACS_STUDIES_PER_MINUTE: z.coerce
    .number()
    .positive()
    .optional()
    .describe(
      'Most studies begun per minute for a centre whose entry in CENTRES_FILE has no quota.studiesPerMinute; no limit when not set.',
    ),
  PACS_BYTES_PER_S: positive
    .min(LEAST_BYTES_PER_S, `is less than ${LEAST_BYTES_PER_S}, with which a study of 1 GB does not come in the longest time of a pull`)
    .optional()
    .describe('Most bytes per second taken from a centre whose entry in CENTRES_FILE has no quota.bytesPerSecond; no limit when not set.'),
  PACS_BREAKER_MS: positive.default(15_000).describe('How long a PACS that did not answer 3 times in a row is left alone.'),
  SPILL_FOLDER: z
    .string()
    .min(1)
    .default(tmpdir())
    .describe('Folder for single instances larger than SPILL_MEMORY_BYTES while they stream through.'),
  SPILL_MEMORY_BYTES: positive.default(32 * 1024 * 1024).describe('Largest instance that is held in memory while its size is not known.'),
  SPILL_FREE_BYTES: z.coerce
    .number()
    .int()
    .min(0)
    .default(256 * 1024 * 1024)
    .describe('Free bytes in SPILL_FOLDER below which no new study is taken, until there is a quarter more.'),
  CLINICAL_BUDGET_BYTES: positive
    .optional()
    .describe(
      'Bytes that ct-clinical may hold: at 90% no new study is taken, until it is at 80%. Without it only a full store stops ingest.',
    ),
  CLINICAL_KEEP_DAYS: z.coerce
    .number()
    .min(0)
    .default(30)
    .describe("Days that originals stay after their study's final outcome (docs/retention.md)."),
  SWEEP_EVERY_MS: positive
    .default(600_000)
    .describe('How often ct-clinical is listed: to remove what nobody names, free what is done, and count its bytes.'),
  INSTANCE_LIMIT_BYTES: positive
    .max(8 * 1024 ** 3 - 1)
    .default(4 * 1024 ** 3)
    .describe('Largest instance that is taken; a larger one rejects its study with LIMIT_EXCEEDED.'),
};

export const ingestEnvSchema = z.object(shape).refine((env) => (env.JOB_TIMEOUT_MS ?? 0) <= LONGEST_PULL_MS, {
  path: ['JOB_TIMEOUT_MS'],
  error: `is more than ${LONGEST_PULL_MS}, the longest time of a pull with all its waits`,
});

export type IngestEnv = z.output<typeof ingestEnvSchema>;

export function readIngestEnv(): IngestEnv {
  return readEnv(ingestEnvSchema);
}
