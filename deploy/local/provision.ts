// Everything that the stages need of a platform before they start: users, topics, ACLs, buckets, policies,
// databases and the files with their secrets. Doing it twice changes nothing.
import { createHmac } from 'node:crypto';
import { copyFile, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { applyTopics, principals } from '../../services/adapters/kafka-topics.ts';
import { s3Store } from '../../services/adapters/s3-store.ts';
import { publishSchemas } from '../../services/adapters/schema-registry.ts';
import { sha256Hex } from '../../services/kernel/digest.ts';
import type { Role } from '../../services/runtime/people-file.ts';
import { applyLifecycle, CLINICAL_DAYS } from './lifecycle.ts';
import type { Platform } from './platform.ts';
import { tlsQuery } from './postgres.ts';
import { BUCKETS, policyJson, STORE_USERS } from './policies.ts';
import { guestRole, provisionVault, VAULT_GUEST_NAMES, type VaultGuest } from './vault-roles.ts';

const DATABASES = ['vault', 'select', 'label_queue', 'release'] as const;
export type DatabaseName = (typeof DATABASES)[number];

export interface ProvisionOptions {
  readonly centres: readonly string[];
  /** Before topic, group, bucket and database names; lets several deployments share a platform. */
  readonly prefix?: string;
  /** Folder of the secrets' files (0600). */
  readonly dir: string;
  readonly cohortFile?: string;
  readonly readers?: number;
  /** Fewer partitions than schemas/topics.json says, for tests on a small machine. */
  readonly partitions?: number;
  /** Days that originals stay after their study's final outcome. */
  readonly clinicalDays?: number;
}

/** Simulated readers: `reader-1`, ... with the tokens they show. */
export interface ReaderLogin {
  readonly id: string;
  readonly token: string;
  readonly lead: boolean;
}

/** Someone with a role (services/runtime/people-file.ts). On a local platform they are simulated. */
export interface PersonLogin {
  readonly name: string;
  readonly roles: readonly Role[];
  /** File with the token, for `--token-file`. */
  readonly tokenFile: string;
}

export interface Provisioned {
  readonly dir: string;
  readonly prefix: string;
  readonly bucketPrefix: string;
  readonly centres: readonly string[];
  /** URL of each database as its owner. */
  readonly databases: Readonly<Record<DatabaseName, string>>;
  /** URL of the vault's database as someone with single rights in it. */
  readonly vaultAs: Readonly<Record<VaultGuest, string>>;
  readonly clinicalDays: number;
  readonly readers: readonly ReaderLogin[];
  readonly people: readonly PersonLogin[];
  /** Bearer tokens of the services whose HTTP can change something. */
  readonly gatewayToken: string;
  readonly releaseToken: string;
  readonly selectToken: string;
  /** Password of a Kafka principal, secret of a MinIO user. */
  secretOf(user: string): string;
  file(
    name: 'centres.json' | 'gateway-centres.json' | 'readers.json' | 'people.json' | 'release-secret' | 'vault-key' | 'cohort.yaml',
  ): string;
}

/** Derived from the platform's own random secret: every process that may read the state knows the same ones. */
function deriveSecret(platform: Platform, purpose: string): string {
  return createHmac('sha256', platform.kafka.admin.password).update(purpose).digest('hex');
}

async function writeSecret(path: string, text: string): Promise<void> {
  await writeFile(path, text, { mode: 0o600 });
}

/** Writes it at the first time only: what stands may be another by now. */
async function writeSecretOnce(path: string, text: string): Promise<void> {
  await writeFile(path, text, { mode: 0o600, flag: 'wx' }).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EEXIST') throw error;
  });
}

function centreEntries(platform: Platform, centres: readonly string[], secretOf: (user: string) => string, withKafka: boolean): object[] {
  return platform.orthancs
    .filter((o) => centres.includes(o.centre))
    .map((o) => ({
      id: o.centre,
      dicomWebUrl: o.dicomWebUrl,
      username: o.username,
      password: o.password,
      orthanc: { url: o.baseUrl },
      namespace: `issuer-${o.centre}`,
      scope: { modalities: ['CT'] },
      ...(withKafka ? { kafkaUsername: `gateway-${o.centre}`, kafkaPassword: secretOf(`gateway-${o.centre}`) } : {}),
    }));
}

function readerLogins(platform: Platform, count: number): ReaderLogin[] {
  return Array.from({ length: count }, (_, i) => ({
    id: `simulated-${i + 1}`,
    token: deriveSecret(platform, `reader|${i}`),
    lead: i === count - 1,
  }));
}

/** Who has a role in a local deployment, and the end of their token file's name. */
const PEOPLE: readonly (Pick<PersonLogin, 'name' | 'roles'> & { readonly id: string })[] = [
  { id: 'security-officer', name: 'Simulated Security Officer', roles: ['security'] },
  { id: 'privacy-one', name: 'Simulated Privacy Officer One', roles: ['privacy'] },
  { id: 'privacy-two', name: 'Simulated Privacy Officer Two', roles: ['privacy'] },
];

const tokenFileOf = (dir: string, id: string): string => join(dir, `token-${id}`);

async function writePeople(platform: Platform, dir: string): Promise<void> {
  const people = PEOPLE.map(({ id, name, roles }) => ({ id, name, roles, token: deriveSecret(platform, `person|${id}`) }));
  for (const { id, token } of people) await writeSecret(tokenFileOf(dir, id), token);
  const entries = people.map(({ name, roles, token }) => ({ name, roles, tokenSha256: sha256Hex(token) }));
  await writeSecret(join(dir, 'people.json'), JSON.stringify(entries, null, 1));
}

