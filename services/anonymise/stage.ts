// Anonymise: a stored study crosses the trust boundary, or the reason why it does not. Two passes over
// the originals: all are surveyed, then each is de-identified, verified and spooled; only a study
// without a finding goes to ct-research, and its manifest is the publish point.
import { siteId } from '../kernel/digest.ts';
import { Fault } from '../kernel/fault.ts';
import { clinicalKey } from '../kernel/ids.ts';
import type { ResearchRevision, ResearchStudyId } from '../kernel/ids.ts';
import { canonicalJson, momentNow, publishManifest, readManifest } from '../kernel/manifest.ts';
import type { StudyManifest } from '../kernel/manifest.ts';
import { emit, reject, skip } from '../kernel/outcome.ts';
import type { Outcome } from '../kernel/outcome.ts';
import type { EventIn, Job, Stage } from '../kernel/stage.ts';
import { doneKeyOf } from '../kernel/sweep.ts';
import type { Randomness } from '../ports/clock.ts';
import type { HeldBook } from '../ports/held-decisions.ts';
import type { IdentityVault, PatientKey, SubjectKeys, SubjectLock } from '../ports/identity-vault.ts';
import type { ObjectStore } from '../ports/object-store.ts';
import { CLINICAL_BUCKET } from './clinical-series.ts';
import { DicomError } from '../dicom/dicom-error.ts';
import { studyClock } from './dates.ts';
import { endHold, hold, mayPublish, refusalOf } from './held-decision.ts';
import type { Holding } from './held-decision.ts';
import { researchRevision, researchStudyId, subjectIdentity } from './identity.ts';
import type { IdentityRules } from './identity.ts';
import { cleanInstance } from './instance.ts';
import { keptOriginals } from './kept-originals.ts';
import type { KeptOriginals } from './kept-originals.ts';
import type { Profile } from './profile/profile.ts';
import { heldIdOf, studyFindings } from './quarantine.ts';
import type { StudyFindings } from './quarantine.ts';
import { studyPictures } from './quarantine-text.ts';
import { Refusal } from './refusal.ts';
import { anonymisedEvent, RESEARCH_BUCKET, researchManifestKey } from './research-events.ts';
import type { ResearchManifest } from './research-events.ts';
import { reusable } from './shelf.ts';
import type { Shelf } from './shelf.ts';
import { openSpool } from './spool.ts';
import type { Spool, SpooledSeries } from './spool.ts';
import { codeOfDicomError, conclude, newSurvey } from './study-survey.ts';
import type { Conclusion, StudySurvey } from './study-survey.ts';
import { holdUntilSettled, refuseWithdrawn } from './withdrawn.ts';

export interface AnonymisePorts {
  readonly store: ObjectStore;
  readonly vault: IdentityVault;
  /** What is held, and what people decided about it. */
  readonly held: HeldBook;
  readonly random: Randomness;
  readonly profile: Profile;
  readonly rules: IdentityRules;
  /** Folder for de-identified series that are not verified yet; clinical zone. */
  readonly spoolFolder: string;
  /** Keeps originals between the two passes, as far as it has room. */
  readonly shelf: Shelf;
  /** Larger instances are left behind unread. */
  readonly instanceLimitBytes: number;
}

type Stored = EventIn<'ctstream.clinical.v1.StudyStored'>;
type Accepted = Extract<Conclusion, { kind: 'accepted' }>;

export const anonymiseStage: Stage<'ctstream.clinical.v1.StudyStored', AnonymisePorts> = {
  name: 'anonymise',
  zone: 'clinical',
  consumes: ['ct.clinical.study-stored.v1'],
  produces: ['ct.research.study-anonymised.v1', 'ct.clinical.study-rejected.v1', 'ct.clinical.study-skipped.v1'],
  jobTimeoutMs: 20 * 60_000,
  handle,
  told: markDone,
};

/**
 * Notes beside the study's manifest that its outcome is in the log: from then on the originals may be freed, after the days
 * that the operator keeps them (services/runtime/sweeper.ts).
 */
async function markDone({ value }: Stored, outcome: Outcome, { store }: AnonymisePorts, signal: AbortSignal): Promise<void> {
  // Everything of a withdrawn patient is erased, and nothing may come after that.
  if (outcome.kind === 'reject' && outcome.code === 'PATIENT_WITHDRAWN') return;
  const mark = canonicalJson({ format: 'ctstream-done/1', code: outcome.kind === 'emit' ? null : outcome.code });
  await store.put(CLINICAL_BUCKET, doneKeyOf(value.manifestKey), mark, { contentType: 'application/json', signal });
}

