// Refusals before a PACS, into the outbox: counted as sent and rejected.
import { createHmac } from 'node:crypto';
import type { CentreId } from '../kernel/ids.ts';
import type { Code } from '../kernel/codes.ts';
import type { FoundStudy } from '../ports/dicomweb.ts';
import { countOf } from './announce.ts';
import type { State } from './state.ts';

export interface Refusal {
  /** Digest of the file's or folder's place; names nobody. */
  readonly intakeId: string;
  readonly unit: 'study' | 'file';
  readonly code: Code;
  readonly files: number;
  /** Tag and remedy, never a patient's value. */
  readonly detail: string;
}

/** Enqueues a refusal once per intake id. Call inside a transaction. True when it was new. */
export function enqueueRefusal(state: State, centre: CentreId, refusal: Refusal): boolean {
  const isNew =
    state.run(
      'INSERT OR IGNORE INTO intake (centre, intake_id, code, unit, files, at_ms) VALUES (?, ?, ?, ?, ?, ?)',
      centre,
      refusal.intakeId,
      refusal.code,
      refusal.unit,
      refusal.files,
      state.nowMs(),
    ) === 1;
  if (isNew) state.enqueue(centre, () => ({ type: 'ctstream.clinical.v1.IntakeRefused', value: { centre, ...refusal } }));
  return isNew;
}

/**
 * A study that the PACS lists without a StudyInstanceUID: nothing can ask for it. Refused once, whatever else its row says later.
 */
export function refuseUnnamed(state: State, centre: CentreId, row: FoundStudy): void {
  const intakeId = unnamedId(`unnamed|${state.secret}`, [row.patientId, row.studyDate]);
  // As it was named under a key that every record tells.
  const former = unnamedId(`unnamed|${state.generation}`, row);
  state.run('UPDATE OR IGNORE intake SET intake_id = ? WHERE centre = ? AND intake_id = ?', intakeId, centre, former);
  enqueueRefusal(state, centre, {
    intakeId,
    unit: 'study',
    code: 'MISSING_UID',
    files: countOf([row]),
    detail: 'the PACS lists a study without StudyInstanceUID (0020,000D): give it one there',
  });
}

/** Keyed by what only this database knows, so that the digest can't be computed from what is known of the patient. */
function unnamedId(key: string, of: object): string {
  return createHmac('sha256', key).update(JSON.stringify(of)).digest('hex').slice(0, 32);
}
