// A deployment file gives a command what it connects with, says what is missing and for which command, and no secret of it
// may be read by others.
import { afterAll, describe, expect, test } from '@jest/globals';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command } from 'commander';
import { problemsOf } from '../../test/shared/problems.ts';
import { allOf, type Access } from './access.ts';
import { accessOf, placedAnywhere, type Placed } from './deployment.ts';
import { fileAccess } from './deployment-file.ts';

const dir = mkdtempSync(join(tmpdir(), 'ctstream-deployment-file-'));
afterAll(() => rmSync(dir, { recursive: true }));

const write = (name: string, content: unknown, mode = 0o600): string => {
  const path = join(dir, name);
  writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content));
  chmodSync(path, mode);
  return path;
};
const CA = '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----';
write('ca.pem', `${CA}\n`, 0o644);
write('account-password', 'pw-account\n');
write('operator-password', 'pw-operator');
write('s3-secret', 's3-secret\n');
write('vault-url', 'postgres://vault_account:pw@pg:5432/vault?sslmode=verify-full&sslrootcert=/ca.pem\n');
write('vault-key', `${'ab'.repeat(32)}\n`);

const whole = {
  kafka: {
    brokers: ['k1:9093', 'k2:9093'],
    caFile: 'ca.pem',
    topicPrefix: 'city-',
    users: { account: { passwordFile: 'account-password' }, operator: { username: 'city-operator', passwordFile: 'operator-password' } },
  },
  store: {
    endpoint: 'https://s3.example.org',
    caFile: join(dir, 'ca.pem'),
    bucketPrefix: 'city-',
    users: { analyst: { secretFile: 's3-secret' }, security: { accessKey: 'city-security', secretFile: 's3-secret' } },
  },
  vault: { urlFiles: { account: 'vault-url' }, keyFile: 'vault-key' },
  schemaRegistryUrl: 'http://registry:8080/apis/ccompat/v7',
  peopleFile: 'people.json',
};

const accessTo = (file: unknown, command = 'account'): Access => fileAccess(write('deployment.json', file), command);

test('a whole file: users are named after their roles unless it says otherwise, paths lead from its folder', () => {
  const access = accessTo(whole);
  const kafka = { brokers: ['k1:9093', 'k2:9093'], ssl: { ca: CA }, prefix: 'city-' };
  expect(access.kafka('account')).toEqual({ ...kafka, username: 'account', password: 'pw-account' });
  expect(access.kafka('operator')).toEqual({ ...kafka, username: 'city-operator', password: 'pw-operator' });
  const store = { endpoint: 'https://s3.example.org', tls: { ca: CA }, secretKey: 's3-secret', bucketPrefix: 'city-' };
  expect(access.store('analyst')).toEqual({ ...store, accessKey: 'analyst' });
  expect(access.store('security')).toEqual({ ...store, accessKey: 'city-security' });
  expect(access.vaultUrl('account')).toBe('postgres://vault_account:pw@pg:5432/vault?sslmode=verify-full&sslrootcert=/ca.pem');
  expect(Buffer.from(access.vaultKey()).toString('hex')).toBe('ab'.repeat(32));
  expect([access.registryUrl, access.peopleFile]).toEqual(['http://registry:8080/apis/ccompat/v7', join(dir, 'people.json')]);
});

test('the least file has what one command needs; prefixes are empty, nothing is encrypted unless it says so', () => {
  const access = accessTo({ kafka: { brokers: ['k:9092'], users: { account: { passwordFile: 'account-password' } } } });
  expect(access.kafka('account')).toEqual({ brokers: ['k:9092'], username: 'account', password: 'pw-account', prefix: '' });
  expect([access.registryUrl, access.peopleFile]).toEqual([undefined, undefined]);
});

test('the users that a mend works as: a stage, a gateway, and the administrator', () => {
  const given = { passwordFile: 'account-password' };
  const users = { ingest: given, 'gateway-c07': given, admin: { ...given, username: 'root' } };
  const access = accessTo({ kafka: { brokers: ['k:9092'], users } }, 'log accept-loss');
  const named = (['ingest', 'gateway-c07', 'admin'] as const).map((user) => access.kafka(user).username);
  expect(named).toEqual(['ingest', 'gateway-c07', 'root']);
  expect(problemsOf(() => access.kafka('anonymise'))[0]).toMatch(/kafka\.users\.anonymise is missing, and 'log accept-loss' needs it$/);
});

