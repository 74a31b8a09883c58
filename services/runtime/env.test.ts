// The environment: all problems at once, no value in them, secrets by value or file.
import { afterAll, describe, expect, test } from '@jest/globals';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { readCentresFile } from './centres-file.ts';
import { problemsOf } from '../../test/shared/problems.ts';
import {
  ConfigError,
  databaseShape,
  erasureShape,
  kafkaOptions,
  kafkaShape,
  parseEnv,
  processShape,
  secretOf,
  stageShape,
  storeShape,
} from './env.ts';

const dir = mkdtempSync(join(tmpdir(), 'ctstream-env-'));
afterAll(() => rmSync(dir, { recursive: true }));

const all = z.object({ ...processShape, ...kafkaShape, ...storeShape, ...databaseShape, ...stageShape });
const good = {
  KAFKA_BROKERS: 'a:1, b:2',
  KAFKA_USERNAME: 'u',
  KAFKA_PASSWORD: 'p',
  S3_ENDPOINT: 'http://s:9000',
  S3_ACCESS_KEY: 'k',
  S3_SECRET_KEY: 's',
  DATABASE_URL: 'postgres://u:p@h/d',
};

test('a good environment, with defaults and parsed lists', () => {
  const env = parseEnv(all, { ...good, RETRY_DELAYS_MS: '1,2,3', LOG_LEVEL: '' });
  expect(env).toMatchObject({
    KAFKA_BROKERS: ['a:1', 'b:2'],
    CONCURRENCY: 4,
    WINDOW: 64,
    LOG_LEVEL: 'info',
    HTTP_PORT: 0,
    RETRY_DELAYS_MS: [1, 2, 3],
  });
  expect(kafkaOptions(env)).toEqual({
    brokers: ['a:1', 'b:2'],
    username: 'u',
    password: 'p',
    prefix: '',
    sessionTimeoutMs: 10_000,
    client: 'kafkajs',
  });
});

test('all problems at once, and no value among them', () => {
  const problems = problemsOf(() =>
    parseEnv(all, {
      ...good,
      KAFKA_BROKERS: 'topsecret',
      WINDOW: 'topsecret',
      HTTP_PORT: '70000',
      S3_ENDPOINT: undefined,
      RETRY_DELAYS_MS: '1,2',
    }),
  );
  expect(problems.map((p) => p.split(/[:.]/)[0] ?? '').sort()).toEqual([
    'HTTP_PORT',
    'KAFKA_BROKERS',
    'RETRY_DELAYS_MS',
    'S3_ENDPOINT',
    'WINDOW',
  ]);
  expect(problems.join()).not.toContain('topsecret');
});

test('there is no default secret, and every variable explains itself', () => {
  for (const name of ['KAFKA_PASSWORD', 'S3_SECRET_KEY', 'DATABASE_URL'])
    expect(() => secretOf(name, undefined, undefined)).toThrow(ConfigError);
  for (const [name, field] of Object.entries(all.shape)) expect([name, (field.description ?? '').length > 10]).toEqual([name, true]);
});

describe('secrets', () => {
  test('from a file, without its line end; not from both', () => {
    const file = join(dir, 'secret');
    writeFileSync(file, 'from file\n');
    expect(secretOf('S3_SECRET_KEY', undefined, file)).toBe('from file');
    expect(problemsOf(() => secretOf('S3_SECRET_KEY', 'x', file))).toEqual(['S3_SECRET_KEY: give it or S3_SECRET_KEY_FILE, not both']);
    expect(problemsOf(() => secretOf('S3_SECRET_KEY', undefined, join(dir, 'none')))[0]).toContain('ENOENT');
  });
});

describe('the centres file', () => {
  const file = join(dir, 'centres.json');
  const write = (content: unknown, mode = 0o600): string => {
    writeFileSync(file, typeof content === 'string' ? content : JSON.stringify(content));
    chmodSync(file, mode);
    return file;
  };
  const centre = { id: 'c01', dicomWebUrl: 'http://pacs/dicom-web', username: 'u', password: 'p', namespace: 'issuer' };

  test('is read', () => {
    expect(readCentresFile(write([{ ...centre, scope: { modalities: ['CT'], descriptionPattern: 'chest|thorax' } }]))).toMatchObject([
      { id: 'c01', scope: { modalities: ['CT'] } },
    ]);
  });

  test.each<[string, unknown, RegExp]>([
    ['two centres of one id', [centre, centre], /not unique: c01/],
    ['a quota with which no large study can come', [{ ...centre, quota: { bytesPerSecond: 40_000 } }], /is less than 50506/],
    ['an id that fits no topic', [{ ...centre, id: 'C 01' }], /0\.id: is 1-24/],
    ['an unknown field', [{ ...centre, pasword: 'x' }], /pasword/],
    ['a pattern that is none', [{ ...centre, scope: { descriptionPattern: '(' } }], /no regular expression/],
    ['no JSON', '[', /is no JSON/],
    ['nothing', [], /CENTRES_FILE/],
  ])('%s is a problem', (_, content, says) => {
    expect(problemsOf(() => readCentresFile(write(content))).join('\n')).toMatch(says);
  });

  test('others may not read it: it holds passwords', () => {
    expect(problemsOf(() => readCentresFile(write([centre], 0o644)))[0]).toMatch(/chmod 600/);
  });
});

test('a job may not outlast the second erasure of who withdrew', () => {
  const schema = z.object({ ...stageShape, ...erasureShape });
  const of = (erase: string, job: string) => problemsOf(() => parseEnv(schema, { ERASE_AGAIN_AFTER_MS: erase, JOB_TIMEOUT_MS: job }));
  expect(of('1000', '1001')).toEqual([expect.stringMatching(/^ERASE_AGAIN_AFTER_MS: shorter than JOB_TIMEOUT_MS/)]);
  expect(of('1001', '1001')).toEqual([]);
  expect(problemsOf(() => parseEnv(schema, { ERASE_AGAIN_AFTER_MS: '1' }))).toEqual([]);
});
