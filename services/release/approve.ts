// Approval: two people let a candidate out. Only this writes to ct-releases.
import { createHash } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { digestOfParts, sha256Hex } from '../kernel/digest.ts';
import type { Database } from '../ports/database.ts';
import type { ObjectStore } from '../ports/object-store.ts';
import { CANDIDATES, type ReleaseDeps, removePrefix } from './build.ts';
import { placeFolder } from './place-folder.ts';
import { ReleaseError } from './release-error.ts';
import { parseSums, SUMS_FILE } from './sums.ts';
import { RELEASES } from './tombstones.ts';
import { verifyRelease } from './verify.ts';
import { checkVersion, findVersion, type VersionRow } from './versions.ts';

export interface ApproveOptions {
  readonly version: string;
  /** Two different names. */
  readonly approvers: readonly string[];
  /** True when they are no people (the demo): the event says so. */
  readonly simulated: boolean;
  /** Folder that gets the dataset as `<outDir>/<version>`. */
  readonly outDir?: string;
  readonly signal?: AbortSignal;
}

export interface Approved {
  readonly version: string;
  readonly studies: number;
  readonly sumsSha256: string;
  /** Prefix in ct-releases. */
  readonly prefix: string;
  readonly dir?: string;
}

const SUMS_LIMIT_BYTES = 256 * 1024 * 1024;

/**
 * Copies the candidate to ct-releases (each file checked against SHA256SUMS on the way) and to `outDir`, then marks
 * the version released and enqueues DatasetReleased. A crash on the way leaves a candidate: approve it again.
 * A withdrawal on the way ends it, and what was copied goes.
 * @throws ReleaseError NEEDS_TWO_APPROVERS, NO_CANDIDATE, ALREADY_RELEASED, CANDIDATE_CHANGED, GATE_FAILED, SUBJECT_WITHDRAWN
 */
export async function approveRelease(deps: Pick<ReleaseDeps, 'database' | 'store' | 'codeVersion'>, o: ApproveOptions): Promise<Approved> {
  const approvers = twoNames(o.approvers);
  const row = await candidateOf(deps.database, checkVersion(o.version));
  try {
    // Tells copies of a killed approval from a version that was approved after the backup which this database may come from.
    await deps.database.query('UPDATE version SET approving = true WHERE version = $1', [row.version]);
    const dir = await copyOut(deps, row, o);
    await markReleased(deps, row, approvers, o.simulated);
    return {
      version: row.version,
      studies: row.research_ids?.length ?? 0,
      sumsSha256: row.sums_sha256 ?? '',
      prefix: row.version,
      ...(dir === undefined ? {} : { dir }),
    };
  } catch (error) {
    // Voided by a withdrawal: what was copied after its erasure looked must not stay.
    if ((await findVersion(deps.database, row.version))?.state === 'building') {
      await removePrefix(deps.store, RELEASES, row.version);
      if (o.outDir !== undefined) await rm(join(o.outDir, row.version), { recursive: true, force: true });
    }
    throw error;
  }
}

/** Copies the candidate to ct-releases and to `outDir`; answers the folder. */
async function copyOut(
  { database, store }: Pick<ReleaseDeps, 'database' | 'store'>,
  row: VersionRow,
  o: ApproveOptions,
): Promise<string | undefined> {
  const text = await store.getBytes(CANDIDATES, `${row.version}/${SUMS_FILE}`, SUMS_LIMIT_BYTES, o.signal);
  if (text === undefined || sha256Hex(text) !== row.sums_sha256)
    throw new ReleaseError('CANDIDATE_CHANGED', `${SUMS_FILE} of the candidate is not the one that was built; build ${row.version} again`);
  const sums = parseSums(Buffer.from(text).toString('utf8'));
  for (const [file, sha256] of sums) await copyChecked(store, row.version, file, sha256, o.signal);
  await store.put(RELEASES, `${row.version}/${SUMS_FILE}`, text, o.signal === undefined ? {} : { signal: o.signal });
  if (o.outDir === undefined) return undefined;
  // So that what a killed download leaves on the disk is either without the withdrawn subject or older than the withdrawal.
  if ((await findVersion(database, row.version))?.cleared !== row.cleared) throw candidateVoid(row.version);
  return await download(store, row.version, [...sums.keys(), SUMS_FILE], join(o.outDir, row.version), o.signal);
}

