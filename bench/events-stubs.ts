// Declared stubs of the events bench: what ingest, anonymise and assess emit, without pixels, PACS or objects. Everything
// around them is real: topics, codec, stage loop, consumer groups, outboxes, and the vault's rows in PostgreSQL.
import { setTimeout as sleep } from 'node:timers/promises';
import { anonymisedEvent, type ResearchManifest } from '../services/anonymise/research-events.ts';
import { researchRevision, researchStudyId, subjectIdentity } from '../services/anonymise/identity.ts';
import { storedEvents, type Available, type ClinicalManifest } from '../services/ingest/events.ts';
import { clinicalKey } from '../services/kernel/ids.ts';
import { sha256Hex, siteId } from '../services/kernel/digest.ts';
import type { Published } from '../services/kernel/manifest.ts';
import { emit, reject } from '../services/kernel/outcome.ts';
import type { NewEvent, Outcome } from '../services/kernel/outcome.ts';
import type { EventIn } from '../services/kernel/stage.ts';
import type { IdentityVault } from '../services/ports/identity-vault.ts';

const INSTANCES = 300;
const INSTANCE_BYTES = 500_000;

const published = <M>(manifest: M): Published<M> => ({ manifest, sha256: sha256Hex(JSON.stringify(manifest)), ours: true });

/** Ingest without its PACS and store: waits as long as the PACS would take, then tells of a manifest that is not written. */
export const stubIngest = async ({ value }: Available, latencyMs: number, signal: AbortSignal): Promise<Outcome> => {
  if (latencyMs > 0) await sleep(latencyMs, undefined, { signal });
  const manifest: ClinicalManifest = {
    format: 'ctstream-manifest/1',
    study: value.studyInstanceUid,
    revision: value.revision,
    attempt: 'stub',
    series: [],
    facts: {
      centre: value.centre,
      sequence: value.sequence,
      contentDigest: sha256Hex(value.revision),
      instanceCount: INSTANCES,
      sizeBytes: INSTANCES * INSTANCE_BYTES,
      verified: 'list',
      transcodedBySource: 0,
      duplicates: 0,
    },
  };
  return emit(storedEvents(published(manifest)));
};

/** Anonymise without pixels and objects: the vault draws the patient, the study and their secrets as ever. */
export const stubAnonymise = async (
  { value }: EventIn<'ctstream.clinical.v1.StudyStored'>,
  vault: IdentityVault,
  site: Uint8Array,
  signal: AbortSignal,
): Promise<Outcome> => {
  const { centre, studyInstanceUid, revision } = value;
  const denied = await vault.denied([clinicalKey(centre, studyInstanceUid)], signal);
  const subject = denied.size > 0 ? 'denied' : await vault.subject({ namespace: centre, patientId: sha256Hex(studyInstanceUid) }, signal);
  if (subject === 'denied') return reject('PATIENT_WITHDRAWN', 'the patient withdrew');
  const { secret, ordinal } = await vault.study(subject, centre, studyInstanceUid, revision, signal);
  const manifest: ResearchManifest = {
    format: 'ctstream-manifest/1',
    study: researchStudyId(secret),
    revision: researchRevision(secret, revision),
    attempt: 'stub',
    series: [],
    facts: {
      subjectId: subjectIdentity(subject.secret).pseudonym,
      site: siteId(site, centre),
      ordinal,
      dropped: [],
      emptied: 0,
      ageBand: '050-059',
      sex: 'unknown',
      manufacturer: 'unknown',
    },
  };
  return emit([anonymisedEvent(published(manifest))]);
};

/** Assess without a volume: an estimate drawn from the study's own id, so every attempt tells the same. */
export const stubAssess = ({ value }: EventIn<'ctstream.research.v1.StudyAnonymised'>): Outcome => {
  const { studyId, subjectId, site, revision, ordinal, ageBand, sex, manufacturer } = value;
  const digest = sha256Hex(studyId, revision);
  const draw = Number.parseInt(digest.slice(0, 8), 16) / 2 ** 32;
  const event: NewEvent = {
    type: 'ctstream.research.v1.StudyAssessed',
    value: {
      studyId,
      subjectId,
      site,
      revision,
      ordinal,
      manifestKey: `${studyId}/${revision}/assessment.json`,
      manifestSha256: digest,
      volumeKey: `${studyId}/${revision}/stub/volume.nii.gz`,
      volumeDigest: digest,
      shape: [512, 512, INSTANCES],
      spacingMm: [0.7, 0.7, 1],
      sliceThicknessMm: 1,
      kernel: 'soft',
      kvp: 120,
      clampedVoxels: 0,
      lungVolumeMl: 4000,
      affectedPercent: Math.round(draw * 1000) / 10,
      estimatedClass: Math.min(4, Math.ceil(draw * 4)),
      distanceToCut: 5,
      uncertain: false,
      leftAffectedPercent: null,
      rightAffectedPercent: null,
      contrast: 'none',
      series: [],
      ageBand,
      sex,
      manufacturer,
    },
  };
  return emit([event]);
};
