// Erasure in ct-research: which studies a subject has, who withdrew, and the removal of all that is theirs.
import type { EventRecord, SubjectWithdrawn } from '../../schemas/events.gen.ts';
import { Fault } from '../kernel/fault.ts';
import type { ResearchRevision, ResearchStudyId, SubjectId } from '../kernel/ids.ts';
import { canonicalJson, MANIFEST_LIMIT_BYTES } from '../kernel/manifest.ts';
import type { Clock } from '../ports/clock.ts';
import type { ObjectStore } from '../ports/object-store.ts';

const BUCKET = 'ct-research';

export interface ErasePorts {
  readonly store: ObjectStore;
  readonly clock: Clock;
  /** How long after the first erasure the second one is made; longer than the longest job. */
  readonly eraseAgainAfterMs: number;
}

interface StudyOfSubject {
  readonly studyId: ResearchStudyId;
  readonly revision: ResearchRevision;
  readonly subjectId: SubjectId;
}

/** The marker of a withdrawn subject stays for ever: it is the withdrawn set. Research ids only. */
interface Marker {
  readonly format: 'ctstream-withdrawn/1';
  /** When the first erasure began. */
  readonly sinceMs: number;
  readonly objects: number;
  /** What was erased, as [study, revision]: every attempt must tell the same. */
  readonly revisions: readonly (readonly [string, string])[];
}

const markerKey = (subjectId: string): string => `withdrawn/${subjectId}`;
/** Of a study that its withdrawal named: stays for ever too, and refuses every revision of it. */
const studyMarkerKey = (studyId: string): string => `withdrawn/studies/${studyId}`;
const indexKey = (s: StudyOfSubject): string => `subjects/${s.subjectId}/${s.studyId}/${s.revision}`;

/**
 * Notes that the subject has this study. Must come before `isWithdrawn` is asked: an erasure sets its markers and then
 * lists the notes, so either it finds this one or the asker finds a marker.
 */
export async function noteStudy(store: ObjectStore, study: StudyOfSubject, signal: AbortSignal): Promise<void> {
  await store.put(BUCKET, indexKey(study), canonicalJson({}), { contentType: 'application/json', signal });
}

/** Whether the subject withdrew, or the study was withdrawn whole, under whatever subject this revision names. */
export async function isWithdrawn(store: ObjectStore, { subjectId, studyId }: StudyOfSubject, signal: AbortSignal): Promise<boolean> {
  const markers = await Promise.all([markerKey(subjectId), studyMarkerKey(studyId)].map((key) => store.head(BUCKET, key, signal)));
  return markers.some((marker) => marker !== undefined);
}

/** Removes all objects of the prefixes; answers how many there were. */
async function removeAll(store: ObjectStore, prefixes: Iterable<string>, signal: AbortSignal): Promise<number> {
  let removed = 0;
  for (const prefix of prefixes) {
    const keys: string[] = [];
    for await (const { key } of store.list(BUCKET, prefix, signal)) keys.push(key);
    if (keys.length > 0) await store.remove(BUCKET, keys, signal);
    removed += keys.length;
  }
  return removed;
}

/**
 * Removes a revision that came, or was finished, after its subject withdrew: image tars, volume, assessment and note. Not
 * the whole study: when its patient was merged with another, other revisions are another's. What assess has not seen of a
 * withdrawn patient's study, anonymise removes.
 */
export async function eraseStudy(store: ObjectStore, study: StudyOfSubject, signal: AbortSignal): Promise<void> {
  await removeAll(store, [`${study.studyId}/${study.revision}/`, indexKey(study)], signal);
}

async function readMarker(store: ObjectStore, subjectId: SubjectId, signal: AbortSignal): Promise<Marker | undefined> {
  const bytes = await store.getBytes(BUCKET, markerKey(subjectId), MANIFEST_LIMIT_BYTES, signal);
  return bytes === undefined ? undefined : (JSON.parse(Buffer.from(bytes).toString('utf8')) as Marker);
}

