// What of a clinical event may be archived: a token in place of every UID and centre-side id. Fail closed:
// a field that has no rule here is an error, so a new field can't leak by being forgotten.
import { createHmac } from 'node:crypto';
import topicsFile from '../../schemas/topics.json' with { type: 'json' };
import { isCode } from '../kernel/codes.ts';
import { centreOfTopic } from '../kernel/route.ts';
import type { EventIn } from '../kernel/stage.ts';

/** `closed`: a string that is in the field's list, else 'other': what a centre writes freely may name someone. */
type Rule = 'keep' | 'closed' | 'megabytes' | 'token' | 'site' | 'revision' | 'drop' | 'studies';

const STAGES = Object.keys(topicsFile.stages);

/** DICOM PS3.3 C.7.3.1.1.1, those that a chest CT study may meet. */
const MODALITIES = 'AU CR CT DOC DX ECG KO MG MR NM OT PR PT REG RF RTDOSE RTIMAGE RTPLAN RTSTRUCT SC SEG SM SR US XA'.split(' ');

/** The strings that a `closed` field may hold. */
const LISTS: Readonly<Record<string, readonly string[]>> = {
  modalities: MODALITIES,
  noticedBy: ['change-feed', 'census', 'poll'],
  state: ['announced', 'pending', 'outOfScope', 'stored', 'rejected', 'waiting'],
  stage: STAGES,
  unit: ['study', 'file'],
  kind: ['clinical-grade', 'swab', 'blood', 'ecg'],
  codingScheme: ['SCT', 'LN', 'DCM', 'UCUM'],
};

/** Writers as they may stand in `event_source`. */
const WRITERS = ['centre-gateway', 'withdraw', ...STAGES];

/** The text when it is in the field's list or a code, else 'other'; null stays, and lists go text by text. */
function closed(name: string, value: unknown): unknown {
  if (value === null || value === undefined) return null;
  if (Array.isArray(value)) return [...new Set(value.map((v) => closed(name, v)))].sort();
  if (typeof value !== 'string') return 'other';
  return (name === 'code' ? isCode(value) : LISTS[name]?.includes(value) === true) ? value : 'other';
}

/** Rule per field name of the clinical events. */
export const FIELD_RULES: Readonly<Record<string, Rule>> = {
  centre: 'site',
  studyInstanceUid: 'token',
  revision: 'revision',
  sequence: 'drop',
  instanceCount: 'keep',
  seriesCount: 'keep',
  modalities: 'closed',
  noticedBy: 'closed',
  sizeBytes: 'megabytes',
  state: 'closed',
  code: 'closed',
  stage: 'closed',
  unit: 'closed',
  files: 'keep',
  page: 'keep',
  pages: 'keep',
  total: 'keep',
  takenAtMs: 'keep',
  // The gateway's own database has it beside the UIDs.
  outboxSequence: 'drop',
  censusId: 'drop',
  digest: 'drop',
  intakeId: 'drop',
  detail: 'drop',
  manifestKey: 'drop',
  manifestSha256: 'drop',
  contentDigest: 'drop',
  requestId: 'drop',
  subjectRow: 'drop',
  kind: 'closed',
  codingScheme: 'closed',
  // No list of its codes yet (case data is reserved).
  codeValue: 'drop',
  value: 'keep',
  studies: 'studies',
};

type StudyTokens = ReadonlyMap<string, { readonly token: string; readonly secret: Uint8Array }>;

/** What the redaction needs of the vault. */
export interface TokenSource {
  studies(centre: string, studyInstanceUids: readonly string[]): Promise<StudyTokens>;
  site(centre: string): string;
  /** Keyed digest of an event id: unkeyed ones could be computed from the UIDs. */
  eventId(id: string): string;
}

type Fields = Readonly<Record<string, unknown>>;

/** What the fields of one event are redacted with. */
interface Known {
  readonly site: string;
  readonly studies: StudyTokens;
}

/** Every study that the event names: all are asked for at once, as a census page has hundreds. */
function uidsOf({ studyInstanceUid, studies }: Fields): string[] {
  const own = typeof studyInstanceUid === 'string' ? [studyInstanceUid] : [];
  return Array.isArray(studies) ? [...own, ...(studies as Fields[]).flatMap(uidsOf)] : own;
}

function redactFields(fields: Fields, known: Known): Record<string, unknown> {
  const uid = fields['studyInstanceUid'];
  const study = typeof uid === 'string' ? known.studies.get(uid) : undefined;
  const out: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(fields)) {
    const rule = FIELD_RULES[name];
    if (rule === undefined) throw new Error(`the clinical archive has no rule for the field ${name}`);
    if (rule === 'keep') out[name] = value;
    else if (rule === 'closed') out[name] = closed(name, value);
    // An exact sum of file sizes is nearly unique: whoever has the PACS could find the study by it.
    else if (rule === 'megabytes') out[name] = Math.round(Number(value) / 1e6) * 1e6;
    else if (rule === 'site') out[name] = known.site;
    else if (rule === 'token') out[name] = study?.token ?? null;
    else if (rule === 'revision')
      out[name] =
        study === undefined
          ? null
          : createHmac('sha256', study.secret)
              .update(`archive-revision|${String(value)}`)
              .digest('hex')
              .slice(0, 32);
    else if (rule === 'studies') out[name] = redactStudies(value as Fields[], known);
    else out[name] = null;
  }
  return out;
}

/** In the order of their tokens: a census lists them by UID, so whoever has the PACS could count along. */
function redactStudies(studies: readonly Fields[], known: Known): Record<string, unknown>[] {
  const redacted = studies.map((s) => redactFields(s, known));
  return redacted.sort((a, b) => (String(a['studyInstanceUid']) < String(b['studyInstanceUid']) ? -1 : 1));
}

export interface RedactedEvent {
  readonly value: Readonly<Record<string, unknown>>;
  readonly id: string;
  readonly key: string;
  readonly source: string;
  readonly topic: string;
}

function writerOf(source: string): string {
  const writer = source.split('/')[0] ?? '';
  return WRITERS.includes(writer) ? writer : 'other';
}

/** A clinical event as its archive holds it. Every string that is left is a count, a code, a date or a token. */
export async function redactClinical(event: EventIn, tokens: TokenSource): Promise<RedactedEvent> {
  const fields: Fields = { ...event.value };
  // The topic, not the value, says whose event it is: only that centre may write there.
  const centre = centreOfTopic(event.topic) ?? (typeof fields['centre'] === 'string' ? fields['centre'] : '');
  const site = centre === '' ? 'city' : tokens.site(centre);
  const uids = uidsOf(fields);
  const studies: StudyTokens = uids.length === 0 ? new Map() : await tokens.studies(centre, uids);
  const value = redactFields(fields, { site, studies });
  const token = value['studyInstanceUid'];
  return {
    value,
    id: tokens.eventId(event.id),
    key: typeof token === 'string' ? token : site,
    source: `${site}/${writerOf(event.source)}`,
    topic: centre === '' ? event.topic : event.topic.replace(`.${centre}.`, `.${site}.`),
  };
}