test('what is missing is named, all at once, with the command that needs it', () => {
  const access = accessTo({ kafka: { brokers: ['k:9092'] } }, 'dead replay');
  const problems = problemsOf(() =>
    allOf({
      kafka: () => access.kafka('operator'),
      store: () => access.store('analyst'),
      url: () => access.vaultUrl('security'),
      key: access.vaultKey,
    }),
  );
  expect(problems).toEqual(
    ['kafka.users.operator', 'store.users.analyst', 'vault.urlFiles.security', 'vault.keyFile'].map(
      (field) => `deployment file ${join(dir, 'deployment.json')}: ${field} is missing, and 'dead replay' needs it`,
    ),
  );
});

describe('a secret', () => {
  const account = (passwordFile: string): readonly string[] =>
    problemsOf(() => accessTo({ kafka: { brokers: ['k:9092'], users: { account: { passwordFile } } } }).kafka('account'));

  test('others may not read its file, nor the deployment file, which says where it is sent', () => {
    expect(account(write('open-password', 'top-secret', 0o640))).toEqual([
      `kafka.users.account.passwordFile: others may read ${join(dir, 'open-password')}: chmod 600`,
    ]);
    expect(problemsOf(() => fileAccess(write('open.json', whole, 0o644), 'account'))).toEqual([
      `deployment file: others may read ${join(dir, 'open.json')}: chmod 600`,
    ]);
  });

  test('its file is there and holds something', () => {
    expect(account('nowhere')[0]).toMatch(/^kafka\.users\.account\.passwordFile: .+nowhere can't be read \(ENOENT\)$/);
    expect(account(write('empty', '\n'))[0]).toMatch(/^kafka\.users\.account\.passwordFile: .+ is empty$/);
  });

  test('a URL that is none and a key that is none are said without their text', () => {
    const access = accessTo({
      vault: { urlFiles: { account: write('no-url', 'mysql://top-secret') }, keyFile: write('no-key', 'top-secret') },
    });
    const problems = problemsOf(() => allOf({ url: () => access.vaultUrl('account'), key: access.vaultKey }));
    expect(problems.map((p) => p.split(':')[0])).toEqual(['vault.urlFiles.account', 'vault.keyFile']);
    expect(problems.join()).not.toContain('top-secret');
  });
});

test.each<[string, unknown, RegExp]>([
  ['no JSON', '{', /is no JSON/],
  [
    'a secret in the file itself',
    { kafka: { brokers: ['k:1'], users: { account: { password: 'top-secret' } } } },
    /kafka\.users\.account.*password/,
  ],
  ['an unknown user', { kafka: { brokers: ['k:1'], users: { archiver: { passwordFile: 'x' } } } }, /kafka\.users.*archiver/],
  ['a broker without a port', { kafka: { brokers: ['kafka'] } }, /kafka\.brokers\.0: each broker is host:port/],
  ['no broker', { kafka: { brokers: [] } }, /kafka\.brokers/],
  ['certificates for a store without TLS', { store: { endpoint: 'http://s3', caFile: 'ca.pem' } }, /store\.caFile: endpoint is not https/],
])('%s is a problem', (_, content, says) => {
  const said = problemsOf(() => accessTo(content)).join('\n');
  expect(said).toMatch(says);
  expect(said).not.toContain('top-secret');
});

test('certificates that are none are a problem', () => {
  const kafka = { ...whole.kafka, caFile: 'account-password' };
  expect(problemsOf(() => accessTo({ kafka }).kafka('account'))[0]).toMatch(/^kafka\.caFile: .+ holds no certificate \(PEM\)$/);
});

describe('--deployment', () => {
  const run = async (...args: string[]): Promise<Access> => {
    let access: Access | undefined;
    const program = new Command('ctstream').exitOverride().configureOutput({ writeErr: () => undefined });
    placedAnywhere(program.command('account')).action(async (o: Placed) => void (access = await accessOf(o, 'account')));
    await program.parseAsync(['account', ...args], { from: 'user' });
    if (access === undefined) throw new Error('the command did not run');
    return access;
  };

  test('a command takes the file', async () => {
    expect((await run('--deployment', write('deployment.json', whole))).kafka('account').username).toBe('account');
  });

  test('not beside a folder', async () => {
    await expect(run('--deployment', write('deployment.json', whole), '--dir', dir)).rejects.toThrow(/cannot be used with option '--dir/);
  });

  test('without it, the local deployment; an empty variable names none', async () => {
    await expect(run('--dir', dir)).rejects.toThrow(/no deployment runs in/);
    await expect(accessOf({ dir, deployment: '' }, 'account')).rejects.toThrow(/no deployment runs in/);
  });
});
