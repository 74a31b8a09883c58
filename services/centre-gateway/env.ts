// The environment of the gateway.
import { z } from 'zod';
import { kafkaShape, processShape, readEnv, registryShape } from '../runtime/env.ts';

const positive = z.coerce.number().int().min(1);

export const gatewayEnvSchema = z.object({
  ...processShape,
  ...registryShape,
  KAFKA_BROKERS: kafkaShape.KAFKA_BROKERS,
  KAFKA_SSL_CA_FILE: kafkaShape.KAFKA_SSL_CA_FILE,
  KAFKA_SESSION_TIMEOUT_MS: kafkaShape.KAFKA_SESSION_TIMEOUT_MS,
  KAFKA_CLIENT: kafkaShape.KAFKA_CLIENT,
  TOPIC_PREFIX: kafkaShape.TOPIC_PREFIX,
  API_HOST: z.string().min(1).default('127.0.0.1').describe('Address of the status page and the API.'),
  API_PORT: z.coerce.number().int().min(0).max(65_535).default(0).describe('Port of the status page and the API; 0 takes any free one.'),
  CENTRES_FILE: z.string().min(1).describe('JSON file (mode 0600) with the centres: their PACS, Kafka credential and scope rule.'),
  STATE_DIR: z.string().min(1).describe('Folder of gateway.sqlite: cursor, studies and outbox. Must outlive the process.'),
  GATEWAY_TOKEN: z
    .string()
    .min(16)
    .optional()
    .describe(
      'Bearer token for POST /census, /announce-again and /intake-refused from this machine, and for StudyInstanceUIDs on the status page; without it there are none.',
    ),
  STABLE_AFTER_MS: positive.default(60_000).describe('A study that got no instance for so long is counted and announced.'),
  STABLE_SAID_MS: positive.default(250).describe('The same once the PACS itself calls the study stable.'),
  COUNT_PAUSE_MS: positive.default(500).describe('Pause between the two counts of a study.'),
  CHANGES_POLL_MS: positive.default(1000).describe("Pause between two looks at an Orthanc's change feed."),
  QIDO_POLL_MS: positive.default(30_000).describe('Pause between two polls of a PACS without a change feed.'),
  QIDO_LOOK_BACK_DAYS: positive.default(7).describe('How many days of StudyDate such a poll looks back; the census looks at everything.'),
  CENSUS_EVERY_MS: positive
    .default(3_600_000)
    .describe('Pause between two censuses; one is also taken at start, on SIGUSR2 and on POST /census.'),
  OUTBOX_LIMIT: positive.default(10_000).describe('Unsent events of a centre at which nothing more is taken in.'),
  PACS_TIMEOUT_MS: positive.default(30_000).describe('Longest wait for an answer of the PACS.'),
});

export type GatewayEnv = z.output<typeof gatewayEnvSchema>;

export function readGatewayEnv(): GatewayEnv {
  return readEnv(gatewayEnvSchema);
}
