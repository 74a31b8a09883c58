// The environment of ingest.
import { tmpdir } from 'node:os';
import { z } from 'zod';
import { kafkaShape, processShape, readEnv, stageShape, storeShape } from '../runtime/env.ts';

const positive = z.coerce.number().int().min(1);

export const ingestEnvSchema = z.object({
  ...processShape,
  ...kafkaShape,
  ...storeShape,
  ...stageShape,
  CENTRES_FILE: z.string().min(1).describe('JSON file (mode 0600) with the centres: id, dicomWebUrl, username, password.'),
  PACS_CONNECTIONS: positive.max(32).default(2).describe('Studies pulled from one centre at a time.'),
  PACS_TIMEOUT_MS: positive.default(30_000).describe('Longest wait for a search answer, and longest silence within a stream.'),
  PACS_BREAKER_MS: positive.default(15_000).describe('How long a PACS that did not answer 3 times in a row is left alone.'),
  SPILL_FOLDER: z
    .string()
    .min(1)
    .default(tmpdir())
    .describe('Folder for single instances larger than SPILL_MEMORY_BYTES while they stream through.'),
  SPILL_MEMORY_BYTES: positive.default(32 * 1024 * 1024).describe('Largest instance that is held in memory while its size is not known.'),
  INSTANCE_LIMIT_BYTES: positive
    .max(8 * 1024 ** 3 - 1)
    .default(4 * 1024 ** 3)
    .describe('Largest instance that is taken; a larger one rejects its study with LIMIT_EXCEEDED.'),
});

export type IngestEnv = z.output<typeof ingestEnvSchema>;

export function readIngestEnv(): IngestEnv {
  return readEnv(ingestEnvSchema);
}
