// Every text of a version, from its cut: what a build writes, and what an erasure writes anew without a subject.
import type { Queryable } from '../ports/database.ts';
import type { ObjectStore } from '../ports/object-store.ts';
import { agreementOf } from './agreement.ts';
import { changeLog, datasheet, type DocumentFacts, releaseJson } from './documents.ts';
import { contentsOf } from './facts.ts';
import { ownIds } from './own-ids.ts';
import { type CopiedImage, entriesOf, firstPairs, tablesOf } from './registry.ts';
import { publishedTombstones, TOMBSTONES_FILE, tombstonesText } from './tombstones.ts';
import { factsOf, findVersion, type VersionSource } from './versions.ts';

export interface TextDeps {
  readonly database: Queryable;
  readonly store: ObjectStore;
  /** Release's own secret, 32 bytes or more: the dataset's ids and splits are HMACs under it. */
  readonly secret: Uint8Array;
  /** Version of the code, noted in release.json. */
  readonly codeVersion: string;
}

export async function documentFacts(deps: TextDeps, row: VersionSource, signal?: AbortSignal): Promise<DocumentFacts> {
  const contents = contentsOf(await factsOf(deps.database, row));
  const entries = entriesOf(contents, ownIds(deps.secret));
  const before = row.previous === null ? undefined : await findVersion(deps.database, row.previous);
  const previous = before === undefined ? undefined : { version: before.version, members: before.members ?? [] };
  const facts = {
    version: row.version,
    codeVersion: deps.codeVersion,
    cut: row.cut,
    holes: row.holes,
    previous,
    entries,
    contents,
    agreement: agreementOf(firstPairs(entries)),
    tombstones: await publishedTombstones(deps.store, row.version, signal),
  };
  return withoutTombstoned(facts, deps.secret);
}

/**
 * No text but tombstones.csv may name what is tombstoned. It may still be known: a refusal of a revision that nobody selected
 * names no subject and outlasts the withdrawal, and the version before may not be written anew yet.
 */
export function withoutTombstoned(facts: DocumentFacts, secret: Uint8Array): DocumentFacts {
  const { tombstones, contents, previous } = facts;
  if (tombstones.length === 0) return facts;
  const ids = ownIds(secret);
  const gone = new Set(tombstones.map((t) => t.study));
  return {
    ...facts,
    contents: { ...contents, exclusions: contents.exclusions.filter((e) => !gone.has(ids.study(e.studyId))) },
    previous: previous && { ...previous, members: previous.members.filter((m) => !gone.has(m.study)) },
  };
}

/** Path and text of every file but the images and SHA256SUMS. `images` are by the dataset's study id. */
export function textsOf(facts: DocumentFacts, secret: Uint8Array, images: ReadonlyMap<string, CopiedImage>): Map<string, string> {
  return new Map([
    ...tablesOf(facts.entries, facts.contents, ownIds(secret), images),
    ['release.json', releaseJson(facts)],
    ['CHANGELOG.md', changeLog(facts)],
    ['datasheet.md', datasheet(facts)],
    ...(facts.tombstones.length === 0 ? [] : [[TOMBSTONES_FILE, tombstonesText(facts.tombstones)] as const]),
  ]);
}
