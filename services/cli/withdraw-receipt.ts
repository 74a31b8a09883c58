// The receipt of a withdrawal as people and programs read it. It names nobody.
import topicsFile from '../../schemas/topics.json' with { type: 'json' };
import type { Receipt } from '../ports/withdrawals.ts';

const DAY_MS = 86_400_000;
const clinicalDays = topicsFile.topics.find((t) => t.name === 'ct.clinical.study-stored.v1')?.retentionMs ?? 0;

/** What a withdrawal does not take away at once, and what becomes of it. */
export const EXPIRES: readonly { readonly what: string; readonly how: string }[] = [
  { what: 'clinical topics: study UIDs, centre and times', how: `${clinicalDays / DAY_MS} days after each event` },
  {
    what: 'retry and dead-letter topics of the clinical zone: the same',
    how: `${topicsFile.retry.retentionMs / DAY_MS} and ${topicsFile.dead.retentionMs / DAY_MS} days after each event`,
  },
  {
    what: 'ct-clinical: originals of studies that name no patient, or more than one',
    how: 'freed with their study, 30 days after its final outcome unless told',
  },
  { what: 'clinical archive: events by token', how: 'kept; what led from token to study is deleted' },
  { what: 'research topics and their archive: coded facts by pseudonym', how: 'kept; what led from pseudonym to person is deleted' },
  { what: "the centre's PACS, and its gateway's list of that PACS", how: 'not ours: the centre decides' },
  { what: 'copies that `ctstream replay` made to compare with', how: 'until the next replay into them, or `ctstream replay remove`' },
  { what: 'downloaded copies of releases', how: 'tombstones.csv of the release tells their holders' },
  {
    what: 'backups of the vault, older versions of objects on stores that keep them, unvacuumed pages and WAL of PostgreSQL',
    how: 'your own retention; after a restore the deny table of today goes in first',
  },
];

export interface ReceiptShown {
  readonly requestId: string | null;
  /** `denied`: nothing of the person is known (any more). */
  readonly state: 'erasing' | 'complete' | 'denied';
  readonly requestedAt: string | null;
  readonly completedAt: string | null;
  readonly stages: readonly {
    readonly stage: string;
    readonly state: 'done' | 'pending';
    readonly at: string | null;
    readonly objects: number;
    readonly rows: number;
  }[];
  readonly expires: typeof EXPIRES;
  /** Later studies of the person are refused; not after a merge or split, which only retires a pseudonym. */
  readonly refusal: 'in force' | 'none';
}

const time = (ms: number | undefined): string | null => (ms === undefined ? null : new Date(ms).toISOString());

export function receiptShown(receipt: Receipt | 'denied'): ReceiptShown {
  if (receipt === 'denied')
    return { requestId: null, state: 'denied', requestedAt: null, completedAt: null, stages: [], expires: EXPIRES, refusal: 'in force' };
  return {
    requestId: receipt.requestId,
    state: receipt.completedAtMs === undefined ? 'erasing' : 'complete',
    requestedAt: time(receipt.requestedAtMs),
    completedAt: time(receipt.completedAtMs),
    stages: receipt.reports.map(({ stage, doneAtMs, objects, rows }) => ({
      stage,
      state: doneAtMs === undefined ? 'pending' : 'done',
      at: time(doneAtMs),
      objects,
      rows,
    })),
    expires: EXPIRES,
    refusal: receipt.kind === 'withdrawal' ? 'in force' : 'none',
  };
}

export function receiptText(r: ReceiptShown): string {
  if (r.state === 'denied')
    return [
      'Nothing of this person is known under this id (any more). Later studies under it are refused.',
      'Who is known by an id of the whole city is known by that alone: withdraw that id too (--patient CITY-ISSUER:ID --city-issuers FILE).',
      'A receipt from before is shown by its request id: ctstream withdraw receipt REQUEST_ID',
    ].join('\n');
  return [
    `request ${r.requestId ?? ''}, ${r.requestedAt ?? ''}: ${r.state === 'complete' ? `complete ${r.completedAt ?? ''}` : 'being erased'}`,
    ...r.stages.map((s) => `  ${s.stage.padEnd(12)} ${s.state.padEnd(8)} ${s.objects} objects, ${s.rows} rows  ${s.at ?? ''}`),
    r.refusal === 'none' ? 'A pseudonym was retired by a merge or split: nobody is refused.' : 'Later studies of this person are refused.',
    'What only expires, or is not ours:',
    ...r.expires.map((e) => `  ${e.what}: ${e.how}`),
  ].join('\n');
}
