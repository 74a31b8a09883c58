// The account's transition table: every state and code that the fold gives, what puts a study there, what takes it out,
// who acts, and which states can follow. docs/accounting.md is generated from it; the fold's tests hold the fold to it.
import type { StandingCode, StudyState } from './account-standing.ts';
import { CODES, type Code, type CodeKind } from './codes.ts';

export interface AccountRow {
  readonly state: StudyState;
  readonly codes: readonly StandingCode[];
  /** In place of a long list of codes. */
  readonly title?: string;
  readonly putBy: string;
  readonly takenOutBy: string;
  readonly acts: string;
  /** States that can follow; the row's own state, with this or another code, always can unless it ends there. */
  readonly next: readonly StudyState[];
}

const ofKind = (kind: CodeKind): Code[] => (Object.keys(CODES) as Code[]).filter((code) => CODES[code].kind === kind);

const NAMED_WAITS: readonly StandingCode[] = [
  'NOT_YET_STABLE',
  'PACS_INCONSISTENT',
  'NOT_ANNOUNCED',
  'SEQUENCE_WENT_BACK',
  'AWAITING_ROUND',
  'AWAITING_READING',
  'AWAITING_RELEASE',
  'HELD_BY_VERIFIER',
  'HELD_BURNED_IN_TEXT',
  'CONFLICTING_COPY',
];
const FAULTS = ofKind('waiting').filter((code) => !NAMED_WAITS.includes(code));
const WITHDRAWN: readonly Code[] = ['PATIENT_WITHDRAWN'];
const BY_SELECT: readonly Code[] = [
  'COHORT_FULL',
  'QUOTA_FULL',
  'CENTRE_CAP',
  'PATIENT_ALREADY_SELECTED',
  'KERNEL_NOT_WANTED',
  'CONTRAST_NOT_WANTED',
  'CONTRAST_UNCERTAIN',
];
const FINAL = ofKind('final').filter((code) => ![...BY_SELECT, ...WITHDRAWN, 'STUDY_VANISHED'].includes(code));

/** From a wait, a study can go anywhere: the log tells later what became of it. */
const ANYWHERE: readonly StudyState[] = ['waiting', 'released', 'excluded', 'rejected', 'withdrawn', 'unaccounted', 'outOfScope'];
/** An end of this revision; a newer one starts the way again. Once the log has forgotten it, the census alone says where the study is. */
const BY_A_NEW_REVISION: readonly StudyState[] = ANYWHERE;

