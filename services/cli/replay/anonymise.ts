// Rebuilds what anonymise made, from ct-clinical while it is kept: the vault's rows give the same ids. An attempt's name is
// random and stands in the manifest alone, so it is taken from there; the log has the manifest's hash.
import { readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { openPostgresHeld } from '../../adapters/postgres-held.ts';
import { openPostgresVault } from '../../adapters/postgres-vault.ts';
import { DEFAULT_IDENTITY_RULES } from '../../anonymise/identity.ts';
import { compileProfile } from '../../anonymise/profile/profile.ts';
import { INSTANCE_LIMIT_MB } from '../../anonymise/instance-limit.ts';
import { QUARANTINE_BUCKET } from '../../anonymise/quarantine.ts';
import { studyShelf } from '../../anonymise/shelf.ts';
import { anonymiseStage, type AnonymisePorts } from '../../anonymise/stage.ts';
import { type CentreId, clinicalKey } from '../../kernel/ids.ts';
import { readManifest, type StudyManifest } from '../../kernel/manifest.ts';
import type { EventIn } from '../../kernel/stage.ts';
import { studyOf } from '../../kernel/sweep.ts';
import type { HeldBook } from '../../ports/held-decisions.ts';
import type { ObjectStore } from '../../ports/object-store.ts';
import { readCentresFile } from '../../runtime/centres-file.ts';
import { readCityIssuers } from '../../runtime/city-issuers-file.ts';
import { compareEvents, compareObjects, type Difference } from '../../runtime/replay-compare.ts';
import { eventsIn, outcomeIds, recordedLog, replayEvents, replayStore, type RecordedLog } from '../../runtime/replay.ts';
import { systemRandom } from '../../runtime/system.ts';
import { type ReplayContext, type ReplayReport, withdrawnIn } from './context.ts';
import { recordedVault, type RecordedVault } from './recorded-vault.ts';
import { eraseWithdrawn } from './withdrawn-copies.ts';

type Stored = EventIn<'ctstream.clinical.v1.StudyStored'>;
type Anonymised = EventIn<'ctstream.research.v1.StudyAnonymised'>;

/** Originals of one study at a time stay in memory between survey and cleaning. */
const SHELF_BYTES = 160 * 1024 * 1024;
const CLINICAL = 'ct-clinical';
const RESEARCH = 'ct-research';

export interface AnonymiseReplayOptions {
  readonly cityIssuersFile?: string;
  readonly concurrency?: number;
}

export async function replayAnonymise(ctx: ReplayContext, o: AnonymiseReplayOptions = {}): Promise<ReplayReport> {
  const { provisioned: p, signal } = ctx;
  const topics = { told: anonymiseStage.produces, taken: [...anonymiseStage.consumes, 'ct.research.subject-withdrawn.v1'] };
  const log = await recordedLog(ctx.bus, ctx.codec, topics, signal);
  const real = await openPostgresVault({
    connectionString: p.databases.vault,
    key: Buffer.from(readFileSync(p.file('vault-key'), 'utf8').trim(), 'hex'),
  });
  const held = openPostgresHeld(p.databases.vault);
  try {
    return await replayRecorded(ctx, log, await recordedVault(real, ordinals(log), signal), readOnly(held), o);
  } finally {
    await Promise.allSettled([real.close(), held.close()]);
  }
}

const revisionKey = (v: { readonly studyId: string; readonly revision: string }): string => `${v.studyId}/${v.revision}`;

function published(log: RecordedLog): Map<string, Anonymised> {
  return new Map(eventsIn(log, 'ctstream.research.v1.StudyAnonymised').map((e) => [revisionKey(e.value), e]));
}

function ordinals(log: RecordedLog): (studyId: string, revision: string) => number | undefined {
  const events = published(log);
  return (studyId, revision) => events.get(revisionKey({ studyId, revision }))?.value.ordinal;
}

/** People's decisions count as they did; nothing is held anew. */
const readOnly = (real: HeldBook): HeldBook => ({
  standing: (heldId, signal) => real.standing(heldId, signal),
  hold: async () => undefined,
  end: async () => undefined,
  close: async () => undefined,
});

type RecordedContext = Pick<ReplayContext, 'codec' | 'source' | 'target' | 'signal' | 'progress'> & {
  readonly provisioned: Pick<ReplayContext['provisioned'], 'file'>;
};

export async function replayRecorded(
  ctx: RecordedContext,
  log: RecordedLog,
  { vault, names }: RecordedVault,
  held: HeldBook,
  o: AnonymiseReplayOptions,
): Promise<ReplayReport> {
  const { provisioned: p, signal } = ctx;
  const erased = await eraseWithdrawn(ctx, log.events);
  const was = published(log);
  const namesOf = ({ value: v }: Stored): string => {
    const found = names(clinicalKey(v.centre, v.studyInstanceUid), v.revision);
    return found === undefined ? '' : revisionKey(found);
  };
  const stored = eventsIn(log, 'ctstream.clinical.v1.StudyStored');
  const denied = await vault.denied(
    stored.map(({ value: v }) => clinicalKey(v.centre, v.studyInstanceUid)),
    signal,
  );
  const isDenied = ({ value: v }: Pick<Stored, 'value'>): boolean => denied.has(clinicalKey(v.centre, v.studyInstanceUid));
  const kept = await studiesKept(ctx.source, signal);
  const isFreed = (e: Stored): boolean => !isDenied(e) && !kept.has(`${e.value.centre}/${e.value.studyInstanceUid}/`);
  const { done, freed, forgotten, leftOut } = comparable(log, stored, namesOf, isFreed);
  const handled = done.filter((e) => !isDenied(e));
  const isPublished = (e: Stored): boolean => was.has(namesOf(e));
  // One that was not published may have been superseded: it comes when the newer one stands, as it did.
  const events = [...handled.filter(isPublished), ...handled.filter((e) => !isPublished(e))];

  const namespaces = new Map(readCentresFile(p.file('centres.json')).map(({ id, namespace }) => [id, namespace]));
  const rules = {
    ...DEFAULT_IDENTITY_RULES,
    namespaceOfCentre: (centre: CentreId) => namespaces.get(centre) ?? `centre:${centre}`,
    cityIssuers: readCityIssuers(o.cityIssuersFile),
  };
  const profile = compileProfile();
  let unnamed = 0;
  const portsOf = async (event: Stored): Promise<AnonymisePorts> => {
    const recorded = was.get(namesOf(event));
    const attempt = recorded === undefined ? undefined : await recordedAttempt(ctx.source, recorded, signal);
    if (recorded !== undefined && attempt === undefined) unnamed += 1;
    return {
      store: storeOf(ctx, recorded === undefined ? undefined : event.value.manifestKey),
      vault,
      held,
      random: attempt === undefined ? systemRandom : { attempt: () => attempt },
      profile,
      rules,
      spoolFolder: tmpdir(),
      shelf: studyShelf(SHELF_BYTES),
      instanceLimitBytes: INSTANCE_LIMIT_MB * 1024 * 1024,
    };
  };
  const concurrency = o.concurrency ?? 2;
  const run = await replayEvents(anonymiseStage, events, portsOf, { codec: ctx.codec, signal, concurrency, progress: ctx.progress });

  const withdrawn = withdrawnIn(log.events);
  const own = log.events.filter((e) => e.source === anonymiseStage.name && e.type !== 'ctstream.research.v1.SubjectWithdrawn');
  const recorded = own.filter((e) => !withdrawn.concerns(e) && !isOfDenied(e, denied) && !leftOut.has(e));
  const objects = await comparePublished(
    ctx,
    [...was.values()].filter((e) => !withdrawn.subjects.has(e.value.subjectId) && !withdrawn.named.has(e.value.studyId) && !leftOut.has(e)),
  );
  const open = stored.filter((e) => !isDenied(e)).length - handled.length - freed.length;
  const holds = run.faults.filter(({ code }) => code.startsWith('HELD_')).length;
  const notes = [
    ...erased,
    ...(denied.size === 0 ? [] : [`${denied.size} studies of withdrawn patients are left out`]),
    ...(open === 0 ? [] : [`${open} stored revisions had no outcome when the log was cut: under way, held or parked`]),
    ...(freed.length === 0
      ? []
      : [
          `${freed.length} stored revisions are left out: originals freed. Nothing of these studies is in ${CLINICAL}, which can't say who removed it`,
        ]),
    ...(holds === 0 ? [] : [`${holds} stored revisions are held this time: no note or picture of them is put anywhere`]),
    ...(forgotten.size === 0 ? [] : [`${forgotten.size} outcomes are of stored revisions that have left the log`]),
    ...(unnamed === 0 ? [] : [`${unnamed} manifests are no longer in ${RESEARCH}: their attempts got other names`]),
  ];
  return {
    stage: anonymiseStage.name,
    handled: run.handled,
    events: run.told.length,
    objects: objects.compared,
    differences: [...compareEvents(recorded, run.told), ...objects.differences],
    faults: run.faults,
    notes,
  };
}

/** Studies (prefixes) of which ct-clinical has anything at all: the sweeper frees a study as a whole. */
async function studiesKept(source: ObjectStore, signal: AbortSignal): Promise<ReadonlySet<string>> {
  const studies = new Set<string>();
  for await (const { key } of source.list(CLINICAL, '', signal)) {
    const study = studyOf('clinical', key);
    if (study !== undefined) studies.add(study);
  }
  return studies;
}

/**
 * What a log that was cut while the deployment goes on can be compared by: stored revisions with an outcome in it whose
 * originals are there, and of the outcomes not those whose stored revision has expired or whose originals were freed.
 */
export function comparable(
  log: Pick<RecordedLog, 'ends' | 'events'>,
  stored: readonly Stored[],
  namesOf: (e: Stored) => string,
  isFreed: (e: Stored) => boolean,
): {
  readonly done: readonly Stored[];
  readonly freed: readonly Stored[];
  readonly forgotten: ReadonlySet<EventIn>;
  /** Outcomes that are not compared: those of `freed`, and `forgotten`. */
  readonly leftOut: ReadonlySet<EventIn>;
} {
  const outcomeName = (e: EventIn): string => (e.type === 'ctstream.research.v1.StudyAnonymised' ? revisionKey(e.value) : e.id);
  const own = log.events.filter((e) => e.source === anonymiseStage.name && anonymiseStage.produces.includes(e.topic));
  const told = new Set(own.map(outcomeName));
  const namesOfOutcomes = new Map(stored.map((e) => [e, [namesOf(e), ...outcomeIds(anonymiseStage, e)]]));
  const known = new Set([...namesOfOutcomes.values()].flat());
  const hasExpired = log.ends.some((e) => e.first > 0n && anonymiseStage.consumes.includes(e.topic));
  const ended = stored.filter((e) => namesOfOutcomes.get(e)?.some((name) => told.has(name)) === true);
  const freed = ended.filter(isFreed);
  const namesOfFreed = new Set(freed.flatMap((e) => namesOfOutcomes.get(e) ?? []));
  const forgotten = new Set(hasExpired ? own.filter((e) => !known.has(outcomeName(e))) : []);
  return {
    done: ended.filter((e) => !isFreed(e)),
    freed,
    forgotten,
    leftOut: forgotten.union(new Set(own.filter((e) => namesOfFreed.has(outcomeName(e))))),
  };
}

function isOfDenied({ value: v }: EventIn, denied: ReadonlySet<string>): boolean {
  return 'studyInstanceUid' in v && denied.has(clinicalKey(v.centre, v.studyInstanceUid));
}

/** The name of the attempt whose objects count; undefined when the manifest is gone or is not the one of the log. */
async function recordedAttempt(source: ObjectStore, { value }: Anonymised, signal: AbortSignal): Promise<string | undefined> {
  const manifest = await readManifest<StudyManifest>(source, RESEARCH, value.manifestKey, signal);
  return manifest?.sha256 === value.manifestSha256 ? manifest.manifest.attempt : undefined;
}

/** `only`: the clinical manifest of a revision that was published. Newer ones were not there yet, or it had been superseded. */
export function storeOf(ctx: Pick<ReplayContext, 'source' | 'target'>, only: string | undefined): ObjectStore {
  const store = replayStore({
    source: ctx.source,
    target: ctx.target,
    isInput: (bucket) => bucket === CLINICAL,
    listsSource: (bucket) => bucket === CLINICAL,
  });
  const list = async function* (...[bucket, prefix, signal]: Parameters<ObjectStore['list']>): ReturnType<ObjectStore['list']> {
    for await (const object of store.list(bucket, prefix, signal))
      if (bucket !== CLINICAL || only === undefined || object.key === only) yield object;
  };
  const originals = <T>(bucket: string, work: () => Promise<T>): Promise<T> =>
    bucket === CLINICAL ? Promise.reject(new Error('a replay writes nothing into ct-clinical')) : work();
  // Pictures of who was not de-identified: nobody looks at those of a replay, and nothing would ever remove them.
  const isHeld = (bucket: string): boolean => bucket === QUARANTINE_BUCKET;
  return {
    ...store,
    list: (bucket, prefix, signal) => list(bucket, prefix, signal),
    getBytes: (bucket, ...rest) => (bucket === CLINICAL ? ctx.source.getBytes(bucket, ...rest) : store.getBytes(bucket, ...rest)),
    get: (bucket, ...rest) => (bucket === CLINICAL ? ctx.source.get(bucket, ...rest) : store.get(bucket, ...rest)),
    put: async (bucket, ...rest) => (isHeld(bucket) ? 'created' : await originals(bucket, () => store.put(bucket, ...rest))),
    remove: async (bucket, ...rest) => (isHeld(bucket) ? undefined : await originals(bucket, () => store.remove(bucket, ...rest))),
  };
}

/** Manifests against the hashes in the log, whether or not the old ones are there; every object against the one that was. */
async function comparePublished(
  ctx: Pick<ReplayContext, 'source' | 'target' | 'signal'>,
  published: readonly Anonymised[],
): Promise<{ compared: number; differences: Difference[] }> {
  const differences: Difference[] = [];
  for (const { value } of published) {
    const made = await readManifest<StudyManifest>(ctx.target, RESEARCH, value.manifestKey, ctx.signal);
    const name = `${RESEARCH}/${value.manifestKey}`;
    if (made === undefined) differences.push({ what: 'object', how: 'missing', name });
    else if (made.sha256 !== value.manifestSha256) differences.push({ what: 'object', how: 'other', name: `${name} (hash in the log)` });
  }
  const isMade = (key: string): boolean => /\/manifest\.json$|\.tar$/.test(key);
  const { source, target, signal } = ctx;
  const objects = await compareObjects({
    source,
    target,
    bucket: RESEARCH,
    wanted: isMade,
    // What the log names was looked for above; what else is there by now came after the cut.
    needed: () => false,
    signal,
  });
  return { compared: objects.compared, differences: [...differences, ...objects.differences] };
}
