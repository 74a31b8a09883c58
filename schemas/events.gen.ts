// Generated from schemas/*/*.avsc by schemas/generate.ts. Do not edit.
import type { Code } from '../services/kernel/codes.ts';
import type { CentreId, ClinicalRevision, ResearchRevision, ResearchStudyId, ResearchUid, SiteId, StudyInstanceUid, SubjectId } from '../services/kernel/ids.ts';

/** Reserved: coded clinical findings of a centre for a study (clinical grade, swab, blood, ECG). */
export interface CaseData {
  /** Id of the CT centre, as in the topic name. */
  readonly centre: CentreId;
  /** StudyInstanceUID (0020,000D) as the centre gave it. Clinical zone only. */
  readonly studyInstanceUid: StudyInstanceUid;
  /** clinical-grade, swab, blood or ecg. */
  readonly kind: string;
  /** Coding scheme designator, as in DICOM (0008,0102). */
  readonly codingScheme: string;
  /** Code in that scheme. */
  readonly codeValue: string;
  /** Measured value in the unit. */
  readonly value: null | number;
  /** UCUM unit of the value. */
  readonly unit: null | string;
}

/** A study that the PACS lists. */
export interface CensusStudy {
  /** StudyInstanceUID (0020,000D) as the centre gave it. Clinical zone only. */
  readonly studyInstanceUid: StudyInstanceUid;
  /** NumberOfStudyRelatedInstances (0020,1208), 0 when the server does not say. */
  readonly instanceCount: number;
  /** announced, pending (not yet stable) or outOfScope. */
  readonly state: string;
  /** Why it is out of scope or waits. */
  readonly code: null | string;
}

/** One page of what the centre's PACS itself lists: the number that every account starts from. */
export interface Census {
  /** Id of the CT centre, as in the topic name. */
  readonly centre: CentreId;
  /** Same for all pages of one census. */
  readonly censusId: string;
  /** Start of the census, milliseconds since 1970 UTC. */
  readonly takenAtMs: number;
  /** Number of this page, from 1. */
  readonly page: number;
  /** Number of pages of this census. */
  readonly pages: number;
  /** Studies in all pages. */
  readonly total: number;
  /** SHA-256 (hex) over the sorted study UIDs of all pages. */
  readonly digest: string;
  /** Highest outbox sequence of this gateway when the census was written; a lower highest one in the log means that an event is missing. */
  readonly outboxSequence: number;
  /** The studies of this page. */
  readonly studies: readonly CensusStudy[];
}

/** A study or file that never entered a PACS: refused at intake, counted as sent and rejected. */
export interface IntakeRefused {
  /** Id of the CT centre, as in the topic name. */
  readonly centre: CentreId;
  /** Digest of the file's or folder's place in the intake; names nobody. */
  readonly intakeId: string;
  /** study or file: only studies count in the account. */
  readonly unit: string;
  /** A code of docs/codes.md. */
  readonly code: Code;
  /** How many files are meant. */
  readonly files: number;
  /** Tag and remedy, never a patient's value. */
  readonly detail: string;
}

/** A patient withdrew: every stage erases. The identifier itself is not in the event. */
export interface PatientWithdrawn {
  /** Id of the withdrawal request. */
  readonly requestId: string;
  /** Row of the patient in the vault, deleted by the withdrawal. */
  readonly subjectRow: string;
}

/** A study lies in the centre's PACS and has not changed for the configured time. */
export interface StudyAvailable {
  /** Id of the CT centre, as in the topic name. */
  readonly centre: CentreId;
  /** StudyInstanceUID (0020,000D) as the centre gave it. Clinical zone only. */
  readonly studyInstanceUid: StudyInstanceUid;
  /** Digest (hex) of the sorted (SeriesInstanceUID, SOPInstanceUID, instance hash where the server gives it) list. */
  readonly revision: ClinicalRevision;
  /** Counter of the centre's gateway; only orders the revisions of one centre. */
  readonly sequence: number;
  /** Instances that the PACS listed by QIDO-RS. */
  readonly instanceCount: number;
  /** Series that the PACS listed by QIDO-RS. */
  readonly seriesCount: number;
  /** ModalitiesInStudy (0008,0061). */
  readonly modalities: readonly string[];
  /** What made the gateway look: change-feed, census or poll. */
  readonly noticedBy: string;
}

