// What a replay made against what was: events by id, objects by their bytes.
import { createHash } from 'node:crypto';
import { canonicalJson } from '../kernel/manifest.ts';
import type { EventIn } from '../kernel/stage.ts';
import type { ObjectStore } from '../ports/object-store.ts';

/** Names places and ids, never a value. */
export interface Difference {
  readonly what: 'event' | 'object';
  /** `missing`: it was and the replay has none. `extra`: the other way round. */
  readonly how: 'missing' | 'extra' | 'other';
  /** Topic and event id, or bucket and object name. */
  readonly name: string;
}

const nameOf = (event: EventIn): string => `${event.topic} ${event.id}`;
const textOf = (event: EventIn): string => Buffer.from(canonicalJson([event.type, event.key, event.value])).toString();

/** Compares by id: type, key and value must be equal. Times and traces are each run's own. */
export function compareEvents(recorded: readonly EventIn[], told: readonly EventIn[]): Difference[] {
  const was = new Map(recorded.map((event) => [event.id, event]));
  const is = new Map(told.map((event) => [event.id, event]));
  const found: Difference[] = [];
  for (const [id, event] of was) {
    const other = is.get(id);
    if (other === undefined) found.push({ what: 'event', how: 'missing', name: nameOf(event) });
    else if (textOf(other) !== textOf(event)) found.push({ what: 'event', how: 'other', name: nameOf(event) });
  }
  for (const [id, event] of is) if (!was.has(id)) found.push({ what: 'event', how: 'extra', name: nameOf(event) });
  return found;
}

async function digestOf(store: ObjectStore, bucket: string, key: string, signal: AbortSignal): Promise<string | undefined> {
  const body = await store.get(bucket, key, { signal });
  if (body === undefined) return undefined;
  const hash = createHash('sha256');
  for await (const chunk of body) hash.update(chunk);
  return hash.digest('hex');
}

async function keysOf(store: ObjectStore, bucket: string, wanted: (key: string) => boolean, signal: AbortSignal): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of store.list(bucket, '', signal)) if (wanted(key)) keys.push(key);
  return keys;
}

export interface ObjectsToCompare {
  readonly source: ObjectStore;
  readonly target: ObjectStore;
  readonly bucket: string;
  /** Objects of the target that are compared, byte for byte. */
  wanted(key: string): boolean;
  /** Objects of the source that the target must have: what the log up to the cut names. Others are attempts that lost, or were
   * published since. */
  needed(key: string): boolean;
  readonly signal: AbortSignal;
}

/** @returns how many objects were compared, and what differs */
export async function compareObjects(o: ObjectsToCompare): Promise<{ readonly compared: number; readonly differences: Difference[] }> {
  const { source, target, bucket, signal } = o;
  const made = await keysOf(target, bucket, (key) => o.wanted(key), signal);
  const needed = await keysOf(source, bucket, (key) => o.needed(key), signal);
  const differences: Difference[] = [];
  const tell = (how: Difference['how'], key: string): void => void differences.push({ what: 'object', how, name: `${bucket}/${key}` });
  const there = new Set(made);
  for (const key of needed) if (!there.has(key)) tell('missing', key);
  for (const key of made) {
    const was = await digestOf(source, bucket, key, signal);
    if (was === undefined) tell('extra', key);
    else if (was !== (await digestOf(target, bucket, key, signal))) tell('other', key);
  }
  return { compared: made.length, differences };
}
