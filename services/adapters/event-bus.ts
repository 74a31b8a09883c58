// Which Kafka client carries the bus: the one place that knows both (docs/decisions/0020-two-kafka-clients.md).
import type { EventBus } from '../ports/event-bus.ts';
import type { KafkaBusOptions } from './kafka-offsets.ts';
import { kafkaBus } from './kafkajs-bus.ts';
import { platformaticBus } from './platformatic-bus.ts';

/** Names as KAFKA_CLIENT takes them. */
export type BusClient = 'kafkajs' | 'platformatic';

export interface BusOptions extends KafkaBusOptions {
  /** kafkajs by default. */
  readonly client?: BusClient;
}

const BUSES: Readonly<Record<BusClient, (options: KafkaBusOptions) => EventBus>> = { kafkajs: kafkaBus, platformatic: platformaticBus };

/** The bus over the chosen client. Nothing is connected before its first use. */
export function openBus({ client, ...options }: BusOptions): EventBus {
  return BUSES[client ?? 'kafkajs'](options);
}
