// Versions in the database: the cut of each is fixed when it is first built.
import type { Database, Queryable, Transaction } from '../ports/database.ts';
import type { PreviousVersion, VersionCut, VersionHole } from './documents.ts';
import type { Fact } from './facts.ts';
import { ReleaseError } from './release-error.ts';

export interface VersionRow {
  readonly version: string;
  readonly state: 'building' | 'candidate' | 'released';
  readonly cut: readonly VersionCut[];
  readonly holes: readonly VersionHole[];
  readonly previous: string | null;
  readonly sums_sha256: string | null;
  readonly members: PreviousVersion['members'] | null;
  readonly research_ids: readonly string[] | null;
  readonly approvers: readonly string[] | null;
  readonly simulated: boolean | null;
  /** Grows with each erasure that touches the version. */
  readonly cleared: number;
  /** Files of it must still be rewritten or removed after a withdrawal. */
  readonly erasure_pending: boolean;
  /** An approval of it began to copy it to ct-releases. */
  readonly approving: boolean;
}

/** What a version is made from. */
export type VersionSource = Pick<VersionRow, 'version' | 'cut' | 'holes' | 'previous'>;

const COLUMNS =
  'version, state, cut, holes, previous, sums_sha256, members, research_ids, approvers, simulated, cleared, erasure_pending, approving';
const VERSION = /^v(0|[1-9]\d{0,5})\.(0|[1-9]\d{0,5})\.(0|[1-9]\d{0,5})$/;
export const VERSION_LOCK = 0x52454c45;

export const isVersion = (text: string): boolean => VERSION.test(text);

/** @throws ReleaseError BAD_VERSION */
export function checkVersion(version: string): string {
  if (!isVersion(version)) throw new ReleaseError('BAD_VERSION', `'${version.slice(0, 40)}' is no version: write v1.0.0`);
  return version;
}

/** Numbers first: v1.10.0 comes after v1.9.0. */
export function compareVersions(a: string, b: string): number {
  const numbers = (v: string): number[] => v.slice(1).split('.').map(Number);
  const [x, y] = [numbers(a), numbers(b)];
  for (let i = 0; i < 3; i += 1) if (x[i] !== y[i]) return (x[i] ?? 0) - (y[i] ?? 0);
  return 0;
}

export async function findVersion(database: Queryable, version: string): Promise<VersionRow | undefined> {
  const [row] = await database.query<VersionRow>(`SELECT ${COLUMNS} FROM version WHERE version = $1`, [version]);
  return row;
}

export async function allVersions(database: Queryable): Promise<VersionRow[]> {
  return (await database.query<VersionRow>(`SELECT ${COLUMNS} FROM version`)).toSorted((a, b) => compareVersions(a.version, b.version));
}

/** How far the consumer is through the log: what lies below and was not handled is tried again later, or is dead. */
export type TakenUntil = () => Promise<readonly VersionCut[]>;

/**
 * The version's row; made now when it is new, with the cut given or else everything that has come.
 * @throws ReleaseError INCOMPLETE_LOG (offsets are missing below the cut) or CUT_NOT_REACHED; Fault of the bus
 */
export async function openVersion(
  database: Database,
  version: string,
  o: { cut?: readonly VersionCut[]; acceptHoles?: boolean },
  takenUntil: TakenUntil,
): Promise<VersionRow> {
  // Asked before `seen` is read: what is handled between the two would else look missing.
  const taken = o.cut === undefined && (await findVersion(database, version)) === undefined ? await takenUntil() : [];
  return await database.transaction(async (tx) => {
    await tx.query('SELECT pg_advisory_xact_lock($1)', [VERSION_LOCK]);
    const known = await findVersion(tx, version);
    if (known !== undefined) return known;
    const cut = o.cut ?? (await cutNow(tx, taken));
    const holes = await holesBelow(tx, cut);
    if (o.acceptHoles !== true && holes.length > 0) throw incomplete(holes, o.cut !== undefined);
    const released = (await allVersions(tx)).filter((v) => v.state === 'released' && compareVersions(v.version, version) < 0);
    await tx.query('INSERT INTO version (version, cut, holes, previous) VALUES ($1, $2, $3, $4)', [
      version,
      JSON.stringify(cut),
      JSON.stringify(holes),
      released.at(-1)?.version ?? null,
    ]);
    const row = await findVersion(tx, version);
    if (row === undefined) throw new Error('a version was added and is not there');
    return row;
  });
}