async function handle({ id, value }: Stored, ports: AnonymisePorts, signal: AbortSignal, job?: Job): Promise<Outcome> {
  const denied = await ports.vault.denied([clinicalKey(value.centre, value.studyInstanceUid)], signal);
  if (denied.size > 0) return refuseWithdrawn(value, ports, signal);
  const input = await readManifest<StudyManifest>(ports.store, CLINICAL_BUCKET, value.manifestKey, signal);
  if (input === undefined) throw new Fault('MANIFEST_MISSING', true, 'the manifest that the event names is not in ct-clinical');
  if (input.sha256 !== value.manifestSha256)
    throw new Fault('OBJECT_CORRUPT', true, 'the manifest does not have the hash that the event says');
  const originals = keptOriginals(ports, signal);
  try {
    const survey = newSurvey(ports.profile, value.centre, ports.rules);
    for (const series of input.manifest.series) await originals.survey(series, survey);
    const conclusion = conclude(survey, 'hold');
    const work: Working = { value, ports, signal, job };
    if (conclusion.kind === 'refused') return await refuse(conclusion, work);
    return await underPatient(conclusion.key, work, (subject, lock) =>
      cross({ eventId: id, value, manifest: input.manifest, originals, survey, conclusion, subject, lock }, ports, signal),
    );
  } finally {
    originals.forget();
  }
}

interface Working {
  readonly value: Stored['value'];
  readonly ports: AnonymisePorts;
  readonly signal: AbortSignal;
  readonly job: Job | undefined;
}

async function underPatient(
  key: PatientKey,
  { value, ports, signal, job }: Working,
  work: (subject: SubjectKeys, lock: SubjectLock) => Promise<Outcome>,
): Promise<Outcome> {
  const subject = await ports.vault.subject(key, signal);
  if (subject === 'denied') return refuseWithdrawn(value, ports, signal);
  // Shared with other studies of the patient, exclusive against a withdrawal of them.
  const lock = await ports.vault.subjectLock(subject.subjectRow);
  return holdUntilSettled(lock, job, () => work(subject, lock));
}

/** Notes the study under the patient that it names, so that a withdrawal finds its originals too. */
async function refuse({ code, detail, key }: Extract<Conclusion, { kind: 'refused' }>, work: Working): Promise<Outcome> {
  const { value, ports, signal } = work;
  // An older revision that comes late does not move the study: all revisions of it are erased together.
  if (key === undefined || (await isSuperseded(value, ports.store, signal))) return reject(code, detail);
  return underPatient(key, work, async (subject) => {
    await ports.vault.study(subject, value.centre, value.studyInstanceUid, value.revision, signal);
    return reject(code, detail);
  });
}

interface Crossing {
  eventId: string;
  value: Stored['value'];
  manifest: StudyManifest;
  originals: KeptOriginals;
  survey: StudySurvey;
  conclusion: Accepted;
  subject: SubjectKeys;
  lock: SubjectLock;
}

async function cross(crossing: Crossing, ports: AnonymisePorts, signal: AbortSignal): Promise<Outcome> {
  const { value, subject } = crossing;
  // An older revision that comes late does not move the study: all revisions of it are erased together.
  const isLate = await isSuperseded(value, ports.store, signal);
  const keys = isLate ? undefined : await ports.vault.study(subject, value.centre, value.studyInstanceUid, value.revision, signal);
  const { secret, token } = keys ?? (await ports.vault.token(value.centre, value.studyInstanceUid, signal));
  const ids = { study: researchStudyId(secret), revision: researchRevision(secret, value.revision) };
  const heldId = heldIdOf(secret, value.revision);
  const known = await ports.held.standing(heldId, signal);
  const holding = { heldId, token, centre: value.centre, eventId: crossing.eventId, standing: known };
  const outcome =
    refusalOf(known) ??
    (await publishedBefore(ids, ports.store, signal)) ??
    (keys === undefined ? SUPERSEDED : await publishOrHold(crossing, { ...ids, ordinal: keys.ordinal, holding }, ports, signal));
  await endHold(holding, outcome, ports, signal);
  return outcome;
}

const SUPERSEDED = skip('SUPERSEDED', 'a later revision of the study is stored');

/** The event of a manifest that stands: a redelivered record tells again what it told. */
async function publishedBefore(
  { study, revision }: Pick<CrossingIds, 'study' | 'revision'>,
  store: ObjectStore,
  signal: AbortSignal,
): Promise<Outcome | undefined> {
  const standing = await readManifest<ResearchManifest>(store, RESEARCH_BUCKET, researchManifestKey(study, revision), signal);
  return standing === undefined ? undefined : emit([anonymisedEvent(standing)]);
}

interface CrossingIds {
  study: ResearchStudyId;
  revision: ResearchRevision;
  ordinal: number;
  holding: Holding;
}

