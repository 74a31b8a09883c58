// What ct-clinical holds of a study already, and what that makes of an announcement.
import { returnedRevision } from '../kernel/digest.ts';
import type { ClinicalRevision } from '../kernel/ids.ts';
import { readManifest } from '../kernel/manifest.ts';
import type { Published } from '../kernel/manifest.ts';
import type { ObjectStore } from '../ports/object-store.ts';
import type { Available, ClinicalManifest } from './events.ts';
import { CLINICAL_BUCKET } from './store-series.ts';

export type Judgement =
  | { readonly kind: 'stored'; readonly published: Published<ClinicalManifest> }
  | { readonly kind: 'superseded' }
  /** To be pulled and stored under this revision. */
  | { readonly kind: 'new'; readonly revision: ClinicalRevision };

/** A study as one centre has it. */
export type StudyName = Pick<Available['value'], 'centre' | 'studyInstanceUid'>;

/** Every manifest of the study, of whatever revision. */
export async function manifestsOf(
  store: ObjectStore,
  { centre, studyInstanceUid }: StudyName,
  signal: AbortSignal,
): Promise<Published<ClinicalManifest>[]> {
  const found: Published<ClinicalManifest>[] = [];
  for await (const { key } of store.list(CLINICAL_BUCKET, `${centre}/${studyInstanceUid}/`, signal)) {
    if (!key.endsWith('/manifest.json')) continue;
    const one = await readManifest<ClinicalManifest>(store, CLINICAL_BUCKET, key, signal);
    if (one !== undefined) found.push(one);
  }
  return found;
}

/** Revision under which the gateway announced what the manifest holds. */
function announcedRevision(manifest: ClinicalManifest): string {
  return manifest.facts.announced ?? manifest.revision;
}

/** True when a later announcement of the study is stored. */
export function isSuperseded(event: Available, standing: readonly Published<ClinicalManifest>[]): boolean {
  return standing.some((m) => m.manifest.facts.sequence > event.value.sequence);
}

/**
 * A study that was corrected and then set back (A, B, A) is announced a second time as A. The manifest of the first A
 * has a lower sequence than B's and everything after ingest would call it superseded, so the second is stored under
 * a revision of its own: a pure function of the announcement, so that every attempt at it meets at one manifest.
 */
export function judge(event: Available, standing: readonly Published<ClinicalManifest>[]): Judgement {
  const { revision, sequence } = event.value;
  const order = (m: Published<ClinicalManifest>): number => m.manifest.facts.sequence;
  const same = standing.filter((m) => announcedRevision(m.manifest) === revision).sort((a, b) => order(a) - order(b));
  const own = same.findLast((m) => order(m) <= sequence) ?? same[0];
  const overtaken = standing.some(
    (m) => own !== undefined && announcedRevision(m.manifest) !== revision && order(m) > order(own) && order(m) < sequence,
  );
  if (own !== undefined && !overtaken) return { kind: 'stored', published: own };
  if (isSuperseded(event, standing)) return { kind: 'superseded' };
  return { kind: 'new', revision: own === undefined ? revision : returnedRevision(revision, sequence) };
}
