// Where an event goes: its topic and key are functions of the event alone.
import type { EventRecord, EventType } from '../../schemas/events.gen.ts';
import topicsFile from '../../schemas/topics.json' with { type: 'json' };
import { centreId, clinicalKey } from './ids.ts';
import type { Zone } from './stage.ts';

const TEMPLATES = new Map<string, string>(topicsFile.topics.map((t) => [t.type, t.name]));
const TYPES = new Map<string, string>(topicsFile.topics.map((t) => [t.name, t.type]));

/** Zone of an event type, from its namespace. */
export function zoneOf(type: EventType): Zone {
  return type.startsWith('ctstream.clinical.') ? 'clinical' : 'research';
}

/** Logical topic name (as in schemas/topics.json, `<centre>` filled in). */
export function topicOf(event: EventRecord): string {
  const template = TEMPLATES.get(event.type);
  if (template === undefined) throw new Error(`schemas/topics.json has no topic for ${event.type}`);
  return 'centre' in event.value ? template.replace('<centre>', centreId(event.value.centre)) : template;
}

/** (centre, study) before the boundary, research study after; withdrawals by subject, rounds and releases by name. */
export function keyOf(event: EventRecord): string {
  const v = event.value;
  if ('studyInstanceUid' in v) return clinicalKey(v.centre, v.studyInstanceUid);
  if ('centre' in v) return v.centre;
  if ('studyId' in v) return v.studyId;
  if ('subjectId' in v) return v.subjectId;
  if ('subjectRow' in v) return v.subjectRow;
  if ('cohort' in v) return v.cohort;
  return v.version;
}

const CENTRE_TOPIC = /^ct\.clinical\.([a-z0-9-]+)\.([a-z-]+\.v\d+)$/;

/** Centre that a topic belongs to; undefined for topics of the whole city. */
export function centreOfTopic(topic: string): string | undefined {
  const match = CENTRE_TOPIC.exec(topic);
  return match !== null && TYPES.has(`ct.clinical.<centre>.${match[2]}`) ? match[1] : undefined;
}

/** Event type that a topic carries; undefined for retry and dead topics. */
export function typeOfTopic(topic: string): EventType | undefined {
  const centre = centreOfTopic(topic);
  const template = centre === undefined ? topic : topic.replace(`.${centre}.`, '.<centre>.');
  return TYPES.get(template) as EventType | undefined;
}

/** Topics where a stage's failed records wait (`30s`, `5m`, `1h`) or lie (`dead`). */
export function retryTopic(zone: Zone, stage: string, delay: string): string {
  return `ct.${zone}.${stage}.retry.${delay}`;
}
export function deadTopic(zone: Zone, stage: string): string {
  return `ct.${zone}.${stage}.dead`;
}
