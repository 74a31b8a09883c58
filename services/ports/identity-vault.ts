// The identity vault: who is the same patient, and the secrets that research ids are made of. Clinical zone only.
import type { CentreId, ClinicalKey, ClinicalRevision, StudyInstanceUid } from '../kernel/ids.ts';

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
  /** Keyed digest of the id that was asked for: a patient may have several. */
  readonly idDigest: string;
}

/** The patient of a study, and by which of their ids it came: `vault split` takes studies along with their id. */
export type SeenUnder = Pick<SubjectKeys, 'subjectRow' | 'idDigest'>;

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

/** What stands for a study in the clinical archive, and the secret that its revisions are hidden under there. */
export type StudyToken = Pick<StudyKeys, 'token' | 'secret'>;

export interface Lineage {
  readonly centre: CentreId;
  readonly studyInstanceUid: StudyInstanceUid;
  readonly token: string;
  readonly lineageId: string;
  readonly secret: Uint8Array;
}

/** A patient's lock, shared with other studies of the patient. A withdrawal takes it exclusively. */
export interface SubjectLock {
  /** @throws Fault VAULT_UNAVAILABLE when the lock is no longer held: nothing may be published then. */
  confirm(): Promise<void>;
  release(): Promise<void>;
}

/** Token of a study whose patient withdrew: all such studies share it. */
export const WITHDRAWN_TOKEN = 'withdrawn';

/** Every method throws Fault('VAULT_UNAVAILABLE', true) when the database does not answer. */
export interface IdentityVault {
  /** The same key gives the same subject for ever, also when two ask at once. 'denied' after a withdrawal. */
  subject(key: PatientKey, signal?: AbortSignal): Promise<SubjectKeys | 'denied'>;
  study(seen: SeenUnder, centre: CentreId, study: StudyInstanceUid, revision: ClinicalRevision, signal?: AbortSignal): Promise<StudyKeys>;
  /** The study's token, drawn at first sight of the study even when its patient is not known yet (a refused
   * study has none); `study` puts the row under the patient later, so that a withdrawal deletes it. A withdrawn patient's
   * study gets WITHDRAWN_TOKEN and a secret that is forgotten. */
  token(centre: CentreId, study: StudyInstanceUid, signal?: AbortSignal): Promise<StudyToken>;
  /** `token` of many studies, in as many questions as of one: a census page has hundreds. */
  tokens(centre: CentreId, studies: readonly StudyInstanceUid[], signal?: AbortSignal): Promise<ReadonlyMap<StudyInstanceUid, StudyToken>>;
  /** 32 bytes of this deployment, drawn at first start: site pseudonyms are HMACs under it. */
  siteSecret(): Promise<Uint8Array>;
  /** To be held from the look-up until the event is acknowledged; never waits. Throws VAULT_UNAVAILABLE, to be tried again, when
   * the patient was withdrawn after the look-up or is being withdrawn: the next look-up says 'denied'. */
  subjectLock(subjectRow: string): Promise<SubjectLock>;
  /** Which of these studies belong to withdrawn patients: they are refused for ever. */
  denied(studies: readonly ClinicalKey[], signal?: AbortSignal): Promise<ReadonlySet<ClinicalKey>>;
  /** The study turned out to be a withdrawn patient's: deletes its row and refuses it for ever. */
  denyStudy(centre: CentreId, study: StudyInstanceUid, signal?: AbortSignal): Promise<void>;
  /** Every study that the vault links: for `account` and the clinical archiver. */
  lineages(signal?: AbortSignal): AsyncIterable<Lineage>;
  close(): Promise<void>;
}