/** Final: the study's own fault, with a code. */
export interface ClinicalStudyRejected {
  /** Id of the CT centre, as in the topic name. */
  readonly centre: CentreId;
  /** StudyInstanceUID (0020,000D) as the centre gave it. Clinical zone only. */
  readonly studyInstanceUid: StudyInstanceUid;
  /** Digest (hex) of the sorted (SeriesInstanceUID, SOPInstanceUID, instance hash where the server gives it) list. */
  readonly revision: ClinicalRevision;
  /** The stage that judged. */
  readonly stage: string;
  /** A code of docs/codes.md. */
  readonly code: Code;
  /** Tag, count and remedy, never a patient's value. */
  readonly detail: string;
}

/** A stage had nothing to do for this revision, and why. */
export interface ClinicalStudySkipped {
  /** Id of the CT centre, as in the topic name. */
  readonly centre: CentreId;
  /** StudyInstanceUID (0020,000D) as the centre gave it. Clinical zone only. */
  readonly studyInstanceUid: StudyInstanceUid;
  /** Digest (hex) of the sorted (SeriesInstanceUID, SOPInstanceUID, instance hash where the server gives it) list. */
  readonly revision: ClinicalRevision;
  /** The stage that skipped. */
  readonly stage: string;
  /** A code of docs/codes.md. */
  readonly code: Code;
  /** Names of what it duplicates or what superseded it; never a patient's value. */
  readonly detail: string;
}

/** What became of a study, told to its centre: the only topic that a centre may read. */
export interface StudyStatus {
  /** Id of the CT centre, as in the topic name. */
  readonly centre: CentreId;
  /** StudyInstanceUID (0020,000D) as the centre gave it. Clinical zone only. */
  readonly studyInstanceUid: StudyInstanceUid;
  /** Digest (hex) of the sorted (SeriesInstanceUID, SOPInstanceUID, instance hash where the server gives it) list. */
  readonly revision: ClinicalRevision;
  /** stored, rejected or waiting. */
  readonly state: string;
  /** Why, when rejected or waiting. */
  readonly code: null | string;
  /** Instances stored, 0 when none. */
  readonly instanceCount: number;
}

/** All instances of a revision lie in ct-clinical and its manifest is published. */
export interface StudyStored {
  /** Id of the CT centre, as in the topic name. */
  readonly centre: CentreId;
  /** StudyInstanceUID (0020,000D) as the centre gave it. Clinical zone only. */
  readonly studyInstanceUid: StudyInstanceUid;
  /** Digest (hex) of the sorted (SeriesInstanceUID, SOPInstanceUID, instance hash where the server gives it) list. */
  readonly revision: ClinicalRevision;
  /** Counter of the centre's gateway; only orders the revisions of one centre. */
  readonly sequence: number;
  /** Object name of the manifest in ct-clinical. */
  readonly manifestKey: string;
  /** SHA-256 (hex) of the manifest's bytes. */
  readonly manifestSha256: string;
  /** SHA-256 (hex) over the sorted (SOPInstanceUID, SHA-256 of the file) list. */
  readonly contentDigest: string;
  /** Series stored. */
  readonly seriesCount: number;
  /** Instances stored. */
  readonly instanceCount: number;
  /** Sum of the stored DICOM files. */
  readonly sizeBytes: number;
}

/** End of what was considered in a partition. */
export interface ReleaseCut {
  /** Topic. */
  readonly topic: string;
  /** Partition. */
  readonly partition: number;
  /** First offset that was not considered. */
  readonly endOffset: number;
}

/** A version of the dataset was approved and published. */
export interface DatasetReleased {
  /** Version such as v1.0.0. */
  readonly version: string;
  /** Object name prefix in ct-releases. */
  readonly prefix: string;
  /** SHA-256 (hex) of the SHA256SUMS file. */
  readonly sha256sumsSha256: string;
  /** Research ids of the studies in it. */
  readonly studies: readonly string[];
  /** The two people who approved. */
  readonly approvers: readonly string[];
  /** True when the approvers are simulated. */
  readonly simulatedApproval: boolean;
  /** Version of the code that built it. */
  readonly codeVersion: string;
  /** End offset of every partition read. */
  readonly cut: readonly ReleaseCut[];
}

