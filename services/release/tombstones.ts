// tombstones.csv: what was published and is withdrawn, by the dataset's own study ids, so that who has a copy can
// remove it too. The published file is the record: a rebuild takes it from there.
import type { ObjectStore } from '../ports/object-store.ts';
import { fromCsv, toCsv } from './delimited.ts';

export const TOMBSTONES_FILE = 'tombstones.csv';
export const RELEASES = 'ct-releases';

export interface Tombstone {
  /** The dataset's own id of the study. */
  readonly study: string;
  /** Day of the erasure, UTC, YYYY-MM-DD. */
  readonly date: string;
  readonly reason: string;
}

const COLUMNS = ['study_id', 'date', 'reason'] as const;
const LIMIT_BYTES = 64 * 1024 * 1024;

export function tombstonesText(tombstones: readonly Tombstone[]): string {
  const sorted = tombstones.toSorted((a, b) => (a.study < b.study ? -1 : 1));
  return toCsv(
    COLUMNS,
    sorted.map((t) => [t.study, t.date, t.reason]),
  );
}

/** @throws Error for a text that is no such table. */
export function parseTombstones(text: string): Tombstone[] {
  return fromCsv(text).map((row) => {
    const [study, date, reason] = COLUMNS.map((name) => row[name] ?? '');
    if (study === undefined || study === '' || date === undefined || reason === undefined)
      throw new Error(`${TOMBSTONES_FILE}: a row names no study`);
    return { study, date, reason };
  });
}

/** Those of a published version; none when it has no such file. */
export async function publishedTombstones(store: ObjectStore, version: string, signal?: AbortSignal): Promise<Tombstone[]> {
  const bytes = await store.getBytes(RELEASES, `${version}/${TOMBSTONES_FILE}`, LIMIT_BYTES, signal);
  return bytes === undefined ? [] : parseTombstones(Buffer.from(bytes).toString('utf8'));
}
