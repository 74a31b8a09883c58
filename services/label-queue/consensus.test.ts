// Two blinded grades and what follows from them: the whole table, and that reading always ends.
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { type NextStep, type Said, type TaskKind, consensus, rolesOf } from './consensus.ts';
import { SKIP_CODE_LIST, type SkipCode } from './skip-codes.ts';

const grade = (n: number, g: number): Said => ({ kind: `grade-${n}`, grade: g, skip: null });
const skip = (kind: TaskKind, code: SkipCode = 'UNGRADABLE'): Said => ({ kind, grade: null, skip: code });
const read = (slots: number): NextStep => ({ step: 'read', slots });
const accept = (g: number, adjudicated = false): NextStep => ({ step: 'accept', grade: g, adjudicated });

describe('two grades', () => {
  const table: readonly (readonly string[])[] = [
    // second reader:  0    1    2    3    4
    /* first: 0 */ ['0', 'adj', 'adj', 'adj', 'adj'],
    /* 1 */ ['adj', '1', 'third', 'adj', 'adj'],
    /* 2 */ ['adj', 'third', '2', 'third', 'adj'],
    /* 3 */ ['adj', 'adj', 'third', '3', 'third'],
    /* 4 */ ['adj', 'adj', 'adj', 'third', '4'],
  ];
  const expected = (cell: string): NextStep =>
    cell === 'adj' ? { step: 'adjudicate' } : cell === 'third' ? read(3) : accept(Number(cell));
  for (const [a, row] of table.entries()) {
    for (const [b, cell] of row.entries()) {
      test(`CT-${a} and CT-${b}: ${cell}`, () => {
        expect(consensus([grade(1, a), grade(2, b)])).toEqual(expected(cell));
      });
    }
  }
});

describe('a third reader', () => {
  test.each([
    [1, 2, 1, accept(1)],
    [1, 2, 2, accept(2)],
    [3, 4, 3, accept(3)],
    [2, 3, 1, { step: 'adjudicate' }],
    [2, 3, 4, { step: 'adjudicate' }],
    [1, 2, 0, { step: 'adjudicate' }],
  ] as const)('%i, %i, then %i', (a, b, c, next) => {
    expect(consensus([grade(1, a), grade(2, b), grade(3, c)])).toEqual(next);
  });
});

describe('skips', () => {
  test('nothing said: two are needed', () => expect(consensus([])).toEqual(read(2)));
  test('one skip: another reader', () => {
    expect(consensus([skip('grade-1')])).toEqual(read(3));
    expect(consensus([skip('grade-1'), grade(2, 2)])).toEqual(read(3));
    expect(consensus([skip('grade-1'), grade(2, 2), grade(3, 2)])).toEqual(accept(2));
    expect(consensus([skip('grade-1'), grade(2, 2), grade(3, 3)])).toEqual(read(4));
  });
  test('two skips: the lead', () => {
    expect(consensus([skip('grade-1'), skip('grade-2')])).toEqual({ step: 'lead' });
    expect(consensus([skip('grade-1'), grade(2, 1), skip('grade-3')])).toEqual({ step: 'lead' });
    expect(consensus([skip('grade-1'), grade(2, 1), skip('grade-3'), { kind: 'lead', grade: 4, skip: null }])).toEqual(accept(4, true));
    expect(consensus([skip('grade-1'), skip('grade-2'), skip('lead', 'OTHER_DISEASE')])).toEqual({
      step: 'reject',
      code: 'READER_REJECTED',
      reason: 'OTHER_DISEASE',
    });
  });
  test('the adjudicator has the last word, and may say ungradable', () => {
    expect(consensus([grade(1, 0), grade(2, 1), { kind: 'adjudicate', grade: 0, skip: null }])).toEqual(accept(0, true));
    expect(consensus([grade(1, 0), grade(2, 1), skip('adjudicate')])).toEqual({
      step: 'reject',
      code: 'READER_REJECTED',
      reason: 'UNGRADABLE',
    });
  });
});

const saidArb = (kind: TaskKind): fc.Arbitrary<Said> =>
  fc.oneof(
    { weight: 4, arbitrary: fc.integer({ min: 0, max: 4 }).map((g): Said => ({ kind, grade: g, skip: null })) },
    fc.constantFrom(...SKIP_CODE_LIST).map((code): Said => ({ kind, grade: null, skip: code })),
  );

test('an identity seen by anyone at any time rejects the study', () => {
  fc.assert(
    fc.property(fc.array(saidArb('grade-1'), { maxLength: 3 }), fc.nat(3), (said, at) =>
      expect(consensus(said.toSpliced(at, 0, skip('grade-2', 'IDENTITY_VISIBLE'))).step).toBe('reject'),
    ),
  );
});

test('reading ends after five readings at most, whatever readers say', () => {
  fc.assert(
    fc.property(fc.infiniteStream(fc.nat(1_000_000)), (answers) => {
      const said: Said[] = [];
      for (;;) {
        const next = consensus(said);
        if (next.step === 'accept' || next.step === 'reject') break;
        const kind: TaskKind = next.step === 'read' ? `grade-${said.length + 1}` : next.step;
        if (next.step === 'read') expect(next.slots).toBeGreaterThan(said.length);
        const n = answers.next().value ?? 0;
        said.push(n % 4 === 0 ? skip(kind) : { kind, grade: n % 5, skip: null });
      }
      expect(said.length).toBeLessThanOrEqual(5);
    }),
  );
});

test('roles in the order of submission', () => {
  expect(rolesOf(['grade-2', 'grade-1', 'grade-3', 'adjudicate'])).toEqual(['first', 'second', 'third', 'adjudicator']);
  expect(rolesOf(['grade-2', 'lead'])).toEqual(['first', 'adjudicator']);
});