/** A stage erased everything of a withdrawn subject. */
export interface ErasureDone {
  /** Pseudonym of the patient: HMAC under a secret that only the vault has. */
  readonly subjectId: SubjectId;
  /** The stage that reports. */
  readonly stage: string;
  /** Objects removed. */
  readonly objects: number;
  /** Database rows removed. */
  readonly rows: number;
}

/** End of what was considered in a partition. */
export interface TopicCut {
  /** Topic. */
  readonly topic: string;
  /** Partition. */
  readonly partition: number;
  /** First offset that was not considered. */
  readonly endOffset: number;
}

/** What a selection round took into account: enough to decide it again. */
export interface SelectionRoundClosed {
  /** Name of the cohort file. */
  readonly cohort: string;
  /** SHA-256 (hex) of the cohort file's bytes. */
  readonly cohortSha256: string;
  /** Number of the round, from 1. */
  readonly round: number;
  /** End offset of every partition read. */
  readonly cut: readonly TopicCut[];
  /** Studies considered. */
  readonly considered: number;
  /** Studies selected. */
  readonly selected: number;
  /** Studies excluded. */
  readonly excluded: number;
}

/** Instances left behind, by reason. */
export interface DroppedInstances {
  /** A code of docs/codes.md. */
  readonly code: Code;
  /** How many. */
  readonly count: number;
}

/** A study crossed the trust boundary: anonymised, verified, in ct-research. */
export interface StudyAnonymised {
  /** Research id of the study: HMAC under a secret that only the vault has. */
  readonly studyId: ResearchStudyId;
  /** Pseudonym of the patient: HMAC under a secret that only the vault has. */
  readonly subjectId: SubjectId;
  /** Pseudonym of the centre. */
  readonly site: SiteId;
  /** Research id of the revision: HMAC under the study's secret. */
  readonly revision: ResearchRevision;
  /** 1 for the study's first revision that was anonymised, 2 for the next: orders revisions, says nothing of time. */
  readonly ordinal: number;
  /** Object name of the manifest in ct-research. */
  readonly manifestKey: string;
  /** SHA-256 (hex) of the manifest's bytes. */
  readonly manifestSha256: string;
  /** Instances kept. */
  readonly instanceCount: number;
  /** Instances that were left behind. */
  readonly dropped: readonly DroppedInstances[];
  /** Sum of the kept DICOM files, rounded to whole megabytes (1e6): the exact sum would name the study to whoever has the files. */
  readonly sizeBytes: number;
  /** Ten-year band such as 050-059, 090+ or unknown. */
  readonly ageBand: string;
  /** M, F, O or unknown. */
  readonly sex: string;
  /** Manufacturer (0008,0070), or unknown. */
  readonly manufacturer: string;
}

/** What the gates said of a series. */
export interface SeriesVerdict {
  /** Research series UID. */
  readonly series: ResearchUid;
  /** Whether it may become the volume. */
  readonly eligible: boolean;
  /** Every reason against it. */
  readonly codes: readonly string[];
  /** Instances of the series. */
  readonly slices: number;
}

