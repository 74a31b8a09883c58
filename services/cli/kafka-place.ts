// A Kafka that is not the local deployment's, as flags name it.
import pino from 'pino';
import type { KafkaBusOptions } from '../adapters/kafka-offsets.ts';
import { secretOf } from '../runtime/env.ts';

export interface KafkaFlags {
  readonly brokers?: string;
  readonly username?: string;
  readonly passwordFile?: string;
  readonly caFile?: string;
  readonly prefix?: string;
}

/** @throws ConfigError */
export function kafkaOfFlags(
  o: KafkaFlags & { brokers: string; username: string; passwordFile: string },
  clientId: string,
): KafkaBusOptions {
  return {
    clientId,
    log: pino({ level: 'silent' }),
    brokers: o.brokers.split(','),
    username: o.username,
    password: secretOf('password', undefined, o.passwordFile),
    ...(o.caFile === undefined ? {} : { ssl: { ca: secretOf('CA', undefined, o.caFile) } }),
    prefix: o.prefix ?? '',
  };
}
