// Versions that lie published in ct-releases and that this database does not know: it was made anew from the log, or comes from a
// backup. Without their rows a withdrawal would pass them by, and their names could be given again.
import { z } from 'zod';
import { sha256Hex } from '../kernel/digest.ts';
import { Fault } from '../kernel/fault.ts';
import type { Database, Transaction } from '../ports/database.ts';
import type { VersionHole } from './documents.ts';
import { membersOf, researchIdsOf } from './members.ts';
import { checkSame, readPublished, withdrawnIn } from './published.ts';
import { SUMS_FILE, sumsText } from './sums.ts';
import { documentFacts, type TextDeps } from './texts.ts';
import { RELEASES } from './tombstones.ts';
import { allVersions, compareVersions, findVersion, holesBelow, isVersion, lockFacts, VERSION_LOCK, type VersionRow } from './versions.ts';

export type AdoptDeps = TextDeps & { readonly database: Database };

const recordShape = z.object({
  version: z.string(),
  cut: z.array(z.object({ topic: z.string(), partition: z.number(), endOffset: z.number() })),
  holes: z.array(z.tuple([z.string(), z.number(), z.number(), z.number()])),
  previous: z.string().nullable(),
});
const LIMIT_BYTES = 64 * 1024 * 1024;

/**
 * Makes a row of each such version, the oldest first, from its release.json and the facts below its cut.
 * @throws Fault ERASURE_PENDING while the log is not read that far, or when the facts make another version of it; of the store
 */
export async function adoptPublished(deps: AdoptDeps, signal?: AbortSignal): Promise<void> {
  for (const version of await unknownVersions(deps, signal)) {
    const published = await deps.store.getBytes(RELEASES, `${version}/release.json`, LIMIT_BYTES, signal);
    if (published === undefined) throw unknown(version, 'has no release.json');
    const record = recordShape.parse(JSON.parse(Buffer.from(published).toString('utf8')));
    await deps.database.transaction(async (tx) => {
      await tx.query('SELECT pg_advisory_xact_lock($1)', [VERSION_LOCK]);
      await lockFacts(tx, 'add');
      if (isOurs(await findVersion(tx, version))) return;
      await adopt({ ...deps, database: tx }, tx, record, signal);
    }, signal);
  }
}

/** Versions in ct-releases that are neither released by this database nor a copy of an approval of it. */
async function unknownVersions({ database, store }: AdoptDeps, signal?: AbortSignal): Promise<string[]> {
  const there = (await store.folders(RELEASES, signal)).filter(isVersion).toSorted(compareVersions);
  const rows = new Map((await allVersions(database)).map((row) => [row.version, row]));
  const unknownOnes: string[] = [];
  for (const version of there) {
    const row = rows.get(version);
    if (isOurs(row)) continue;
    // SHA256SUMS was copied last.
    if ((await store.head(RELEASES, `${version}/${SUMS_FILE}`, signal)) !== undefined) unknownOnes.push(version);
    else if (row === undefined) throw unknown(version, `and not whole, it has no ${SUMS_FILE}: remove what is left of it from ${RELEASES}`);
  }
  return unknownOnes;
}

function isOurs(row: VersionRow | undefined): boolean {
  return row !== undefined && (row.state === 'released' || row.approving);
}

async function adopt(
  deps: TextDeps,
  tx: Transaction,
  { version, cut, holes, previous }: z.output<typeof recordShape>,
  signal?: AbortSignal,
): Promise<void> {
  const left = (await holesBelow(tx, cut)).filter((hole) => !isWithin(hole, holes));
  if (left.length > 0) throw unknown(version, `the log is not read up to its cut: ${placeOf(left)}`);
  if (previous !== null && (await findVersion(tx, previous))?.state !== 'released') throw unknown(version, `nor is ${previous} before it`);
  const row = { version, cut, holes, previous };
  const published = await readPublished(deps.store, version, signal);
  const now = await documentFacts(deps, row, signal);
  const gone = await withdrawnIn(deps.secret, tx, published, now);
  try {
    checkSame(version, published, gone, new Set(now.entries.map((e) => e.study)));
  } catch (error) {
    throw unknown(version, 'the facts make other studies of it: a withdrawal may still come, or the secret or the code differ', error);
  }
  await tx.query(
    `INSERT INTO version AS v (version, state, cut, holes, previous, sums_sha256, members, research_ids, approvers, erasure_pending)
     VALUES ($1, 'released', $2, $3, $4, $5, $6, $7, '[]', $8)
     ON CONFLICT (version) DO UPDATE SET state = excluded.state, cut = excluded.cut, holes = excluded.holes, previous = excluded.previous,
       sums_sha256 = excluded.sums_sha256, members = excluded.members, research_ids = excluded.research_ids,
       approvers = excluded.approvers, erasure_pending = excluded.erasure_pending, cleared = v.cleared + 1`,
    [
      version,
      JSON.stringify(cut),
      JSON.stringify(holes),
      previous,
      sha256Hex(sumsText(published.sums)),
      JSON.stringify(membersOf(now.entries)),
      JSON.stringify(researchIdsOf(now.entries)),
      gone.size > 0,
    ],
  );
}

function isWithin([topic, partition, first, last]: VersionHole, holes: readonly VersionHole[]): boolean {
  return holes.some(([t, p, from, to]) => t === topic && p === partition && from <= first && last <= to);
}

function placeOf([hole]: readonly VersionHole[]): string {
  const [topic, partition, first, last] = hole ?? ['', 0, 0, 0];
  return `${topic}, partition ${partition}, offsets ${first} to ${last} have not come`;
}

function unknown(version: string, why: string, cause?: unknown): Fault {
  return new Fault('ERASURE_PENDING', true, `${version} is published and not known to release's database: ${why}`, { cause });
}
