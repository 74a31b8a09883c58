// What came of the studies, as ingest tells their centre: from the one topic that a centre may read.
import { Fault } from '../kernel/fault.ts';
import type { EventBus } from '../ports/event-bus.ts';
import type { EventCodec } from '../ports/event-codec.ts';
import type { CentreLink } from './link.ts';
import type { State } from './state.ts';
import { applyStatus } from './studies.ts';

/** Applies every status until the signal aborts. Doing it twice changes nothing. @throws Fault of the bus */
export async function followStatus(state: State, link: CentreLink, bus: EventBus, codec: EventCodec, signal: AbortSignal): Promise<void> {
  const topic = `ct.clinical.${link.centre}.study-status.v1`;
  const subscription = await bus.subscribe({ group: `gateway-${link.centre}`, topics: [topic], window: 64 });
  try {
    for (;;) {
      const lease = await subscription.take(signal);
      if (lease === undefined) return;
      try {
        const event = codec.decode(lease.record);
        if (event.type === 'ctstream.clinical.v1.StudyStatus' && event.value.centre === link.centre)
          applyStatus(state, link.centre, event.value, link.quiet);
      } catch (error) {
        // Only the page depends on it: a record of a newer or broken writer is passed over and said.
        if (!(error instanceof Fault)) throw error;
        link.log('warn', { centre: link.centre, code: error.code, fault: error.message }, 'a status record was passed over');
      }
      lease.ack();
    }
  } finally {
    await subscription.stop();
  }
}
