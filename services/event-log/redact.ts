// What of a clinical event may be archived: a token in place of every UID and centre-side id. Fail closed:
// a field that has no rule here is an error, so a new field can't leak by being forgotten.
import { createHmac } from 'node:crypto';
import type { EventIn } from '../kernel/stage.ts';

type Rule = 'keep' | 'megabytes' | 'token' | 'site' | 'revision' | 'drop' | 'studies';

/** Rule per field name of the clinical events. */
export const FIELD_RULES: Readonly<Record<string, Rule>> = {
  centre: 'site',
  studyInstanceUid: 'token',
  revision: 'revision',
  sequence: 'drop',
  instanceCount: 'keep',
  seriesCount: 'keep',
  modalities: 'keep',
  noticedBy: 'keep',
  sizeBytes: 'megabytes',
  state: 'keep',
  code: 'keep',
  stage: 'keep',
  unit: 'keep',
  files: 'keep',
  page: 'keep',
  pages: 'keep',
  total: 'keep',
  takenAtMs: 'keep',
  outboxSequence: 'keep',
  censusId: 'drop',
  digest: 'drop',
  intakeId: 'drop',
  detail: 'drop',
  manifestKey: 'drop',
  manifestSha256: 'drop',
  contentDigest: 'drop',
  requestId: 'drop',
  subjectRow: 'drop',
  kind: 'keep',
  codingScheme: 'keep',
  codeValue: 'keep',
  value: 'keep',
  studies: 'studies',
};

/** What the redaction needs of the vault. */
export interface TokenSource {
  study(centre: string, studyInstanceUid: string): Promise<{ token: string; secret: Uint8Array }>;
  site(centre: string): string;
  /** Keyed digest of an event id: unkeyed ones could be computed from the UIDs. */
  eventId(id: string): string;
}

type Fields = Readonly<Record<string, unknown>>;

async function redactFields(fields: Fields, centre: string, tokens: TokenSource): Promise<Record<string, unknown>> {
  const uid = fields['studyInstanceUid'];
  const study = typeof uid === 'string' ? await tokens.study(centre, uid) : undefined;
  const out: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(fields)) {
    const rule = FIELD_RULES[name];
    if (rule === undefined) throw new Error(`the clinical archive has no rule for the field ${name}`);
    if (rule === 'keep') out[name] = value;
    // An exact sum of file sizes is nearly unique: whoever has the PACS could find the study by it.
    else if (rule === 'megabytes') out[name] = Math.round(Number(value) / 1e6) * 1e6;
    else if (rule === 'site') out[name] = tokens.site(centre);
    else if (rule === 'token') out[name] = study?.token ?? null;
    else if (rule === 'revision')
      out[name] =
        study === undefined
          ? null
          : createHmac('sha256', study.secret)
              .update(`archive-revision|${String(value)}`)
              .digest('hex')
              .slice(0, 32);
    else if (rule === 'studies') out[name] = await Promise.all((value as Fields[]).map((s) => redactFields(s, centre, tokens)));
    else out[name] = null;
  }
  return out;
}

export interface RedactedEvent {
  readonly value: Readonly<Record<string, unknown>>;
  readonly id: string;
  readonly key: string;
  readonly source: string;
  readonly topic: string;
}

/** A clinical event as its archive holds it. Every string that is left is a count, a code, a date or a token. */
export async function redactClinical(event: EventIn, tokens: TokenSource): Promise<RedactedEvent> {
  const fields: Fields = { ...event.value };
  const centre = typeof fields['centre'] === 'string' ? fields['centre'] : '';
  const value = await redactFields(fields, centre, tokens);
  const token = value['studyInstanceUid'];
  const site = centre === '' ? 'city' : tokens.site(centre);
  return {
    value,
    id: tokens.eventId(event.id),
    key: typeof token === 'string' ? token : site,
    source: `${site}/${event.source.split('/')[0] ?? ''}`,
    topic: centre === '' ? event.topic : event.topic.replace(`.${centre}.`, `.${site}.`),
  };
}