export const ACCOUNT_TABLE: readonly AccountRow[] = [
  {
    state: 'outOfScope',
    codes: ['OUT_OF_SCOPE'],
    putBy:
      "`census` lists it as outOfScope by the centre's rule, and it was never announced, or ingest found it changed since (STUDY_CHANGED)",
    takenOutBy: 'a census that lists it otherwise, or its announcement',
    acts: 'centre (its rule)',
    next: ANYWHERE,
  },
  {
    state: 'waiting',
    codes: ['NOT_YET_STABLE'],
    putBy:
      '`census` lists it as pending: images may still come, it came back after it had vanished or a census was without it, or it is to be announced again',
    takenOutBy: '`study-available`; or a whole census without it (rejected, STUDY_VANISHED)',
    acts: 'gateway',
    next: ANYWHERE,
  },
  {
    state: 'waiting',
    codes: ['PACS_INCONSISTENT'],
    putBy: '`census` lists it as pending: it stands still, and what the PACS says of it does not agree',
    takenOutBy: '`study-available`; or a whole census without it (rejected, STUDY_VANISHED)',
    acts: "centre (its PACS): the code's remedy; the gateway looks again within the hour",
    next: ANYWHERE,
  },
  {
    state: 'waiting',
    codes: ['NOT_ANNOUNCED'],
    putBy:
      '`census` lists it as pending without a time to look; or with another number of instances than was announced, for longer than two hours',
    takenOutBy: '`study-available`; or a whole census without it',
    acts: "gateway; operator: the gateway's status page",
    next: ANYWHERE,
  },
  {
    state: 'waiting',
    codes: ['IN_QUEUE'],
    putBy: 'an event whose stage has not committed past it: `study-available`, `study-stored`, `study-anonymised`, `study-selected`',
    takenOutBy: "the stage's outcome, or a parked record",
    acts: 'the stage; operator: `ctstream lag`',
    next: ANYWHERE,
  },
  {
    state: 'waiting',
    codes: FAULTS,
    title: 'any fault of ours or of a dependency',
    putBy:
      "a record in a stage's retry topic that is not consumed, or in its dead-letter topic and not replayed, as long as it is there (90 days), also when the log has lost its event (30 days); an event that this reader can't read yet (`SCHEMA_AHEAD`, `SCHEMA_ID_MISMATCH`) where the study would be unaccounted",
    takenOutBy: "the next try's outcome; of a dead letter, `ctstream dead replay`; a reader of the event's version",
    acts: 'the stage; of a dead letter the operator',
    next: ANYWHERE,
  },
  {
    state: 'waiting',
    codes: ['HELD_BY_VERIFIER', 'HELD_BURNED_IN_TEXT'],
    putBy: 'a dead letter of anonymise (made anew every 30 days): what may identify the patient was found, nothing was published',
    takenOutBy: '`ctstream held release` or `refuse`',
    acts: 'security role',
    next: ANYWHERE,
  },
  {
    state: 'waiting',
    codes: ['CONFLICTING_COPY'],
    putBy: 'a parked record of ingest (90 days): another centre has the study with other instances',
    takenOutBy: 'one of both copies is corrected in its PACS (docs/revisions.md), then `ctstream dead replay`',
    acts: 'operator, with both centres',
    next: ANYWHERE,
  },
  {
    state: 'waiting',
    codes: ['STUDY_CHANGED'],
    putBy: '`study-skipped` by ingest: the PACS held something else than was announced',
    takenOutBy: '`study-available` of what is there now; or a census that lists it as outOfScope',
    acts: 'gateway',
    next: ANYWHERE,
  },
  {
    state: 'waiting',
    codes: ['SUPERSEDED', 'ALREADY_DECIDED'],
    putBy: '`study-skipped`: a newer revision is known, whose own event is not in the log that was read',
    takenOutBy: "the newer revision's events",
    acts: 'nobody; if it stays, look for that revision in ct-clinical',
    next: ANYWHERE,
  },
  {
    state: 'waiting',
    codes: ['SEQUENCE_WENT_BACK'],
    putBy: '`study-skipped` (SUPERSEDED) of the announcement that is the newest in the log, since an older one has a higher number',
    takenOutBy: '`study-available` with a number above all others',
    acts: "operator: see 'A gateway that lost its database'",
    next: ANYWHERE,
  },
  {
    state: 'waiting',
    codes: ['AWAITING_ROUND'],
    putBy: '`study-assessed`',
    takenOutBy: '`study-selected`, `study-excluded` of a round whose cut is past it',
    acts: 'select; operator closes a round',
    next: ANYWHERE,
  },
  {
    state: 'waiting',
    codes: ['AWAITING_READING'],
    putBy: '`study-selected`, and label-queue has committed past it',
    takenOutBy: '`study-labelled`, or `study-rejected` by its readers',
    acts: 'readers',
    next: ANYWHERE,
  },
  {
    state: 'waiting',
    codes: ['AWAITING_RELEASE'],
    putBy: '`study-labelled`',
    takenOutBy: '`dataset-released` that names it',
    acts: 'two approvers of a release',
    next: ANYWHERE,
  },
  {
    state: 'waiting',
    codes: ['EXPIRED'],
    putBy: 'a census still lists it, and what became of it is older than the 30 days of the clinical log; no parked record of it is left',
    takenOutBy: 'any later event of it',
    acts: 'nobody; the event log (Parquet) has what was',
    next: ANYWHERE,
  },
  {
    state: 'excluded',
    codes: BY_SELECT,
    putBy: '`study-excluded` by a selection round',
    takenOutBy: 'another cohort that selects it; a newer revision',
    acts: 'the cohort file',
    next: BY_A_NEW_REVISION,
  },
  {
    state: 'excluded',
    codes: ['DUPLICATE_OF'],
    putBy: "`study-skipped` by ingest: another centre's copy of the same instances stands",
    takenOutBy: 'a newer revision',
    acts: 'nobody',
    next: BY_A_NEW_REVISION,
  },
  {
    state: 'rejected',
    codes: ['STUDY_VANISHED'],
    putBy:
      '`study-rejected` by ingest, and no earlier revision went on; or pending in an earlier census and missing in a whole later one; or `census` says so',
    takenOutBy: 'a census that lists it again, or a newer announcement',
    acts: 'centre, if it was deleted by mistake',
    next: BY_A_NEW_REVISION,
  },
  {
    state: 'rejected',
    codes: FINAL,
    title: "any final code: the study's own fault",
    putBy: '`study-rejected` of its newest revision, and no earlier revision went on; `intake-refused` of a whole study',
    takenOutBy: 'a newer revision',
    acts: "centre: the code's remedy",
    next: BY_A_NEW_REVISION,
  },
  {
    state: 'withdrawn',
    codes: WITHDRAWN,
    putBy: '`study-rejected` with this code, `subject-withdrawn` of its subject, or the vault denies it',
    takenOutBy: 'nothing',
    acts: 'privacy role',
    next: [],
  },
  {
    state: 'released',
    codes: ['RELEASED'],
    putBy: '`dataset-released` names it; a later revision is only noted, whatever becomes of it',
    takenOutBy: 'withdrawal; the loss of a later revision',
    acts: 'nobody',
    next: ['released', 'withdrawn', 'unaccounted'],
  },
  {
    state: 'unaccounted',
    codes: ['NOT_ANNOUNCED'],
    putBy: '`census` says that it was announced, and no announcement is in the log',
    takenOutBy: 'the announcement; a restored log',
    acts: "operator: the gateway's outbox",
    next: ANYWHERE,
  },
  {
    state: 'unaccounted',
    codes: ['IN_QUEUE', ...FAULTS, 'HELD_BY_VERIFIER', 'HELD_BURNED_IN_TEXT', 'CONFLICTING_COPY'],
    title: 'IN_QUEUE, or the code of its last failed try',
    putBy: "its stage has committed past the newest revision's event (or past its retry), and left no outcome and no parked record",
    takenOutBy: 'the outcome, when the stage is replayed',
    acts: 'operator: a loss, and an alarm',
    next: ANYWHERE,
  },
  {
    state: 'unaccounted',
    codes: ['AWAITING_ROUND'],
    putBy:
      'a closed round was cut after it and did not decide it; of what was parked, one that was closed two hours after that (a false alarm until the next round when select was stopped meanwhile)',
    takenOutBy: 'a decision of select',
    acts: 'operator: a loss, and an alarm',
    next: ANYWHERE,
  },
];

/** The row of a state and code; undefined when the table has none: then the fold or the table is wrong. */
export function accountRow(state: StudyState, code: StandingCode): AccountRow | undefined {
  return ACCOUNT_TABLE.find((row) => row.state === state && row.codes.includes(code));
}