/** The geometry of every series was judged; the chosen one is a NIfTI volume with an estimate. */
export interface StudyAssessed {
  /** Research id of the study: HMAC under a secret that only the vault has. */
  readonly studyId: ResearchStudyId;
  /** Pseudonym of the patient: HMAC under a secret that only the vault has. */
  readonly subjectId: SubjectId;
  /** Pseudonym of the centre. */
  readonly site: SiteId;
  /** Research id of the revision: HMAC under the study's secret. */
  readonly revision: ResearchRevision;
  /** 1 for the study's first revision that was anonymised, 2 for the next: orders revisions, says nothing of time. */
  readonly ordinal: number;
  /** Object name of the assessment's manifest in ct-research. */
  readonly manifestKey: string;
  /** SHA-256 (hex) of the manifest's bytes. */
  readonly manifestSha256: string;
  /** Object name of volume.nii.gz in ct-research. */
  readonly volumeKey: string;
  /** HMAC-SHA-256 (hex) of the uncompressed NIfTI bytes under the revision's salt, which stands in its assessment in ct-research: names the volume, and only who may read that can check it. */
  readonly volumeDigest: string;
  /** Columns, rows, slices. */
  readonly shape: readonly number[];
  /** Voxel size in mm, in the order of shape. */
  readonly spacingMm: readonly number[];
  /** SliceThickness (0018,0050). */
  readonly sliceThicknessMm: null | number;
  /** soft, sharp or unknown. */
  readonly kernel: string;
  /** KVP (0018,0060). */
  readonly kvp: null | number;
  /** Voxels outside -1024..3071 HU that were clamped. */
  readonly clampedVoxels: number;
  /** Volume of the lung mask in mL. */
  readonly lungVolumeMl: number;
  /** Estimate: ground glass and consolidation in percent of the lung. */
  readonly affectedPercent: number;
  /** Estimate, never a label: 0 to 4. */
  readonly estimatedClass: number;
  /** Percent points to the next class. */
  readonly distanceToCut: number;
  /** The estimate can't be trusted (lung under 1 L, or near a cut). */
  readonly uncertain: boolean;
  /** The same for the left lung. */
  readonly leftAffectedPercent: null | number;
  /** The same for the right lung. */
  readonly rightAffectedPercent: null | number;
  /** none, given or uncertain. */
  readonly contrast: string;
  /** All series of the study. */
  readonly series: readonly SeriesVerdict[];
  /** Ten-year band such as 050-059, 090+ or unknown. */
  readonly ageBand: string;
  /** M, F, O or unknown. */
  readonly sex: string;
  /** Manufacturer (0008,0070), or unknown. */
  readonly manufacturer: string;
}

/** A selection round did not choose the study, and why. */
export interface StudyExcluded {
  /** Research id of the study: HMAC under a secret that only the vault has. */
  readonly studyId: ResearchStudyId;
  /** Research id of the revision: HMAC under the study's secret. */
  readonly revision: ResearchRevision;
  /** Name of the cohort file. */
  readonly cohort: string;
  /** Number of the selection round. */
  readonly round: number;
  /** A code of docs/codes.md. */
  readonly code: Code;
  /** The limit that was met. */
  readonly detail: string;
}

/** One blinded reading. */
export interface Reading {
  /** Pseudonym of the reader. */
  readonly reader: string;
  /** 0 to 4. */
  readonly grade: number;
  /** Seconds spent. */
  readonly seconds: number;
  /** A program read it, not a radiologist. */
  readonly simulated: boolean;
  /** first, second, third or adjudicator. */
  readonly role: string;
}

/** The readings of a study agree on a grade. */
export interface StudyLabelled {
  /** Research id of the study: HMAC under a secret that only the vault has. */
  readonly studyId: ResearchStudyId;
  /** Pseudonym of the patient: HMAC under a secret that only the vault has. */
  readonly subjectId: SubjectId;
  /** Research id of the revision: HMAC under the study's secret. */
  readonly revision: ResearchRevision;
  /** The volume that was read, by the volumeDigest of its StudySelected. */
  readonly volumeDigest: string;
  /** CT-0 to CT-4 as 0 to 4. */
  readonly grade: number;
  /** Whether an adjudicator decided. */
  readonly adjudicated: boolean;
  /** True when any reading came from a simulated reader. */
  readonly simulated: boolean;
  /** All readings in the order of submission. */
  readonly readings: readonly Reading[];
}

/** Final: the study's own fault, with a code. */
export interface ResearchStudyRejected {
  /** Research id of the study: HMAC under a secret that only the vault has. */
  readonly studyId: ResearchStudyId;
  /** Research id of the revision: HMAC under the study's secret. */
  readonly revision: ResearchRevision;
  /** The stage that judged. */
  readonly stage: string;
  /** A code of docs/codes.md. */
  readonly code: Code;
  /** Series codes, count and remedy. */
  readonly detail: string;
  /** Pseudonym of who withdrew, when PATIENT_WITHDRAWN is said of this revision alone; else null. */
  readonly subjectId: null | SubjectId;
}

