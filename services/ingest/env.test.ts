// What of ingest's settings would let no study come.
import { expect, test } from '@jest/globals';
import { LEAST_BYTES_PER_S, LONGEST_ATTEMPT_MS, LONGEST_PULL_MS } from '../kernel/sweep.ts';
import { parseEnv } from '../runtime/env.ts';
import { ingestEnvSchema } from './env.ts';

const NEEDED = {
  KAFKA_BROKERS: 'kafka:9092',
  KAFKA_USERNAME: 'u',
  KAFKA_PASSWORD: 'p',
  S3_ENDPOINT: 'http://minio:9000',
  S3_ACCESS_KEY: 'a',
  S3_SECRET_KEY: 'secretsecret',
  CENTRES_FILE: 'centres.json',
};
const problem = (more: Record<string, string>): string => {
  try {
    parseEnv(ingestEnvSchema, { ...NEEDED, ...more });
    return '';
  } catch (error) {
    return (error as Error).message;
  }
};

test('a job may take as long as its pull and no longer, and a pull less than what its attempt may', () => {
  expect(problem({ JOB_TIMEOUT_MS: String(LONGEST_PULL_MS) })).toBe('');
  expect(problem({ JOB_TIMEOUT_MS: String(LONGEST_PULL_MS + 1) })).toMatch(
    /JOB_TIMEOUT_MS: is more than 19800000, the longest time of a pull/,
  );
  expect(LONGEST_PULL_MS).toBeLessThan(LONGEST_ATTEMPT_MS);
});

test('with the least quota that is taken a study of 1 GB comes within a pull', () => {
  expect(problem({ PACS_BYTES_PER_S: String(LEAST_BYTES_PER_S) })).toBe('');
  expect(problem({ PACS_BYTES_PER_S: String(LEAST_BYTES_PER_S - 1) })).toMatch(/PACS_BYTES_PER_S: is less than 50506/);
  expect((LEAST_BYTES_PER_S * LONGEST_PULL_MS) / 1000).toBeGreaterThanOrEqual(1e9);
});
