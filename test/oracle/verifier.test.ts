// The verifier over real headers: people without a leak are not held, and no kind of leak gets past it.
import { describe, expect, test } from '@jest/globals';
import { hasChest } from './answer-key-run.ts';
import { isCaught, judged } from './verifier-identities.ts';
import { LEAKS } from './verifier-leaks.ts';

if (!hasChest()) console.warn('skipped: no real CT series; set CTSTREAM_DATA');
const real = hasChest() ? describe : describe.skip;

/** Of the thousand of the generated page. */
const PEOPLE = 60;
const EVERY = 12;

real('the verifier over synthetic people', () => {
  test('holds none of them without a leak', () => {
    const held = Array.from({ length: PEOPLE }, (_, no) => no).filter((no) => judged(no).findings.length > 0);
    expect(held).toEqual([]);
  });

  test('catches every leak of every kind', () => {
    const missed: string[] = [];
    let made = 0;
    for (let no = 0; no < PEOPLE; no += EVERY) {
      const one = judged(no);
      for (const { kind, make } of LEAKS) {
        const bytes = make(one);
        if (bytes === undefined) continue;
        made++;
        if (!isCaught(one, bytes)) missed.push(`${no}: ${kind}`);
      }
    }
    expect(made).toBeGreaterThan(2000);
    expect(missed).toEqual([]);
  });
});
