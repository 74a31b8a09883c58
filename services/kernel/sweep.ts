// Which objects of a study nobody needs any more. Pure: names, times and manifests in, names out.
//
// An attempt may publish its manifest for LONGEST_ATTEMPT_MS and no longer (publishManifest refuses). So an object of twice
// that age belongs to an attempt that has published or never will, and a manifest that is read after the listing says which.

/** Most time from the begin of an attempt to its manifest, by the process's monotonic clock. No JOB_TIMEOUT_MS is longer. */
export const LONGEST_ATTEMPT_MS = 6 * 60 * 60_000;
/** Most time of a pull with all its waits: well before its attempt is too old to publish. */
export const LONGEST_PULL_MS = LONGEST_ATTEMPT_MS - 30 * 60_000;
const LARGE_STUDY_BYTES = 1_000_000_000;
/** Bytes a second below which a quota lets no large study come, however often it is tried. */
export const LEAST_BYTES_PER_S = Math.ceil((LARGE_STUDY_BYTES / LONGEST_PULL_MS) * 1000);
/** Age from which an object that no manifest names is removed. */
export const SWEEP_AFTER_MS = 2 * LONGEST_ATTEMPT_MS;

export interface Listed {
  readonly key: string;
  readonly sizeBytes: number;
  readonly lastModifiedMs: number;
}

/** ct-clinical: `<centre>/<study>/<revision>/...`; ct-research: `<study>/<revision>/...`. */
export type Layout = 'clinical' | 'research';

const ATTEMPT = '[0-9a-f]{16}';
const STUDY: Readonly<Record<Layout, string>> = {
  clinical: '[a-z0-9][a-z0-9-]{0,23}/[0-9.]{1,64}',
  research: 'R[0-9A-Za-z]{16}',
};
const REVISION: Readonly<Record<Layout, string>> = { clinical: '[0-9a-f]{32}', research: '[0-9A-Za-z]{24}' };
/** What publishes attempts of a revision. */
const MANIFESTS: Readonly<Record<Layout, readonly string[]>> = {
  clinical: ['manifest.json'],
  research: ['manifest.json', 'assessment.json'],
};
const DONE = 'done.json';
/** Names that our own processes try a store with, and remove again. */
const TRIAL = new RegExp(`^\\.(?:conformance/${ATTEMPT}/[A-Za-z]+|(?:sweep|admission)/${ATTEMPT})$`);

const place = (layout: Layout): RegExp => new RegExp(`^(${STUDY[layout]}/)(${REVISION[layout]}/)(.+)$`);
const PLACES = { clinical: place('clinical'), research: place('research') };
const OF_ATTEMPT = new RegExp(`^(${ATTEMPT})/[^/]+$`);

/** Prefix of the study that a name belongs to, with its slash; undefined for names of any other shape: nobody sweeps those. */
export function studyOf(layout: Layout, key: string): string | undefined {
  return PLACES[layout].exec(key)?.[1];
}

/** Names that could publish an attempt of the revision. */
export function manifestKeys(layout: Layout, revision: string): string[] {
  return MANIFESTS[layout].map((name) => revision + name);
}

/** Where anonymise notes that a stored revision has its final outcome in the log. */
export function doneKeyOf(manifestKey: string): string {
  return manifestKey.replace(/[^/]+$/, DONE);
}

/** Whether a name is such a note. */
export function isDoneMark(key: string): boolean {
  return key.endsWith(`/${DONE}`);
}

interface Revision {
  readonly manifests: Listed[];
  readonly attempts: Map<string, Listed[]>;
  readonly done: Listed[];
  /** Of a shape that we do not know. */
  readonly others: Listed[];
}

/** Revisions (by prefix) of one study's objects. */
function revisionsOf(layout: Layout, objects: readonly Listed[]): Map<string, Revision> {
  const found = new Map<string, Revision>();
  for (const object of objects) {
    const [, study = '', revision = '', rest = ''] = PLACES[layout].exec(object.key) ?? [];
    if (study === '') continue;
    const of = found.get(study + revision) ?? { manifests: [], attempts: new Map<string, Listed[]>(), done: [], others: [] };
    found.set(study + revision, of);
    const attempt = OF_ATTEMPT.exec(rest)?.[1];
    if (attempt !== undefined) of.attempts.set(attempt, [...(of.attempts.get(attempt) ?? []), object]);
    else if (MANIFESTS[layout].includes(rest)) of.manifests.push(object);
    else if (rest === DONE) of.done.push(object);
    else of.others.push(object);
  }
  return found;
}

