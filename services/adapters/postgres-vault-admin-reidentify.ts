// Re-identification under four eyes: one person asks, another approves, the first is shown once, within a
// day. What is shown are centres and StudyInstanceUIDs: the vault has no names, the centre's PACS does.
import type { AffectedStudy, VaultSession } from './postgres-vault-admin.ts';
import { patientOfPseudonym, queryable, studiesOf } from './postgres-vault-admin.ts';
import { guarded, transaction, VaultRefusal } from './postgres-vault-session.ts';
import type { Client } from './postgres-vault-session.ts';
import { newId } from './vault-crypto.ts';

export interface ReidentifyRequest {
  readonly requestId: string;
  readonly requestedBy: string;
  readonly requestedAt: Date;
  readonly expiresAt: Date;
  readonly approvedBy: string | undefined;
  readonly isShown: boolean;
  readonly pseudonym: string;
  readonly reason: string;
}

interface RequestRow {
  request_id: string;
  box: Buffer;
  requested_by: string;
  requested_at: Date;
  expires_at: Date;
  approved_by: string | null;
  shown_at: Date | null;
  is_over: boolean;
}

const note = (client: Client, action: string, requestId: string, by: string): Promise<unknown> =>
  client.query('insert into audit (action, detail) values ($1, $2)', [action, JSON.stringify({ requestId, by })]);

/** Writes the request down; whether the vault knows the pseudonym is not told before somebody approved. Gives its id. */
export const requestReidentification = (
  { pool, crypto }: VaultSession,
  asked: { readonly pseudonym: string; readonly reason: string; readonly by: string },
): Promise<string> =>
  guarded(() =>
    transaction(pool, async (client) => {
      const requestId = newId();
      const box = crypto.seal(Buffer.from(JSON.stringify([asked.pseudonym, asked.reason])), requestId);
      await client.query('insert into reidentifications (request_id, box, requested_by) values ($1, $2, $3)', [requestId, box, asked.by]);
      await note(client, 'reidentify-requested', requestId, asked.by);
      return requestId;
    }),
  );

/** Another person approves what was asked. @throws VaultRefusal */
export const approveReidentification = (vault: VaultSession, requestId: string, by: string): Promise<ReidentifyRequest> =>
  guarded(() =>
    transaction(vault.pool, async (client) => {
      const row = await openRow(client, requestId);
      if (isSamePerson(row.requested_by, by)) throw new VaultRefusal('who asked cannot approve: it takes another person');
      if (row.approved_by !== null) throw new VaultRefusal('the request is approved already');
      await client.query('update reidentifications set approved_by = $2, approved_at = now() where request_id = $1', [requestId, by]);
      await note(client, 'reidentify-approved', requestId, by);
      return requestOf(vault, { ...row, approved_by: by });
    }),
  );

/** Studies of the pseudonym, to the person who asked, once. @throws VaultRefusal */
export const showReidentification = (vault: VaultSession, requestId: string, by: string): Promise<readonly AffectedStudy[]> =>
  guarded(() =>
    transaction(vault.pool, async (client) => {
      const row = await openRow(client, requestId);
      if (row.approved_by === null) throw new VaultRefusal('nobody has approved the request yet');
      if (!isSamePerson(row.requested_by, by)) throw new VaultRefusal('it is shown to the person who asked');
      // Committed with the answer: a second look finds it shown, whatever becomes of the first one's terminal.
      await client.query('update reidentifications set shown_at = now() where request_id = $1', [requestId]);
      await note(client, 'reidentify-shown', requestId, by);
      const subjectRow = await patientOfPseudonym(queryable(client), vault, requestOf(vault, row).pseudonym);
      if (subjectRow === undefined) return [];
      const studies = await studiesOf(queryable(client), vault, subjectRow);
      return studies.map(({ centre, studyInstanceUid, researchStudy }) => ({ centre, studyInstanceUid, researchStudy }));
    }),
  );

/** Every request, newest first: for the person who approves, and for who looks at the audit. */
export const listReidentifications = (vault: VaultSession): Promise<ReidentifyRequest[]> =>
  guarded(async () => {
    const { rows } = await vault.pool.query<RequestRow>(
      'select *, expires_at < now() as is_over from reidentifications order by requested_at desc',
    );
    return rows.map((row) => requestOf(vault, row));
  });

const isSamePerson = (a: string, b: string): boolean => a.toLocaleLowerCase('en') === b.toLocaleLowerCase('en');

/** The request's row, locked, when something can still be done with it. */
const openRow = async (client: Client, requestId: string): Promise<RequestRow> => {
  const { rows } = await client.query<RequestRow>(
    'select *, expires_at < now() as is_over from reidentifications where request_id = $1 for update',
    [requestId],
  );
  const row = rows[0];
  if (row === undefined) throw new VaultRefusal('there is no such request');
  if (row.shown_at !== null) throw new VaultRefusal('the request was shown already: ask anew');
  if (row.is_over) throw new VaultRefusal('the request is older than a day: ask anew');
  return row;
};

const requestOf = ({ crypto }: VaultSession, row: RequestRow): ReidentifyRequest => {
  const [pseudonym, reason] = JSON.parse(crypto.open(row.box, row.request_id).toString()) as [string, string];
  return {
    requestId: row.request_id,
    requestedBy: row.requested_by,
    requestedAt: row.requested_at,
    expiresAt: row.expires_at,
    approvedBy: row.approved_by ?? undefined,
    isShown: row.shown_at !== null,
    pseudonym,
    reason,
  };
};
