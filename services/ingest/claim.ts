// A study that two centres have: the first to claim it is stored, an equal copy is a duplicate, another one is held.
import { Fault } from '../kernel/fault.ts';
import {
  againKeyOf,
  CLAIM_LIMIT_BYTES,
  centreOfClaim,
  claimBytes,
  claimKeyOf,
  contentKeyOf,
  contentPrefixOf,
} from '../kernel/study-claim.ts';
import type { ObjectStore } from '../ports/object-store.ts';
import type { ClinicalManifest } from './events.ts';
import { CLINICAL_BUCKET } from './store-series.ts';

/**
 * Asked with the manifest that is about to be published. 'ours': this centre has the study, publish. 'duplicate': another
 * centre has stored the same instances. The claim goes in right before the manifest, so a copy that was refused or never
 * pulled claims nothing.
 * @throws Fault CONFLICTING_COPY: for good when the other centre has stored other instances; to be tried again while it has
 * stored none
 */
export async function claimStudy(store: ObjectStore, manifest: ClinicalManifest, signal: AbortSignal): Promise<'ours' | 'duplicate'> {
  const { study, facts } = manifest;
  const owner = await ownerOf(store, study, facts.centre, signal);
  if (owner === facts.centre) return 'ours';
  const stored = await storedContents(store, study, signal);
  if (stored.has(contentKeyOf(study, facts.contentDigest))) return 'duplicate';
  if (stored.size === 0) throw new Fault('CONFLICTING_COPY', true, `centre ${owner} has claimed the study and its copy is not stored`);
  throw new Fault('CONFLICTING_COPY', false, `centre ${owner} has stored the study with other instances`);
}

/** Marks what a published manifest holds. Before its event goes out, so that every stored revision gets its mark. */
export async function markStored(store: ObjectStore, { study, facts }: ClinicalManifest, signal: AbortSignal): Promise<void> {
  await createMark(store, contentKeyOf(study, facts.contentDigest), { study, centre: facts.centre }, signal);
}

/**
 * Marks that what a published manifest holds was announced again. Without the number of that announcement an older one of other
 * content, which waits in a retry topic, would seem to be the newest.
 */
export async function markAgain(
  store: ObjectStore,
  { study, facts }: ClinicalManifest,
  sequence: number,
  signal: AbortSignal,
): Promise<void> {
  await createMark(store, againKeyOf(study, facts.centre, sequence), { study, centre: facts.centre }, signal);
}

async function createMark(
  store: ObjectStore,
  key: string,
  { study, centre }: { readonly study: string; readonly centre: string },
  signal: AbortSignal,
): Promise<'created' | 'exists'> {
  return await store.put(CLINICAL_BUCKET, key, claimBytes(study, centre), { ifNoneMatch: true, contentType: 'application/json', signal });
}

async function ownerOf(store: ObjectStore, study: string, centre: string, signal: AbortSignal): Promise<string> {
  const key = claimKeyOf(study);
  if ((await createMark(store, key, { study, centre }, signal)) === 'created') return centre;
  const standing = await store.getBytes(CLINICAL_BUCKET, key, CLAIM_LIMIT_BYTES, signal);
  // Erased between the two calls.
  if (standing === undefined) throw new Fault('STORE_UNAVAILABLE', true, 'the claim of a study was there and is gone');
  return centreOfClaim(standing);
}

async function storedContents(store: ObjectStore, study: string, signal: AbortSignal): Promise<Set<string>> {
  const keys = new Set<string>();
  for await (const { key } of store.list(CLINICAL_BUCKET, contentPrefixOf(study), signal)) keys.add(key);
  return keys;
}
