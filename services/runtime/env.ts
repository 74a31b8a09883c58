// The environment of a process: shapes that each stage composes into its own env.ts, and the one
// reader that reports all problems at once. Documentation is derived from the descriptions.
import { accessSync, constants, readFileSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { BUS_CLIENTS, DEFAULT_CLIENT } from '../ports/event-bus.ts';
import { LONGEST_ATTEMPT_MS } from '../kernel/sweep.ts';

/** Exit code of a process whose configuration is unusable (EX_CONFIG of sysexits.h). */
export const EXIT_CONFIG = 78;

const port = z.coerce.number().int().min(0).max(65_535);
const positive = z.coerce.number().int().min(1);

export const processShape = {
  LOG_LEVEL: z
    .enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'])
    .default('info')
    .describe('Least level of the log lines on stdout (JSON, one a line).'),
  HTTP_HOST: z.string().min(1).default('127.0.0.1').describe('Address of /healthz, /readyz and /metrics.'),
  HTTP_PORT: port.default(0).describe('Port of /healthz, /readyz and /metrics; 0 takes any free one.'),
  OTEL_EXPORTER_OTLP_ENDPOINT: z
    .url()
    .optional()
    .describe('Where spans go by OTLP over HTTP, such as http://collector:4318. Without it and ZIPKIN_URL no span leaves the process.'),
  ZIPKIN_URL: z.url().optional().describe('Where spans go as Zipkin JSON, such as http://zipkin:9411/api/v2/spans.'),
};

/** A broker as host:port. */
export const broker = z.string().regex(/^[^:/\s]+:\d+$/, 'each broker is host:port');

/** A connection to PostgreSQL. */
export const postgresUrl = z.string().regex(/^postgres(ql)?:\/\//, 'is postgres://user:password@host:port/database');

export const kafkaShape = {
  KAFKA_BROKERS: z
    .string()
    .transform((text) =>
      text
        .split(',')
        .map((b) => b.trim())
        .filter((b) => b !== ''),
    )
    .pipe(z.array(broker).min(1))
    .describe('Brokers as host:port, separated by commas.'),
  KAFKA_USERNAME: z.string().min(1).describe('SCRAM-SHA-512 user of this process.'),
  KAFKA_PASSWORD: z.string().min(1).optional().describe('Its password; give this or KAFKA_PASSWORD_FILE.'),
  KAFKA_PASSWORD_FILE: z.string().min(1).optional().describe('File that holds the password.'),
  KAFKA_SSL_CA_FILE: z
    .string()
    .min(1)
    .optional()
    .describe('Certificates (PEM) that may vouch for the brokers; without it the connection is not encrypted.'),
  KAFKA_SESSION_TIMEOUT_MS: z.coerce
    .number()
    .int()
    .min(3000)
    .default(10_000)
    .describe('Silence after which the group gives the partitions of this process to another.'),
  KAFKA_CLIENT: z
    .enum(BUS_CLIENTS)
    .default(DEFAULT_CLIENT)
    .describe('Library that speaks to Kafka; members of one consumer group may differ (docs/decisions/0020).'),
  TOPIC_PREFIX: z
    .string()
    .regex(/^[A-Za-z0-9._-]*$/)
    .default('')
    .describe('Put before every topic and group name, so that deployments can share a cluster.'),
};

export const storeShape = {
  S3_ENDPOINT: z.url({ protocol: /^https?$/ }).describe('Any S3 server, as http://host:port or https://host.'),
  S3_REGION: z
    .string()
    .regex(/^[a-z0-9-]+$/, "is a region's name, such as us-east-1")
    .default('us-east-1')
    .describe('Region that requests are signed for; servers without regions take the default.'),
  S3_ACCESS_KEY: z.string().min(1).describe('Access key of this process.'),
  S3_SECRET_KEY: z.string().min(1).optional().describe('Its secret; give this or S3_SECRET_KEY_FILE.'),
  S3_SECRET_KEY_FILE: z.string().min(1).optional().describe('File that holds the secret.'),
  S3_CA_FILE: z
    .string()
    .min(1)
    .optional()
    .describe('Certificates (PEM) that may vouch for an https S3_ENDPOINT; without it those that Node trusts.'),
  BUCKET_PREFIX: z
    .string()
    .regex(/^[a-z0-9-]*$/)
    .default('')
    .describe('Put before every bucket name.'),
};

export const databaseShape = {
  DATABASE_URL: postgresUrl.optional().describe('PostgreSQL of this stage; give this or DATABASE_URL_FILE.'),
  DATABASE_URL_FILE: z.string().min(1).optional().describe('File that holds the URL.'),
};

export const vaultShape = {
  VAULT_URL: postgresUrl.optional().describe('PostgreSQL of the identity vault; give this or VAULT_URL_FILE.'),
  VAULT_URL_FILE: z.string().min(1).optional().describe('File that holds the URL.'),
  VAULT_KEY_FILE: z
    .string()
    .min(1)
    .optional()
    .describe('File that holds the vault key (64 hex digits): identifiers are stored as digests under it.'),
};

export const registryShape = {
  SCHEMA_REGISTRY_URL: z
    .url()
    .optional()
    .describe(
      'Confluent-compatible registry (for Apicurio .../apis/ccompat/v7): schema ids are mapped to its own and compared byte for byte at start.',
    ),
};

export const stageShape = {
  CONCURRENCY: positive.max(256).default(4).describe('Most jobs at a time.'),
  WINDOW: positive
    .max(10_000)
    .default(64)
    .describe('Most records of a partition in hand: between the committed offset and the newest one taken.'),
  JOB_TIMEOUT_MS: positive.max(LONGEST_ATTEMPT_MS).optional().describe("Longest time of one job; the stage's own limit when not set."),
  RETRY_DELAYS_MS: z
    .string()
    .transform((text) => text.split(',').map(Number))
    .pipe(z.array(z.number().int().min(1)).length(3, 'three delays are needed'))
    .optional()
    .describe('Three delays in milliseconds in place of those of the 30s, 5m and 1h retry topics, separated by commas. For tests.'),
  JOBS_FOLDER: z
    .string()
    .min(1)
    .default(join(tmpdir(), 'ctstream-jobs'))
    .describe(
      'Folder that outlasts a restart of the process: notes what it has begun, so that a job that ends the process again and again waits (PROCESS_DIED) and lets others go on.',
    ),
  ...registryShape,
};

type StageEnv = z.output<
  z.ZodObject<Pick<typeof stageShape, 'CONCURRENCY' | 'WINDOW' | 'RETRY_DELAYS_MS' | 'JOB_TIMEOUT_MS' | 'JOBS_FOLDER'>>
>;

/** What the stage loop takes from the environment. */
export const loopOptions = (env: StageEnv) => ({
  concurrency: env.CONCURRENCY,
  window: env.WINDOW,
  retryDelaysMs: env.RETRY_DELAYS_MS,
  jobTimeoutMs: env.JOB_TIMEOUT_MS,
  jobsFolder: env.JOBS_FOLDER,
});

/** Of the stages that hold something of a subject. */
export const erasureShape = {
  ERASE_AGAIN_AFTER_MS: z.coerce
    .number()
    .int()
    .min(0)
    .default(3_600_000)
    .describe(
      'How long after a withdrawal a subject is erased a second time and reported; longer than the longest job (20 minutes, or JOB_TIMEOUT_MS), which may still write.',
    ),
};

/** Thrown by `parseEnv`: every problem of the environment, one a line. */
export class ConfigError extends Error {
  /** sysexits.h EX_CONFIG. */
  readonly exitCode = 78;
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(`BAD_CONFIG: ${problems.join('; ')}`);
    this.name = 'ConfigError';
    this.problems = problems;
  }
}

/** Empty variables count as not set: compose files and shells leave them behind. */
function withoutEmpty(source: NodeJS.ProcessEnv): Record<string, string> {
  return Object.fromEntries(Object.entries(source).filter((e): e is [string, string] => e[1] !== undefined && e[1] !== ''));
}

/** A job that outlasts the second erasure could write again what was erased. */
function erasureProblem(data: unknown): string | undefined {
  const env = data as Partial<Record<'ERASE_AGAIN_AFTER_MS' | 'JOB_TIMEOUT_MS', unknown>>;
  const [erase, job] = [env.ERASE_AGAIN_AFTER_MS, env.JOB_TIMEOUT_MS];
  if (typeof erase !== 'number' || typeof job !== 'number' || erase >= job) return undefined;
  return 'ERASE_AGAIN_AFTER_MS: shorter than JOB_TIMEOUT_MS, so that a job may write what was erased';
}

/** Parses the environment. @throws ConfigError with all problems; values never stand in it. */
export function parseEnv<T>(schema: z.ZodType<T>, source: NodeJS.ProcessEnv = process.env): T {
  const result = schema.safeParse(withoutEmpty(source));
  if (result.success) {
    const problem = erasureProblem(result.data);
    if (problem !== undefined) throw new ConfigError([problem]);
    return result.data;
  }
  throw new ConfigError(result.error.issues.map((issue) => `${issue.path.join('.') || 'environment'}: ${issue.message}`));
}

/** Credentials that a process with these variables can't do without, as a value or as a file. */
const NEEDED = ['KAFKA_PASSWORD', 'S3_SECRET_KEY', 'DATABASE_URL', 'VAULT_URL'];

/** Credentials that are missing or given twice, and files that can't be read. */
function fileProblems(names: readonly string[], given: Readonly<Record<string, string>>): string[] {
  const problems: string[] = [];
  for (const name of NEEDED.filter((n) => names.includes(n))) {
    const times = [name, `${name}_FILE`].filter((n) => given[n] !== undefined).length;
    // The one process that may do without: an archiver of the research zone knows no vault.
    if (times === 0 && !(name === 'VAULT_URL' && given['ZONE'] === 'research')) problems.push(`${name}: give it or ${name}_FILE`);
    if (times === 2) problems.push(`${name}: give it or ${name}_FILE, not both`);
  }
  for (const name of names.filter((n) => n.endsWith('_FILE'))) {
    const file = given[name];
    if (file === undefined) continue;
    try {
      accessSync(file, constants.R_OK);
      if (statSync(file).size === 0) problems.push(`${name}: ${file} is empty`);
    } catch (error) {
      problems.push(`${name}: ${file} can't be read (${(error as NodeJS.ErrnoException).code ?? 'error'})`);
    }
  }
  return problems;
}

/** The environment by its schema; on problems, also of files, writes all of them to stderr and ends the process with 78. */
export function readEnv<T>(schema: z.ZodType<T>, source: NodeJS.ProcessEnv = process.env): T {
  const names = schema instanceof z.ZodObject ? Object.keys(schema.shape) : [];
  const problems = fileProblems(names, withoutEmpty(source));
  let env: T | undefined;
  try {
    env = parseEnv(schema, source);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    problems.unshift(...error.problems);
  }
  if (env !== undefined && problems.length === 0) return env;
  process.stderr.write(`BAD_CONFIG: the environment is not usable\n${problems.map((p) => `  ${p}\n`).join('')}`);
  return process.exit(EXIT_CONFIG);
}

/** A secret that was given as a value or as a file (trailing line end removed). @throws ConfigError for neither, both, or an unreadable file. */
export function secretOf(name: string, value: string | undefined, file: string | undefined): string {
  if (value !== undefined && file !== undefined) throw new ConfigError([`${name}: give it or ${name}_FILE, not both`]);
  if (value !== undefined) return value;
  if (file === undefined) throw new ConfigError([`${name}: give it or ${name}_FILE`]);
  return textOf(`${name}_FILE`, file);
}

/** Text of a file without its last line end. */
function textOf(name: string, file: string): string {
  let text: string;
  try {
    text = readFileSync(file, 'utf8').replace(/\r?\n$/, '');
  } catch (error) {
    throw new ConfigError([`${name}: ${file} can't be read (${(error as NodeJS.ErrnoException).code ?? 'error'})`]);
  }
  if (text === '') throw new ConfigError([`${name}: ${file} is empty`]);
  return text;
}

/** Text of a file of certificates. @param name names the file in the problem @throws ConfigError when it can't be read or holds none */
export function certificatesOf(name: string, file: string): string {
  const text = textOf(name, file);
  if (!text.includes('-----BEGIN CERTIFICATE-----')) throw new ConfigError([`${name}: ${file} holds no certificate (PEM)`]);
  return text;
}

const kafkaEnv = z.object(kafkaShape);
const storeEnv = z.object(storeShape);
const databaseEnv = z.object(databaseShape);

/** The options of `openBus` that the environment says. */
export function kafkaOptions(env: z.output<typeof kafkaEnv>): {
  brokers: string[];
  username: string;
  password: string;
  ssl?: { ca: string };
  prefix: string;
  sessionTimeoutMs: number;
  client: 'kafkajs' | 'platformatic';
} {
  return {
    brokers: env.KAFKA_BROKERS,
    username: env.KAFKA_USERNAME,
    password: secretOf('KAFKA_PASSWORD', env.KAFKA_PASSWORD, env.KAFKA_PASSWORD_FILE),
    ...(env.KAFKA_SSL_CA_FILE === undefined ? {} : { ssl: { ca: certificatesOf('KAFKA_SSL_CA_FILE', env.KAFKA_SSL_CA_FILE) } }),
    prefix: env.TOPIC_PREFIX,
    sessionTimeoutMs: env.KAFKA_SESSION_TIMEOUT_MS,
    client: env.KAFKA_CLIENT,
  };
}

/** The options of `s3Store` that the environment says. */
export function storeOptions(env: z.output<typeof storeEnv>): {
  endpoint: string;
  region: string;
  accessKey: string;
  secretKey: string;
  bucketPrefix: string;
  tls?: { ca: string };
} {
  if (env.S3_CA_FILE !== undefined && !env.S3_ENDPOINT.startsWith('https:'))
    throw new ConfigError(['S3_CA_FILE: S3_ENDPOINT is not https']);
  return {
    endpoint: env.S3_ENDPOINT,
    region: env.S3_REGION,
    accessKey: env.S3_ACCESS_KEY,
    secretKey: secretOf('S3_SECRET_KEY', env.S3_SECRET_KEY, env.S3_SECRET_KEY_FILE),
    bucketPrefix: env.BUCKET_PREFIX,
    ...(env.S3_CA_FILE === undefined ? {} : { tls: { ca: certificatesOf('S3_CA_FILE', env.S3_CA_FILE) } }),
  };
}

/** The connection URL that the environment says. */
export function databaseUrl(env: z.output<typeof databaseEnv>): string {
  return secretOf('DATABASE_URL', env.DATABASE_URL, env.DATABASE_URL_FILE);
}
