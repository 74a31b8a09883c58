// What ct-clinical holds of a study already, and what that makes of an announcement.
import { returnedRevision } from '../kernel/digest.ts';
import type { ClinicalRevision } from '../kernel/ids.ts';
import { readManifest } from '../kernel/manifest.ts';
import type { Published } from '../kernel/manifest.ts';
import { againPrefixOf, sequenceOfAgain } from '../kernel/study-claim.ts';
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

/** What ct-clinical says of a study. */
export interface Standing {
  /** Of whatever revision. */
  readonly manifests: readonly Published<ClinicalManifest>[];
  /** Highest number of an announcement of what one of them holds; 0 when there was none but their own. */
  readonly again: number;
}

export async function readStanding(store: ObjectStore, name: StudyName, signal: AbortSignal): Promise<Standing> {
  const { centre, studyInstanceUid } = name;
  const manifests: Published<ClinicalManifest>[] = [];
  for await (const { key } of store.list(CLINICAL_BUCKET, `${centre}/${studyInstanceUid}/`, signal)) {
    if (!key.endsWith('/manifest.json')) continue;
    const one = await readManifest<ClinicalManifest>(store, CLINICAL_BUCKET, key, signal);
    if (one !== undefined) manifests.push(one);
  }
  let again = 0;
  // Of a study that is freed or never came nothing is older.
  if (manifests.length > 0)
    for await (const { key } of store.list(CLINICAL_BUCKET, againPrefixOf(studyInstanceUid, centre), signal))
      again = Math.max(again, sequenceOfAgain(key));
  return { manifests, again };
}

/** Revision under which the gateway announced what the manifest holds. */
function announcedRevision(manifest: ClinicalManifest): string {
  return manifest.facts.announced ?? manifest.revision;
}

/** True when what a later announcement of the study says is stored. */
export function isSuperseded({ value }: Available, { manifests, again }: Standing): boolean {
  return again > value.sequence || manifests.some((m) => m.manifest.facts.sequence > value.sequence);
}

/**
 * A study that was corrected and then set back (A, B, A) is announced a second time as A. The manifest of the first A
 * has a lower sequence than B's and everything after ingest would call it superseded, so the second is stored under
 * a revision of its own: a pure function of the announcement, so that every attempt at it meets at one manifest.
 */
export function judge(event: Available, standing: Standing): Judgement {
  const { revision, sequence } = event.value;
  const { manifests } = standing;
  const order = (m: Published<ClinicalManifest>): number => m.manifest.facts.sequence;
  const same = manifests.filter((m) => announcedRevision(m.manifest) === revision).sort((a, b) => order(a) - order(b));
  const own = same.findLast((m) => order(m) <= sequence) ?? same[0];
  const overtaken = manifests.some(
    (m) => own !== undefined && announcedRevision(m.manifest) !== revision && order(m) > order(own) && order(m) < sequence,
  );
  if (own !== undefined && !overtaken) return { kind: 'stored', published: own };
  if (isSuperseded(event, standing)) return { kind: 'superseded' };
  return { kind: 'new', revision: own === undefined ? revision : returnedRevision(revision, sequence) };
}