/** A selection round chose the study. Final except for withdrawal or a reader's rejection. */
export interface StudySelected {
  /** Research id of the study: HMAC under a secret that only the vault has. */
  readonly studyId: ResearchStudyId;
  /** Pseudonym of the patient: HMAC under a secret that only the vault has. */
  readonly subjectId: SubjectId;
  /** Pseudonym of the centre. */
  readonly site: SiteId;
  /** Research id of the revision: HMAC under the study's secret. */
  readonly revision: ResearchRevision;
  /** 1 for the study's first revision that was anonymised, 2 for the next: orders revisions, says nothing of time. */
  readonly ordinal: number;
  /** Name of the cohort file. */
  readonly cohort: string;
  /** Number of the selection round. */
  readonly round: number;
  /** Quota cell: estimated class, sex, age band. */
  readonly cell: string;
  /** Object name of volume.nii.gz in ct-research. */
  readonly volumeKey: string;
  /** HMAC-SHA-256 (hex) of the uncompressed NIfTI bytes under the revision's salt, which stands in its assessment in ct-research: names the volume, and only who may read that can check it. */
  readonly volumeDigest: string;
  /** Columns, rows, slices. */
  readonly shape: readonly number[];
  /** Voxel size in mm, in the order of shape. */
  readonly spacingMm: readonly number[];
  /** SliceThickness (0018,0050). */
  readonly sliceThicknessMm: null | number;
  /** soft, sharp or unknown. */
  readonly kernel: string;
  /** KVP (0018,0060). */
  readonly kvp: null | number;
  /** Volume of the lung mask in mL. */
  readonly lungVolumeMl: number;
  /** Estimate: ground glass and consolidation in percent of the lung. */
  readonly affectedPercent: number;
  /** Estimate, never a label: 0 to 4. */
  readonly estimatedClass: number;
  /** Percent points to the next class. */
  readonly distanceToCut: number;
  /** The estimate can't be trusted (lung under 1 L, or near a cut). */
  readonly uncertain: boolean;
  /** Ten-year band such as 050-059, 090+ or unknown. */
  readonly ageBand: string;
  /** M, F, O or unknown. */
  readonly sex: string;
  /** Manufacturer (0008,0070), or unknown. */
  readonly manufacturer: string;
}

/** A stage had nothing to do for this revision, and why. */
export interface ResearchStudySkipped {
  /** Research id of the study: HMAC under a secret that only the vault has. */
  readonly studyId: ResearchStudyId;
  /** Research id of the revision: HMAC under the study's secret. */
  readonly revision: ResearchRevision;
  /** The stage that skipped. */
  readonly stage: string;
  /** A code of docs/codes.md. */
  readonly code: Code;
  /** What superseded it. */
  readonly detail: string;
}

/** A subject withdrew: every research stage erases what it holds. */
export interface SubjectWithdrawn {
  /** Pseudonym of the patient: HMAC under a secret that only the vault has. */
  readonly subjectId: SubjectId;
  /** Research ids of the studies that were the subject's in the vault. Each goes whole, with revisions of other subjects. Null: not told. */
  readonly studies: null | readonly ResearchStudyId[];
}

/** Every event: the full name of its Avro record (also its `ce_type`) and its value. */
export interface EventValues {
  'ctstream.clinical.v1.CaseData': CaseData;
  'ctstream.clinical.v1.Census': Census;
  'ctstream.clinical.v1.IntakeRefused': IntakeRefused;
  'ctstream.clinical.v1.PatientWithdrawn': PatientWithdrawn;
  'ctstream.clinical.v1.StudyAvailable': StudyAvailable;
  'ctstream.clinical.v1.StudyRejected': ClinicalStudyRejected;
  'ctstream.clinical.v1.StudySkipped': ClinicalStudySkipped;
  'ctstream.clinical.v1.StudyStatus': StudyStatus;
  'ctstream.clinical.v1.StudyStored': StudyStored;
  'ctstream.research.v1.DatasetReleased': DatasetReleased;
  'ctstream.research.v1.ErasureDone': ErasureDone;
  'ctstream.research.v1.SelectionRoundClosed': SelectionRoundClosed;
  'ctstream.research.v1.StudyAnonymised': StudyAnonymised;
  'ctstream.research.v1.StudyAssessed': StudyAssessed;
  'ctstream.research.v1.StudyExcluded': StudyExcluded;
  'ctstream.research.v1.StudyLabelled': StudyLabelled;
  'ctstream.research.v1.StudyRejected': ResearchStudyRejected;
  'ctstream.research.v1.StudySelected': StudySelected;
  'ctstream.research.v1.StudySkipped': ResearchStudySkipped;
  'ctstream.research.v1.SubjectWithdrawn': SubjectWithdrawn;
}

export type EventType = keyof EventValues;

export type EventRecord = { [T in EventType]: { readonly type: T; readonly value: EventValues[T] } }[EventType];
