// A version as it stands published in ct-releases, and how it stands to what the database knows.
import { Fault } from '../kernel/fault.ts';
import type { Queryable } from '../ports/database.ts';
import type { ObjectStore } from '../ports/object-store.ts';
import { fromCsv } from './delimited.ts';
import type { DocumentFacts } from './documents.ts';
import { ownIds } from './own-ids.ts';
import { parseSums, SUMS_FILE } from './sums.ts';
import { publishedTombstones, RELEASES, type Tombstone } from './tombstones.ts';

const TEXT_LIMIT_BYTES = 256 * 1024 * 1024;

/** A published version as it lies in ct-releases. */
export interface Published {
  readonly sums: ReadonlyMap<string, string>;
  readonly registry: readonly Record<string, string>[];
  readonly exclusions: readonly Record<string, string>[];
  readonly tombstones: readonly Tombstone[];
}

export async function readPublished(store: ObjectStore, version: string, signal?: AbortSignal): Promise<Published> {
  const text = async (file: string): Promise<string> => {
    const bytes = await store.getBytes(RELEASES, `${version}/${file}`, TEXT_LIMIT_BYTES, signal);
    if (bytes === undefined) throw new Fault('MANIFEST_MISSING', true, `${version}/${file} is not in ${RELEASES}`);
    return Buffer.from(bytes).toString('utf8');
  };
  return {
    sums: parseSums(await text(SUMS_FILE)),
    registry: fromCsv(await text('registry.csv')),
    exclusions: fromCsv(await text('exclusions.csv')),
    tombstones: await publishedTombstones(store, version, signal),
  };
}

/**
 * Own ids of the withdrawn studies that the version has, or had when an erasure of it was cut short. One that goes on under
 * another subject, and is in this version by what stands of it, is none; what was a member is there as a member only.
 */
export async function withdrawnIn(secret: Uint8Array, tx: Queryable, published: Published, now: DocumentFacts): Promise<Set<string>> {
  const { registry, exclusions, tombstones } = published;
  const members = new Set([...registry.map((r) => r['study_id'] ?? ''), ...tombstones.map((t) => t.study)]);
  const excluded = new Set(exclusions.map((r) => r['study_id'] ?? ''));
  const ids = ownIds(secret);
  const withdrawn = await tx.query<{ study_id: string }>('SELECT study_id FROM withdrawn_study');
  const isMember = new Set(now.entries.map((e) => e.study));
  const isExcluded = new Set(now.contents.exclusions.map((e) => ids.study(e.studyId)));
  const isGone = (id: string): boolean => !isMember.has(id) && (members.has(id) || (excluded.has(id) && !isExcluded.has(id)));
  return new Set(withdrawn.map((w) => ids.study(w.study_id)).filter(isGone));
}

/** Everybody else must stay: another secret or code that decides otherwise must not rewrite what is published. */
export function checkSame(version: string, { registry }: Published, gone: ReadonlySet<string>, now: ReadonlySet<string>): void {
  const before = registry.map((r) => r['study_id'] ?? '').filter((id) => !gone.has(id));
  if (before.length === now.size && before.every((id) => now.has(id))) return;
  throw new Fault('UNEXPECTED', true, `${version} can't be written anew: its other studies would change; the secret or the code differ`);
}
