// Leases on tasks: claim, heartbeat, and who may see a volume. The database's clock decides, for all processes.
import type { Database, Queryable } from '../ports/database.ts';
import { audit } from './audit.ts';
import { ApiProblem } from './problem.ts';
import type { Reader } from './readers.ts';

/** What a reader is told of a task. Nothing says whether it is a first, third or adjudicating reading. */
export interface ClaimedTask {
  readonly taskId: string;
  /** Fencing token: goes with every later call. */
  readonly token: number;
  readonly leaseUntilMs: number;
  /** Names the volume; opaque to readers, who send it back with the grade. */
  readonly volumeDigest: string;
  readonly shape: readonly number[];
  readonly spacingMm: readonly number[];
}

export interface LeaseRules {
  readonly leaseMs: number;
  readonly maxLeasesPerReader: number;
}

interface TaskRow {
  readonly task_id: string;
  readonly fence: string;
  readonly until_ms: string;
  readonly volume_digest: string;
  readonly shape: number[];
  readonly spacing_mm: number[];
}

const TASK_COLUMNS =
  't.task_id, t.fence, (extract(epoch FROM t.lease_until) * 1000)::bigint AS until_ms, s.volume_digest, s.shape, s.spacing_mm';

function claimedTask(row: TaskRow): ClaimedTask {
  return {
    taskId: row.task_id,
    token: Number(row.fence),
    leaseUntilMs: Number(row.until_ms),
    volumeDigest: row.volume_digest,
    shape: row.shape,
    spacingMm: row.spacing_mm,
  };
}

/**
 * Gives the reader the next task, or undefined when there is none for them: never a second task of a volume
 * they hold or read, never a study of their own centre, `lead` tasks to leads only. Studies that somebody has
 * begun to read go first. @throws ApiProblem TOO_MANY_LEASES
 */
export async function claim(database: Database, reader: Reader, rules: LeaseRules): Promise<ClaimedTask | undefined> {
  return await database.transaction(async (tx) => {
    // Two tabs of one reader must not get the two tasks of one study: a row that is locked is skipped, so it can't be seen.
    const [, [held]] = await Promise.all([
      tx.query("SELECT pg_advisory_xact_lock(hashtext('reader'), hashtext($1))", [reader.id]),
      tx.query<{ n: string }>(
        "SELECT count(*) AS n FROM task WHERE state = 'leased' AND leased_to = $1 AND lease_until > clock_timestamp()",
        [reader.id],
      ),
    ]);
    if (Number(held?.n ?? 0) >= rules.maxLeasesPerReader)
      throw new ApiProblem('TOO_MANY_LEASES', `you hold ${held?.n} tasks; submit or skip one first (GET /tasks/mine lists them)`);
    const [row] = await tx.query<TaskRow>(
      `WITH next AS (
         SELECT t.task_id FROM task t JOIN study s USING (study_id, revision)
         WHERE (t.state = 'open' OR (t.state = 'leased' AND t.lease_until <= clock_timestamp()))
           AND (t.kind <> 'lead' OR $2) AND s.site IS DISTINCT FROM $3::text AND s.stale_by IS NULL
           AND NOT EXISTS (SELECT FROM task o WHERE o.study_id = t.study_id AND o.revision = t.revision AND o.task_id <> t.task_id AND o.leased_to = $1)
         ORDER BY (t.kind IN ('grade-1', 'grade-2')), t.seq LIMIT 1
         FOR UPDATE OF t SKIP LOCKED
       )
       UPDATE task t SET state = 'leased', fence = t.fence + 1, leased_to = $1, lease_until = clock_timestamp() + $4 * interval '1 millisecond'
       FROM next, study s WHERE t.task_id = next.task_id AND s.study_id = t.study_id AND s.revision = t.revision
       RETURNING ${TASK_COLUMNS}`,
      [reader.id, reader.lead, reader.site ?? null, rules.leaseMs],
    );
    if (row === undefined) return undefined;
    await audit(tx, reader.pseudonym, 'claimed', { task: row.task_id, fence: Number(row.fence) });
    return claimedTask(row);
  });
}

/** Tasks whose lease the reader holds, for a page that was loaded again. */
export async function heldTasks(database: Queryable, reader: Reader): Promise<ClaimedTask[]> {
  const rows = await database.query<TaskRow>(
    `SELECT ${TASK_COLUMNS} FROM task t JOIN study s USING (study_id, revision) WHERE t.state = 'leased' AND t.leased_to = $1 AND t.lease_until > clock_timestamp() ORDER BY t.seq`,
    [reader.id],
  );
  return rows.map(claimedTask);
}

/**
 * Renews a lease. One that ran out is renewed too while nobody else has taken the task: the fencing token
 * still is the newest. @throws ApiProblem NO_SUCH_TASK, SUBJECT_WITHDRAWN, LEASE_LOST, TASK_CANCELLED
 */
export async function heartbeat(
  database: Database,
  reader: Reader,
  taskId: string,
  token: number,
  rules: LeaseRules,
): Promise<{ leaseUntilMs: number }> {
  const [row] = await database.query<{ until_ms: string }>(
    `UPDATE task SET lease_until = clock_timestamp() + $4 * interval '1 millisecond'
     WHERE task_id = $1 AND state = 'leased' AND leased_to = $2 AND fence = $3
     RETURNING (extract(epoch FROM lease_until) * 1000)::bigint AS until_ms`,
    [taskId, reader.id, token, rules.leaseMs],
  );
  if (row === undefined) throw await refusal(database, taskId);
  return { leaseUntilMs: Number(row.until_ms) };
}

/** Object name of the volume, for the holder of a lease that runs. @throws ApiProblem as `heartbeat` */
export async function volumeOf(
  database: Database,
  reader: Reader,
  taskId: string,
  token: number,
): Promise<{ key: string; digest: string }> {
  return await database.transaction(async (tx) => {
    const [row] = await tx.query<{ volume_key: string; volume_digest: string }>(
      `SELECT s.volume_key, s.volume_digest FROM task t JOIN study s USING (study_id, revision)
       WHERE t.task_id = $1 AND t.state = 'leased' AND t.leased_to = $2 AND t.fence = $3 AND t.lease_until > clock_timestamp()`,
      [taskId, reader.id, token],
    );
    if (row === undefined) throw await refusal(tx, taskId);
    await audit(tx, reader.pseudonym, 'volume', { task: taskId, fence: token });
    return { key: row.volume_key, digest: row.volume_digest };
  });
}

/** Why a call on a task is refused. Says nothing of who else holds it. */
export async function refusal(database: Queryable, taskId: string): Promise<ApiProblem> {
  const [row] = await database.query<{ state: string }>('SELECT state FROM task WHERE task_id = $1', [taskId]);
  if (row === undefined) return await whyGone(database, taskId);
  if (row.state === 'cancelled') return new ApiProblem('TASK_CANCELLED', 'the study needs no more readings; claim another task');
  return new ApiProblem('LEASE_LOST', 'the lease ran out and the task is no longer yours; claim another one');
}

async function whyGone(database: Queryable, taskId: string): Promise<ApiProblem> {
  const isErased = (await database.query('SELECT 1 FROM erased_task WHERE task_id = $1', [taskId])).length > 0;
  return isErased
    ? new ApiProblem(
        'SUBJECT_WITHDRAWN',
        'whose images these are withdrew: the study and all that was said of it are erased; claim another task',
      )
    : new ApiProblem('NO_SUCH_TASK', 'there is no such task');
}
