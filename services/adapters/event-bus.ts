// Which Kafka client carries the bus: the one place that knows both (docs/decisions/0020-two-kafka-clients.md).
import { DEFAULT_CLIENT, type BusClient, type EventBus } from '../ports/event-bus.ts';
import type { KafkaBusOptions } from './kafka-offsets.ts';

export interface BusOptions extends KafkaBusOptions {
  readonly client?: BusClient;
}

/** The chosen client alone is loaded: @platformatic/kafka takes 26 MB of each process. */
const BUSES: Readonly<Record<BusClient, () => Promise<(options: KafkaBusOptions) => EventBus>>> = {
  kafkajs: async () => (await import('./kafkajs-bus.ts')).kafkaBus,
  platformatic: async () => (await import('./platformatic-bus.ts')).platformaticBus,
};

/** The bus over the chosen client. Nothing is connected before its first use. */
export async function openBus({ client, ...options }: BusOptions): Promise<EventBus> {
  const open = await BUSES[client ?? DEFAULT_CLIENT]();
  return open(options);
}
