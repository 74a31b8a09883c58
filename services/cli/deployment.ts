// A running local deployment, as commands see it: its platform, users and folders, found by its folder.
import { readFileSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import pino from 'pino';
import { platformFromState, type Platform } from '../../deploy/local/platform.ts';
import { describeProvisioned, storeUser, type Provisioned } from '../../deploy/local/provision.ts';
import { openBus } from '../adapters/event-bus.ts';
import { openPostgresVault } from '../adapters/postgres-vault.ts';
import { s3Store } from '../adapters/s3-store.ts';
import { openCodec } from '../adapters/schema-registry.ts';
import type { EventBus } from '../ports/event-bus.ts';
import type { EventCodec } from '../ports/event-codec.ts';
import type { IdentityVault } from '../ports/identity-vault.ts';
import type { ObjectStore } from '../ports/object-store.ts';

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
    throw new NoDeployment(`no deployment runs in ${dir}: start one with 'npm run ctstream -- up' or 'npm run demo -- --keep'`, {
      cause: error,
    });
  }
}

/** The operator's own connections: reads all topics, the event log and the vault's links; writes nothing. */
export interface OperatorPorts {
  readonly bus: EventBus;
  readonly codec: EventCodec;
  readonly store: ObjectStore;
  readonly vault: IdentityVault;
  close(): Promise<void>;
}

export async function operatorPorts(platform: Platform, p: Provisioned): Promise<OperatorPorts> {
  const bus = await openBus({
    brokers: platform.kafka.brokers,
    ...(platform.tls === undefined ? {} : { ssl: { ca: platform.tls.ca } }),
    username: 'account',
    password: p.secretOf('account'),
    prefix: p.prefix,
    clientId: 'ctstream-account',
    log: pino({ level: 'silent' }),
  });
  const store = s3Store({
    endpoint: platform.minio.url,
    ...(platform.tls === undefined ? {} : { tls: { ca: platform.tls.ca } }),
    accessKey: storeUser(p.prefix, 'analyst'),
    secretKey: p.secretOf('analyst'),
    bucketPrefix: p.bucketPrefix,
  });
  const vault = await openPostgresVault({
    connectionString: p.vaultAs.account,
    key: Buffer.from(readFileSync(p.file('vault-key'), 'utf8'), 'hex'),
  });
  return {
    bus,
    codec: await openCodec(platform.registryUrl),
    store,
    vault,
    close: async () => {
      await Promise.allSettled([bus.close(), vault.close()]);
    },
  };
}
