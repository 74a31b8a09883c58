// Configuration of an archiver.
import { z } from 'zod';
import { kafkaShape, processShape, registryShape, storeShape, vaultShape } from '../runtime/env.ts';

export const eventLogEnv = z.object({
  ...processShape,
  ...kafkaShape,
  ...storeShape,
  ...registryShape,
  ZONE: z.enum(['clinical', 'research']).describe('Which zone this archiver keeps; the clinical one needs the vault.'),
  ARCHIVE_EVERY_MS: z.coerce.number().int().min(200).default(10_000).describe('Pause between two looks at the log.'),
  ARCHIVE_MAX_RECORDS: z.coerce.number().int().min(1).max(1_000_000).default(50_000).describe('Most records of one Parquet file.'),
  ARCHIVE_AS_BAD: z
    .string()
    .default('')
    .transform((text) => new Set(text.split(',').filter((one) => one !== '')))
    .describe(
      'Records that nobody will ever read, as /readyz names them (<topic>/<partition>/<offset>, commas between): archived as bad rows, so that their partitions go on.',
    ),
  ARCHIVE_ANEW_BEFORE: z
    .string()
    .default('')
    .transform((text) => (text === '' ? 0 : Date.parse(text)))
    .refine((ms) => ms <= Date.now(), 'a time that has been, such as 2026-11-28T12:00:00Z')
    .describe(
      'When Kafka was lost: the time of that. Partitions that fail with LOG_TRUNCATED and whose last file is older are archived anew from the start of the log that is there, in files of their own, and told as errors; then take it away again. A research log is restored instead (docs/replay.md).',
    ),
  ...vaultShape,
});
