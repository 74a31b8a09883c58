// Events to bytes and back: Avro in Confluent framing with CloudEvents headers.
import type { EventIn } from '../kernel/stage.ts';
import type { NewEvent } from '../kernel/outcome.ts';
import type { BusRecord, OutgoingRecord } from './event-bus.ts';

export interface Envelope {
  readonly id: string;
  readonly source: string;
  readonly timeMs: number;
  readonly traceparent?: string;
  /** A source's outbox sequence (CloudEvents `sequence` extension). */
  readonly sequence?: bigint;
}

export interface EventCodec {
  encode(event: NewEvent, envelope: Envelope): OutgoingRecord;
  /** @throws Fault SCHEMA_AHEAD for an unknown schema id, BAD_EVENT for bytes or headers that do not fit. */
  decode(record: BusRecord): EventIn;
}
