// Builds a version: a pure function of the cut, the volumes and release's secret. Same cut, same bytes.
import { createReadStream } from 'node:fs';
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { sha256Hex } from '../kernel/digest.ts';
import { Fault } from '../kernel/fault.ts';
import type { Database } from '../ports/database.ts';
import type { ObjectStore } from '../ports/object-store.ts';
import { adoptPublished } from './adopt.ts';
import type { DocumentFacts, VersionCut } from './documents.ts';
import { copyImage } from './copy-image.ts';
import { canBeTold, membersOf, researchIdsOf } from './members.ts';
import { classCounts, type CopiedImage, type Entry } from './registry.ts';
import { placeFolder } from './place-folder.ts';
import { ReleaseError } from './release-error.ts';
import { fileSha256, filesUnder, SUMS_FILE, sumsText } from './sums.ts';
import { documentFacts, type TextDeps, textsOf } from './texts.ts';
import { verifyRelease } from './verify.ts';
import { checkVersion, findVersion, openVersion, type TakenUntil, type VersionRow } from './versions.ts';

export interface ReleaseDeps extends TextDeps {
  readonly database: Database;
  /** Folder with room for a whole dataset. */
  readonly stagingDir: string;
}

export interface BuildDeps extends ReleaseDeps {
  readonly takenUntil: TakenUntil;
}

export interface BuildOptions {
  readonly version: string;
  /** To build from the cut of an earlier release.json; else everything that has come. Fixed by the first build. */
  readonly cut?: readonly VersionCut[];
  /** Build although events below the cut are missing; they are named in release.json. */
  readonly acceptHoles?: boolean;
  /** Folder that gets a copy of the candidate as `<outDir>/candidates/<version>`. */
  readonly outDir?: string;
  readonly signal?: AbortSignal;
}

export interface Built {
  readonly version: string;
  readonly state: 'candidate' | 'released';
  readonly studies: number;
  readonly classes: Readonly<Record<string, number>>;
  readonly exclusions: number;
  readonly waiting: number;
  /** SHA-256 (hex) of SHA256SUMS: names the whole dataset. */
  readonly sumsSha256: string;
  /** Prefix in ct-release-candidates. */
  readonly prefix: string;
  readonly dir?: string;
}

export const CANDIDATES = 'ct-release-candidates';
const COPIES_AT_A_TIME = 4;

/**
 * Builds the candidate of a version in ct-release-candidates (and `outDir`), verified from what was written.
 * Building again gives the same bytes; a released version is built again on the disk only.
 * @throws ReleaseError, Fault of store, database or bus
 */
export async function buildRelease(deps: BuildDeps, o: BuildOptions): Promise<Built> {
  const version = checkVersion(o.version);
  await adoptFirst(deps, o.signal);
  const row = await openVersion(deps.database, version, o, deps.takenUntil);
  const facts = await documentFacts(deps, row, o.signal);
  if (facts.entries.length === 0) {
    // Nothing was built from this cut, so the name stays free for a later one; unless files of withdrawn subjects are still to be
    // removed from it, which only the row remembers.
    await deps.database.query("DELETE FROM version WHERE version = $1 AND state = 'building' AND NOT erasure_pending", [row.version]);
    throw new ReleaseError('NO_STUDIES', `no graded study below the cut of ${row.version}; ${facts.contents.waiting} wait for readings`);
  }
  // Once it is approved it would be too late: the outbox would try it for ever.
  if (row.state !== 'released' && !canBeTold(researchIdsOf(facts.entries), row.cut))
    throw new ReleaseError(
      'GATE_FAILED',
      `the event that tells of ${row.version} can't name ${facts.entries.length} studies: its topic takes no such record`,
    );
  await mkdir(deps.stagingDir, { recursive: true, mode: 0o700 });
  const staging = await mkdtemp(join(deps.stagingDir, `${row.version}-`));
  try {
    const sumsSha256 = await writeFolder(deps, facts, staging, o.signal);
    if (row.state !== 'released') {
      await uploadFolder(deps.store, staging, row.version, o.signal);
      await noteCandidate(deps, row, facts.entries, sumsSha256);
    } else if ((await findVersion(deps.database, row.version))?.cleared !== row.cleared) throw withdrawnMeanwhile(row.version);
    else if (row.sums_sha256 !== sumsSha256)
      throw new ReleaseError(
        'CANDIDATE_CHANGED',
        `${row.version} was released with other bytes (SHA256SUMS ${row.sums_sha256}, now ${sumsSha256}): code or secret differ`,
      );
    const dir =
      o.outDir === undefined
        ? undefined
        : await placeFolder(join(o.outDir, 'candidates', row.version), (fresh) => cp(staging, fresh, { recursive: true }));
    if (dir !== undefined && (await findVersion(deps.database, row.version))?.cleared !== row.cleared) {
      // The erasure has looked there before the folder was in its place.
      await rm(dir, { recursive: true, force: true });
      throw withdrawnMeanwhile(row.version);
    }
    return {
      version: row.version,
      state: row.state === 'released' ? 'released' : 'candidate',
      studies: facts.entries.length,
      classes: classCounts(facts.entries),
      exclusions: facts.contents.exclusions.length,
      waiting: facts.contents.waiting,
      sumsSha256,
      prefix: row.version,
      ...(dir === undefined ? {} : { dir }),
    };
  } catch (error) {
    throw await reasonOf(error, deps, row);
  } finally {
    await rm(staging, { recursive: true, force: true });
  }
}

