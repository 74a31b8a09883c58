// What operators see of the queue: counts and waiting times, no identity and no estimate.
import type { Queryable } from '../ports/database.ts';

export interface QueueState {
  /** Studies by state: reading, labelled, rejected; stale when a newer revision is read in place of one that was in reading. */
  readonly studies: Readonly<Record<string, number>>;
  /** Tasks by kind, then by state; a lease that ran out counts as open. */
  readonly tasks: Readonly<Record<string, Readonly<Record<string, number>>>>;
  /** Seconds that the oldest study in reading has waited, 0 when none does. */
  readonly oldestSeconds: number;
  readonly readings: number;
  /** Readings by programs. */
  readonly simulatedReadings: number;
}

export async function queueState(database: Queryable): Promise<QueueState> {
  const studies = await database.query<{ state: string; n: string }>(
    "SELECT CASE WHEN state = 'reading' AND stale_by IS NOT NULL THEN 'stale' ELSE state END AS state, count(*) AS n FROM study GROUP BY 1",
  );
  const tasks = await database.query<{ kind: string; state: string; n: string }>(
    `SELECT kind, CASE WHEN state = 'leased' AND lease_until <= clock_timestamp() THEN 'open' ELSE state END AS state, count(*) AS n
     FROM task GROUP BY 1, 2 ORDER BY 1, 2`,
  );
  const [sums] = await database.query<{ oldest: string; readings: string; simulated: string }>(
    `SELECT (SELECT coalesce(extract(epoch FROM clock_timestamp() - min(opened_at)), 0)::bigint FROM study WHERE state = 'reading' AND stale_by IS NULL) AS oldest,
            (SELECT count(*) FROM reading) AS readings, (SELECT count(*) FROM reading WHERE simulated) AS simulated`,
  );
  const byKind: Record<string, Record<string, number>> = {};
  for (const row of tasks) (byKind[row.kind] ??= {})[row.state] = Number(row.n);
  return {
    studies: { reading: 0, labelled: 0, rejected: 0, ...Object.fromEntries(studies.map((r) => [r.state, Number(r.n)])) },
    tasks: byKind,
    oldestSeconds: Number(sums?.oldest ?? 0),
    readings: Number(sums?.readings ?? 0),
    simulatedReadings: Number(sums?.simulated ?? 0),
  };
}
