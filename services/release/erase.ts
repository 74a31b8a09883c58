// Erasure of a withdrawn subject: its facts go at once, so that no version can be built with it; versions that hold it are
// written anew (erase-version.ts), candidates are void.
import { readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { SubjectWithdrawn } from '../../schemas/events.gen.ts';
import { Fault } from '../kernel/fault.ts';
import { WHOLE } from '../kernel/withdrawn-rows.ts';
import type { Clock } from '../ports/clock.ts';
import type { Transaction } from '../ports/database.ts';
import type { ReleaseDeps } from './build.ts';
import { eraseFromVersions } from './erase-version.ts';
import { newestOf } from './facts.ts';
import { lockFacts } from './versions.ts';

export interface ErasePorts extends ReleaseDeps {
  /** Folder that datasets are written to besides the buckets. */
  readonly outDir?: string | undefined;
  readonly clock: Clock;
  /** How long after the first erasure the second, last one is made; longer than the longest job. */
  readonly eraseAgainAfterMs: number;
}

/**
 * What a fact says of whose study it is: an exclusion names no subject, a rejection only when it tells of a withdrawal that
 * named its studies; only a selection has an ordinal.
 */
export interface Named {
  readonly studyId: string;
  readonly revision: string;
  readonly subjectId?: string | null;
  readonly ordinal?: number;
}

/** Whether the fact names a subject that withdrew. Ask it under `lockFacts`. */
export async function namesWithdrawn(tx: Transaction, { subjectId }: Named): Promise<boolean> {
  return (await tx.query('SELECT 1 FROM withdrawn WHERE subject_id = $1', [subjectId ?? null])).length > 0;
}

/** Whether the fact is of a revision that was withdrawn, as far as it is known. Ask it under `lockFacts`. */
export async function isWithdrawn(tx: Transaction, fact: Named): Promise<boolean> {
  const [study] = await tx.query<{ ordinal: number; revisions: string[] }>(
    'SELECT ordinal, revisions FROM withdrawn_study WHERE study_id = $1',
    [fact.studyId],
  );
  if (study === undefined) return false;
  if (study.ordinal === WHOLE || study.revisions.includes(fact.revision)) return true;
  if (fact.ordinal !== undefined) return fact.ordinal <= study.ordinal;
  // Another subject's study again: a newer selection stands, or this grade names who has it.
  return (fact.subjectId ?? undefined) === undefined && selectedOf(await factsOfStudy(tx, fact.studyId)).length === 0;
}

interface Kept extends Named {
  readonly eventId: string;
  readonly subjectId?: string;
  /** A refusal because the images show who it is. */
  readonly isShown: boolean;
}

async function factsOfStudy(tx: Transaction, studyId: string): Promise<Kept[]> {
  const rows = await tx.query<{ event_id: string; value: Named & { readonly code?: string } }>(
    "SELECT event_id, value FROM fact WHERE value ->> 'studyId' = $1",
    [studyId],
  );
  return rows.map(({ event_id: eventId, value: { revision, subjectId, ordinal, code } }) => ({
    eventId,
    studyId,
    revision,
    isShown: code === 'IDENTITY_VISIBLE',
    ...(typeof subjectId === 'string' ? { subjectId } : {}),
    ...(ordinal === undefined ? {} : { ordinal }),
  }));
}

const selectedOf = (facts: readonly Kept[]): (Kept & { readonly ordinal: number })[] =>
  facts.flatMap((f) => (f.ordinal === undefined ? [] : [{ ...f, ordinal: f.ordinal }]));

/**
 * Notes a withdrawn study and deletes what is known of it; versions that may hold it are marked. Was it merged to another
 * subject, by whom its newest selection is, only the withdrawn subject's revisions go. `said` is the subject's fact.
 * Answers the facts deleted.
 */
export async function forgetStudy(tx: Transaction, said: Said): Promise<number> {
  return await forgetSaid(tx, said, false);
}

/**
 * The same when a stage told that it erased a revision. Does it name the subject, their studies are named by the withdrawal
 * itself, so no more goes than is known as theirs: a revision that was never selected says nothing of the others. In events of
 * an earlier version it names nobody, and all goes where it is not known whose the revision was.
 */
export async function forgetTold(tx: Transaction, said: Named): Promise<number> {
  return await forgetSaid(tx, said, typeof said.subjectId === 'string');
}

type Said = Omit<Named, 'revision'> & { readonly revision?: string };

async function forgetSaid(tx: Transaction, said: Said, isExact: boolean): Promise<number> {
  const facts = await factsOfStudy(tx, said.studyId);
  const subjectId = said.subjectId ?? facts.find((f) => f.revision === said.revision && f.subjectId !== undefined)?.subjectId;
  if (subjectId === undefined && (await isForgotten(tx, said))) return 0;
  const newest = newestOf(selectedOf(facts)).get(said.studyId);
  const isTheirs = leavesWith({ subjectId, revision: said.revision, ordinal: said.ordinal ?? -Infinity, isExact }, facts, newest);
  const leaving = withOlderThanShown(facts, facts.filter(isTheirs));
  const ordinal = Math.max(0, said.ordinal ?? 0, ...selectedOf(leaving).map((f) => f.ordinal));
  return await forget(tx, { studyId: said.studyId, ordinal, told: said.revision === undefined ? [] : [said.revision] }, leaving);
}

/** Notes a study that its subject's withdrawal named, and deletes all that is known of it, whoever its revisions were of. */
async function forgetWhole(tx: Transaction, studyId: string): Promise<number> {
  return await forget(tx, { studyId, ordinal: WHOLE, told: [] }, await factsOfStudy(tx, studyId));
}

/** Notes what is withdrawn of the study: up to the ordinal, the revisions that were told, and those that leave. */
async function forget(
  tx: Transaction,
  { studyId, ordinal, told }: { readonly studyId: string; readonly ordinal: number; readonly told: readonly string[] },
  leaving: readonly Kept[],
): Promise<number> {
  await tx.query(
    `INSERT INTO withdrawn_study AS w (study_id, ordinal, revisions) VALUES ($1, $2, $3)
     ON CONFLICT (study_id) DO UPDATE SET ordinal = greatest(w.ordinal, excluded.ordinal),
       revisions = array(SELECT DISTINCT unnest(w.revisions || excluded.revisions) ORDER BY 1)`,
    [studyId, ordinal, [...new Set([...leaving.map((f) => f.revision), ...told])].sort()],
  );
  const gone = await tx.query('DELETE FROM fact WHERE event_id = ANY ($1::text[]) RETURNING 1', [leaving.map((f) => f.eventId)]);
  if (gone.length > 0) await clearVersions(tx);
  return gone.length;
}

interface Gone {
  readonly subjectId: string | undefined;
  readonly revision: string | undefined;
  readonly ordinal: number;
  /** Of facts that name no subject, only the revision's own are the subject's. */
  readonly isExact: boolean;
}

function leavesWith(
  gone: Gone,
  facts: readonly Kept[],
  newest: (Kept & { readonly ordinal: number }) | undefined,
): (fact: Kept) => boolean {
  // Of a revision that nobody selected it is not known whether it is the newest: then all goes.
  if (gone.subjectId === undefined) return () => true;
  const theirs = new Set([gone.revision, ...facts.filter((f) => f.subjectId === gone.subjectId).map((f) => f.revision)]);
  // A grade may come before its selection: that tells whose the study is.
  if (newest === undefined) return (f) => theirs.has(f.revision) || (f.subjectId === undefined && !gone.isExact);
  if (newest.subjectId === gone.subjectId || newest.ordinal <= gone.ordinal) return () => true;
  return (f) => theirs.has(f.revision);
}

/**
 * With a revision that showed an identity go the older ones, whoever's: they are of the same images (`contentsOf`), and the refusal
 * that keeps them out goes too. Of one that nobody selected it is not known which are older.
 */
function withOlderThanShown(facts: readonly Kept[], leaving: readonly Kept[]): readonly Kept[] {
  const ordinals = new Map(selectedOf(facts).map((f) => [f.revision, f.ordinal]));
  const ordinalOf = ({ revision }: Kept): number => ordinals.get(revision) ?? Infinity;
  const shown = Math.max(...leaving.filter((f) => f.isShown).map(ordinalOf));
  return facts.filter((f) => leaving.includes(f) || ordinalOf(f) <= shown);
}

/** Whether the revision was withdrawn before: who told it first knew whose it was. */
async function isForgotten(
  tx: Transaction,
  { studyId, revision }: Pick<Kept, 'studyId'> & { readonly revision?: string },
): Promise<boolean> {
  const rows = await tx.query('SELECT 1 FROM withdrawn_study WHERE study_id = $1 AND $2 = ANY (revisions)', [studyId, revision ?? null]);
  return rows.length > 0;
}

async function clearVersions(tx: Transaction): Promise<void> {
  // An approval that commits first is seen by the second statement: its version is then released.
  await tx.query(
    `UPDATE version SET state = 'building', sums_sha256 = NULL, members = NULL, research_ids = NULL WHERE state = 'candidate'`,
  );
  await tx.query('UPDATE version SET cleared = cleared + 1, erasure_pending = true');
}

/**
 * Erases the subject and the studies that are named, and again after the longest job; then tells so. `cause` is the id of the
 * withdrawal's event.
 * @throws Fault ERASURE_PENDING until the second erasure may be the last; those of store and database
 */
export async function eraseSubject(ports: ErasePorts, withdrawal: SubjectWithdrawn, cause: string, signal: AbortSignal): Promise<void> {
  const { subjectId } = withdrawal;
  const { rows, sinceMs } = await ports.database.transaction(async (tx) => await eraseFacts(tx, withdrawal), signal);
  const objects = await eraseFromVersions(ports, signal);
  if (sinceMs >= ports.eraseAgainAfterMs) await removeLeft(ports, ports.clock.nowMs() - sinceMs);
  const isLast = await ports.database.transaction(async (tx) => {
    const [state] = await tx.query<{ objects: number }>(
      'UPDATE withdrawn SET objects = objects + $2 WHERE subject_id = $1 RETURNING objects',
      [subjectId, objects],
    );
    // What told of a version lists its studies. Also without rows: who told it of a study may have come first.
    const told = await tx.query<{ version: string }>("SELECT version FROM version WHERE state = 'released'");
    const { unsent } = await tx.forget(told.map((t) => t.version));
    if (sinceMs < ports.eraseAgainAfterMs || unsent > 0) return false;
    await tx.enqueue({
      type: 'ctstream.research.v1.ErasureDone',
      value: { subjectId, stage: 'release', objects: state?.objects ?? 0, rows },
      cause,
      // A withdrawal may be told again because the reports were lost.
      again: true,
    });
    return true;
  }, signal);
  if (!isLast) throw new Fault('ERASURE_PENDING', true, `${rows} rows erased; again when no build can be running that began before`);
}

/** Answers how many rows were erased so far, and since when, in milliseconds. */
async function eraseFacts(tx: Transaction, { subjectId, studies: named }: SubjectWithdrawn): Promise<{ rows: number; sinceMs: number }> {
  await lockFacts(tx, 'erase');
  await tx.query('INSERT INTO withdrawn (subject_id) VALUES ($1) ON CONFLICT DO NOTHING', [subjectId]);
  let rows = 0;
  for (const study of named ?? []) rows += await forgetWhole(tx, study);
  const studies = await tx.query<{ study: string }>(
    "SELECT DISTINCT value ->> 'studyId' AS study FROM fact WHERE value ->> 'subjectId' = $1",
    [subjectId],
  );
  for (const { study } of studies) rows += await forgetStudy(tx, { studyId: study, subjectId });
  // Each time: a build that began before the withdrawal, and died, left files where no candidate is.
  await tx.query(
    `UPDATE version v SET cleared = cleared + 1, erasure_pending = true FROM withdrawn w
     WHERE w.subject_id = $1 AND v.state = 'building' AND v.created_at < w.withdrawn_at`,
    [subjectId],
  );
  const [state] = await tx.query<{ rows: number; since_ms: string }>(
    `UPDATE withdrawn SET rows = rows + $2 WHERE subject_id = $1
     RETURNING rows, (extract(epoch FROM clock_timestamp() - withdrawn_at) * 1000)::bigint AS since_ms`,
    [subjectId, rows],
  );
  if (state === undefined) throw new Error('a withdrawal was noted and is not there');
  return { rows: state.rows, sinceMs: Number(state.since_ms) };
}

/** A folder of the dataset that was not put in its place. */
const UNPLACED = /^v\d+\.\d+\.\d+\.[A-Za-z0-9]{6}$/;

/** Removes what builds and approvals left that died and had begun before the withdrawal; one that lives removes its own. */
async function removeLeft({ stagingDir, outDir }: Pick<ErasePorts, 'stagingDir' | 'outDir'>, withdrawnAtMs: number): Promise<void> {
  await removeOlder(stagingDir, /./, withdrawnAtMs);
  if (outDir === undefined) return;
  for (const dir of [outDir, join(outDir, 'candidates')]) await removeOlder(dir, UNPLACED, withdrawnAtMs);
}

async function removeOlder(dir: string, names: RegExp, thanMs: number): Promise<void> {
  for (const name of (await readdir(dir).catch(() => [])).filter((n) => names.test(n))) {
    const path = join(dir, name);
    const info = await stat(path).catch(() => undefined);
    if (info?.isDirectory() === true && info.birthtimeMs < thanMs) await rm(path, { recursive: true, force: true });
  }
}
