// Held studies and the decisions about them, in the vault's database (postgres-vault.sql makes the tables).
// Each change and its line in the audit are one statement.
import pg from 'pg';
import { centreId } from '../kernel/ids.ts';
import type {
  DecisionAsked,
  DecisionKind,
  HeldBook,
  HeldCode,
  HeldNote,
  HeldReview,
  HeldStanding,
  HeldStudy,
} from '../ports/held-decisions.ts';
import { checkedUrl } from './postgres-connection.ts';
import { vaultFault } from './postgres-vault-session.ts';

const CONNECT_TIMEOUT_MS = 10_000;
const QUERY_TIMEOUT_MS = 30_000;

interface HeldRow {
  held_id: string;
  centre: string;
  code: HeldCode;
  findings_digest: string;
  findings: number;
  checks: string[];
  objects: string[];
  event_id: string;
  held_at: Date;
  decision: DecisionKind | null;
  decided_digest: string | null;
  decided_by: string | null;
  reason: string | null;
  decided_at: Date | null;
}

/** Both sides over one pool. `connectionString` is the vault's: postgres://user:password@host:port/database */
export const openPostgresHeld = (connectionString: string): HeldBook & HeldReview => {
  const pool = new pg.Pool({
    connectionString: checkedUrl(connectionString, 'VAULT_URL'),
    max: 2,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    query_timeout: QUERY_TIMEOUT_MS,
  });
  // An idle connection that breaks is replaced; without a listener it would end the process.
  pool.on('error', () => undefined);
  const query = async <T extends pg.QueryResultRow>(sql: string, values: readonly unknown[], signal?: AbortSignal): Promise<T[]> => {
    signal?.throwIfAborted();
    try {
      return (await pool.query<T>(sql, [...values])).rows;
    } catch (error) {
      throw vaultFault(error, "the vault's table of held studies failed");
    }
  };
  return {
    standing: async (heldId, signal) => standingOf((await query<HeldRow>('select * from held where held_id = $1', [heldId], signal))[0]),
    hold: async (note, signal) => void (await query(HOLD, valuesOf(note), signal)),
    end: async (heldId, how, signal) => void (await query(END, [heldId, how], signal)),
    list: async () => (await query<HeldRow>(`${OPEN} order by held_at, held_id`, [])).map(studyOf),
    find: async (heldId) => (await query<HeldRow>(`${OPEN} and held_id = $1`, [heldId])).map(studyOf)[0],
    noteLook: async (heldId, digest, by) => void (await query(LOOK, [heldId, digest, by])),
    hasLooked: async (heldId, digest, by) =>
      (await query('select from held_looks where held_id = $1 and findings_digest = $2 and person = $3', [heldId, digest, by])).length > 0,
    decide: async (asked) => (await query(DECIDE, decisionValues(asked))).length > 0,
    close: () => pool.end(),
  };
};

const OPEN = 'select * from held where ended_at is null';

const valuesOf = (note: HeldNote): unknown[] => [
  note.heldId,
  note.token,
  note.centre,
  note.code,
  note.digest,
  note.findings,
  JSON.stringify(note.checks),
  JSON.stringify(note.objects),
  note.eventId,
];

/** The subject's row of a held study, for the audit. */
const SUBJECT = '(select subject_row from studies where token = changed.token)';

/** Other findings undo a decision; the same ones leave it, and the age, as they are. */
const HOLD = `
  with changed as (
    insert into held (held_id, token, centre, code, findings_digest, findings, checks, objects, event_id)
    values ($1, $2, $3, $4, $5, $6, $7::jsonb, $8::jsonb, $9)
    on conflict (held_id) do update set
      code = excluded.code, findings_digest = excluded.findings_digest, findings = excluded.findings,
      checks = excluded.checks, objects = excluded.objects, event_id = excluded.event_id,
      held_at = case when held.findings_digest = excluded.findings_digest and held.ended_at is null then held.held_at else now() end,
      decision = case when held.findings_digest = excluded.findings_digest then held.decision end,
      ended_at = null
    returning held_id, token, code, findings_digest)
  insert into audit (action, subject_row, detail)
  select 'held', ${SUBJECT}, json_build_object('heldId', held_id, 'code', code, 'findings', findings_digest)::text from changed`;

const END = `
  with changed as (update held set ended_at = now() where held_id = $1 and ended_at is null returning held_id, token, decision)
  insert into audit (action, subject_row, detail)
  select 'held-ended', ${SUBJECT}, json_build_object('heldId', held_id, 'how', $2::text, 'decision', decision)::text from changed`;

const LOOK = `
  with look as (
    insert into held_looks (held_id, findings_digest, person) values ($1, $2, $3)
    on conflict (held_id, person) do update set findings_digest = excluded.findings_digest, at = now() returning held_id),
  changed as (select held_id, token from held where held_id in (select held_id from look))
  insert into audit (action, subject_row, detail)
  select 'held-shown', ${SUBJECT}, json_build_object('heldId', held_id, 'findings', $2::text, 'by', $3::text)::text from changed`;

const decisionValues = ({ heldId, digest, kind, by, reason }: DecisionAsked): unknown[] => [heldId, digest, kind, by, reason];

const DECIDE = `
  with changed as (
    update held set decision = $3, decided_digest = $2, decided_by = $4, reason = $5, decided_at = now()
    where held_id = $1 and findings_digest = $2 and ended_at is null returning held_id, token)
  insert into audit (action, subject_row, detail)
  select 'held-' || $3::text, ${SUBJECT},
    json_build_object('heldId', held_id, 'findings', $2::text, 'by', $4::text, 'reason', $5::text)::text
  from changed returning audit_id`;

const decisionOf = (row: HeldRow): HeldStudy['decision'] =>
  row.decision === null
    ? undefined
    : {
        kind: row.decision,
        digest: row.decided_digest ?? '',
        by: row.decided_by ?? '',
        reason: row.reason ?? '',
        atMs: row.decided_at?.getTime() ?? 0,
      };

const standingOf = (row: HeldRow | undefined): HeldStanding | undefined => {
  if (row === undefined) return undefined;
  const decision = decisionOf(row);
  const { code, findings_digest: digest, objects } = row;
  return { code, digest, objects, ...(decision === undefined ? {} : { decision: { kind: decision.kind, digest: decision.digest } }) };
};

const studyOf = (row: HeldRow): HeldStudy => {
  const decision = decisionOf(row);
  return {
    heldId: row.held_id,
    centre: centreId(row.centre),
    code: row.code,
    digest: row.findings_digest,
    findings: row.findings,
    checks: row.checks,
    objects: row.objects,
    eventId: row.event_id,
    heldAtMs: row.held_at.getTime(),
    ...(decision === undefined ? {} : { decision }),
  };
};
