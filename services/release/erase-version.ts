// Takes withdrawn studies out of versions: what is published loses their files and rows and gains tombstones.csv; what is
// no candidate yet is removed. Each step can be done again: tombstones first, SHA256SUMS last.
import { createHash } from 'node:crypto';
import { access, mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Fault } from '../kernel/fault.ts';
import { sha256Hex } from '../kernel/digest.ts';
import type { Transaction } from '../ports/database.ts';
import { adoptPublished } from './adopt.ts';
import { CANDIDATES, removePrefix } from './build.ts';
import type { ErasePorts } from './erase.ts';
import { membersOf, researchIdsOf } from './members.ts';
import { checkSame, type Published, readPublished, withdrawnIn } from './published.ts';
import type { CopiedImage } from './registry.ts';
import { SUMS_FILE, sumsText } from './sums.ts';
import { documentFacts, textsOf, withoutTombstoned } from './texts.ts';
import { RELEASES, type Tombstone, TOMBSTONES_FILE, tombstonesText } from './tombstones.ts';
import { allVersions, lockFacts, type VersionRow } from './versions.ts';

/** One process at a time writes a published version anew. */
const FILES_LOCK = 0x46494c45;

/**
 * Does what withdrawals left to do on versions; answers how many objects were removed. One version that can't be written anew
 * keeps nobody in the others: its error is thrown when they are done.
 * @throws Fault of store and database, or of such a version; ERASURE_PENDING when a published one can't be known yet
 */
export async function eraseFromVersions(ports: ErasePorts, signal: AbortSignal): Promise<number> {
  await adoptPublished(ports, signal);
  const { removed, errors } = await ports.database.transaction(async (tx) => {
    // The session says nothing while files are written and removed, which a slow store may take long for.
    await tx.query("SET LOCAL idle_in_transaction_session_timeout = '15min'");
    await tx.query('SELECT pg_advisory_xact_lock($1)', [FILES_LOCK]);
    // No other subject's facts may go while the texts are made without this one's.
    await lockFacts(tx, 'add');
    let removed = 0;
    const errors: unknown[] = [];
    // The oldest first: the change log of the next one compares with it, so after one that failed the next ones are done again.
    for (const row of (await allVersions(tx)).filter((v) => v.erasure_pending))
      try {
        const staysPending = errors.length > 0;
        removed +=
          row.state === 'released'
            ? await eraseReleased(ports, tx, row, staysPending, signal)
            : await removeVersion(ports, tx, row, signal);
      } catch (error) {
        if (signal.aborted || isAway(error)) throw error;
        errors.push(error);
      }
    return { removed, errors };
  }, signal);
  if (errors.length > 0) throw errors[0];
  return removed;
}

/** What every version needs: trying the others would only take long. */
function isAway(error: unknown): boolean {
  return error instanceof Fault && /^(?:STORE|DATABASE)_/.test(error.code);
}

/** What lies at the place of the candidate: a void one, or what a build left. */
async function removeCandidate(ports: ErasePorts, version: string, signal: AbortSignal): Promise<number> {
  if (ports.outDir !== undefined) await rm(join(ports.outDir, 'candidates', version), { recursive: true, force: true });
  return await removePrefix(ports.store, CANDIDATES, version, signal);
}

async function removeVersion(ports: ErasePorts, tx: Transaction, { version }: VersionRow, signal: AbortSignal): Promise<number> {
  // Also ends a build that is uploading now. One that has become a candidate meanwhile began after the facts were gone.
  const left = await tx.query(
    "UPDATE version SET cleared = cleared + 1, erasure_pending = false, approving = false WHERE version = $1 AND state = 'building' RETURNING 1",
    [version],
  );
  if (left.length === 0) return 0;
  const removed = await removeCandidate(ports, version, signal);
  // What an approval that was on its way has copied.
  if (ports.outDir !== undefined) await rm(join(ports.outDir, version), { recursive: true, force: true });
  return removed + (await removePrefix(ports.store, RELEASES, version, signal));
}

