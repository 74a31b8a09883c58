// The identity vault: who is the same patient, and the secrets that research ids are made of. Clinical zone only.
import type { CentreId, ClinicalRevision, StudyInstanceUid } from '../kernel/ids.ts';

export interface PatientKey {
  /** Issuer of the id, or the centre's configured namespace: bare ids are never compared across centres. */
  readonly namespace: string;
  readonly patientId: string;
}

export interface SubjectKeys {
  /** Row of the patient; names nobody. */
  readonly subjectRow: string;
  /** 32 random bytes, drawn at first sight: pseudonym, UIDs and date shift are HMACs under it. */
  readonly secret: Uint8Array;
}

export interface StudyKeys {
  /** Random at first sight, under the patient's row. */
  readonly lineageId: string;
  /** Random; stands for every UID of the study in the archived clinical log. */
  readonly token: string;
  /** 32 random bytes: research study id and revision are HMACs under it. */
  readonly secret: Uint8Array;
  /** 1 for the study's first revision that came here, 2 for the next. */
  readonly ordinal: number;
}

export interface Lineage {
  readonly centre: CentreId;
  readonly studyInstanceUid: StudyInstanceUid;
  readonly token: string;
  readonly lineageId: string;
  readonly secret: Uint8Array;
}

/** Every method throws Fault('VAULT_UNAVAILABLE', true) when the database does not answer. */
export interface IdentityVault {
  /** The same key gives the same subject for ever, also when two ask at once. 'denied' after a withdrawal. */
  subject(key: PatientKey, signal?: AbortSignal): Promise<SubjectKeys | 'denied'>;
  study(
    subjectRow: string,
    centre: CentreId,
    study: StudyInstanceUid,
    revision: ClinicalRevision,
    signal?: AbortSignal,
  ): Promise<StudyKeys>;
  /** The study's token, drawn at first sight of the study even when its patient is not known yet (a refused
   * study has none); `study` puts the row under the patient later, so that a withdrawal deletes it. */
  token(centre: CentreId, study: StudyInstanceUid, signal?: AbortSignal): Promise<{ readonly token: string; readonly secret: Uint8Array }>;
  /** 32 bytes of this deployment, drawn at first start: site pseudonyms are HMACs under it. */
  siteSecret(): Promise<Uint8Array>;
  /** Held from look-up until the event is acknowledged; a withdrawal takes it exclusively. */
  withSubjectLock<T>(subjectRow: string, work: () => Promise<T>): Promise<T>;
  /** Every study that the vault links: for `account` and the clinical archiver. */
  lineages(signal?: AbortSignal): AsyncIterable<Lineage>;
  close(): Promise<void>;
}
