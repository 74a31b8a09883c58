// The manifest of a study's objects, and the one way to publish it: PUT with If-None-Match.
import { sha256Hex } from './digest.ts';
import { Fault } from './fault.ts';
import { LONGEST_ATTEMPT_MS } from './sweep.ts';

export interface ManifestInstance {
  /** SOPInstanceUID (original in ct-clinical, research UID in ct-research). */
  readonly sopInstanceUid: string;
  readonly sopClassUid: string;
  readonly transferSyntaxUid: string;
  /** First byte of the DICOM file in the series' tar: one slice is one range GET. */
  readonly offset: number;
  readonly sizeBytes: number;
  readonly sha256: string;
}

export interface ManifestSeries {
  readonly seriesInstanceUid: string;
  readonly modality: string;
  /** Object name of the plain tar. */
  readonly object: string;
  readonly sizeBytes: number;
  /** Sorted by SOPInstanceUID. */
  readonly instances: readonly ManifestInstance[];
}

export interface StudyManifest {
  readonly format: 'ctstream-manifest/1';
  /** StudyInstanceUID in ct-clinical, research study id in ct-research. */
  readonly study: string;
  readonly revision: string;
  /** The attempt whose objects count. */
  readonly attempt: string;
  /** Sorted by SeriesInstanceUID. */
  readonly series: readonly ManifestSeries[];
  /** Whatever else the stage's event is made of; no clock, no randomness but the attempt's name. */
  readonly facts: Readonly<Record<string, unknown>>;
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, v]) => v !== undefined)
      .sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
      .map(([k, v]) => [k, sorted(v)]),
  );
}

/** JSON with sorted keys: equal values give equal bytes. */
export function canonicalJson(value: unknown): Uint8Array {
  return Buffer.from(`${JSON.stringify(sorted(value), null, 1)}\n`);
}

/** What publishing needs of an object store. */
export interface ManifestStore {
  put(
    bucket: string,
    key: string,
    body: Uint8Array,
    options: { ifNoneMatch: true; contentType: string; signal: AbortSignal },
  ): Promise<'created' | 'exists'>;
  getBytes(bucket: string, key: string, limitBytes: number, signal: AbortSignal): Promise<Uint8Array | undefined>;
}

export const MANIFEST_LIMIT_BYTES = 64 * 1024 * 1024;

export interface Published<M> {
  readonly manifest: M;
  readonly sha256: string;
  /** False when another attempt had published before: its manifest is the one returned. */
  readonly ours: boolean;
}

/** Reads a published manifest; undefined when there is none. */
export async function readManifest<M = StudyManifest>(
  store: ManifestStore,
  bucket: string,
  key: string,
  signal: AbortSignal,
): Promise<Published<M> | undefined> {
  const bytes = await store.getBytes(bucket, key, MANIFEST_LIMIT_BYTES, signal);
  if (bytes === undefined) return undefined;
  return { manifest: JSON.parse(Buffer.from(bytes).toString('utf8')) as M, sha256: sha256Hex(bytes), ours: false };
}

/** A moment by two clocks: one that never jumps but stands still while the machine sleeps, and one that goes on then. */
export interface Moment {
  readonly steadyMs: number;
  readonly wallMs: number;
}

export const momentNow = (): Moment => ({ steadyMs: performance.now(), wallMs: Date.now() });

/** Milliseconds since then, by the clock that says more: too old is tried again, too young may name what was swept. */
const ageOf = ({ steadyMs, wallMs }: Moment): number => Math.max(performance.now() - steadyMs, Date.now() - wallMs);

/**
 * The publish point of a revision: the first manifest wins. Who loses reads the winner's and must
 * publish *its* event, so every attempt tells the same.
 * @param began `momentNow()` before the attempt wrote its first object
 * @throws Fault JOB_TIMEOUT when that is too long ago: a process that was stopped in between may wake after the sweeper has
 * taken the attempt's objects. Clocks decide, so a timer that fires late changes nothing. What remains is a stop of hours between this check and the signing of the request, some microseconds later: later than that,
 * the server refuses a request that was signed so long ago.
 */
export async function publishManifest<M>(
  store: ManifestStore,
  bucket: string,
  key: string,
  manifest: M,
  signal: AbortSignal,
  began: Moment,
): Promise<Published<M>> {
  const bytes = canonicalJson(manifest);
  if (ageOf(began) > LONGEST_ATTEMPT_MS)
    throw new Fault('JOB_TIMEOUT', true, 'the attempt is too old to publish: its objects may have been swept');
  const result = await store.put(bucket, key, bytes, { ifNoneMatch: true, contentType: 'application/json', signal });
  if (result === 'created') return { manifest, sha256: sha256Hex(bytes), ours: true };
  const winner = await readManifest<M>(store, bucket, key, signal);
  if (winner === undefined) throw new Error(`${key}: the store says it exists and does not return it`);
  return winner;
}