/** @param staysPending it must be done again later */
async function eraseReleased(
  ports: ErasePorts,
  tx: Transaction,
  row: VersionRow,
  staysPending: boolean,
  signal: AbortSignal,
): Promise<number> {
  const { version } = row;
  const published = await readPublished(ports.store, version, signal);
  const now = await documentFacts({ ...ports, database: tx }, row, signal);
  const gone = await withdrawnIn(ports.secret, tx, published, now);
  // Before anything is written or removed.
  checkSame(version, published, gone, new Set(now.entries.map((e) => e.study)));
  const files = filesOf(published, gone);
  const tombstones = withTombstones(published.tombstones, gone, ports.clock.nowMs());
  const write = async (file: string, text: string): Promise<void> => {
    await ports.store.put(RELEASES, `${version}/${file}`, Buffer.from(text), { signal });
    await writeOnDisk(ports.outDir, version, file, text);
  };
  if (tombstones.length > 0) await write(TOMBSTONES_FILE, tombstonesText(tombstones));
  await ports.store.remove(
    RELEASES,
    files.map((f) => `${version}/${f}`),
    signal,
  );
  if (ports.outDir !== undefined) for (const file of files) await rm(join(ports.outDir, version, file), { force: true });

  const facts = withoutTombstoned({ ...now, tombstones }, ports.secret);
  const texts = textsOf(facts, ports.secret, imagesOf(published.sums));
  for (const [file, text] of texts) await write(file, text);
  const sums = new Map([...published.sums].filter(([file]) => !files.includes(file)));
  for (const [file, text] of texts) sums.set(file, sha256Hex(text));
  await write(SUMS_FILE, sumsText(sums));
  await removeCandidate(ports, version, signal);
  await tx.query('UPDATE version SET sums_sha256 = $2, members = $3, research_ids = $4, erasure_pending = $5 WHERE version = $1', [
    version,
    sha256Hex(sumsText(sums)),
    JSON.stringify(membersOf(facts.entries)),
    JSON.stringify(researchIdsOf(facts.entries)),
    staysPending,
  ]);
  return files.length;
}

/** Files of the studies: image, and mask where there is one, by their names as the registry and the sums have them. */
function filesOf({ sums, registry }: Published, gone: ReadonlySet<string>): string[] {
  const named = registry
    .filter((r) => gone.has(r['study_id'] ?? ''))
    .flatMap((r) => [r['study_file'] ?? '', r['mask_file'] ?? ''])
    .filter((f) => f !== '');
  // The registry may be written anew already, by an erasure that was cut short.
  const left = [...sums.keys()].filter((f) => gone.has(/^(?:images|masks)\/([^/.]+)\./.exec(f)?.[1] ?? ''));
  return [...new Set([...named, ...left])];
}

function withTombstones(known: readonly Tombstone[], gone: ReadonlySet<string>, nowMs: number): Tombstone[] {
  const date = new Date(nowMs).toISOString().slice(0, 10);
  const added = [...gone].filter((study) => !known.some((t) => t.study === study));
  return [...known, ...added.map((study) => ({ study, date, reason: 'PATIENT_WITHDRAWN' }))];
}

function imagesOf(sums: ReadonlyMap<string, string>): Map<string, CopiedImage> {
  const images = new Map<string, CopiedImage>();
  for (const [file, sha256] of sums) {
    const study = /^images\/([^/]+)\.nii\.gz$/.exec(file)?.[1];
    if (study !== undefined) images.set(study, { sha256 });
  }
  return images;
}

/** Replaces a file of the dataset on the disk, where it was written to. */
async function writeOnDisk(outDir: string | undefined, version: string, file: string, text: string): Promise<void> {
  if (outDir === undefined) return;
  const dir = join(outDir, version);
  const isThere = await access(dir).then(
    () => true,
    () => false,
  );
  if (!isThere) return;
  const path = join(dir, file);
  await mkdir(dirname(path), { recursive: true });
  const fresh = `${path}.${createHash('sha256').update(path).digest('hex').slice(0, 8)}`;
  await writeFile(fresh, text);
  await rename(fresh, path);
}
