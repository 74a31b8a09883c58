// What a command needs to connect to a deployment: its servers, and the rights of one user at each. A local deployment's
// folder and a deployment file both give it, so that no command knows which of the two it was.
import pino from 'pino';
import topicsFile from '../../schemas/topics.json' with { type: 'json' };
import { openBus, type BusOptions } from '../adapters/event-bus.ts';
import type { KafkaBusOptions } from '../adapters/kafka-offsets.ts';
import type { S3Options } from '../adapters/s3-store.ts';
import type { EventBus } from '../ports/event-bus.ts';
import { ConfigError } from '../runtime/env.ts';

/** Name of a centre's gateway as a Kafka user. */
export const GATEWAY_USER = /^gateway-([a-z0-9-]+)$/;
/** A stage's own user, or a centre's gateway's: whose groups have lost something, as that one a person mends it. */
export type StageUser = keyof typeof topicsFile.stages | `gateway-${string}`;
export const isStageUser = (name: string): name is StageUser => Object.hasOwn(topicsFile.stages, name) || GATEWAY_USER.test(name);

/** Users of docs/credentials.md that people's commands connect as; `admin` is Kafka's own administrator, who may make topics. */
const PEOPLES_USERS = ['account', 'operator', 'admin'] as const;
export type KafkaUser = (typeof PEOPLES_USERS)[number] | StageUser;
export const isKafkaUser = (name: string): name is KafkaUser => PEOPLES_USERS.some((user) => user === name) || isStageUser(name);
export const STORE_USERS = ['analyst', 'security'] as const;
export type StoreUser = (typeof STORE_USERS)[number];
/** `privacy` owns the vault's database. */
export const VAULT_ROLES = ['account', 'security', 'privacy'] as const;
export type VaultRole = (typeof VAULT_ROLES)[number];

export type KafkaRights = Pick<BusOptions, 'brokers' | 'ssl' | 'username' | 'password' | 'prefix'>;

/**
 * A secret is read when it is asked for, so that nobody needs one for a command that they don't give.
 * @throws ConfigError (each function) what is missing, and which command needs it
 */
export interface Access {
  readonly kafka: (user: KafkaUser) => KafkaRights;
  readonly store: (user: StoreUser) => S3Options;
  /** Connection URL of the vault's database. */
  readonly vaultUrl: (role: VaultRole) => string;
  readonly vaultKey: () => Uint8Array;
  /** Without one, events have the ids of schemas/ids.json. */
  readonly registryUrl: string | undefined;
  /** Who has which role (services/runtime/people-file.ts). */
  readonly peopleFile: string | undefined;
}

/** Every part, or one error with the problems of all: whoever mends a configuration wants to hear of them at once. @throws ConfigError */
export function allOf<T extends object>(parts: { readonly [K in keyof T]: () => T[K] }): T {
  const found: Partial<T> = {};
  const problems: string[] = [];
  for (const name of Object.keys(parts) as (keyof T)[]) {
    try {
      found[name] = parts[name]();
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      problems.push(...error.problems);
    }
  }
  if (problems.length > 0) throw new ConfigError([...new Set(problems)]);
  return found as T;
}

/** Kafka for a command: what it says on the way is in its errors. */
export function quietly(rights: KafkaRights, clientId: string): KafkaBusOptions {
  return { ...rights, clientId, log: pino({ level: 'silent' }) };
}

export function openQuietBus(rights: KafkaRights, clientId: string): Promise<EventBus> {
  return openBus(quietly(rights, clientId));
}
