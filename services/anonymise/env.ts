// The environment of anonymise: stores, vault, centres and where unverified files may lie.
import { tmpdir } from 'node:os';
import { z } from 'zod';
import { INSTANCE_LIMIT_MB } from './instance-limit.ts';
import { erasureShape, kafkaShape, processShape, readEnv, stageShape, storeShape, vaultShape } from '../runtime/env.ts';

export const anonymiseEnv = z.object({
  ...processShape,
  ...kafkaShape,
  ...storeShape,
  ...stageShape,
  ...vaultShape,
  ...erasureShape,
  CONCURRENCY: z.coerce
    .number()
    .int()
    .min(1)
    .max(64)
    .default(2)
    .describe('Most studies at a time; each needs one instance in memory and its series in SPOOL_FOLDER.'),
  // A study of a centre that waits behind a flood's in one of 48 partitions gets its turn only when it is in hand.
  WINDOW: z.coerce
    .number()
    .int()
    .min(1)
    .max(10_000)
    .default(256)
    .describe(
      "Most records of a partition in hand: between the committed offset and the newest one taken. Of what is in hand the centres take turns; 256 hold about 10,000 studies of one centre before another's are kept waiting by them.",
    ),
  CENTRES_FILE: z.string().min(1).describe('The centres (JSON, mode 600): only their ids and namespaces are used here.'),
  CITY_ISSUERS_FILE: z
    .string()
    .min(1)
    .optional()
    .describe('Ids that hold for the whole city (JSON: issuer, namespace, digits, check; see docs/vault.md). Without it none does.'),
  ORIGINALS_MB: z.coerce
    .number()
    .int()
    .min(0)
    .max(16_384)
    .default(256)
    .describe('Most memory for originals between survey and cleaning, of all studies together. What finds no room is fetched twice.'),
  INSTANCE_LIMIT_MB: z.coerce
    .number()
    .int()
    .min(1)
    .max(2048)
    .default(INSTANCE_LIMIT_MB)
    .describe(
      'Largest instance that is read; a larger CT image is left behind as LIMIT_EXCEEDED, other objects as what they are. CONCURRENCY times this, ORIGINALS_MB and 1 GB more fit into the memory of the process.',
    ),
  SPOOL_FOLDER: z
    .string()
    .min(1)
    .default(tmpdir())
    .describe('Folder in the clinical zone for de-identified series until the whole study is verified.'),
});

export type AnonymiseEnv = z.output<typeof anonymiseEnv>;

export const readAnonymiseEnv = (): AnonymiseEnv => readEnv(anonymiseEnv);
