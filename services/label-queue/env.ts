// The environment of label-queue, read once.
import { z } from 'zod';
import { databaseShape, erasureShape, kafkaShape, processShape, readEnv, stageShape, storeShape } from '../runtime/env.ts';

export const labelQueueEnvSchema = z.object({
  ...processShape,
  ...kafkaShape,
  ...storeShape,
  ...databaseShape,
  ...stageShape,
  ...erasureShape,
  READERS_FILE: z
    .string()
    .min(1)
    .describe(
      'JSON list of readers: [{id, token, site?, simulated, lead?}], `token` being the SHA-256 (hex) of the bearer token. Keep it readable by this process alone.',
    ),
  API_HOST: z.string().min(1).default('127.0.0.1').describe("Address of the readers' API; put a TLS proxy before any other than loopback."),
  API_PORT: z.coerce.number().int().min(0).max(65_535).default(0).describe("Port of the readers' API; 0 takes any free one."),
  LEASE_MS: z.coerce
    .number()
    .int()
    .min(1)
    .default(30 * 60_000)
    .describe('How long a claimed task is kept for its reader without a heartbeat.'),
  MAX_LEASES_PER_READER: z.coerce
    .number()
    .int()
    .min(1)
    .default(3)
    .describe('Most tasks that a reader may hold at a time (the one before them and those fetched ahead).'),
});

export type LabelQueueEnv = z.output<typeof labelQueueEnvSchema>;

export function readLabelQueueEnv(): LabelQueueEnv {
  return readEnv(labelQueueEnvSchema);
}
