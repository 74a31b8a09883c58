// The environment of release, read once.
import { readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { ConfigError, databaseShape, erasureShape, kafkaShape, processShape, readEnv, stageShape, storeShape } from '../runtime/env.ts';

const packageSchema = z.object({ version: z.string() });

function packageVersion(): string {
  return packageSchema.parse(JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'))).version;
}

export const releaseEnvSchema = z.object({
  ...processShape,
  ...kafkaShape,
  ...storeShape,
  ...databaseShape,
  ...stageShape,
  ...erasureShape,
  RELEASE_SECRET_FILE: z
    .string()
    .min(1)
    .describe(
      "File of 32 bytes or more: the dataset's ids and splits are HMACs under it. Lose it and the next version can't keep its ids.",
    ),
  RELEASE_OUT_DIR: z
    .string()
    .min(1)
    .optional()
    .describe('Folder that candidates and approved datasets are written to besides the buckets.'),
  STAGING_DIR: z
    .string()
    .min(1)
    .default(join(tmpdir(), 'ctstream-release'))
    .describe('Folder with room for a whole dataset while it is built.'),
  CODE_VERSION: z.string().min(1).default(packageVersion).describe('Version of the code, noted in release.json.'),
  RELEASE_TOKEN: z.string().min(16).optional().describe('Bearer token for POST /releases and approvals; without it both are refused.'),
  API_HOST: z.string().min(1).default('127.0.0.1').describe('Address of POST /releases; only callers on this machine may use it.'),
  API_PORT: z.coerce.number().int().min(0).max(65_535).default(0).describe('Port of POST /releases; 0 takes any free one.'),
});

export type ReleaseEnv = z.output<typeof releaseEnvSchema>;

export function readReleaseEnv(): ReleaseEnv {
  return readEnv(releaseEnvSchema);
}

/** The bytes of the secret's file without a line end. @throws ConfigError when it can't be read or is shorter than 32 bytes. */
export function readReleaseSecret(path: string): Uint8Array {
  let bytes: Buffer;
  try {
    bytes = readFileSync(path);
  } catch (error) {
    throw new ConfigError([`RELEASE_SECRET_FILE: ${path} can't be read (${(error as NodeJS.ErrnoException).code ?? 'error'})`]);
  }
  const secret = bytes.at(-1) === 0x0a ? bytes.subarray(0, -1) : bytes;
  if (secret.byteLength < 32) throw new ConfigError([`RELEASE_SECRET_FILE: ${path} has fewer than 32 bytes`]);
  return secret;
}
