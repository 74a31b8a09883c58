// Sends small phantom studies to the PACSs, one after the other as long as the run lasts, and remembers each file's hash.
import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { OrthancInstance } from '../../deploy/local/platform.ts';
import { feed, type FeedFile } from '../../services/centre-gateway/feed.ts';
import { generateStudy } from '../../services/cli/phantom/generate.ts';
import { random } from '../../services/cli/phantom/random.ts';
import { SMALL } from '../integration/pipeline.ts';

/** A study that its PACS took whole. */
export interface SentStudy {
  readonly index: number;
  readonly centre: string;
  readonly studyInstanceUid: string;
  /** SHA-256 (hex) of every file. */
  readonly files: ReadonlySet<string>;
}

export interface SenderOptions {
  readonly pacs: readonly OrthancInstance[];
  readonly seed: number;
  readonly everyMs: number;
  /** Ends the sending of new studies; what is under way is sent to its end. */
  readonly signal: AbortSignal;
  readonly onSent: (study: SentStudy) => void;
}

/** A PACS may be down for seconds, as long as the machine is busy. */
const SENT_WITHIN_MS = 240_000;

/** Sends the phantom of this number to one of the PACSs, drawn by the seed, until it is there whole. */
export async function sendStudy(o: Pick<SenderOptions, 'pacs' | 'seed'>, index: number): Promise<SentStudy> {
  const pacs = random(o.seed, 'centre', index).pick(o.pacs);
  const study = generateStudy({ ...SMALL, seed: o.seed, index, issuer: `iss-${pacs.centre}` });
  const files: FeedFile[] = [];
  const hashes = new Set<string>();
  let next = study.next();
  for (; next.done !== true; next = study.next()) {
    const { path, bytes } = next.value;
    files.push({ path, bytes: async () => bytes });
    hashes.add(createHash('sha256').update(bytes).digest('hex'));
  }
  await feedSurely(pacs, files);
  return { index, centre: pacs.centre, studyInstanceUid: next.value.studyInstanceUid, files: hashes };
}

/** As a scanner does: sends again what was not taken. */
async function feedSurely(pacs: OrthancInstance, files: readonly FeedFile[]): Promise<void> {
  const target = { orthancUrl: pacs.baseUrl, dicomWebUrl: pacs.dicomWebUrl, username: pacs.username, password: pacs.password };
  const signal = AbortSignal.timeout(SENT_WITHIN_MS);
  let left = [...files];
  for (;;) {
    const taken = new Set<string>();
    const onResult = (r: { path: string; stored: boolean }): void => void (r.stored && taken.add(r.path));
    await feed(left, target, { signal, onResult }).catch(() => undefined);
    left = left.filter((f) => !taken.has(f.path));
    if (left.length === 0) return;
    signal.throwIfAborted();
    await sleep(500);
  }
}

/** Sends until the signal aborts. @throws Error when a PACS did not take a study within minutes. */
export async function sendStudies(o: SenderOptions): Promise<number> {
  const sending: Promise<void>[] = [];
  let index = 0;
  for (; !o.signal.aborted; index += 1) {
    const one = sendStudy(o, index).then(o.onSent);
    // Awaited below; until then it must not end the process.
    one.catch(() => undefined);
    sending.push(one);
    await sleep(o.everyMs, undefined, { signal: o.signal }).catch(() => undefined);
  }
  await Promise.all(sending);
  return index;
}
