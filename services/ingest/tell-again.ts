// A stored revision that has no outcome is told of again before the log and its dead letters forget it: the event is a function
// of the manifest, so anonymise tries it anew, and one that was held is held anew, with a letter that can be decided.
import { outgoingId } from '../kernel/event-ids.ts';
import { readManifest } from '../kernel/manifest.ts';
import type { Clock } from '../ports/clock.ts';
import type { EventBus } from '../ports/event-bus.ts';
import type { EventCodec } from '../ports/event-codec.ts';
import type { ObjectStore } from '../ports/object-store.ts';
import { storedEvents, type ClinicalManifest } from './events.ts';
import { ingestStage } from './stage.ts';
import { CLINICAL_BUCKET } from './store-series.ts';

export interface TellAgainPorts {
  readonly store: ObjectStore;
  readonly bus: Pick<EventBus, 'publish'>;
  readonly codec: Pick<EventCodec, 'encode'>;
  readonly clock: Pick<Clock, 'nowMs'>;
}

/**
 * Publishes `study-stored` of the manifest, as it was; nothing when it is gone.
 * @throws the store's or the bus's Fault, or an error when it has not the shape of a manifest
 */
export async function tellAgain({ store, bus, codec, clock }: TellAgainPorts, manifestKey: string, signal: AbortSignal): Promise<void> {
  const published = await readManifest<ClinicalManifest>(store, CLINICAL_BUCKET, manifestKey, signal);
  if (published === undefined) return;
  const source = ingestStage.name;
  const records = storedEvents(published)
    .filter(({ type }) => type === 'ctstream.clinical.v1.StudyStored')
    .map((event) => codec.encode(event, { id: outgoingId(source, event.cause ?? '', event.type, 0), source, timeMs: clock.nowMs() }));
  await bus.publish(records, signal);
}
