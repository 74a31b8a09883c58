// Erasure of a withdrawn subject: its facts go at once, so that no version can be built with it; versions that hold it are
// written anew (erase-version.ts), candidates are void.
import { readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Fault } from '../kernel/fault.ts';
import type { SubjectId } from '../kernel/ids.ts';
import type { Clock } from '../ports/clock.ts';
import type { Transaction } from '../ports/database.ts';
import type { ReleaseDeps } from './build.ts';
import { eraseFromVersions } from './erase-version.ts';
import { lockFacts } from './versions.ts';

export interface ErasePorts extends ReleaseDeps {
  /** Folder that datasets are written to besides the buckets. */
  readonly outDir?: string | undefined;
  readonly clock: Clock;
  /** How long after the first erasure the second, last one is made; longer than the longest job. */
  readonly eraseAgainAfterMs: number;
}

/** Whether a fact of this study must not be kept. Ask it under `lockFacts`. */
export async function isWithdrawn(tx: Transaction, fact: { readonly studyId: string; readonly subjectId?: string }): Promise<boolean> {
  const rows = await tx.query('SELECT 1 FROM withdrawn WHERE subject_id = $1 UNION ALL SELECT 1 FROM withdrawn_study WHERE study_id = $2', [
    fact.subjectId ?? null,
    fact.studyId,
  ]);
  return rows.length > 0;
}

/** Notes the studies as withdrawn and deletes what is known of them; versions that may hold them are marked. Answers the facts deleted. */
export async function forgetStudies(tx: Transaction, studies: readonly string[]): Promise<number> {
  await tx.query('INSERT INTO withdrawn_study (study_id) SELECT unnest($1::text[]) ON CONFLICT DO NOTHING', [studies]);
  const gone = await tx.query("DELETE FROM fact WHERE value ->> 'studyId' = ANY ($1::text[]) RETURNING 1", [studies]);
  if (gone.length === 0) return 0;
  // An approval that commits first is seen by the second statement: its version is then released.
  await tx.query(
    `UPDATE version SET state = 'building', sums_sha256 = NULL, members = NULL, research_ids = NULL WHERE state = 'candidate'`,
  );
  await tx.query('UPDATE version SET cleared = cleared + 1, erasure_pending = true');
  return gone.length;
}

/**
 * Erases the subject, and again after the longest job; then tells so. `cause` is the id of the withdrawal's event.
 * @throws Fault ERASURE_PENDING until the second erasure may be the last; those of store and database
 */
export async function eraseSubject(ports: ErasePorts, subjectId: SubjectId, cause: string, signal: AbortSignal): Promise<void> {
  const { rows, sinceMs } = await ports.database.transaction(async (tx) => await eraseFacts(tx, subjectId), signal);
  const objects = await eraseFromVersions(ports, signal);
  if (rows > 0 && sinceMs >= ports.eraseAgainAfterMs) await removeStaging(ports.stagingDir, ports.clock.nowMs() - sinceMs);
  const isLast = await ports.database.transaction(async (tx) => {
    const [state] = await tx.query<{ objects: number }>(
      'UPDATE withdrawn SET objects = objects + $2 WHERE subject_id = $1 RETURNING objects',
      [subjectId, objects],
    );
    // What told of a version lists its studies.
    const told = await tx.query<{ version: string }>("SELECT version FROM version WHERE state = 'released'");
    const { unsent } = await tx.forget(rows > 0 ? told.map((t) => t.version) : []);
    if (sinceMs < ports.eraseAgainAfterMs || unsent > 0) return false;
    await tx.enqueue({
      type: 'ctstream.research.v1.ErasureDone',
      value: { subjectId, stage: 'release', objects: state?.objects ?? 0, rows },
      cause,
    });
    return true;
  }, signal);
  if (!isLast) throw new Fault('ERASURE_PENDING', true, `${rows} rows erased; again when no build can be running that began before`);
}

/** Answers how many rows were erased so far, and since when, in milliseconds. */
async function eraseFacts(tx: Transaction, subjectId: SubjectId): Promise<{ rows: number; sinceMs: number }> {
  await lockFacts(tx, 'erase');
  await tx.query('INSERT INTO withdrawn (subject_id) VALUES ($1) ON CONFLICT DO NOTHING', [subjectId]);
  const studies = await tx.query<{ study: string }>(
    "SELECT DISTINCT value ->> 'studyId' AS study FROM fact WHERE value ->> 'subjectId' = $1",
    [subjectId],
  );
  const rows = await forgetStudies(
    tx,
    studies.map((s) => s.study),
  );
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

/** Removes what builds left that died and had begun before the withdrawal; one that lives removes its own. */
async function removeStaging(dir: string, withdrawnAtMs: number): Promise<void> {
  for (const name of await readdir(dir).catch(() => [])) {
    const path = join(dir, name);
    const info = await stat(path).catch(() => undefined);
    if (info !== undefined && info.birthtimeMs < withdrawnAtMs) await rm(path, { recursive: true, force: true });
  }
}
