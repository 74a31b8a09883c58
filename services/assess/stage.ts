// The stage: an anonymised study in, its geometry, volume and estimate out, or the reason why not.
import type { StudyAssessed } from '../../schemas/events.gen.ts';
import { Fault } from '../kernel/fault.ts';
import type { ResearchUid } from '../kernel/ids.ts';
import { momentNow, publishManifest, readManifest, type Published, type StudyManifest } from '../kernel/manifest.ts';
import { emit, reject, skip, type Outcome } from '../kernel/outcome.ts';
import type { EventIn, Stage } from '../kernel/stage.ts';
import type { Clock, Randomness } from '../ports/clock.ts';
import type { ObjectStore } from '../ports/object-store.ts';
import { assessStudy, type SeriesVerdict, type StudyAssessment } from './assess-study.ts';
import { eraseStudy, eraseSubject, isWithdrawn, noteStudy } from './erase.ts';
import type { AssessLimits } from './limits.ts';
import { storedSeries } from './series-reader.ts';
import { assessmentKey, putVolume, volumeSalt, type Assessment, type StoredVolume } from './stored-assessment.ts';
import type { Volume } from './volume.ts';

const BUCKET = 'ct-research';

export interface AssessPorts {
  readonly store: ObjectStore;
  readonly random: Randomness;
  readonly clock: Clock;
  readonly limits: AssessLimits;
  /** How long after a withdrawal the second, last erasure is made. */
  readonly eraseAgainAfterMs: number;
}

type Anonymised = EventIn<'ctstream.research.v1.StudyAnonymised'>;

/** The event is a function of the manifest alone, so that every attempt publishes the same. */
function eventOf(key: string, { manifest, sha256 }: Published<Assessment>): Outcome {
  return emit([{ type: 'ctstream.research.v1.StudyAssessed', value: { ...manifest.event, manifestKey: key, manifestSha256: sha256 } }]);
}

/** Whether a later revision of the study is assessed already. */
async function isSuperseded(store: ObjectStore, value: Anonymised['value'], signal: AbortSignal): Promise<boolean> {
  for await (const { key } of store.list(BUCKET, `${value.studyId}/`, signal)) {
    if (!key.endsWith('/assessment.json') || key === assessmentKey(value)) continue;
    const other = await readManifest<Assessment>(store, BUCKET, key, signal);
    if (other !== undefined && other.manifest.event.ordinal > value.ordinal) return true;
  }
  return false;
}

function describe(verdicts: readonly SeriesVerdict[]): string {
  return verdicts.map(({ slices, codes }) => `series of ${slices}: ${codes.length === 0 ? 'eligible' : codes.join(', ')}`).join('; ');
}

type Eligible = Extract<StudyAssessment<StoredVolume>, { eligible: true }>;

function assessmentOf(value: Anonymised['value'], attempt: string, study: Eligible): Assessment {
  const { chosen, stored, estimate } = study;
  const event: Assessment['event'] = {
    studyId: value.studyId,
    subjectId: value.subjectId,
    site: value.site,
    revision: value.revision,
    ordinal: value.ordinal,
    ...stored.event,
    sliceThicknessMm: chosen.series.facts.thicknessMm ?? null,
    kernel: chosen.series.facts.kernel,
    kvp: chosen.series.facts.kvp ?? null,
    lungVolumeMl: estimate.lungMl,
    affectedPercent: estimate.affectedPercent,
    estimatedClass: estimate.class,
    distanceToCut: estimate.distanceToCut,
    uncertain: estimate.uncertain,
    leftAffectedPercent: estimate.leftAffectedPercent ?? null,
    rightAffectedPercent: estimate.rightAffectedPercent ?? null,
    contrast: chosen.series.facts.contrast,
    series: study.verdicts.map((verdict) => ({ ...verdict, series: verdict.series as ResearchUid })) satisfies StudyAssessed['series'],
    ageBand: value.ageBand,
    sex: value.sex,
    manufacturer: value.manufacturer,
  };
  return {
    format: 'ctstream-assessment/1',
    attempt,
    event,
    volumeSha256: stored.volumeSha256,
    volumeSalt: stored.volumeSalt,
    affine: stored.affine,
    volumeSeries: chosen.series.source.series,
    estimateSeries: study.estimateSeries,
    crop: chosen.crop,
    tier: chosen.series.geometry.tier,
    coverageMm: chosen.series.geometry.coverageMm,
    paddedVoxels: stored.paddedVoxels,
    volumeSizeBytes: stored.sizeBytes,
    estimate,
  };
}

async function refuseWithdrawn(store: ObjectStore, value: Anonymised['value'], signal: AbortSignal): Promise<Outcome> {
  await eraseStudy(store, value, signal);
  return skip('PATIENT_WITHDRAWN', 'the subject withdrew; what was there of the study is erased');
}

async function assessOne({ value }: Anonymised, { store, random, limits }: AssessPorts, signal: AbortSignal): Promise<Outcome> {
  await noteStudy(store, value, signal);
  if (await isWithdrawn(store, value, signal)) return await refuseWithdrawn(store, value, signal);
  const key = assessmentKey(value);
  const standing = await readManifest<Assessment>(store, BUCKET, key, signal);
  if (standing !== undefined) return eventOf(key, standing);
  const input = await readManifest<StudyManifest>(store, BUCKET, value.manifestKey, signal);
  if (input === undefined) throw new Fault('MANIFEST_MISSING', true, `${value.manifestKey} is not in ${BUCKET}`);
  if (input.sha256 !== value.manifestSha256)
    throw new Fault('OBJECT_CORRUPT', true, `${value.manifestKey} does not have the hash that the event says`);
  const attempt = random.attempt();
  const began = momentNow();
  const series = input.manifest.series.map((one) => ({
    source: storedSeries(store, BUCKET, one, signal),
    modality: one.modality,
    instances: one.instances.length,
  }));
  const salt = volumeSalt(input.manifest);
  const keep = ({ volume }: { readonly volume: Volume }): Promise<StoredVolume> =>
    putVolume(store, BUCKET, value, attempt, volume, salt, signal);
  const study = await assessStudy(series, keep, limits, signal);
  if (!study.eligible) return reject(study.code, describe(study.verdicts));
  if (await isSuperseded(store, value, signal)) return skip('SUPERSEDED', 'a later revision of the study is assessed');
  if (await isWithdrawn(store, value, signal)) return await refuseWithdrawn(store, value, signal);
  return eventOf(key, await publishManifest(store, BUCKET, key, assessmentOf(value, attempt, study), signal, began));
}

export const assess: Stage<Anonymised['type'] | 'ctstream.research.v1.SubjectWithdrawn', AssessPorts> = {
  name: 'assess',
  zone: 'research',
  consumes: ['ct.research.study-anonymised.v1', 'ct.research.subject-withdrawn.v1'],
  produces: ['ct.research.study-assessed.v1', 'ct.research.erasure-done.v1'],
  jobTimeoutMs: 10 * 60_000,

  async handle(event, ports, signal) {
    if (event.type === 'ctstream.research.v1.StudyAnonymised') return await assessOne(event, ports, signal);
    return emit(await eraseSubject(ports, event.value, signal));
  },
};
