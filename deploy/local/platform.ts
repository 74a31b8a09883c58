// The local platform: real Kafka, MinIO, PostgreSQL and one Orthanc per centre, on free ports of
// loopback, with random passwords. Started by the demo and by the tests themselves.
import { existsSync, readFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { Agent } from 'node:https';
import { resolve } from 'node:path';
import { claimFolder, cleanUp, killAllNow, stopAll } from './cleanup.ts';
import { readLocalEnv } from './env.ts';
import { addScramUsers } from './kafka-scram.ts';
import type { KafkaUser } from './kafka.ts';
import { addMinioUser } from './minio-admin.ts';
import type { OrthancAccess } from './orthanc.ts';
import { addOrthancParts, launch, restartPart } from './parts.ts';
import { createDatabase } from './postgres.ts';
import { freezeProcess } from './processes.ts';
import { readState, type PlatformState } from './state.ts';
import { obtainTools, type Extra } from './tools.ts';

export type { KafkaUser } from './kafka.ts';

export interface PlatformOptions {
  /** Run folder, wiped and owned by this platform. */
  dir: string;
  /** Ids of the centres, e.g. 'c01'; each gets its own PACS. */
  centres: readonly string[];
  with?: readonly Extra[];
  /** Kafka, MinIO and PostgreSQL speak TLS and nothing else, with certificates made for this platform. */
  tls?: boolean;
  /** SCRAM users to create with the broker, which costs nothing; `kafka.addUsers` is for later ones. */
  kafkaUsers?: readonly KafkaUser[];
  /** Seconds without a new instance after which Orthanc calls a study stable; 2 by default. */
  orthancStableAge?: number;
  /** Leave the parts running when this process ends; `down` or `stop()` ends them. */
  detached?: boolean;
  /** End the platform on SIGINT and SIGTERM and then this process; true by default. */
  handleSignals?: boolean;
  /** Takes the progress lines instead of stderr. */
  log?: (line: string) => void;
  quiet?: boolean;
}

export interface OrthancInstance extends OrthancAccess {
  readonly pid: number;
}

export interface Platform {
  readonly dir: string;
  /** Present when the parts speak TLS: the certificate that vouches for them, as a file and as text. */
  readonly tls?: { readonly caFile: string; readonly ca: string };
  kafka: {
    brokers: string[];
    /** The same broker through Toxiproxy's proxies 'kafka-0', 'kafka-1' and so on, when started with 'toxiproxy'. */
    proxiedBrokers: string[];
    admin: KafkaUser;
    /** Creates SCRAM-SHA-512 users, or sets their passwords. */
    addUsers(users: readonly KafkaUser[]): Promise<void>;
    addUser(user: KafkaUser): Promise<void>;
    /** Ends the broker with the signal (SIGTERM) and starts it again on the same port and data. */
    restart(signal?: NodeJS.Signals): Promise<void>;
    readonly pid: number;
  };
  minio: {
    endPoint: string;
    port: number;
    /** http or https, host and port. */
    url: string;
    useSSL: boolean;
    /** Trusts the platform's certificate; for minio's own Client. */
    transportAgent?: Agent;
    /** The root user. */
    accessKey: string;
    secretKey: string;
    /** Creates a user that may do what the policy (AWS policy JSON) says, and nothing else. */
    addUser(name: string, secret: string, policyJson: string): Promise<void>;
    restart(signal?: NodeJS.Signals): Promise<void>;
    readonly pid: number;
  };
  postgres: {
    host: string;
    port: number;
    superuser: string;
    password: string;
    /** See `tls`. */
    caFile?: string | undefined;
    /** Creates the role and a database that it owns alone; gives the connection URL as the owner. */
    createDatabase(name: string, owner: { user: string; password: string }): Promise<string>;
    restart(signal?: NodeJS.Signals): Promise<void>;
    readonly pid: number;
  };
  orthancs: OrthancInstance[];
  addOrthanc(centre: string): Promise<OrthancInstance>;
  /** Same port, same storage. */
  restartOrthanc(centre: string, signal?: NodeJS.Signals): Promise<void>;
  /** Two halves of a restart, for tests of an unreachable PACS. */
  stopOrthanc(centre: string, signal?: NodeJS.Signals): Promise<void>;
  startOrthanc(centre: string): Promise<void>;
  /** SIGSTOP or SIGCONT to a part ('kafka', 'minio', 'postgres', 'orthanc/<centre>') and its children: it holds its connections and says nothing. */
  freeze(part: string, signal: 'SIGSTOP' | 'SIGCONT'): void;
  registryUrl?: string;
  zipkinUrl?: string;
  prometheusUrl?: string;
  toxiproxyUrl?: string;
  /**
   * Ends every part. On a platform from `platformFromState` it only lets go, unless `stop` is true.
   */
  stop(options?: { stop?: boolean }): Promise<void>;
}

/**
 * Starts the platform and returns when every part has answered. Errors carry `exitCode`: 78 with all
 * missing tools named, 1 with the tail of a part's own log, 1 when another platform runs in `dir`.
 */
export async function startPlatform(options: PlatformOptions): Promise<Platform> {
  const dir = resolve(options.dir);
  const env = readLocalEnv();
  const progress = { log: options.log, quiet: options.quiet, ci: env.ci };
  const tools = await obtainTools(options.with ?? [], env, progress);
  await mkdir(dir, { recursive: true, mode: 0o755 });
  await claimFolder(dir);
  const detach = options.detached === true ? undefined : endWithThisProcess(dir, options.handleSignals ?? true);
  try {
    await launch(dir, options, tools, env, progress);
  } catch (error) {
    await stopAll(dir);
    detach?.();
    throw error;
  }
  return attach(dir, async () => {
    await stopAll(dir);
    await cleanUp(dir, 'keep-logs');
    detach?.();
  });
}

/**
 * Attaches to the platform that runs in `dir`, from another process. Its `stop()` leaves the platform
 * running unless called with `{ stop: true }`. Throws when no platform is there or it is not ready.
 */
export async function platformFromState(dir: string): Promise<Platform> {
  const folder = resolve(dir);
  const state = readState(folder);
  if (state === undefined || !state.ready)
    throw new Error(`No platform is running in ${folder}${existsSync(folder) ? '' : ', which does not exist'}`);
  return attach(folder, async (options) => {
    if (options?.stop !== true) return;
    await stopAll(folder);
    await cleanUp(folder, 'keep-logs');
  });
}

function attach(dir: string, stop: Platform['stop']): Platform {
  const current = (): PlatformState => {
    const state = readState(dir);
    if (state === undefined) throw new Error(`The platform in ${dir} has been stopped`);
    return state;
  };
  // Another process may have restarted the part since: always the state's own answer.
  const pidOf = (part: string): number => current().processes[part]?.pid ?? 0;
  const restart = (part: string) => (signal?: NodeJS.Signals) => restartPart(dir, part, signal);
  const state = current();
  const tls = state.caFile === undefined ? undefined : { caFile: state.caFile, ca: readFileSync(state.caFile, 'utf8') };
  const addUsers = (users: readonly KafkaUser[]): Promise<void> =>
    addScramUsers({ host: '127.0.0.1', port: state.kafka.port, admin: state.kafka.admin, ca: tls?.ca, users });
  const postgres = { ...state.postgres, caFile: state.caFile };
  const instance = (access: OrthancAccess): OrthancInstance =>
    Object.defineProperty({ ...access, pid: 0 }, 'pid', { enumerable: true, get: () => pidOf(`orthanc/${access.centre}`) });
  const orthancs = state.orthancs.map(instance);
  return {
    dir,
    ...(tls === undefined ? {} : { tls }),
    kafka: {
      brokers: [`127.0.0.1:${state.kafka.port}`],
      proxiedBrokers: state.kafka.proxiedPorts.map((port) => `127.0.0.1:${port}`),
      admin: state.kafka.admin,
      addUsers,
      addUser: (user) => addUsers([user]),
      restart: restart('kafka'),
      get pid() {
        return pidOf('kafka');
      },
    },
    minio: {
      endPoint: '127.0.0.1',
      url: `${tls === undefined ? 'http' : 'https'}://127.0.0.1:${state.minio.port}`,
      useSSL: tls !== undefined,
      ...(tls === undefined ? {} : { transportAgent: new Agent({ ca: tls.ca }) }),
      ...state.minio,
      addUser: (name, secret, policyJson) => addMinioUser({ ...state.minio, ca: tls?.ca }, name, secret, policyJson),
      restart: restart('minio'),
      get pid() {
        return pidOf('minio');
      },
    },
    postgres: {
      ...postgres,
      createDatabase: (name, owner) => createDatabase(postgres, name, owner),
      restart: restart('postgres'),
      get pid() {
        return pidOf('postgres');
      },
    },
    orthancs,
    async addOrthanc(centre) {
      const env = readLocalEnv();
      const tools = await obtainTools([], env, { quiet: true });
      const [access] = await addOrthancParts(dir, [centre], tools, env);
      if (access === undefined) throw new Error(`Centre ${centre} has a PACS already`);
      const added = instance(access);
      orthancs.push(added);
      return added;
    },
    restartOrthanc: (centre, signal) => restartPart(dir, `orthanc/${centre}`, signal),
    stopOrthanc: (centre, signal) => restartPart(dir, `orthanc/${centre}`, signal, 'stop'),
    startOrthanc: (centre) => restartPart(dir, `orthanc/${centre}`, undefined, 'start'),
    freeze(part, signal) {
      const record = current().processes[part];
      if (record === undefined) throw new Error(`The platform in ${dir} has no part '${part}'`);
      freezeProcess(record, signal);
    },
    ...optionalUrls(state),
    stop,
  };
}

function optionalUrls(state: PlatformState): Pick<Platform, 'registryUrl' | 'zipkinUrl' | 'prometheusUrl' | 'toxiproxyUrl'> {
  const { registryUrl, zipkinUrl, prometheusUrl, toxiproxyUrl } = state;
  return { registryUrl, zipkinUrl, prometheusUrl, toxiproxyUrl };
}

/** Ties the platform's life to this process; returns what unties it. */
function endWithThisProcess(dir: string, handleSignals: boolean): () => void {
  const onExit = (): void => killAllNow(dir);
  let stopping = false;
  const onSignal = (signal: NodeJS.Signals): void => {
    if (stopping) return;
    stopping = true;
    // 128 + signal number, as shells report it.
    const code = signal === 'SIGINT' ? 130 : 143;
    void stopAll(dir)
      .then(() => cleanUp(dir, 'keep-logs'))
      .finally(() => process.exit(code));
  };
  process.on('exit', onExit);
  if (handleSignals) for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, onSignal);
  return () => {
    process.off('exit', onExit);
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.off(signal, onSignal);
  };
}
