// What is asked after every series of faults: all at rest, nothing lost, nothing doubled.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Account } from '../../services/kernel/accounting.ts';
import { findFaults } from '../chaos/checks.ts';
import { notConsumed } from '../chaos/log.ts';
import type { SentStudy } from '../chaos/sender.ts';
import { until, type Pipeline } from '../integration/pipeline.ts';

export interface Verdict {
  readonly lost: number;
  readonly doubled: number;
  readonly unaccounted: number;
  readonly hashMismatches: number;
  readonly deadLetters: number;
  readonly committedTooFar: number;
  readonly manifests: { readonly clinical: number; readonly research: number };
  readonly records: number;
  /** Records that repeat an event under its id. */
  readonly repeated: number;
  /** What is wrong, in words. */
  readonly problems: readonly string[];
}

/** Studies with an offset below the commit and no outcome. What the census lists may be announced a moment later. */
export async function committedTooFar(p: Pipeline): Promise<string[]> {
  const now = await p.follower.account(AbortSignal.timeout(60_000));
  return now.studies
    .filter((s) => s.state === 'unaccounted' && s.code !== 'NOT_ANNOUNCED')
    .map((s) => `committed without an outcome: ${s.code} after ${s.reached}`);
}

/** Nothing more happens to it: a patient may have many studies, and select takes one of each. */
const isSettled = (s: Account['studies'][number]): boolean =>
  s.code === 'AWAITING_RELEASE' || s.state === 'excluded' || s.state === 'released';

const REST_MS = 180_000;
/** The archivers write a few seconds after the events. */
const ARCHIVED_MS = 60_000;

/** Every study that was sent has come to its end, and every stage has committed all. @throws Error with the account when not */
async function untilAtRest(p: Pipeline, sent: number): Promise<Account> {
  const account = await until(p, (a) => a.totals.sent === sent && a.studies.every(isSettled), REST_MS);
  await untilConsumed(p, REST_MS);
  return account;
}

/** Until nothing waits for a commit: of any stage, or of the given one. @throws Error with what does when it takes longer */
export async function untilConsumed(p: Pipeline, limitMs: number, stage?: string): Promise<void> {
  const deadline = Date.now() + limitMs;
  for (;;) {
    // A group is named after its stage, that of its retry topics `<stage>.retry`.
    const open = (await notConsumed(p.ports)).filter((line) => stage === undefined || /^[a-z-]+/.exec(line)?.[0] === stage);
    if (open.length === 0) return;
    if (Date.now() > deadline) throw new Error(`not consumed: ${open.join(', ')}`);
    await sleep(200);
  }
}

/** @param tooFar what `committedTooFar` found on the way */
export async function restAndCheck(p: Pipeline, sent: readonly SentStudy[], tooFar: readonly string[] = []): Promise<Verdict> {
  await untilAtRest(p, sent.length);
  // Again: what came of the last retries counts too.
  const account = await p.follower.account(AbortSignal.timeout(60_000));
  const deadline = Date.now() + ARCHIVED_MS;
  let found = await findFaults(p, sent);
  while (found.lost.length + found.doubled.length > 0 && Date.now() < deadline) {
    await sleep(3000);
    found = await findFaults(p, sent);
  }
  // One study, one revision: the phantoms are sent whole, once.
  const counts = Object.values(found.manifests)
    .filter((n) => n !== sent.length)
    .map((n) => `${n} manifests of ${sent.length} studies`);
  const unaccounted = account.studies.filter((s) => s.state === 'unaccounted').map((s) => `unaccounted: ${s.code}`);
  return {
    lost: found.lost.length + account.missing.length,
    doubled: found.doubled.length,
    unaccounted: unaccounted.length,
    hashMismatches: found.hashMismatches.length,
    deadLetters: found.deadLetters.length,
    committedTooFar: tooFar.length,
    manifests: found.manifests,
    records: found.records,
    repeated: found.repeated,
    problems: [
      ...found.lost,
      ...account.missing,
      ...found.doubled,
      ...found.hashMismatches,
      ...found.deadLetters,
      ...counts,
      ...unaccounted,
      ...tooFar,
    ],
  };
}
