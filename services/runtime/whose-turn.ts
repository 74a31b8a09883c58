// In whose line a record waits for a slot of its stage: a centre's, or what stands for one behind the trust boundary.
import type { BusRecord } from '../ports/event-bus.ts';
import type { EventCodec } from '../ports/event-codec.ts';

/**
 * The event's centre, else its site (the pseudonym of one), else its topic: withdrawals and what can't be read stand behind no
 * centre's studies. New records and those that come again have lines of their own, so that neither waits for all of the other.
 */
export function lineOf(codec: EventCodec, record: BusRecord, isRetry: boolean): string {
  return `${isRetry ? 'again' : 'new'} ${ownerOf(codec, record) ?? record.topic}`;
}

function ownerOf(codec: EventCodec, record: BusRecord): string | undefined {
  try {
    const { value } = codec.decode(record);
    if ('centre' in value) return value.centre;
    return 'site' in value ? value.site : undefined;
  } catch {
    // What is wrong with it, its job will say.
    return undefined;
  }
}
