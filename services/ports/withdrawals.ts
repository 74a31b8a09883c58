// Withdrawals of patients, in the identity vault: what is to be erased, and who has reported that it is. Clinical zone only.
import type { CentreId, ClinicalRevision, ResearchStudyId, StudyInstanceUid, SubjectId } from '../kernel/ids.ts';
import type { PatientKey } from './identity-vault.ts';

/** A receipt is complete when all of these have erased twice: at once, and after the longest job. */
export const ERASING_STAGES = ['anonymise', 'assess', 'select', 'label-queue', 'release'] as const;
export type ErasingStage = (typeof ERASING_STAGES)[number];

export interface Erased {
  /** Objects removed from buckets. */
  readonly objects: number;
  /** Rows removed from databases. */
  readonly rows: number;
}

export interface ErasureReport extends Erased {
  readonly stage: ErasingStage;
  /** Undefined while the stage has yet to erase, or to erase again. */
  readonly doneAtMs: number | undefined;
}

/** Names nobody: the request id is random. */
export interface Receipt {
  readonly requestId: string;
  /** A merge or split retires a pseudonym: it is erased in research, and nobody is refused. */
  readonly kind: 'withdrawal' | 'correction';
  readonly requestedAtMs: number;
  /** Undefined while stages have yet to report. */
  readonly completedAtMs: number | undefined;
  /** One for each of ERASING_STAGES, in their order. */
  readonly reports: readonly ErasureReport[];
}

export interface WithdrawnStudy {
  readonly centre: CentreId;
  readonly studyInstanceUid: StudyInstanceUid;
  /** The newest that was anonymised, or held. */
  readonly revision: ClinicalRevision;
  readonly studyId: ResearchStudyId;
}

/** What the vault knew of the patient; kept sealed until the receipt is complete. */
export interface ToErase {
  readonly subjectId: SubjectId;
  readonly studies: readonly WithdrawnStudy[];
  /** Ids of what was held back of them: their prefixes in ct-quarantine. */
  readonly heldIds: readonly string[];
  /** After a merge or split: what was in research under a pseudonym that is nobody's any more. The originals stay. */
  readonly retiredStudies?: readonly ResearchStudyId[];
}

/** Every method throws Fault VAULT_UNAVAILABLE or DATABASE_UNAVAILABLE, to be tried again, when the database does not answer. */
export interface Withdrawals {
  /**
   * Waits for the patient's running jobs, then in one transaction: denies all identifiers and studies of the patient,
   * deletes the rows, and writes the request and its event. Again: the same receipt. 'denied' when the vault knows nothing
   * of the identifier, or nothing any more: it is refused from now on.
   * @param by who did it, for the audit
   */
  withdrawPatient(key: PatientKey, by: string, signal?: AbortSignal): Promise<Receipt | 'denied'>;
  /** As `withdrawPatient`, by pseudonym; undefined when nobody has it (any more) and nobody withdrew under it. */
  withdrawSubject(subjectId: SubjectId, by: string, signal?: AbortSignal): Promise<Receipt | undefined>;
  receipt(requestId: string): Promise<Receipt | undefined>;
  /** Id of the request that withdrew the subject, or retired it. */
  requestOf(subjectId: SubjectId): Promise<string | undefined>;
  /** Undefined once the receipt is complete. */
  toErase(requestId: string): Promise<ToErase | undefined>;
  /**
   * Adds to what the stage has erased; `isDone` when it need not do it again. What is noted of a stage that is done
   * already changes nothing. The last one completes the receipt and empties the box.
   */
  note(requestId: string, stage: ErasingStage, erased: Erased, isDone: boolean): Promise<void>;
  close(): Promise<void>;
}
