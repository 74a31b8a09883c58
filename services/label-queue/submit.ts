// A submission: the reading, the next step and its event, in one transaction.
import type { Randomness } from '../ports/clock.ts';
import type { Database, Transaction } from '../ports/database.ts';
import { audit } from './audit.ts';
import type { NextStep, TaskKind } from './consensus.ts';
import { refusal } from './leases.ts';
import { type StudyRow, takeNextStep } from './outcome.ts';
import { ApiProblem } from './problem.ts';
import type { Reader } from './readers.ts';
import type { SkipCode } from './skip-codes.ts';

/** How a reader looked: kept with the reading. */
export interface Viewing {
  readonly seconds: number;
  /** Window settings used, HU. */
  readonly windows: readonly { readonly width: number; readonly level: number }[];
  readonly slicesVisited: number | null;
  readonly pageVersion: string | null;
}

export type Answer = Viewing & ({ readonly grade: number; readonly volumeDigest: string } | { readonly skip: SkipCode });

interface OwnTask {
  readonly state: string;
  readonly fence: string;
  readonly leased_to: string | null;
  readonly kind: TaskKind;
}

interface ReadingRow {
  readonly grade: number | null;
  readonly skip: string | null;
}

/**
 * Records what the reader says of their task. The fencing token decides: a lease that ran out still counts while
 * nobody else took the task. Sending the same answer again changes nothing.
 * @throws ApiProblem NO_SUCH_TASK, SUBJECT_WITHDRAWN, LEASE_LOST, TASK_CANCELLED, WRONG_VOLUME, ALREADY_READ
 */
export async function submit(
  database: Database,
  random: Randomness,
  reader: Reader,
  taskId: string,
  token: number,
  answer: Answer,
): Promise<NextStep['step'] | 'known'> {
  return await database.transaction(async (tx) => {
    // The study's row first, then the task's: two submissions of one study wait for each other here, never crosswise.
    const [study] = await tx.query<StudyRow>(
      `SELECT s.study_id, s.revision, s.subject_id, s.volume_digest, s.event_id, s.state, s.stale_by
       FROM study s JOIN task t USING (study_id, revision) WHERE t.task_id = $1 FOR UPDATE OF s`,
      [taskId],
    );
    if (study === undefined) throw await refusal(tx, taskId);
    const [[before], [task]] = await Promise.all([
      tx.query<ReadingRow>('SELECT grade, skip FROM reading WHERE task_id = $1 AND reader = $2', [taskId, reader.id]),
      tx.query<OwnTask>('SELECT state, fence, leased_to, kind FROM task WHERE task_id = $1 FOR UPDATE', [taskId]),
    ]);
    if (before !== undefined) return sameAsBefore(before, answer);
    if (task?.state !== 'leased' || task.leased_to !== reader.id || Number(task.fence) !== token) throw await refusal(tx, taskId);
    if ('grade' in answer && answer.volumeDigest !== study.volume_digest)
      throw new ApiProblem('WRONG_VOLUME', 'the grade is for another volume than the one of the task; load it again');
    await Promise.all([
      insertReading(tx, reader, taskId, answer),
      tx.query("UPDATE task SET state = 'done', lease_until = NULL WHERE task_id = $1", [taskId]),
    ]);
    const next = await takeNextStep(tx, random, study);
    // No study and no volume: the audit outlives a withdrawal. Which volume was graded stands in the reading.
    await audit(tx, reader.pseudonym, 'grade' in answer ? 'graded' : 'skipped', {
      task: taskId,
      kind: task.kind,
      fence: token,
      ...('grade' in answer ? { grade: answer.grade } : { code: answer.skip }),
      next: next.step,
      simulated: reader.simulated,
    });
    return next.step;
  });
}

/** @throws ApiProblem ALREADY_READ when the reader said something else before */
function sameAsBefore(before: ReadingRow, answer: Answer): 'known' {
  const same = 'grade' in answer ? before.grade === answer.grade : before.skip === answer.skip;
  if (!same) throw new ApiProblem('ALREADY_READ', 'you answered this task before, with another answer; readings are not changed');
  return 'known';
}

async function insertReading(tx: Transaction, reader: Reader, taskId: string, answer: Answer): Promise<void> {
  const graded = 'grade' in answer;
  await tx.query(
    `INSERT INTO reading (task_id, reader, grade, skip, seconds, windows, slices_visited, page_version, volume_digest, simulated)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
    [
      taskId,
      reader.id,
      graded ? answer.grade : null,
      graded ? null : answer.skip,
      answer.seconds,
      JSON.stringify(answer.windows),
      answer.slicesVisited,
      answer.pageVersion,
      graded ? answer.volumeDigest : null,
      reader.simulated,
    ],
  );
}
