// What may be swept: never what a manifest names or what can still be published, and in the end everything else.
import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import {
  doneKeyOf,
  inOrderOfRemoval,
  isTrial,
  type Layout,
  type Listed,
  manifestKeys,
  orphans,
  revisionsToRead,
  standingOf,
  studyOf,
} from './sweep.ts';

const AGE = 1000;
const NOW = 1_000_000;
const STUDY = { clinical: 'c1/1.2.3/', research: `R${'a'.repeat(16)}/` } as const;
const LENGTH = { clinical: 32, research: 24 } as const;

const revisionName = (layout: Layout, n: number): string => `${STUDY[layout]}${String(n).repeat(LENGTH[layout])}/`;
const attemptName = (n: number): string => n.toString(16).padStart(16, '0');
const at = (key: string, ageMs: number): Listed => ({ key, sizeBytes: 1, lastModifiedMs: NOW - ageMs });

interface Attempt {
  ageMs: number;
  /** Which of the revision's manifests names it, if one does. */
  publishes: number | undefined;
  files: number;
}

const attempts = fc.array(
  fc.record({
    ageMs: fc.integer({ min: 0, max: 3 * AGE }),
    publishes: fc.option(fc.integer({ min: 0, max: 1 }), { nil: undefined }),
    files: fc.integer({ min: 1, max: 3 }),
  }),
  { maxLength: 5 },
);

/** A study's objects, as attempts leave them, and what each manifest names. */
function studyWith(layout: Layout, revisions: readonly Attempt[][]) {
  const objects: Listed[] = [];
  const named = new Map<string, Set<string>>();
  const owner = new Map<string, string>();
  revisions.forEach((all, r) => {
    const prefix = revisionName(layout, r);
    named.set(prefix, new Set());
    const manifests = manifestKeys(layout, prefix);
    all.forEach(({ ageMs, publishes, files }, n) => {
      const attempt = attemptName(n);
      for (let f = 0; f < files; f++) {
        objects.push(at(`${prefix}${attempt}/${f}.tar`, ageMs));
        owner.set(`${prefix}${attempt}/${f}.tar`, `${prefix}${attempt}`);
      }
      const key = publishes === undefined ? undefined : manifests[publishes];
      // The first manifest wins.
      if (key === undefined || objects.some((o) => o.key === key)) return;
      objects.push(at(key, ageMs));
      named.get(prefix)?.add(attempt);
    });
  });
  return { objects, named, owner };
}

test.each(['clinical', 'research'] as const)('%s: exactly the old objects that no manifest names go', (layout) => {
  fc.assert(
    fc.property(fc.array(attempts, { maxLength: 3 }), (revisions) => {
      const { objects, named, owner } = studyWith(layout, revisions);
      const read = new Map(revisionsToRead(layout, objects, NOW, AGE).map((r) => [r, named.get(r) ?? new Set<string>()]));
      const gone = orphans(layout, objects, read, NOW, AGE);
      const isNamed = ({ key }: Listed): boolean => {
        const of = owner.get(key) ?? '';
        return named.get(of.slice(0, -16))?.has(of.slice(-16)) === true;
      };
      const wanted = objects.filter((o) => owner.has(o.key) && !isNamed(o) && NOW - o.lastModifiedMs >= AGE);
      expect(gone.map((o) => o.key).sort()).toEqual(wanted.map((o) => o.key).sort());
      // A revision that was not read, because it had to be read and could not, keeps everything.
      expect(orphans(layout, objects, new Map(), NOW, AGE)).toEqual([]);
    }),
  );
});

test('a manifest that appears between listing and reading saves its attempt', () => {
  const prefix = revisionName('clinical', 1);
  const objects = [at(`${prefix}${attemptName(7)}/1.2.tar`, 2 * AGE)];
  expect(revisionsToRead('clinical', objects, NOW, AGE)).toEqual([prefix]);
  expect(orphans('clinical', objects, new Map([[prefix, new Set([attemptName(7)])]]), NOW, AGE)).toEqual([]);
});

