// From an outcome to the records that are published for it.
import type { EventRecord, EventType } from '../../schemas/events.gen.ts';
import type { Code } from '../kernel/codes.ts';
import { outgoingId } from '../kernel/event-ids.ts';
import type { NewEvent, Outcome } from '../kernel/outcome.ts';
import { typeOfTopic, zoneOf } from '../kernel/route.ts';
import type { EventIn, Zone } from '../kernel/stage.ts';
import type { OutgoingRecord } from '../ports/event-bus.ts';
import type { EventCodec } from '../ports/event-codec.ts';

/** A stage broke its contract: a mistake in our code, so the process ends instead of going on with it. */
export class InvariantViolation extends Error {
  constructor(what: string) {
    super(what);
    this.name = 'InvariantViolation';
  }
}

/** The parts of a stage's contract that its outcomes are held to. */
export interface Contract {
  readonly name: string;
  readonly zone: Zone;
  readonly produces: readonly string[];
}

/** study-skipped or study-rejected of the zone, about the study of the consumed event. */
function verdict(stage: Contract, event: EventIn, what: 'StudySkipped' | 'StudyRejected', code: Code, detail: string): EventRecord {
  const v = event.value;
  if (stage.zone === 'clinical' && 'studyInstanceUid' in v && 'revision' in v) {
    const { centre, studyInstanceUid, revision } = v;
    return { type: `ctstream.clinical.v1.${what}`, value: { centre, studyInstanceUid, revision, stage: stage.name, code, detail } };
  }
  if (stage.zone === 'research' && 'studyId' in v && 'revision' in v) {
    const { studyId, revision } = v;
    const value = { studyId, revision, stage: stage.name, code, detail };
    if (what === 'StudySkipped') return { type: 'ctstream.research.v1.StudySkipped', value };
    return { type: 'ctstream.research.v1.StudyRejected', value: { ...value, subjectId: null } };
  }
  throw new InvariantViolation(`${stage.name} can't skip or reject a ${event.type}: it is about no study of the ${stage.zone} zone`);
}

/** Everything to publish for an outcome: the verdict first, then its events in their order. */
export function eventsOf(stage: Contract, event: EventIn, outcome: Outcome): NewEvent[] {
  if (outcome.kind === 'emit') return [...outcome.events];
  return [
    verdict(stage, event, outcome.kind === 'skip' ? 'StudySkipped' : 'StudyRejected', outcome.code, outcome.detail),
    ...outcome.events,
  ];
}

export interface EncodeOptions {
  readonly codec: EventCodec;
  readonly timeMs: number;
  /** Trace that an event of the zone belongs to. */
  traceparent(zone: Zone): string;
}

/**
 * Encodes a stage's events with ids that every attempt gives again.
 * @throws InvariantViolation for a type that the stage does not produce, or an event that crosses the trust boundary
 * without a cause of its own: its id would be computable from a clinical one.
 */
export function encodeEvents(stage: Contract, event: EventIn, events: readonly NewEvent[], o: EncodeOptions): OutgoingRecord[] {
  const allowed = new Set<EventType | undefined>([
    ...stage.produces.map(typeOfTopic),
    `ctstream.${stage.zone}.v1.StudySkipped`,
    `ctstream.${stage.zone}.v1.StudyRejected`,
  ]);
  const counts = new Map<string, number>();
  return events.map((out) => {
    if (!allowed.has(out.type)) throw new InvariantViolation(`${stage.name} does not produce ${out.type}`);
    const zone = zoneOf(out.type);
    if (zone !== zoneOf(event.type) && out.cause === undefined)
      throw new InvariantViolation(`${stage.name}: ${out.type} crosses the trust boundary without a cause of its own`);
    const cause = out.cause ?? event.id;
    const counter = `${cause} ${out.type}`;
    const ordinal = counts.get(counter) ?? 0;
    counts.set(counter, ordinal + 1);
    return o.codec.encode(out, {
      id: outgoingId(stage.name, cause, out.type, ordinal),
      source: stage.name,
      timeMs: o.timeMs,
      traceparent: o.traceparent(zone),
    });
  });
}
