// What came of the studies, as ingest tells their centre: from the one topic that a centre may read.
import { Fault } from '../kernel/fault.ts';
import type { BusRecord, EventBus, Lease } from '../ports/event-bus.ts';
import type { EventCodec } from '../ports/event-codec.ts';
import type { CentreLink } from './link.ts';
import type { State } from './state.ts';
import { applyStatus } from './studies.ts';

/**
 * Applies every status until the signal aborts. Doing it twice changes nothing. One of a newer version is held, and with
 * it, in time, its partition: the updated gateway gets it again, since an announcement may hang on it. What nobody can
 * read is noted for the status page. @throws Fault of the bus
 */
export async function followStatus(state: State, link: CentreLink, bus: EventBus, codec: EventCodec, signal: AbortSignal): Promise<void> {
  const topic = `ct.clinical.${link.centre}.study-status.v1`;
  const subscription = await bus.subscribe({ group: `gateway-${link.centre}`, topics: [topic], window: 64 });
  const held: Lease[] = [];
  try {
    for (;;) {
      const lease = await subscription.take(signal);
      if (lease === undefined) return;
      if (take(state, link, codec, lease.record)) lease.ack();
      else held.push(lease);
    }
  } finally {
    for (const lease of held) lease.release();
    await subscription.stop();
  }
}

/** Applies a status; false when it has to wait for a newer gateway, or for the registry that knows its schema. */
function take(state: State, link: CentreLink, codec: EventCodec, record: BusRecord): boolean {
  try {
    const event = codec.decode(record);
    if (event.type !== 'ctstream.clinical.v1.StudyStatus' || event.value.centre !== link.centre)
      throw new Fault('BAD_EVENT', false, 'another type or another centre than the topic is for');
    applyStatus(state, link.centre, event.value, link.quiet);
    state.run(
      'DELETE FROM unread_status WHERE centre = ? AND partition = ? AND offset = ?',
      link.centre,
      record.partition,
      Number(record.offset),
    );
    return true;
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    const at = { centre: link.centre, partition: record.partition, offset: String(record.offset) };
    link.log('warn', { ...at, code: error.code, fault: error.message }, 'a status record could not be read');
    state.run(
      'INSERT OR REPLACE INTO unread_status (centre, partition, offset, code, at_ms) VALUES (?, ?, ?, ?, ?)',
      link.centre,
      record.partition,
      Number(record.offset),
      error.code,
      state.nowMs(),
    );
    return !error.code.startsWith('SCHEMA_');
  }
}
