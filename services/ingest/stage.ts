// Ingest: an announced study is counted, pulled and stored; its manifest is the publish point.
import { revisionOf } from '../kernel/digest.ts';
import { Fault } from '../kernel/fault.ts';
import { isUid } from '../kernel/ids.ts';
import type { ClinicalRevision } from '../kernel/ids.ts';
import { momentNow, publishManifest, type Moment } from '../kernel/manifest.ts';
import { emit } from '../kernel/outcome.ts';
import type { Outcome } from '../kernel/outcome.ts';
import { centreOfTopic } from '../kernel/route.ts';
import type { Stage, Job as StageJob } from '../kernel/stage.ts';
import type { Clock, Randomness } from '../ports/clock.ts';
import type { DicomWeb } from '../ports/dicomweb.ts';
import type { ObjectStore } from '../ports/object-store.ts';
import type { Admission } from './admission.ts';
import { claimStudy, markAgain, markStored } from './claim.ts';
import { contentDigest, manifestKeyOf, storedEvents } from './events.ts';
import type { Available, ClinicalManifest, IngestFacts } from './events.ts';
import { listStudy } from './listing.ts';
import type { ListedSeries } from './listing.ts';
import { changed, duplicate, mismatch, refused, superseded } from './outcomes.ts';
import type { Line } from './places.ts';
import type { SpillLimits } from './spill.ts';
import { isSuperseded, judge, readStanding } from './standing.ts';
import type { Judgement } from './standing.ts';
import { CLINICAL_BUCKET, storeSeries, StudyProblem } from './store-series.ts';
import type { SeriesStored } from './store-series.ts';

export interface CentrePacs {
  /** Runs work with the PACS when it is the centre's turn, and within the longest time of a job; the wait takes none of it. */
  pull<T>(signal: AbortSignal, work: (web: DicomWeb, signal: AbortSignal) => Promise<T>, line?: Line): Promise<T>;
}

export interface IngestPorts {
  readonly store: ObjectStore;
  /** The PACS of a centre; undefined when the centres file does not name it. */
  pacs(centre: string): CentrePacs | undefined;
  readonly random: Randomness;
  readonly clock: Clock;
  readonly spill: SpillLimits;
  /** Whether there is room for new studies. */
  readonly admission: Pick<Admission, 'isOpen' | 'open'>;
  /** Runs work without the PACS when it is the centre's turn; limited as `pull` is. */
  work<T>(centre: string, signal: AbortSignal, work: (signal: AbortSignal) => Promise<T>): Promise<T>;
  /** Centres whose last stored revision was made of the MD5 of its instances, as far as this process has seen. */
  readonly byContent: Set<string>;
  /** Counts for /metrics. */
  count(name: string, n: number, labels: Readonly<Record<string, string>>): void;
}

export const ingestStage: Stage<'ctstream.clinical.v1.StudyAvailable', IngestPorts> = {
  name: 'ingest',
  zone: 'clinical',
  consumes: ['ct.clinical.<centre>.study-available.v1'],
  produces: [
    'ct.clinical.study-stored.v1',
    'ct.clinical.<centre>.study-status.v1',
    'ct.clinical.study-rejected.v1',
    'ct.clinical.study-skipped.v1',
  ],
  // With the wait for a place at the PACS, in which nothing is held but the record; the work itself has `ports.work`'s limit.
  jobTimeoutMs: 24 * 3_600_000,
  beginsItself: true,
  handle: ingest,
};

const REVISION = /^[0-9a-f]{32}$/;

async function ingest(event: Available, ports: IngestPorts, signal: AbortSignal, job?: StageJob): Promise<Outcome> {
  const { value } = event;
  const centre = centreOfTopic(event.topic);
  if (centre === undefined) throw new Error(`${event.topic} is no centre's topic`);
  // Before anything is said: of a centre that left ingest may not write the status either, and what the broker denies ends the
  // process, for every record that waits or is replayed.
  const pacs = ports.pacs(centre);
  if (pacs === undefined) throw new Fault('PACS_UNREACHABLE', true, `the centres file has no centre ${centre}`);
  if (value.centre !== centre) return mismatch(event, centre);
  // They become parts of object names.
  if (!isUid(value.studyInstanceUid) || !REVISION.test(value.revision))
    throw new Fault('BAD_EVENT', false, 'StudyInstanceUID or revision is malformed');
  const before = await ports.work(centre, signal, (s) => judgeStanding(event, ports.store, s));
  if (before.kind === 'stored') return emit(storedEvents(before.published));
  if (before.kind === 'superseded') return superseded();
  const sinceMs = ports.clock.nowMs();
  const line: Line = job?.isRetry === true ? 'again' : 'new';
  for (;;) {
    await ports.admission.open(sinceMs, signal);
    // It may have waited for its turn while the disk ran full.
    const outcome = await pacs.pull(
      signal,
      async (web, s) => {
        if (!ports.admission.isOpen()) return undefined;
        job?.begin();
        return await store(event, before.revision, web, ports, s);
      },
      line,
    );
    if (outcome !== undefined) return outcome;
  }
}