async function writeMarker(store: ObjectStore, subjectId: SubjectId, marker: Marker, signal: AbortSignal): Promise<Marker> {
  await store.put(BUCKET, markerKey(subjectId), canonicalJson(marker), { contentType: 'application/json', signal });
  return marker;
}

interface Note {
  readonly key: string;
  readonly study: string;
  readonly revision: string;
}

/** Notes of the subject, and of the named studies under any: whose earlier revisions were stands in the notes' keys alone. */
async function notesOf(store: ObjectStore, subjectId: SubjectId, named: ReadonlySet<string>, signal: AbortSignal): Promise<Note[]> {
  const found: Note[] = [];
  for await (const { key } of store.list(BUCKET, named.size > 0 ? 'subjects/' : `subjects/${subjectId}/`, signal)) {
    const [, subject = '', study = '', revision = ''] = key.split('/');
    if (study !== '' && (subject === subjectId || named.has(study))) found.push({ key, study, revision });
  }
  return found;
}

/** Revisions that were noted, as [study, revision], besides those that the marker knows. */
function newRevisions(notes: readonly Note[], marker: Marker): (readonly [string, string])[] {
  const known = new Set(marker.revisions.map((r) => r.join('/')));
  const found = new Map(notes.map(({ study, revision }) => [`${study}/${revision}`, [study, revision] as const]));
  return [...found].flatMap(([name, revision]) => (known.has(name) ? [] : [revision]));
}

/**
 * Erases the subject's revisions, and the studies that are named whole; again after the longest job; then tells so, and of
 * each revision that it is withdrawn.
 * @throws Fault ERASURE_PENDING until the second erasure may be the last
 */
export async function eraseSubject(
  { store, clock, eraseAgainAfterMs }: ErasePorts,
  { subjectId, studies }: SubjectWithdrawn,
  signal: AbortSignal,
): Promise<EventRecord[]> {
  const named = new Set<string>(studies);
  let marker =
    (await readMarker(store, subjectId, signal)) ??
    (await writeMarker(store, subjectId, { format: 'ctstream-withdrawn/1', sinceMs: clock.nowMs(), objects: 0, revisions: [] }, signal));
  for (const study of named) await store.put(BUCKET, studyMarkerKey(study), canonicalJson({}), { contentType: 'application/json', signal });
  const notes = await notesOf(store, subjectId, named, signal);
  const noted = newRevisions(notes, marker);
  // The marker knows a study before its note goes, so that no crash can make it forgotten.
  if (noted.length > 0)
    marker = await writeMarker(store, subjectId, { ...marker, revisions: [...marker.revisions, ...noted].sort() }, signal);
  const theirs = marker.revisions.map(([study, revision]) => `${study}/${revision}/`);
  const removed = await removeAll(store, [...theirs, ...[...named].map((study) => `${study}/`)], signal);
  if (notes.length > 0)
    await store.remove(
      BUCKET,
      notes.map(({ key }) => key),
      signal,
    );
  if (removed > 0) marker = await writeMarker(store, subjectId, { ...marker, objects: marker.objects + removed }, signal);
  if (clock.nowMs() < marker.sinceMs + eraseAgainAfterMs)
    throw new Fault('ERASURE_PENDING', true, `${removed} objects erased; again when no job can be running that began before`);
  return [
    { type: 'ctstream.research.v1.ErasureDone', value: { subjectId, stage: 'assess', objects: marker.objects, rows: 0 } },
    ...marker.revisions.map(([studyId, revision]): EventRecord => ({
      type: 'ctstream.research.v1.StudyRejected',
      value: {
        studyId: studyId as ResearchStudyId,
        revision: revision as ResearchRevision,
        stage: 'assess',
        code: 'PATIENT_WITHDRAWN',
        detail: 'erased',
        // Named studies are told whole already; else release must take this for the whole study.
        subjectId: studies === null ? null : subjectId,
      },
    })),
  ];
}
