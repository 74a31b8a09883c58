// What earlier replays left in the target of subjects who have withdrawn since. No eraser of the deployment knows these
// copies, so each replay removes them before it makes or compares anything.
import { RESEARCH_BUCKET, type ResearchManifest } from '../../anonymise/research-events.ts';
import { eraseByPrefix } from '../../anonymise/withdrawn.ts';
import { readManifest } from '../../kernel/manifest.ts';
import type { EventIn } from '../../kernel/stage.ts';
import type { ObjectStore } from '../../ports/object-store.ts';
import { CANDIDATES, removePrefix } from '../../release/build.ts';
import { RELEASES, TOMBSTONES_FILE } from '../../release/tombstones.ts';
import { withdrawnIn, type ReplayContext, type Withdrawn } from './context.ts';

const TOMBSTONES_LIMIT_BYTES = 64 * 1024 * 1024;

type Stores = Pick<ReplayContext, 'source' | 'target' | 'signal'>;

/** Erases in the target what is a withdrawn subject's by now. What to say of it: nothing when there was nothing. */
export async function eraseWithdrawn(stores: Stores, events: readonly EventIn[]): Promise<string[]> {
  const withdrawn = withdrawnIn(events);
  if (withdrawn.subjects.size === 0) return [];
  const erased = (await eraseRevisions(stores, events, withdrawn)) + (await eraseVersions(stores));
  return erased === 0 ? [] : [`${erased} objects of an earlier replay were erased: their subjects have withdrawn since`];
}

/** Studies that are named whole, else revision by revision: when a study went to another patient, its other revisions are not theirs. */
async function eraseRevisions(
  { target, signal }: Stores,
  events: readonly EventIn[],
  { subjects, named }: Pick<Withdrawn, 'subjects' | 'named'>,
): Promise<number> {
  const theirs = new Set([...named].map((study) => `${study}/`));
  const notes = new Set([...subjects].map((subject) => `subjects/${subject}/`));
  for (const { value: v } of events)
    if ('subjectId' in v && v.subjectId !== null && 'studyId' in v && 'revision' in v && subjects.has(v.subjectId))
      theirs.add(`${v.studyId}/${v.revision}/`);
  // What only the replay has made stands in no event: other code may publish what the deployment refused.
  for await (const { key } of target.list(RESEARCH_BUCKET, '', signal)) {
    const [first = '', subject = '', study = '', revision = ''] = key.split('/');
    if (first === 'subjects' && subjects.has(subject)) theirs.add(`${study}/${revision}/`);
    if (first === 'subjects' && named.has(study)) notes.add(`subjects/${subject}/${study}/`);
    if (!key.endsWith('/manifest.json')) continue;
    const made = await readManifest<ResearchManifest>(target, RESEARCH_BUCKET, key, signal);
    if (made !== undefined && subjects.has(made.manifest.facts.subjectId)) theirs.add(key.slice(0, -'manifest.json'.length));
  }
  let erased = 0;
  for (const prefix of theirs) erased += await eraseByPrefix(target, RESEARCH_BUCKET, prefix, signal);
  // The notes last: a stop half-way leaves what finds the rest.
  for (const prefix of notes) erased += await eraseByPrefix(target, RESEARCH_BUCKET, prefix, signal);
  return erased;
}

/** A version that the deployment has written anew since goes as a whole: a replay of release makes it again in any case. */
async function eraseVersions({ source, target, signal }: Stores): Promise<number> {
  let erased = 0;
  for (const bucket of [RELEASES, CANDIDATES])
    for (const version of await versionsIn(target, bucket, signal)) {
      const tombstones = async (store: ObjectStore, of: string): Promise<string> =>
        Buffer.from((await store.getBytes(of, `${version}/${TOMBSTONES_FILE}`, TOMBSTONES_LIMIT_BYTES, signal)) ?? []).toString();
      if ((await tombstones(source, RELEASES)) !== (await tombstones(target, bucket)))
        erased += await removePrefix(target, bucket, version, signal);
    }
  return erased;
}

async function versionsIn(store: ObjectStore, bucket: string, signal: AbortSignal): Promise<ReadonlySet<string>> {
  const versions = new Set<string>();
  for await (const { key } of store.list(bucket, '', signal)) versions.add(key.split('/')[0] ?? '');
  return versions;
}