async function judgeStanding(event: Available, objects: ObjectStore, signal: AbortSignal): Promise<Judgement> {
  const before = judge(event, await readStanding(objects, event.value, signal));
  if (before.kind !== 'stored') return before;
  const { manifest } = before.published;
  // The attempt that published it may have ended before its mark.
  await markStored(objects, manifest, signal);
  const { sequence } = event.value;
  if (sequence <= manifest.facts.sequence) return before;
  await markAgain(objects, manifest, sequence, signal);
  // What was stored before it saw the mark.
  return judge(event, await readStanding(objects, event.value, signal));
}

/** Pulls the study and publishes its manifest under `revision`. */
async function store(
  event: Available,
  revision: ClinicalRevision,
  web: DicomWeb,
  ports: IngestPorts,
  signal: AbortSignal,
): Promise<Outcome> {
  const { centre, studyInstanceUid } = event.value;
  const job: Attempt = { revision, attempt: ports.random.attempt() };
  const pulled = await pullOrDiscard(event, web, ports, job, signal);
  if ('kind' in pulled) return pulled;
  // The pull may have taken minutes: a later announcement may stand by now.
  if (isSuperseded(event, await readStanding(ports.store, event.value, signal))) {
    await discard(ports.store, event, job);
    return superseded();
  }
  if ((await claimOrDiscard(event, pulled, ports, job, signal)) === 'duplicate') return duplicate(event);
  // From here on a failure leaves the objects: the manifest may stand although its answer was lost.
  const key = manifestKeyOf(centre, studyInstanceUid, revision);
  const published = await publishManifest<ClinicalManifest>(ports.store, CLINICAL_BUCKET, key, pulled, signal, job.began ?? momentNow());
  if (published.manifest.attempt !== job.attempt) await discard(ports.store, event, job);
  await markStored(ports.store, published.manifest, signal);
  ports.count('ingest_stored_bytes_total', published.manifest.facts.sizeBytes, { centre });
  return emit(storedEvents(published));
}

/** Where an attempt's objects go. */
interface Attempt {
  readonly revision: ClinicalRevision;
  readonly attempt: string;
  /** When its first object was about to be written: the wait for its turn, which has no such limit, is over by then. */
  began?: Moment;
}

async function pullOrDiscard(
  event: Available,
  web: DicomWeb,
  ports: IngestPorts,
  job: Attempt,
  signal: AbortSignal,
): Promise<ClinicalManifest | Outcome> {
  try {
    const pulled = await pull(event, web, ports, job, signal);
    if ('kind' in pulled) await discard(ports.store, event, job);
    return pulled;
  } catch (error) {
    await discard(ports.store, event, job);
    if (!(error instanceof StudyProblem)) throw error;
    if (error.code !== 'STUDY_CHANGED') return refused(event, error.code, error.message);
    ports.byContent.delete(event.value.centre);
    return changed(event, error.message);
  }
}

/** What is not published leaves no objects behind. @throws the Fault of a copy that is held */
async function claimOrDiscard(
  event: Available,
  pulled: ClinicalManifest,
  ports: IngestPorts,
  job: Attempt,
  signal: AbortSignal,
): Promise<'ours' | 'duplicate'> {
  try {
    const claim = await claimStudy(ports.store, pulled, signal);
    if (claim === 'duplicate') await discard(ports.store, event, job);
    return claim;
  } catch (error) {
    await discard(ports.store, event, job);
    throw error;
  }
}

/** The manifest of what was pulled, or the outcome that ends the job. */
async function pull(
  event: Available,
  web: DicomWeb,
  ports: IngestPorts,
  job: Attempt,
  signal: AbortSignal,
): Promise<ClinicalManifest | Outcome> {
  const { value } = event;
  const rows = await web.study(value.studyInstanceUid, signal);
  if (rows.length === 0) return refused(event, 'STUDY_VANISHED', 'QIDO-RS lists the study no longer');
  // Orthanc keeps one study per (PatientID, StudyInstanceUID) and then refuses to send either of them.
  const patients = new Set(rows.map((r) => r.patientId)).size;
  if (patients > 1) return refused(event, 'MIXED_PATIENTS', `QIDO-RS lists the study under ${patients} values of PatientID (0010,0020)`);
  const { series, md5 } = await listStudy(web, { ...value, byContent: ports.byContent.has(value.centre) }, signal);
  const listed = series.reduce((sum, s) => sum + s.instanceCount, 0);
  if (listed === 0) return refused(event, 'STUDY_VANISHED', 'QIDO-RS lists no instance of the study');
  if (listed !== value.instanceCount || series.length !== value.seriesCount) {
    // A server's own counts may be what is wrong: next time its instances are listed.
    ports.byContent.delete(value.centre);
    return changed(event, `announced ${value.instanceCount} instances in ${value.seriesCount} series, found ${listed} in ${series.length}`);
  }
  const stored: SeriesStored[] = [];
  for (const one of series) stored.push(await pullSeries(event, web, ports, { job, series: one, md5 }, signal));
  if (hasCollision(stored)) return refused(event, 'UID_COLLISION', 'two series of the study have one SOPInstanceUID (0008,0018)');
  const verified = verifiedBy(event, stored);
  if (verified === 'content') ports.byContent.add(value.centre);
  else ports.byContent.delete(value.centre);
  if (verified === undefined) return changed(event, 'the instances that came are not the announced ones');
  return manifestOf(event, job, stored, verified);
}