const isOld = (o: Listed, nowMs: number, ageMs: number): boolean => nowMs - o.lastModifiedMs >= ageMs;

/**
 * Revisions (prefixes) whose manifests must be read before `orphans` can tell. Each manifest names one attempt, and what it
 * names stays: as many attempts as manifests, and there is nothing to find out.
 */
export function revisionsToRead(layout: Layout, objects: readonly Listed[], nowMs: number, minAgeMs: number): string[] {
  return [...revisionsOf(layout, objects)]
    .filter(([, r]) => r.attempts.size > r.manifests.length || (r.manifests.length === 0 && r.done.length > 0))
    .filter(([, r]) => [...r.attempts.values(), r.done].flat().some((o) => isOld(o, nowMs, minAgeMs)))
    .map(([prefix]) => prefix);
}

/**
 * Objects of one study that no manifest names and that nobody can publish any more.
 * @param named attempts that the manifests of a revision name; a revision that is not in it keeps everything
 */
export function orphans(
  layout: Layout,
  objects: readonly Listed[],
  named: ReadonlyMap<string, ReadonlySet<string>>,
  nowMs: number,
  minAgeMs: number,
): Listed[] {
  return [...revisionsOf(layout, objects)].flatMap(([prefix, revision]) => {
    const attempts = named.get(prefix);
    if (attempts === undefined) return [];
    const unnamed = [...revision.attempts].filter(([attempt]) => !attempts.has(attempt)).flatMap(([, found]) => found);
    // A mark without a manifest: the study was erased or freed while it was being written.
    const marks = attempts.size === 0 && revision.manifests.length === 0 ? revision.done : [];
    return [...unnamed, ...marks].filter((o) => isOld(o, nowMs, minAgeMs));
  });
}

/** 'free': every stored revision has had its final outcome for `keepMs`; 'unfinished': older than that, and one has not. */
export type Standing = 'free' | 'unfinished' | 'kept';

/**
 * Where a study of ct-clinical stands. It is freed as a whole: an older revision that comes late must find the newer one's
 * manifest, to know that it is superseded.
 */
export function standingOf(objects: readonly Listed[], nowMs: number, keepMs: number): Standing {
  const revisions = [...revisionsOf('clinical', objects).values()];
  const stored = revisions.filter((r) => r.manifests.length > 0);
  // Without a manifest it is being stored, or the orphans' business.
  if (stored.length === 0 || stored.length < revisions.length || revisions.some((r) => r.others.length > 0)) return 'kept';
  if (stored.every((r) => r.done.length > 0 && r.done.every((d) => isOld(d, nowMs, keepMs)))) return 'free';
  return stored.some((r) => r.done.length === 0 && r.manifests.every((m) => isOld(m, nowMs, keepMs))) ? 'unfinished' : 'kept';
}

/**
 * Age of a stored revision at which it is told of again, and again at each multiple, while it has no outcome: the log forgets
 * its event after 30 days, and a dead letter of it after 90, but a person may take longer.
 */
export const TELL_AGAIN_MS = 30 * 24 * 60 * 60_000;

/**
 * Manifests of one study that are to be told of again: without an outcome, and of such an age since the last look, `windowMs` ago.
 * @param untold those of which that look should have told and could not
 */
export function manifestsToTellAgain(
  objects: readonly Listed[],
  nowMs: number,
  windowMs: number,
  untold: ReadonlySet<string> = new Set(),
): Listed[] {
  const times = (ageMs: number): number => Math.floor(Math.max(0, ageMs) / TELL_AGAIN_MS);
  return [...revisionsOf('clinical', objects).values()]
    .filter((r) => r.done.length === 0)
    .flatMap((r) => r.manifests)
    .filter((m) => untold.has(m.key) || times(nowMs - m.lastModifiedMs) > times(nowMs - m.lastModifiedMs - windowMs));
}

/** The names of a study to free, in the order to remove them: after a stop half-way, what is named is there, and the rest is found again. */
export function inOrderOfRemoval(objects: readonly Listed[]): Listed[] {
  const rank = ({ key }: Listed): number => (key.endsWith('/manifest.json') ? 0 : isDoneMark(key) ? 2 : 1);
  return objects.toSorted((a, b) => rank(a) - rank(b));
}

/** Whether a name is one with which our processes try the store. */
export function isTrial(key: string): boolean {
  return TRIAL.test(key);
}