test('a revision whose attempts are all named is not read at all', () => {
  const { objects } = studyWith('clinical', [[{ ageMs: 9 * AGE, publishes: 0, files: 3 }]]);
  expect(revisionsToRead('clinical', objects, NOW, AGE)).toEqual([]);
});

test('names of any other shape are nobody to sweep: claims, notes on subjects, markers', () => {
  for (const key of ['_claims/1.2.3.json', '.conformance/x', 'c1/1.2.3/short/0000000000000001/x.tar', 'C1/1.2/x'])
    expect([key, studyOf('clinical', key)]).toEqual([key, undefined]);
  for (const key of ['withdrawn/P1', `subjects/P1/R${'a'.repeat(16)}/${'b'.repeat(24)}`, `subjects/${'b'.repeat(24)}/${attemptName(1)}/x`])
    expect([key, studyOf('research', key)]).toEqual([key, undefined]);
  expect(isTrial('.admission/0123456789abcdef')).toBe(true);
  expect(isTrial('.admission/0123456789abcdef/more')).toBe(false);
  expect(isTrial('.conformance/0123456789abcdef/multipart')).toBe(true);
  expect(isTrial('.conformance/0123456789abcdef/of/others')).toBe(false);
  expect(isTrial('_claims/1.2.3.json')).toBe(false);
});

const revision = (n: number, manifestAgeMs: number, doneAgeMs?: number): Listed[] => {
  const prefix = revisionName('clinical', n);
  const manifest = `${prefix}manifest.json`;
  return [
    at(`${prefix}${attemptName(n)}/1.2.tar`, manifestAgeMs),
    at(manifest, manifestAgeMs),
    ...(doneAgeMs === undefined ? [] : [at(doneKeyOf(manifest), doneAgeMs)]),
  ];
};

test('a study is freed as a whole, when each stored revision has been done for long enough, and never before', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.integer({ min: 0, max: 5000 }), fc.option(fc.integer({ min: 0, max: 5000 }), { nil: undefined })), {
        minLength: 1,
        maxLength: 4,
      }),
      fc.integer({ min: 0, max: 3000 }),
      (stored, keepMs) => {
        const objects = stored.flatMap(([age, done], n) => revision(n, age, done));
        const free = stored.every(([, done]) => done !== undefined && done >= keepMs);
        expect(standingOf(objects, NOW, keepMs) === 'free').toBe(free);
      },
    ),
  );
});

test('a study without an outcome for long is told of, one that is being stored anew is left alone', () => {
  expect(standingOf(revision(1, 5000), NOW, 1000)).toBe('unfinished');
  expect(standingOf(revision(1, 500), NOW, 1000)).toBe('kept');
  const anew = at(`${revisionName('clinical', 2)}${attemptName(3)}/1.2.tar`, 10);
  expect(standingOf([...revision(1, 5000, 4000), anew], NOW, 1000)).toBe('kept');
  const strange = at(`${revisionName('clinical', 1)}note.txt`, 5000);
  expect(standingOf([...revision(1, 5000, 4000), strange], NOW, 1000)).toBe('kept');
});

test('a study goes manifest first and mark last, so that a stop half-way leaves nothing named that is gone', () => {
  const keys = inOrderOfRemoval([...revision(1, 0, 0), ...revision(2, 0, 0)]).map((o) => o.key.replace(/.*\//, ''));
  expect(keys).toEqual(['manifest.json', 'manifest.json', '1.2.tar', '1.2.tar', 'done.json', 'done.json']);
});

test('a mark that was written into an erased study goes when it is old', () => {
  const prefix = revisionName('clinical', 1);
  const mark = [at(`${prefix}done.json`, AGE)];
  expect(revisionsToRead('clinical', mark, NOW, AGE)).toEqual([prefix]);
  expect(orphans('clinical', mark, new Map([[prefix, new Set<string>()]]), NOW, AGE)).toEqual(mark);
  expect(orphans('clinical', mark, new Map([[prefix, new Set<string>()]]), NOW, AGE + 1)).toEqual([]);
});
