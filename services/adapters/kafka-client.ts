// What both sides of the Kafka adapter share: the client, names with and without the deployment's prefix,
// and errors as faults.
import kafkajs from 'kafkajs';
import type { Kafka as KafkaClient, LogEntry } from 'kafkajs';
import type { Logger } from 'pino';
import { zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { Fault } from '../kernel/fault.ts';
import { kafkaSocket } from './kafka-socket.ts';
import { kafkaScram } from './kafkajs-scram.ts';
import { isUntrusted, type TlsOptions } from './tls-files.ts';

export interface KafkaAccess {
  readonly brokers: readonly string[];
  readonly username: string;
  readonly password: string;
  readonly ssl?: TlsOptions;
  readonly clientId: string;
  readonly log: Logger;
}

// Written out, because kafkajs takes other defaults when NODE_ENV is 'test'.
const RETRY = { initialRetryTime: 200, maxRetryTime: 5000, factor: 0.2, multiplier: 2, retries: 7 };

// Not its own: a broker whose setting it once was has left such batches. What is too large is gone before (packed-batches.ts).
kafkajs.CompressionCodecs[kafkajs.CompressionTypes.ZSTD] = () => ({
  compress: async ({ buffer }: { buffer: Buffer }) => await Promise.resolve(zstdCompressSync(buffer)),
  decompress: async (buffer: Buffer) => await Promise.resolve(zstdDecompressSync(buffer)),
});

/** kafkajs 2.2.4 asks for timers of negative length (its 'not throttled' is -1), which Node 24 says aloud once. */
function muteTimerWarning(): void {
  const emit = process.emitWarning.bind(process) as (warning: string | Error, ...rest: unknown[]) => void;
  process.emitWarning = (warning: string | Error, ...rest: unknown[]): void => {
    if (rest[0] !== 'TimeoutNegativeWarning') emit(warning, ...rest);
  };
}
muteTimerWarning();

/** A kafkajs client that logs through pino. kafkajs' own 'info' is our 'debug'. `onDenied` hears of refusals that its errors hide. */
export function kafkaClient(o: KafkaAccess, onDenied: (what: string) => void = () => undefined): KafkaClient {
  const { Kafka, logLevel } = kafkajs;
  const log = o.log.child({ part: 'kafkajs' });
  return new Kafka({
    clientId: o.clientId,
    brokers: [...o.brokers],
    socketFactory: kafkaSocket,
    ...(o.ssl === undefined ? {} : { ssl: { ...o.ssl } }),
    sasl: kafkaScram(o),
    connectionTimeout: 5000,
    authenticationTimeout: 10_000,
    requestTimeout: 30_000,
    retry: RETRY,
    logLevel: log.isLevelEnabled('debug') ? logLevel.INFO : logLevel.WARN,
    logCreator: () => (entry) => {
      const error: unknown = entry.log['error'];
      // A refused group comes out as 'coordinator not found'; only the log has the reason.
      if (typeof error === 'string' && /authorization failed/i.test(error)) onDenied(error);
      writeLog(log, entry);
    },
  });
}

/** Only fields that can't hold a key or a value; the error's text only where it is the protocol's own. */
function writeLog(log: Logger, entry: LogEntry): void {
  const { groupId, memberId, topic, partition, broker, clientId, retryCount, error } = entry.log as Record<string, unknown>;
  const fields = {
    groupId,
    memberId,
    topic,
    partition,
    broker,
    clientId,
    retryCount,
    error: typeof error === 'string' ? error : undefined,
  };
  const text = `${entry.namespace}: ${entry.log.message}`;
  if (entry.level <= kafkajs.logLevel.ERROR) log.warn(fields, text);
  else log.debug(fields, text);
}

interface KafkaError {
  readonly name?: string;
  readonly type?: string;
  /** The protocol's word in @platformatic/kafka; kafkajs has it in `type`. */
  readonly apiId?: string;
  readonly code?: unknown;
  readonly message?: string;
  readonly cause?: unknown;
  readonly originalError?: unknown;
  readonly errors?: readonly unknown[];
}

const DENIED = /AUTHORIZATION_FAILED/;
const UNAUTHORISED = /SASL_AUTHENTICATION_FAILED|UNSUPPORTED_SASL_MECHANISM|ILLEGAL_SASL_STATE|KafkaJSSASLAuthenticationError/;

/** Both clients wrap errors in errors: all types and names of the chain. */
function kindsOf(error: unknown, depth = 0): string[] {
  if (typeof error !== 'object' || error === null || depth > 8) return [];
  const e = error as KafkaError;
  return [
    e.type,
    e.apiId,
    e.name,
    // @platformatic/kafka says it in a sentence of its own, without the protocol's word.
    e.message?.startsWith('Unknown topic ') === true ? 'UNKNOWN_TOPIC_OR_PARTITION' : undefined,
    // Of a socket's error; a protocol error's code is a number, and its type says it.
    e.code,
    ...kindsOf(e.cause, depth + 1),
    ...kindsOf(e.originalError, depth + 1),
    ...(e.errors ?? []).flatMap((x) => kindsOf(x, depth + 1)),
  ].filter((k): k is string => typeof k === 'string');
}

/** Whether an error of a Kafka client says that the broker does not have a topic. It doesn't say which. */
export function saysTopicMissing(error: unknown): boolean {
  return kindsOf(error).some((k) => k === 'UNKNOWN_TOPIC_OR_PARTITION' || k === 'UNKNOWN_TOPIC_ID');
}

const REFUSED_PARTITION =
  /^(NOT_ENOUGH_REPLICAS|NOT_ENOUGH_REPLICAS_AFTER_APPEND|LEADER_NOT_AVAILABLE|NOT_LEADER_FOR_PARTITION|NOT_LEADER_OR_FOLLOWER|KAFKA_STORAGE_ERROR)$/;

/** Whether the broker answered, and can't take records of a partition now. It doesn't say of which. */
export function saysPartitionRefused(error: unknown): boolean {
  return kindsOf(error).some((k) => REFUSED_PARTITION.test(k));
}

/** Whether a commit without a member was refused since the group has some: the broker then wants to know which one it is. */
export function saysGroupActive(error: unknown): boolean {
  return kindsOf(error).includes('UNKNOWN_MEMBER_ID');
}

/** Whether nobody ever was in the group. */
export function saysGroupUnknown(error: unknown): boolean {
  return kindsOf(error).includes('GROUP_ID_NOT_FOUND');
}

/**
 * What is said while a group has no broker that knows its offsets: it reads them from its log, or another one shall have them.
 * kafkajs has names of its own; its NotFound says that none was found by all its tries.
 */
const NO_COORDINATOR =
  /^(?:(?:COORDINATOR|GROUP)_LOAD_IN_PROGRESS|(?:GROUP_)?COORDINATOR_NOT_AVAILABLE|NOT_COORDINATOR(?:_FOR_GROUP)?|KafkaJSGroupCoordinatorNotFound)$/;

/** The fault behind an error of a Kafka client. @param what what was tried, for the log: no key, no value. */
export function busFault(error: unknown, what: string): Fault {
  if (error instanceof Fault) return error;
  const kinds = kindsOf(error);
  const untrusted = kinds.find(isUntrusted);
  if (untrusted !== undefined) return new Fault('BUS_UNTRUSTED', false, `${what}: ${untrusted}`, { cause: error });
  const unauthorised = kinds.find((k) => UNAUTHORISED.test(k));
  if (unauthorised !== undefined) return new Fault('BUS_UNAUTHORISED', false, `${what}: the user or password is refused`, { cause: error });
  const denied = kinds.find((k) => DENIED.test(k));
  if (denied !== undefined) return new Fault('DENIED_BY_BROKER', false, `${what}: ${denied}`, { cause: error });
  if (kinds.includes('MESSAGE_TOO_LARGE'))
    return new Fault('UNEXPECTED', false, `${what}: MESSAGE_TOO_LARGE, the record is larger than the broker takes`, { cause: error });
  const noCoordinator = kinds.find((k) => NO_COORDINATOR.test(k));
  if (noCoordinator !== undefined) return new Fault('BUS_NO_COORDINATOR', true, `${what}: ${noCoordinator}`, { cause: error });
  // The protocol's own word, else the innermost class: the outer ones only say that the client gave up.
  const why = kinds.find((k) => /^(?!PLT_)[A-Z_]+$/.test(k)) ?? kinds.at(-1) ?? 'no answer';
  return new Fault('BUS_UNAVAILABLE', true, `${what}: ${why}`, { cause: error });
}

/** Pattern of logical names: `<centre>` is one part of a name, a trailing `*` is anything. */
export function topicPattern(pattern: string): RegExp {
  const text = pattern
    .split('<centre>')
    .map((part) => part.replace(/[.]/g, '\\.').replace(/\*$/, '.*'))
    .join('[a-z0-9-]+');
  return new RegExp(`^${text}$`);
}

export function isPattern(topic: string): boolean {
  return topic.includes('<centre>') || topic.endsWith('*');
}