/** Throws the Fault that parks the study when it is held. */
async function publishOrHold(crossing: Crossing, ids: CrossingIds, ports: AnonymisePorts, signal: AbortSignal): Promise<Outcome> {
  const { value } = crossing;
  const manifestKey = researchManifestKey(ids.study, ids.revision);
  const spool = openSpool(ports.spoolFolder);
  try {
    const cleaned = await cleanStudy(crossing, ports, spool, signal);
    if ('kind' in cleaned) return cleaned;
    const { findings, emptied } = cleaned;
    if (await isSuperseded(value, ports.store, signal)) return SUPERSEDED;
    if (!mayPublish(findings, ids.holding.standing)) return await hold(ids.holding, findings, ports, signal);
    const attempt = ports.random.attempt();
    const began = momentNow();
    const series = await upload(await spool.finish(), `${ids.study}/${ids.revision}/${attempt}`, ports.store, signal);
    const manifest = await manifestOf(crossing, { ...ids, attempt, emptied }, series, ports);
    await crossing.lock.confirm();
    const published = await publishManifest(ports.store, RESEARCH_BUCKET, manifestKey, manifest, signal, began);
    return emit([anonymisedEvent(published)]);
  } finally {
    await spool.dispose();
  }
}

/** Whether ct-clinical holds a later revision of the study: that one counts, whatever order the events came in. */
async function isSuperseded(value: Stored['value'], store: ObjectStore, signal: AbortSignal): Promise<boolean> {
  for await (const { key } of store.list(CLINICAL_BUCKET, `${value.centre}/${value.studyInstanceUid}/`, signal)) {
    if (!key.endsWith('/manifest.json') || key === value.manifestKey) continue;
    const other = await readManifest<StudyManifest>(store, CLINICAL_BUCKET, key, signal);
    if (Number(other?.manifest.facts['sequence'] ?? 0) > value.sequence) return true;
  }
  return false;
}

interface CleanedStudy {
  findings: StudyFindings;
  emptied: number;
}

/**
 * De-identifies every kept instance into the spool. An outcome when the study must not go on, else what was
 * found: all of it, since a person decides on exactly that.
 */
async function cleanStudy(
  { value, manifest, originals, survey, conclusion, subject }: Crossing,
  ports: AnonymisePorts,
  spool: Spool,
  signal: AbortSignal,
): Promise<Outcome | CleanedStudy> {
  const findings = studyFindings(value.revision);
  let emptied = 0;
  const pictures = studyPictures(survey.kept, conclusion.textIn, survey.detector.seen());
  const identity = subjectIdentity(subject.secret);
  const study = { identity, clock: studyClock(identity.shiftDays, survey.start), identifiers: survey.identifiers, profile: ports.profile };
  const room = reusable();
  for (const series of manifest.series) {
    for await (const { name, bytes, judged } of originals.again(series, conclusion.kept)) {
      signal.throwIfAborted();
      const clean = cleanOrRefuse(() =>
        cleanInstance(bytes, study, survey.verifierIdentifiers, survey.sources.get(name), { room, judged }),
      );
      if ('kind' in clean) return clean;
      findings.add(name, clean.findings);
      pictures.look(name, bytes);
      emptied += clean.emptied;
      await spool.add(clean);
    }
  }
  pictures.into(findings);
  return { findings, emptied };
}

const cleanOrRefuse = <T extends object>(work: () => T): T | Outcome => {
  try {
    return work();
  } catch (error) {
    if (error instanceof Refusal) return reject(error.code, error.message);
    if (error instanceof DicomError) return reject(codeOfDicomError(error), 'an instance can not be written again');
    throw error;
  }
};

interface ResearchSeries {
  seriesInstanceUid: string;
  modality: string;
  object: string;
  sizeBytes: number;
  instances: SpooledSeries['instances'];
}

async function upload(
  spooled: readonly SpooledSeries[],
  prefix: string,
  store: ObjectStore,
  signal: AbortSignal,
): Promise<ResearchSeries[]> {
  const uploaded: ResearchSeries[] = [];
  for (const series of spooled) {
    const { seriesInstanceUid, modality, sizeBytes, instances } = series;
    const object = `${prefix}/${seriesInstanceUid}.tar`;
    await store.put(RESEARCH_BUCKET, object, series.read(), { sizeBytes, contentType: 'application/x-tar', signal });
    uploaded.push({ seriesInstanceUid, modality, object, sizeBytes, instances });
  }
  return uploaded;
}

async function manifestOf(
  { value, conclusion, subject }: Crossing,
  ids: { study: ResearchStudyId; revision: ResearchRevision; attempt: string; ordinal: number; emptied: number },
  series: readonly ResearchSeries[],
  ports: AnonymisePorts,
): Promise<ResearchManifest> {
  return {
    format: 'ctstream-manifest/1',
    study: ids.study,
    revision: ids.revision,
    attempt: ids.attempt,
    series,
    facts: {
      ...conclusion.facts,
      subjectId: subjectIdentity(subject.secret).pseudonym,
      site: siteId(await ports.vault.siteSecret(), value.centre),
      ordinal: ids.ordinal,
      dropped: conclusion.dropped,
      emptied: ids.emptied,
    },
  };
}