async function pullSeries(
  event: Available,
  web: DicomWeb,
  ports: IngestPorts,
  { job, series, md5 }: { job: Attempt; series: ListedSeries; md5: boolean },
  signal: AbortSignal,
): Promise<SeriesStored> {
  const study = event.value.studyInstanceUid;
  // Ends the PACS's answer in any case, also when the store fails before it reads the first byte.
  const ended = new AbortController();
  const result = await (async () => {
    try {
      const parts = await web.retrieveSeries(study, series.seriesInstanceUid, AbortSignal.any([signal, ended.signal]));
      // Counted a moment ago: the next attempt sees whether it is gone.
      if (parts === undefined) throw new Fault('INCOMPLETE_TRANSFER', true, 'the PACS lists a series and does not send it (404)');
      job.began ??= momentNow();
      return await storeSeries(ports.store, parts, {
        ...series,
        study,
        objectKey: `${attemptPrefix(event, job)}${series.seriesInstanceUid}.tar`,
        md5,
        spill: ports.spill,
        signal,
      });
    } finally {
      ended.abort();
    }
  })();
  ports.count('ingest_instances_total', result.series.instances.length, { centre: event.value.centre });
  if (result.transcoded > 0) ports.count('ingest_transcoded_by_source_total', result.transcoded, { centre: event.value.centre });
  return result;
}

/** A SOP Instance UID names one instance (PS3.3 C.12.1.1.1), and an instance is of one series: the second is another object. */
function hasCollision(stored: readonly SeriesStored[]): boolean {
  const sops = stored.flatMap((s) => s.series.instances.map((i) => i.sopInstanceUid));
  return new Set(sops).size < sops.length;
}

/**
 * What the announced revision is made of, of what came: the MD5 of the instances where the gateway has them from an Orthanc, else
 * their UIDs. undefined when it is neither: something else came than was announced.
 */
function verifiedBy({ value: { revision } }: Available, stored: readonly SeriesStored[]): IngestFacts['verified'] | undefined {
  const came = stored.flatMap(({ series: { seriesInstanceUid, instances: all }, md5 }) =>
    all.map(({ sopInstanceUid }) => ({ seriesInstanceUid, sopInstanceUid, hash: md5.get(sopInstanceUid) })),
  );
  if (revisionOf(came.map(({ hash: _, ...uids }) => uids)) === revision) return 'list';
  return revisionOf(came) === revision ? 'content' : undefined;
}

function manifestOf(event: Available, job: Attempt, stored: readonly SeriesStored[], verified: IngestFacts['verified']): ClinicalManifest {
  const { value } = event;
  const series = stored.map((s) => s.series);
  const instances = series.flatMap((s) => s.instances);
  return {
    format: 'ctstream-manifest/1',
    study: value.studyInstanceUid,
    revision: job.revision,
    attempt: job.attempt,
    series,
    facts: {
      centre: value.centre,
      sequence: value.sequence,
      contentDigest: contentDigest(series),
      instanceCount: instances.length,
      sizeBytes: instances.reduce((sum, i) => sum + i.sizeBytes, 0),
      verified,
      transcodedBySource: stored.reduce((sum, s) => sum + s.transcoded, 0),
      duplicates: stored.reduce((sum, s) => sum + s.duplicates, 0),
      ...(job.revision === value.revision ? {} : { announced: value.revision }),
    },
  };
}

function attemptPrefix(event: Available, job: Attempt): string {
  return `${event.value.centre}/${event.value.studyInstanceUid}/${job.revision}/${job.attempt}/`;
}

/** Removes what an attempt stored and nobody will name. At best: the sweeper finds the rest. */
async function discard(store: ObjectStore, event: Available, job: Attempt): Promise<void> {
  try {
    const keys: string[] = [];
    for await (const { key } of store.list(CLINICAL_BUCKET, attemptPrefix(event, job), AbortSignal.timeout(10_000))) keys.push(key);
    if (keys.length > 0) await store.remove(CLINICAL_BUCKET, keys, AbortSignal.timeout(10_000));
  } catch {
    // The store may be what failed.
  }
}