function incomplete(holes: readonly VersionHole[], given: boolean): ReleaseError {
  const [topic, partition, first, last] = holes[0] ?? ['', 0, 0, 0];
  const where = `${topic}, partition ${partition}, offsets ${first} to ${last}${holes.length > 1 ? ` and ${holes.length - 1} more places` : ''}`;
  if (given)
    return new ReleaseError('CUT_NOT_REACHED', `not everything below the cut has come: ${where}; wait until release has read that far`);
  return new ReleaseError(
    'INCOMPLETE_LOG',
    `events are being tried again or lie dead: ${where}; see 'ctstream dead list --stage release', or build with acceptHoles, which names them in release.json`,
  );
}

/** End of every partition that was seen or taken: behind a last record that is tried again, or dead, nothing was seen. */
async function cutNow(tx: Transaction, taken: readonly VersionCut[]): Promise<VersionCut[]> {
  const rows = await tx.query<{ topic: string; partition: number; end_place: string }>(
    `SELECT topic, partition, max(end_place) AS end_place
     FROM (SELECT topic, partition, place + 1 AS end_place FROM seen
           UNION ALL SELECT topic, partition, "endOffset" FROM json_to_recordset($1::json) AS t(topic text, partition integer, "endOffset" bigint)) AS ends
     GROUP BY topic, partition HAVING max(end_place) > 0 ORDER BY topic, partition`,
    [JSON.stringify(taken)],
  );
  return rows.map((r) => ({ topic: r.topic, partition: r.partition, endOffset: Number(r.end_place) }));
}

/** Ranges of offsets below the cut that have not come. */
export async function holesBelow(tx: Transaction, cut: readonly VersionCut[]): Promise<VersionHole[]> {
  const rows = await tx.query<{ topic: string; partition: number; first: string; last: string }>(
    `WITH cut AS (SELECT * FROM json_to_recordset($1::json) AS c(topic text, partition integer, "endOffset" bigint)),
          ends AS (SELECT s.topic, s.partition, s.place FROM seen s JOIN cut c USING (topic, partition) WHERE s.place < c."endOffset"
                   UNION ALL SELECT topic, partition, "endOffset" FROM cut),
          stepped AS (SELECT topic, partition, place, coalesce(lag(place) OVER (PARTITION BY topic, partition ORDER BY place) + 1, 0) AS expected FROM ends)
     SELECT topic, partition, expected AS first, place - 1 AS last FROM stepped WHERE place > expected ORDER BY topic, partition, place`,
    [JSON.stringify(cut)],
  );
  return rows.map((r): VersionHole => [r.topic, r.partition, Number(r.first), Number(r.last)]);
}

const FACTS_LOCK = 0x46414354;

/** Facts are added side by side, and not while one is erased: so a fact is either seen by the erasure or refused. */
export async function lockFacts(tx: Transaction, mode: 'add' | 'erase'): Promise<void> {
  await tx.query(`SELECT pg_advisory_xact_lock${mode === 'add' ? '_shared' : ''}($1)`, [FACTS_LOCK]);
}

/** Facts below the cut and outside its holes: what came later into a hole does not change a version. */
export async function factsOf(database: Queryable, row: VersionSource): Promise<Fact[]> {
  const rows = await database.query<Fact & { topic: string; partition: number; place: string }>(
    `SELECT f.type, f.value, f.topic, f.partition, f.place FROM fact f
     JOIN json_to_recordset($1::json) AS c(topic text, partition integer, "endOffset" bigint) USING (topic, partition)
     WHERE f.place < c."endOffset" ORDER BY f.topic, f.partition, f.place`,
    [JSON.stringify(row.cut)],
  );
  const inHole = (r: { topic: string; partition: number; place: string }): boolean =>
    row.holes.some(([t, p, first, last]) => t === r.topic && p === r.partition && Number(r.place) >= first && Number(r.place) <= last);
  return rows.filter((r) => !inHole(r));
}
