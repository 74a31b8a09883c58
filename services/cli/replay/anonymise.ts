// Rebuilds what anonymise made, from ct-clinical while it is kept: the vault's rows give the same ids. An attempt's name is
// random and stands in the manifest alone, so it is taken from there; the log has the manifest's hash.
import { readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { openPostgresHeld } from '../../adapters/postgres-held.ts';
import { openPostgresVault } from '../../adapters/postgres-vault.ts';
import { DEFAULT_IDENTITY_RULES } from '../../anonymise/identity.ts';
import { compileProfile } from '../../anonymise/profile/profile.ts';
import { INSTANCE_LIMIT_MB } from '../../anonymise/instance-limit.ts';
import { studyShelf } from '../../anonymise/shelf.ts';
import { anonymiseStage, type AnonymisePorts } from '../../anonymise/stage.ts';
import { type CentreId, clinicalKey } from '../../kernel/ids.ts';
import { readManifest, type StudyManifest } from '../../kernel/manifest.ts';
import type { EventIn } from '../../kernel/stage.ts';
import type { HeldBook } from '../../ports/held-decisions.ts';
import type { ObjectStore } from '../../ports/object-store.ts';
import { readCentresFile } from '../../runtime/centres-file.ts';
import { readCityIssuers } from '../../runtime/city-issuers-file.ts';
import { compareEvents, compareObjects, type Difference } from '../../runtime/replay-compare.ts';
import { eventsIn, outcomeIds, recordedLog, replayEvents, replayStore, type RecordedLog } from '../../runtime/replay.ts';
import { systemRandom } from '../../runtime/system.ts';
import { type ReplayContext, type ReplayReport, withdrawnIn } from './context.ts';
import { recordedVault, type RecordedVault } from './recorded-vault.ts';

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

async function replayRecorded(
  ctx: ReplayContext,
  log: RecordedLog,
  { vault, names }: RecordedVault,
  held: HeldBook,
  o: AnonymiseReplayOptions,
): Promise<ReplayReport> {
  const { provisioned: p, signal } = ctx;
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
  const { done, forgotten } = comparable(log, stored, namesOf);
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
  const recorded = own.filter((e) => !withdrawn.concerns(e) && !isOfDenied(e, denied) && !forgotten.has(e));
  const objects = await comparePublished(
    ctx,
    [...was.values()].filter((e) => !withdrawn.subjects.has(e.value.subjectId) && !forgotten.has(e)),
  );
  const open = stored.filter((e) => !isDenied(e)).length - handled.length;
  const notes = [
    ...(denied.size === 0 ? [] : [`${denied.size} studies of withdrawn patients are left out`]),
    ...(open === 0 ? [] : [`${open} stored revisions had no outcome when the log was cut: under way, held or parked`]),
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

/**
 * What a log that was cut while the deployment goes on can be compared by: stored revisions with an outcome in it, and of the
 * outcomes not those whose stored revision has expired.
 */
export function comparable(
  log: Pick<RecordedLog, 'ends' | 'events'>,
  stored: readonly Stored[],
  namesOf: (e: Stored) => string,
): { readonly done: readonly Stored[]; readonly forgotten: ReadonlySet<EventIn> } {
  const outcomeName = (e: EventIn): string => (e.type === 'ctstream.research.v1.StudyAnonymised' ? revisionKey(e.value) : e.id);
  const own = log.events.filter((e) => e.source === anonymiseStage.name && anonymiseStage.produces.includes(e.topic));
  const told = new Set(own.map(outcomeName));
  const namesOfOutcomes = new Map(stored.map((e) => [e, [namesOf(e), ...outcomeIds(anonymiseStage, e)]]));
  const known = new Set([...namesOfOutcomes.values()].flat());
  const hasExpired = log.ends.some((e) => e.first > 0n && anonymiseStage.consumes.includes(e.topic));
  return {
    done: stored.filter((e) => namesOfOutcomes.get(e)?.some((name) => told.has(name)) === true),
    forgotten: new Set(hasExpired ? own.filter((e) => !known.has(outcomeName(e))) : []),
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
function storeOf(ctx: ReplayContext, only: string | undefined): ObjectStore {
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
  return {
    ...store,
    list: (bucket, prefix, signal) => list(bucket, prefix, signal),
    getBytes: (bucket, ...rest) => (bucket === CLINICAL ? ctx.source.getBytes(bucket, ...rest) : store.getBytes(bucket, ...rest)),
    get: (bucket, ...rest) => (bucket === CLINICAL ? ctx.source.get(bucket, ...rest) : store.get(bucket, ...rest)),
    put: (bucket, ...rest) => originals(bucket, () => store.put(bucket, ...rest)),
    remove: (bucket, ...rest) => originals(bucket, () => store.remove(bucket, ...rest)),
  };
}

/** Manifests against the hashes in the log, whether or not the old ones are there; every object against the one that was. */
async function comparePublished(
  ctx: ReplayContext,
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