function twoNames(names: readonly string[]): string[] {
  const cleaned = names.map((n) => n.trim().replace(/\s+/g, ' ')).filter((n) => n !== '');
  if (cleaned.length !== 2 || new Set(cleaned.map((n) => n.toLocaleLowerCase('en'))).size !== 2)
    throw new ReleaseError('NEEDS_TWO_APPROVERS', 'give the names of two different people');
  return cleaned;
}

function candidateVoid(version: string): ReleaseError {
  return new ReleaseError('SUBJECT_WITHDRAWN', `a subject of ${version} withdrew after it was built; build it again`);
}

async function candidateOf(database: Database, version: string): Promise<VersionRow> {
  const row = await findVersion(database, version);
  if (row?.state === 'released') throw new ReleaseError('ALREADY_RELEASED', `${version} is released and never changes`);
  if (row?.state === 'building' && row.cleared > 0) throw candidateVoid(version);
  if (row?.state !== 'candidate') throw new ReleaseError('NO_CANDIDATE', `build ${version} first`);
  return row;
}

async function copyChecked(
  store: ObjectStore,
  prefix: string,
  file: string,
  sha256: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  const key = `${prefix}/${file}`;
  const body = await store.get(CANDIDATES, key, signal === undefined ? {} : { signal });
  if (body === undefined) throw new ReleaseError('CANDIDATE_CHANGED', `${file} is not in the candidate; build ${prefix} again`);
  const hash = createHash('sha256');
  let wrong: ReleaseError | undefined;
  async function* hashed(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    for await (const chunk of chunks) {
      hash.update(chunk);
      yield chunk;
    }
    if (hash.digest('hex') === sha256) return;
    wrong = new ReleaseError('CANDIDATE_CHANGED', `${file} of the candidate has other bytes; build ${prefix} again`);
    // Thrown before the store has the end of the body, so nothing wrong is ever whole there.
    throw wrong;
  }
  await store
    .put(RELEASES, key, hashed(body), signal === undefined ? {} : { signal })
    .catch((error: unknown) => Promise.reject(wrong ?? error));
}

async function download(
  store: ObjectStore,
  prefix: string,
  files: readonly string[],
  to: string,
  signal: AbortSignal | undefined,
): Promise<string> {
  return await placeFolder(to, async (fresh) => {
    for (const file of files) {
      const body = await store.get(RELEASES, `${prefix}/${file}`, signal === undefined ? {} : { signal });
      if (body === undefined) throw new ReleaseError('CANDIDATE_CHANGED', `${file} is not in ${RELEASES}`);
      const path = join(fresh, file);
      await mkdir(dirname(path), { recursive: true });
      await pipeline(Readable.from(body), createWriteStream(path));
    }
    const { ok, problems } = await verifyRelease(fresh);
    if (!ok)
      throw new ReleaseError(
        'GATE_FAILED',
        problems
          .map((p) => `${p.file}: ${p.code}`)
          .slice(0, 10)
          .join('; '),
      );
  });
}

async function markReleased(
  deps: Pick<ReleaseDeps, 'database' | 'codeVersion'>,
  row: VersionRow,
  approvers: readonly string[],
  simulated: boolean,
): Promise<void> {
  await deps.database.transaction(async (tx) => {
    const marked = await tx.query(
      "UPDATE version SET state = 'released', approving = false, approvers = $2, simulated = $3, released_at = clock_timestamp() WHERE version = $1 AND state = 'candidate' AND sums_sha256 = $4 RETURNING version",
      [row.version, JSON.stringify(approvers), simulated, row.sums_sha256],
    );
    if (marked.length === 0 && (await findVersion(tx, row.version))?.state === 'building') throw candidateVoid(row.version);
    if (marked.length === 0) throw new ReleaseError('ALREADY_RELEASED', `${row.version} was released or built anew meanwhile`);
    await tx.enqueue({
      type: 'ctstream.research.v1.DatasetReleased',
      value: {
        version: row.version,
        prefix: row.version,
        sha256sumsSha256: row.sums_sha256 ?? '',
        studies: row.research_ids ?? [],
        approvers,
        simulatedApproval: simulated,
        codeVersion: deps.codeVersion,
        cut: row.cut,
      },
      cause: digestOfParts(['release', row.version, row.sums_sha256 ?? '']),
    });
  });
}