/** The files with secrets that the stages and the people's commands read. */
export async function writeFiles(
  platform: Platform,
  o: ProvisionOptions,
  secretOf: (user: string) => string,
  readers: readonly ReaderLogin[],
): Promise<void> {
  await mkdir(o.dir, { recursive: true, mode: 0o700 });
  await writeSecret(join(o.dir, 'centres.json'), JSON.stringify(centreEntries(platform, o.centres, secretOf, false), null, 1));
  await writeSecret(join(o.dir, 'gateway-centres.json'), JSON.stringify(centreEntries(platform, o.centres, secretOf, true), null, 1));
  await writeSecret(
    join(o.dir, 'readers.json'),
    JSON.stringify(
      readers.map((r) => ({ id: r.id, token: sha256Hex(r.token), simulated: true, lead: r.lead })),
      null,
      1,
    ),
  );
  await writePeople(platform, o.dir);
  await writeSecret(join(o.dir, 'release-secret'), deriveSecret(platform, 'release'));
  // A rotation puts another key there, and the vault opens with that one alone.
  await writeSecretOnce(join(o.dir, 'vault-key'), deriveSecret(platform, 'vault'));
  await copyFile(o.cohortFile ?? join(import.meta.dirname, '../../services/select/cohorts/demo.yaml'), join(o.dir, 'cohort.yaml'));
}

/** What a provisioned platform is like, without touching it: for commands that attach to a running one. */
export function describeProvisioned(platform: Platform, o: ProvisionOptions): Provisioned {
  const prefix = o.prefix ?? '';
  const pg = platform.postgres;
  const secretOf = (user: string): string => deriveSecret(platform, `user|${user}`);
  const url = (db: string, role = roleName(prefix, db), secret = secretOf(`pg-${db}`)): string =>
    `postgres://${role}:${secret}@${pg.host}:${pg.port}/${roleName(prefix, db)}${tlsQuery(pg)}`;
  const guestUrl = (guest: VaultGuest): string => url('vault', guestRole(roleName(prefix, 'vault'), guest), secretOf(`pg-vault-${guest}`));
  return {
    dir: o.dir,
    prefix,
    bucketPrefix: prefix,
    centres: o.centres,
    databases: Object.fromEntries(DATABASES.map((d) => [d, url(d)])) as Record<DatabaseName, string>,
    vaultAs: Object.fromEntries(VAULT_GUEST_NAMES.map((g) => [g, guestUrl(g)])) as Record<VaultGuest, string>,
    clinicalDays: o.clinicalDays ?? CLINICAL_DAYS,
    readers: readerLogins(platform, o.readers ?? 4),
    people: PEOPLE.map(({ id, name, roles }) => ({ name, roles, tokenFile: tokenFileOf(o.dir, id) })),
    gatewayToken: deriveSecret(platform, 'gateway-token'),
    releaseToken: deriveSecret(platform, 'release-token'),
    selectToken: deriveSecret(platform, 'select-token'),
    secretOf,
    file: (name) => join(o.dir, name),
  };
}

const roleName = (prefix: string, db: string): string => `${prefix}${db}`.replaceAll('-', '_');

/** MinIO user of a service; named with the prefix, since policies belong to users. */
export function storeUser(prefix: string, service: string): string {
  return `${prefix}${service}`;
}

async function provisionStore(platform: Platform, p: Provisioned): Promise<void> {
  const { minio } = platform;
  const root = s3Store({
    endpoint: minio.url,
    ...(platform.tls === undefined ? {} : { tls: { ca: platform.tls.ca } }),
    accessKey: minio.accessKey,
    secretKey: minio.secretKey,
    bucketPrefix: p.bucketPrefix,
  });
  await root.ensureBuckets([...BUCKETS]);
  await applyLifecycle(minio, p.bucketPrefix);
  for (const user of STORE_USERS) {
    await minio.addUser(storeUser(p.prefix, user), p.secretOf(user), policyJson(p.bucketPrefix, user));
  }
}

/** Makes users, topics with ACLs, buckets with policies, databases and files. */
export async function provision(platform: Platform, o: ProvisionOptions): Promise<Provisioned> {
  const p = describeProvisioned(platform, o);
  const kafka = async (): Promise<void> => {
    await platform.kafka.addUsers(principals([...o.centres]).map((username) => ({ username, password: p.secretOf(username) })));
    await applyTopics({
      brokers: platform.kafka.brokers,
      username: platform.kafka.admin.username,
      password: platform.kafka.admin.password,
      ...(platform.tls === undefined ? {} : { ssl: { ca: platform.tls.ca } }),
      prefix: p.prefix,
      centres: [...o.centres],
      ...(o.partitions === undefined ? {} : { partitionsOverride: o.partitions }),
    });
  };
  const databases = async (): Promise<void> => {
    for (const name of DATABASES) {
      await platform.postgres.createDatabase(roleName(p.prefix, name), {
        user: roleName(p.prefix, name),
        password: p.secretOf(`pg-${name}`),
      });
    }
  };
  const registry = async (): Promise<void> => {
    if (platform.registryUrl !== undefined) await publishSchemas(platform.registryUrl);
  };
  const files = writeFiles(platform, o, p.secretOf, p.readers);
  const vault = async (): Promise<void> => {
    await Promise.all([databases(), files]);
    await provisionVault(platform.postgres, {
      database: roleName(p.prefix, 'vault'),
      ownerUrl: p.databases.vault,
      keyFile: p.file('vault-key'),
      passwordOf: (guest) => p.secretOf(`pg-vault-${guest}`),
    });
  };
  await Promise.all([registry(), kafka(), provisionStore(platform, p), vault(), files]);
  return p;
}
