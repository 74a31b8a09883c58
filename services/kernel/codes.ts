// The closed table of codes: what happened, and what to do. docs/codes.md is generated from it.

/** `final` codes end a study; `waiting` ones leave it to be retried, replayed or decided; `info` ones count. */
export type CodeKind = 'final' | 'waiting' | 'info' | 'start';

interface CodeRow {
  readonly kind: CodeKind;
  readonly meaning: string;
  readonly remedy: string;
}

const rows = {
  // intake: before a study is in a PACS
  NOT_DICOM: {
    kind: 'final',
    meaning: 'The file is not a DICOM Part 10 file.',
    remedy: 'Remove it from the folder, or export it again from the PACS.',
  },
  FILE_UNREADABLE: {
    kind: 'final',
    meaning: "The file can't be opened or read: a broken link, or no right to it.",
    remedy: 'Mend the link or the rights, then run the command again.',
  },
  TRUNCATED: { kind: 'final', meaning: 'The file ends before its last element does.', remedy: 'Export or send the study again.' },
  BAD_ELEMENT: {
    kind: 'final',
    meaning: "An element can't be read as its VR and length say.",
    remedy: "Export the study again; if it recurs, report the scanner's software version.",
  },
  DUPLICATE_ELEMENT: {
    kind: 'final',
    meaning: 'One tag stands twice in a dataset: one of the two would be hidden from every check.',
    remedy: "Export the study again; if it recurs, report the scanner's software version.",
  },
  BAD_DEFLATE: { kind: 'final', meaning: 'The deflated dataset does not inflate.', remedy: 'Export or send the study again.' },
  MEDIA_DIRECTORY: {
    kind: 'final',
    meaning: 'The directory of a disc (DICOMDIR): it lists patients and holds no image.',
    remedy: 'Nothing; the images that it lists are read by themselves.',
  },
  LIMIT_EXCEEDED: {
    kind: 'final',
    meaning:
      'The file is nested deeper, has more elements or is larger than any real one; or a series makes a larger volume. Limits of size: INSTANCE_LIMIT_BYTES (ingest), INSTANCE_LIMIT_MB and 4096 x 4096 pixels (anonymise; 256 MB for ctstream deid), VOLUME_MB (assess).',
    remedy: 'Check where the file comes from; it looks made to harm. For a real one, raise the limit of that stage and its memory.',
  },
  MISSING_UID: {
    kind: 'final',
    meaning: 'StudyInstanceUID, SeriesInstanceUID or SOPInstanceUID is missing or empty.',
    remedy: 'Export the study from the PACS that still has its UIDs.',
  },
  MIXED_PATIENTS: {
    kind: 'final',
    meaning: 'One study holds instances of more than one patient.',
    remedy: 'Correct the study in the PACS, then send it again.',
  },
  UID_COLLISION: {
    kind: 'final',
    meaning: 'Two files have the same SOPInstanceUID and different bytes.',
    remedy: 'Find out which is right and send only that one.',
  },
  PACS_REFUSED: { kind: 'final', meaning: 'The PACS would not take the file.', remedy: 'See the PACS log of that centre for the reason.' },
  // gateway and ingest
  OUT_OF_SCOPE: {
    kind: 'info',
    meaning: "The centre's own rule leaves the study out; it is counted and never pulled.",
    remedy: "Change the centre's rule if it should come.",
  },
  NOT_YET_STABLE: { kind: 'waiting', meaning: 'The study may still be receiving images.', remedy: 'Wait.' },
  NOT_ANNOUNCED: {
    kind: 'waiting',
    meaning: 'The PACS lists the study, the gateway has not announced it.',
    remedy: "Look at the gateway's status page; run a census.",
  },
  PACS_UNREACHABLE: {
    kind: 'waiting',
    meaning: "The centre's PACS does not answer, or ingest's centres file does not name the centre.",
    remedy: 'Check network and PACS of the centre; the study waits and is tried again. What waits of a centre that left needs nothing.',
  },
  PACS_UNAUTHORISED: {
    kind: 'waiting',
    meaning: 'The PACS refused the user or password (401 or 403).',
    remedy: "Correct the centre's credential; the study waits and is tried again.",
  },
  PACS_BUSY: {
    kind: 'waiting',
    meaning:
      "The centre's connections were in use as long as a study may wait for its turn, or its PACS was too slow to send the study in hours.",
    remedy: 'The study waits and is tried again; if many do, allow more connections or find out why its PACS is slow.',
  },
  PACS_QUOTA: {
    kind: 'waiting',
    meaning:
      "The centre's quota of studies or bytes was in use as long as a study may wait for its turn, or too small for the study to come in hours.",
    remedy: "The study waits and is tried again; if many do, raise the centre's quota.",
  },
  PACS_ERROR: { kind: 'waiting', meaning: 'The PACS answered with an error.', remedy: 'See the PACS log; the study is tried again.' },
  PACS_INCONSISTENT: {
    kind: 'waiting',
    meaning:
      'The study stands still, and what the PACS says of it does not agree: it lists other instances than it counts (0020,1208), or none, or an Orthanc lacks the MD5 of one.',
    remedy:
      "Look in the PACS for the study's rejected or hidden objects, a second patient, and a limit of QIDO-RS answers; in an Orthanc, at StoreMD5ForAttachments. It is looked at again, within the hour.",
  },
  STUDY_VANISHED: {
    kind: 'final',
    meaning: 'The PACS listed the study, and then had it no longer: before it was announced, or before it was pulled.',
    remedy: 'If it was deleted by mistake, send it to the PACS again.',
  },
  STUDY_CHANGED: {
    kind: 'info',
    meaning: 'The study changed between announcement and pull; its newer revision is on the way.',
    remedy: 'Nothing.',
  },
  INCOMPLETE_TRANSFER: {
    kind: 'waiting',
    meaning: 'Fewer instances came than the PACS lists.',
    remedy: 'It is pulled again for a bit over an hour; if it lacks instances then, mend the PACS and replay the dead letter.',
  },
  CENTRE_MISMATCH: {
    kind: 'final',
    meaning: 'The event names another centre than its topic does.',
    remedy: 'Check the gateway that writes to this topic: it is wrong or forged.',
  },
  TRANSCODED_BY_SOURCE: {
    kind: 'info',
    meaning: 'The PACS sent another transfer syntax than it stores.',
    remedy: 'Configure the PACS to send the stored one.',
  },
  DUPLICATE_OF: { kind: 'info', meaning: 'Another centre sent the same instances before.', remedy: 'Nothing.' },
  CONFLICTING_COPY: {
    kind: 'waiting',
    meaning: 'Another centre sent the same study with other instances.',
    remedy: 'An operator decides which copy stands: docs/revisions.md.',
  },
  SEQUENCE_WENT_BACK: {
    kind: 'waiting',
    meaning:
      "The newest announcement bears a lower number than an older one, so ingest took it for superseded: the gateway's clock went back.",
    remedy: "Set the gateway's clock right, then start it with a new state file: it announces every study anew (docs/accounting.md).",
  },
  SUPERSEDED: { kind: 'info', meaning: 'A newer revision of the study is already published.', remedy: 'Nothing.' },
  // anonymise
  NO_PATIENT_IDENTITY: {
    kind: 'final',
    meaning: 'PatientID is empty, a placeholder or has several values.',
    remedy: 'Correct the study in the PACS, then send it again.',
  },
  PATIENT_WITHDRAWN: { kind: 'final', meaning: 'The patient withdrew; nothing of theirs is taken.', remedy: 'Nothing.' },
  NOTHING_KEPT: { kind: 'final', meaning: 'No instance of the study may cross the boundary.', remedy: 'See the codes of its instances.' },
  NOT_PRIMARY_AXIAL_CT: {
    kind: 'final',
    meaning: 'The instance is no primary axial CT image (screen, report, topogram, reformat).',
    remedy: 'Nothing; it is left behind.',
  },
  LOCALIZER: { kind: 'final', meaning: 'A topogram.', remedy: 'Nothing; it is left behind.' },
  SECONDARY_CAPTURE: { kind: 'final', meaning: 'A secondary capture: a screen or a scanned form.', remedy: 'Nothing; it is left behind.' },
  STRUCTURED_REPORT: { kind: 'final', meaning: 'A report or dose record.', remedy: 'Nothing; it is left behind.' },
  DERIVED_IMAGE: { kind: 'final', meaning: 'A derived or secondary image.', remedy: 'Nothing; it is left behind.' },
  BURNED_IN_TEXT: {
    kind: 'final',
    meaning: 'Text is drawn into the pixels, or BurnedInAnnotation says so.',
    remedy: 'Send the study without annotations.',
  },
  EMBEDDED_OVERLAY: {
    kind: 'final',
    meaning: 'Bits outside the stored ones hold an overlay.',
    remedy: 'Export the study with overlays separated.',
  },
  NO_PIXELS: { kind: 'final', meaning: 'The instance has no PixelData.', remedy: 'Send the study again with its images.' },
  UNKNOWN_CHARSET: {
    kind: 'final',
    meaning: 'SpecificCharacterSet names no known character set.',
    remedy: "Correct the scanner's character set.",
  },
  HELD_BY_VERIFIER: {
    kind: 'waiting',
    meaning: 'The independent check found something that may identify the patient; nothing was published.',
    remedy: 'A person of the security role decides.',
  },
  HELD_BURNED_IN_TEXT: {
    kind: 'waiting',
    meaning: 'The detector found what looks like text in the pixels; nothing was published.',
    remedy: 'A person of the security role looks at the pictures: ctstream held list.',
  },
  REFUSED_BY_REVIEW: {
    kind: 'final',
    meaning: 'A person of the security role looked at the held study and refused it.',
    remedy: "Nothing; the reason stands in the vault's audit.",
  },
  IDENTITY_CORRECTED: {
    kind: 'waiting',
    meaning: 'A merge or split in the vault gave the study another research identity; it is anonymised anew.',
    remedy: 'Wait.',
  },
  // assess
  NOT_CT: { kind: 'final', meaning: 'The series is no CT.', remedy: 'Nothing.' },
  NOT_JUDGED_PIXELS: {
    kind: 'final',
    meaning: 'The pixels could not be looked at for drawn text: no decoder, or numbers that are no CT image.',
    remedy: 'Send the study uncompressed, or in a lossless syntax that services/assess/README.md lists.',
  },
  UNSUPPORTED_SYNTAX: {
    kind: 'final',
    meaning: 'No decoder for the transfer syntax.',
    remedy: 'Send the study in a syntax that services/assess/README.md lists.',
  },
  BAD_PIXELS: { kind: 'final', meaning: "The pixels can't be decoded.", remedy: 'Send the study again.' },
  LOSSY: { kind: 'final', meaning: 'The pixels went through lossy compression.', remedy: 'Send the original images.' },
  MULTI_FRAME: {
    kind: 'final',
    meaning: 'An enhanced or multi-frame CT object; only single-frame images are read.',
    remedy: 'Export the study as single-frame CT images.',
  },
  NOT_HOUNSFIELD: {
    kind: 'final',
    meaning: 'RescaleSlope or RescaleIntercept is missing, or RescaleType is not HU.',
    remedy: 'Send the original images.',
  },
  NO_PIXEL_SPACING: { kind: 'final', meaning: 'PixelSpacing is missing.', remedy: 'Send the original images.' },
  NOT_A_VOLUME: { kind: 'final', meaning: 'The images do not lie side by side in space.', remedy: 'Nothing.' },
  MIXED_GEOMETRY: { kind: 'final', meaning: 'The images differ in size, spacing or orientation.', remedy: 'Nothing.' },
  DUPLICATE_POSITION: { kind: 'final', meaning: 'Two images lie at the same place.', remedy: 'Nothing.' },
  MISSING_SLICE: {
    kind: 'final',
    meaning: 'A gap between slices: at least one is missing.',
    remedy: 'Send the missing slices; the study is judged again.',
  },
  IRREGULAR_SPACING: {
    kind: 'final',
    meaning: 'The distance between slices varies.',
    remedy: 'Nothing; it is never resampled in silence.',
  },
  GANTRY_TILT: { kind: 'final', meaning: 'The gantry was tilted.', remedy: 'Nothing; it is never resampled in silence.' },
  OBLIQUE: { kind: 'final', meaning: 'The slices are not axial within 8 degrees.', remedy: 'Nothing.' },
  SHORT_COVERAGE: { kind: 'final', meaning: 'The scan covers less than 180 mm.', remedy: 'Nothing.' },
  TOO_FEW_SLICES: { kind: 'final', meaning: 'Fewer slices than the rule asks for.', remedy: 'Nothing.' },
  SPACING_TOO_WIDE: { kind: 'final', meaning: 'Slices are more than 10 mm apart.', remedy: 'Nothing.' },
  LUNGS_NOT_FOUND: { kind: 'final', meaning: 'No lungs were found in the volume.', remedy: 'Nothing; probably not a chest CT.' },
  LUNGS_CUT: { kind: 'final', meaning: 'The lungs reach the first or last slice.', remedy: 'Nothing.' },
  CONTRAST_UNCERTAIN: { kind: 'info', meaning: 'The signs of a contrast agent contradict each other.', remedy: 'The cohort file decides.' },
  NO_ELIGIBLE_SERIES: { kind: 'final', meaning: 'No series of the study passes the gates.', remedy: 'See the codes of its series.' },
  // select
  COHORT_FULL: { kind: 'final', meaning: 'The cohort has its size.', remedy: 'Open another cohort.' },
  QUOTA_FULL: { kind: 'final', meaning: "The study's quota cell is full.", remedy: 'Open another cohort.' },
  CENTRE_CAP: { kind: 'final', meaning: 'The centre has its share of the cohort.', remedy: 'Open another cohort.' },
  PATIENT_ALREADY_SELECTED: {
    kind: 'final',
    meaning: 'Another study of the same patient was selected.',
    remedy: 'Nothing: one study per patient.',
  },
  KERNEL_NOT_WANTED: {
    kind: 'final',
    meaning: 'The reconstruction kernel is not the one that the cohort takes.',
    remedy: 'Open a cohort with another kernel rule.',
  },
  CONTRAST_NOT_WANTED: {
    kind: 'final',
    meaning: 'A contrast agent was given and the cohort takes none.',
    remedy: 'Open a cohort with another contrast rule.',
  },
  ALREADY_DECIDED: { kind: 'info', meaning: 'An earlier revision of the study was excluded; that stands.', remedy: 'Nothing.' },
  AWAITING_ROUND: { kind: 'waiting', meaning: 'Assessed; the next selection round decides.', remedy: 'Wait, or close a round.' },
  // label, release
  AWAITING_READING: { kind: 'waiting', meaning: 'Waits for readers.', remedy: 'Invite readers.' },
  AWAITING_RELEASE: { kind: 'waiting', meaning: 'Graded; in no released version yet.', remedy: 'Build and approve a release.' },
  READER_REJECTED: { kind: 'final', meaning: 'Readers judged the study unusable.', remedy: 'Nothing.' },
  IDENTITY_VISIBLE: { kind: 'final', meaning: 'A reader saw an identity; the study is quarantined.', remedy: 'The security role decides.' },
  SAME_VOLUME: {
    kind: 'info',
    meaning: 'A newer revision has the same volume as the one that readers have; that one stands for both.',
    remedy: 'Nothing.',
  },
  READING_STALE: {
    kind: 'info',
    meaning: 'The volume was replaced after a reader had claimed or graded it: the readings stand until the newer one is read.',
    remedy: 'Nothing; the newer revision has tasks of its own.',
  },
  // our own or a dependency's faults: retried; a dependency's for as long as it is away, ours end as replayable dead letters
  STORE_UNAVAILABLE: {
    kind: 'waiting',
    meaning: 'The object store does not answer.',
    remedy: 'Check the object store; it is tried again.',
  },
  STORE_FULL: {
    kind: 'waiting',
    meaning: 'The object store, or the folder of a stage for scans on disk, has no room.',
    remedy: 'Add room; ingest takes no new study until then.',
  },
  DATABASE_UNAVAILABLE: { kind: 'waiting', meaning: 'The database does not answer.', remedy: 'Check the database; it is tried again.' },
  ERASURE_PENDING: {
    kind: 'waiting',
    meaning:
      "A withdrawn subject is erased; it is done again after the longest job, then reported. Or a published version is not known to release's database yet.",
    remedy: 'Nothing; see ctstream withdraw receipt. Where the text names a version: docs/replay.md.',
  },
  VAULT_UNAVAILABLE: { kind: 'waiting', meaning: 'The identity vault does not answer.', remedy: 'Check the vault; it is tried again.' },
  BUS_UNAVAILABLE: { kind: 'waiting', meaning: 'Kafka does not answer.', remedy: 'Check the brokers; it is tried again.' },
  BUS_NO_COORDINATOR: {
    kind: 'waiting',
    meaning: 'Kafka answers, but no broker can say yet how far a consumer group is: one has just started or the group moves to another.',
    remedy: 'Wait a minute, then try again. If it stays, look whether __consumer_offsets has all its replicas and a leader.',
  },
  STORE_UNAUTHORISED: {
    kind: 'waiting',
    meaning: 'The object store refused the access key, its secret, or the right to do this.',
    remedy: 'Correct S3_ACCESS_KEY and its secret, or the policy of the user (docs/credentials.md); it is tried again.',
  },
  DATABASE_UNAUTHORISED: {
    kind: 'waiting',
    meaning: 'PostgreSQL refused the role: wrong password, expired, not there, or without the right to do this.',
    remedy: 'Correct DATABASE_URL or the role (docs/credentials.md); it is tried again.',
  },
  VAULT_UNAUTHORISED: {
    kind: 'waiting',
    meaning: "The vault's PostgreSQL refused the role: wrong password, expired, not there, or without the right to do this.",
    remedy: 'Correct VAULT_URL or the role (docs/credentials.md); it is tried again.',
  },
  STORE_UNTRUSTED: {
    kind: 'waiting',
    meaning:
      "The object store's certificate is not vouched for, has expired or is of another name, or one side speaks TLS and the other not.",
    remedy: 'Check S3_CA_FILE, https in S3_ENDPOINT, and dates and names of the certificate; it is tried again.',
  },
  DATABASE_UNTRUSTED: {
    kind: 'waiting',
    meaning: "PostgreSQL's certificate is not vouched for, has expired or is of another name, or one side speaks TLS and the other not.",
    remedy: 'Check sslmode=verify-full and sslrootcert in DATABASE_URL, and dates and names of the certificate; it is tried again.',
  },
  VAULT_UNTRUSTED: {
    kind: 'waiting',
    meaning:
      "The certificate of the vault's PostgreSQL is not vouched for, has expired or is of another name, or one side speaks TLS and the other not.",
    remedy: 'Check sslmode=verify-full and sslrootcert in VAULT_URL, and dates and names of the certificate; it is tried again.',
  },
  MANIFEST_MISSING: {
    kind: 'waiting',
    meaning: 'The event names a manifest that is not in the store.',
    remedy: "Check the bucket's retention; replay the stage before.",
  },
  OBJECT_CORRUPT: {
    kind: 'waiting',
    meaning: "An object's bytes do not have the hash that the manifest says.",
    remedy: "Check the object store's disks; replay the stage before.",
  },
  SCHEMA_AHEAD: { kind: 'waiting', meaning: 'The event was written by a newer version.', remedy: 'Update this stage; the event waits.' },
  SCHEMA_ID_MISMATCH: {
    kind: 'waiting',
    meaning:
      "The record's schema id means another type, or another version of it, in the registry: the registry has lost its ids and given them anew.",
    remedy:
      'Give the registry its earlier ids back (publish the schemas in the same order into an empty one), then restart the stage; the event waits.',
  },
  BAD_EVENT: {
    kind: 'waiting',
    meaning: "The record can't be decoded or its ce_type does not match.",
    remedy: 'See the dead letter: its bytes and headers are kept.',
  },
  JOB_TIMEOUT: {
    kind: 'waiting',
    meaning: 'The job took longer than its limit.',
    remedy: 'It is tried again; then replay the dead letter.',
  },
  PROCESS_DIED: {
    kind: 'waiting',
    meaning: 'The process ended without a word (out of memory, or killed) while it did this job, more than once.',
    remedy:
      "It is tried again later, alone if possible; then replay the dead letter. See the process's memory limit, and its last log lines before each start.",
  },
  UNEXPECTED: {
    kind: 'waiting',
    meaning: 'An error nobody foresaw.',
    remedy: 'See the log by trace id; replay the dead letter when mended.',
  },
  LOG_TRUNCATED: {
    kind: 'start',
    meaning: 'The committed offset is no longer in the log.',
    remedy:
      'The stage does not jump. A research topic is restored from the event log; of a clinical one `ctstream log accept-loss` says what is lost and lets the stage go on (docs/users/operator.md). For an archiver see docs/replay.md.',
  },
  GROUP_ACTIVE: {
    kind: 'start',
    meaning: "The stage's consumer group has members, so its offsets can't be set by hand; nothing was changed.",
    remedy: 'Stop all processes of the stage. One that was killed counts until its session timeout (10 s).',
  },
  LOG_DIFFERS: {
    kind: 'start',
    meaning: 'A partition holds something else than its archive, or something writes to it while it is restored.',
    remedy: 'Stop the stages; restore into a partition that is empty, or that an earlier restore has begun.',
  },
  TIMES_NOT_KEPT: {
    kind: 'start',
    meaning:
      'While the log was restored, a broker gave records its own time in place of theirs: it did not yet have the setting of their topic.',
    remedy: 'Delete the topic that is named and restore again: it is made anew, the others go on where they are.',
  },
  OFFSETS_WOULD_MOVE: {
    kind: 'start',
    meaning: 'The archive of a partition begins behind 0 or has gaps, so restored records would get other offsets.',
    remedy: 'Recorded cuts and committed offsets would mean other records; with --allow-shift it is done and the moves are listed.',
  },
  ARCHIVE_OF_SEVERAL_LOGS: {
    kind: 'start',
    meaning: 'A partition was archived anew (files anew0001-...), and a restore puts back one log of it only.',
    remedy:
      'If the newest has what is wanted (after a restore with --allow-shift), restore with --newest-log. If not, copy the archive, remove the files of the newer log from the copy, and restore it with --from (docs/replay.md).',
  },
  ARCHIVE_WITHOUT_BYTES: {
    kind: 'start',
    meaning: "The archive of a partition has rows without the records' bytes: an older version wrote them.",
    remedy: 'They can be asked but not restored; restore the other topics by name.',
  },
  BAD_CONFIG: { kind: 'start', meaning: 'The configuration has errors; all are listed.', remedy: 'Correct them; exit code 78.' },
  TOKEN_REFUSED: {
    kind: 'start',
    meaning: "The token that a command was given is nobody's.",
    remedy: 'Give the file of your own token; the people file holds its SHA-256.',
  },
  ROLE_REFUSED: {
    kind: 'start',
    meaning: 'The person may not do this: it takes another role.',
    remedy: 'Ask someone who has the role, or have it added to the people file.',
  },
  BUS_UNAUTHORISED: {
    kind: 'start',
    meaning: 'Kafka refused the user or password; the process ends, a gateway tries that centre again.',
    remedy: 'Correct KAFKA_USERNAME and its password (docs/credentials.md), then start again.',
  },
  BUS_UNTRUSTED: {
    kind: 'start',
    meaning: "Kafka's certificate is not vouched for, has expired or is of another name, or one side speaks TLS and the other not.",
    remedy: "Check KAFKA_SSL_CA_FILE, the brokers' port, and dates and names of the certificate, then start again.",
  },
  DENIED_BY_BROKER: {
    kind: 'start',
    meaning: 'Kafka refused the user for a topic or group.',
    remedy: 'Check the ACLs that topics.json derives.',
  },
} as const satisfies Record<string, CodeRow>;

export type Code = keyof typeof rows;

/** The table: kind, meaning and remedy of every code. */
export const CODES: Readonly<Record<Code, CodeRow>> = rows;

export function isCode(text: string): text is Code {
  return Object.hasOwn(rows, text);
}