/** A name that is published must not be given again, and the change log compares with the version before. @throws ReleaseError CUT_NOT_REACHED */
async function adoptFirst(deps: BuildDeps, signal: AbortSignal | undefined): Promise<void> {
  try {
    await adoptPublished(deps, signal);
  } catch (error) {
    throw error instanceof Fault && error.code === 'ERASURE_PENDING' ? new ReleaseError('CUT_NOT_REACHED', error.message) : error;
  }
}

/** Writes the whole dataset into the folder and verifies it from there. Returns the digest of SHA256SUMS. */
async function writeFolder(deps: ReleaseDeps, facts: DocumentFacts, dir: string, signal: AbortSignal | undefined): Promise<string> {
  const images = new Map<string, CopiedImage>();
  const queue = facts.entries.values();
  const copyNext = async (): Promise<void> => {
    for (const entry of queue) images.set(entry.study, await copyImage(deps.store, entry, dir, signal));
  };
  await mkdir(join(dir, 'images'));
  await Promise.all(Array.from({ length: COPIES_AT_A_TIME }, copyNext));
  const texts = textsOf(facts, deps.secret, images);
  await mkdir(join(dir, 'splits'));
  for (const [file, text] of texts) await writeFile(join(dir, file), text);
  const sums = new Map<string, string>();
  for (const file of await filesUnder(dir)) sums.set(file, await fileSha256(join(dir, file)));
  const text = sumsText(sums);
  await writeFile(join(dir, SUMS_FILE), text);
  const { ok, problems } = await verifyRelease(dir);
  if (!ok)
    throw new ReleaseError(
      'GATE_FAILED',
      problems
        .map((p) => `${p.file}: ${p.code} (${p.detail})`)
        .slice(0, 10)
        .join('; '),
    );
  return sha256Hex(text);
}

/** SHA256SUMS goes last: a folder without it is not whole. What an earlier build left behind and this one has not is removed. */
async function uploadFolder(store: ObjectStore, dir: string, prefix: string, signal: AbortSignal | undefined): Promise<void> {
  const files = await filesUnder(dir);
  const wanted = new Set(files.map((f) => `${prefix}/${f}`));
  const stale: string[] = [];
  for await (const { key } of store.list(CANDIDATES, `${prefix}/`, signal)) if (!wanted.has(key)) stale.push(key);
  if (stale.length > 0) await store.remove(CANDIDATES, stale, signal);
  for (const file of [...files.filter((f) => f !== SUMS_FILE), SUMS_FILE]) {
    if (file.endsWith('.nii.gz'))
      await store.put(CANDIDATES, `${prefix}/${file}`, createReadStream(join(dir, file)) as AsyncIterable<Uint8Array>, {
        contentType: 'application/gzip',
        ...(signal === undefined ? {} : { signal }),
      });
    else await store.put(CANDIDATES, `${prefix}/${file}`, await readFile(join(dir, file)), signal === undefined ? {} : { signal });
  }
}

function withdrawnMeanwhile(version: string): ReleaseError {
  return new ReleaseError('SUBJECT_WITHDRAWN', `a subject withdrew while ${version} was built; build it again`);
}

/** Makes the uploaded folder the candidate, unless a subject withdrew since the build began. */
async function noteCandidate(deps: ReleaseDeps, row: VersionRow, entries: readonly Entry[], sumsSha256: string): Promise<void> {
  const { version } = row;
  const rows = await deps.database.query(
    `UPDATE version SET state = 'candidate', sums_sha256 = $2, members = $3, research_ids = $4, erasure_pending = false
     WHERE version = $1 AND state <> 'released' AND cleared = $5 RETURNING version`,
    [version, sumsSha256, JSON.stringify(membersOf(entries)), JSON.stringify(researchIdsOf(entries)), row.cleared],
  );
  if (rows.length > 0) return;
  throw (await findVersion(deps.database, version))?.state === 'released'
    ? new ReleaseError('ALREADY_RELEASED', `${version} was released meanwhile`)
    : withdrawnMeanwhile(version);
}

/** The error to tell: when a subject withdrew since the build began, that is the reason, and what was uploaded goes. */
async function reasonOf(error: unknown, deps: ReleaseDeps, row: VersionRow): Promise<unknown> {
  const now = await findVersion(deps.database, row.version);
  if (now === undefined || now.cleared === row.cleared) return error;
  if (now.state === 'building') await removePrefix(deps.store, CANDIDATES, row.version);
  return withdrawnMeanwhile(row.version);
}

/** Removes every object of the version; answers how many. */
export async function removePrefix(store: ObjectStore, bucket: string, version: string, signal?: AbortSignal): Promise<number> {
  const keys: string[] = [];
  for await (const { key } of store.list(bucket, `${version}/`, signal)) keys.push(key);
  if (keys.length > 0) await store.remove(bucket, keys, signal);
  return keys.length;
}
