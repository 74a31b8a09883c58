// A running deployment, as commands see it: the local one, found by its folder, with its platform, users and folders; or
// any other, by a deployment file.
import { readFile, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { Option, type Command } from 'commander';
import { platformFromState, type Platform } from '../../deploy/local/platform.ts';
import { describeProvisioned, storeUser, type Provisioned } from '../../deploy/local/provision.ts';
import { openPostgresVault } from '../adapters/postgres-vault.ts';
import { s3Store } from '../adapters/s3-store.ts';
import { openCodec } from '../adapters/schema-registry.ts';
import type { EventBus } from '../ports/event-bus.ts';
import type { EventCodec } from '../ports/event-codec.ts';
import type { IdentityVault } from '../ports/identity-vault.ts';
import type { ObjectStore } from '../ports/object-store.ts';
import { allOf, openQuietBus, type Access, type KafkaRights, type VaultRole } from './access.ts';
import { fileAccess } from './deployment-file.ts';
import { readKeyFile } from './key-file.ts';

/** Default folder of the local deployment, in the project. */
export const DEFAULT_DIR = resolve(import.meta.dirname, '../../.ctstream');

/** What a deployment writes about itself: how its parts are named. Secrets stand elsewhere. */
export interface DeploymentFile {
  readonly centres: readonly string[];
  readonly prefix: string;
  readonly readers: number;
  /** Health and metrics of each stage. */
  readonly urls: Readonly<Record<string, string>>;
  /** A stage's own API or page. */
  readonly apiUrls: Readonly<Record<string, string>>;
}

export class NoDeployment extends Error {
  /** sysexits.h EX_CONFIG. */
  readonly exitCode = 78;
}

export function platformDir(dir: string): string {
  return join(dir, 'platform');
}

/** Logs, records and the state of the stages. */
export function stagesDir(dir: string): string {
  return join(dir, 'stages');
}

/** Copy of the event log's archive, for commands that read it whole. */
export function logMirrorDir(dir: string): string {
  return join(dir, 'event-log');
}

export function secretsDir(dir: string): string {
  return join(dir, 'secrets');
}

export async function writeDeployment(dir: string, file: DeploymentFile): Promise<void> {
  await writeFile(join(dir, 'deployment.json'), `${JSON.stringify(file, null, 2)}\n`);
}

export interface Deployment {
  readonly dir: string;
  readonly file: DeploymentFile;
  readonly platform: Platform;
  readonly provisioned: Provisioned;
}

/** @throws NoDeployment when none runs in the folder. */
export async function attachDeployment(dir: string): Promise<Deployment> {
  try {
    const file = JSON.parse(await readFile(join(dir, 'deployment.json'), 'utf8')) as DeploymentFile;
    const platform = await platformFromState(platformDir(dir));
    return { dir, file, platform, provisioned: describeProvisioned(platform, { ...file, dir: secretsDir(dir) }) };
  } catch (error) {
    throw new NoDeployment(
      `no deployment runs in ${dir}: start one with 'npm run ctstream -- up' or 'npm run demo -- --keep', or name another by --deployment where the command has it`,
      {
        cause: error,
      },
    );
  }
}

/** What a user of a local deployment's Kafka connects with: a person's, a stage's, a gateway's or the administrator. */
const localKafka = ({ kafka, tls }: Platform, p: Provisioned, username: string): KafkaRights => ({
  brokers: kafka.brokers,
  ...(tls === undefined ? {} : { ssl: { ca: tls.ca } }),
  ...(username === kafka.admin.username ? kafka.admin : { username, password: p.secretOf(username) }),
  prefix: p.prefix,
});

/** The rights of a local deployment's people. */
export function localAccess(platform: Platform, p: Provisioned): Access {
  const { tls } = platform;
  const vaultUrls: Readonly<Record<VaultRole, string>> = { ...p.vaultAs, privacy: p.databases.vault };
  return {
    kafka: (user) => localKafka(platform, p, user),
    store: (user) => ({
      endpoint: platform.minio.url,
      ...(tls === undefined ? {} : { tls: { ca: tls.ca } }),
      accessKey: storeUser(p.prefix, user),
      secretKey: p.secretOf(user),
      bucketPrefix: p.bucketPrefix,
    }),
    vaultUrl: (role) => vaultUrls[role],
    vaultKey: () => readKeyFile(p.file('vault-key')),
    registryUrl: platform.registryUrl,
    peopleFile: p.file('people.json'),
  };
}

export interface Placed {
  readonly dir: string;
  /** In place of `dir`. */
  readonly deployment?: string;
}

/** Options of every command that works on the local deployment or on any other by a deployment file. */
export const placedAnywhere = (command: Command): Command =>
  command
    .option('--dir <dir>', 'folder of the local deployment', DEFAULT_DIR)
    .addOption(
      new Option('--deployment <file>', 'another deployment: where its servers and your secrets are (docs/users/operator.md)')
        .env('CTSTREAM_DEPLOYMENT')
        .conflicts('dir'),
    );

/** The deployment file that was named. Compose files and shells leave empty variables behind: these name none. */
export const deploymentFileOf = ({ deployment }: Placed): string | undefined =>
  deployment === undefined || deployment === '' ? undefined : resolve(deployment);

/** What the command connects with. @param command its name, for what is missing @throws ConfigError, NoDeployment */
export async function accessOf(o: Placed, command: string): Promise<Access> {
  const file = deploymentFileOf(o);
  if (file !== undefined) return fileAccess(file, command);
  const { platform, provisioned } = await attachDeployment(resolve(o.dir));
  return localAccess(platform, provisioned);
}

/** Reads all topics and the vault's links; writes nothing. */
export interface AccountPorts {
  readonly bus: EventBus;
  readonly codec: EventCodec;
  readonly vault: IdentityVault;
  close(): Promise<void>;
}

export async function accountPorts(access: Access): Promise<AccountPorts> {
  const { kafka, connectionString, key } = allOf({
    kafka: () => access.kafka('account'),
    connectionString: () => access.vaultUrl('account'),
    key: access.vaultKey,
  });
  const codec = await openCodec(access.registryUrl);
  const bus = await openQuietBus(kafka, 'ctstream-account');
  const vault = await openPostgresVault({ connectionString, key });
  return {
    bus,
    codec,
    vault,
    close: async () => {
      await Promise.allSettled([bus.close(), vault.close()]);
    },
  };
}

/** The operator's own connections: those of the account, and the event log. */
export interface OperatorPorts extends AccountPorts {
  readonly store: ObjectStore;
}

export async function operatorPorts(access: Access): Promise<OperatorPorts> {
  const store = s3Store(access.store('analyst'));
  return { ...(await accountPorts(access)), store };
}
