// The rules of a selection round: order of arrival does not matter, limits are never exceeded, nobody is left without a reason.
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { type Cohort, parseCohort, readCohortFile } from './cohort.ts';
import { type Candidate, type Decision, type EarlierDecision, cellOf, decide as decideRound } from './decide.ts';

const base: Cohort = {
  format: 'ctstream-cohort/1',
  name: 'test',
  version: 1,
  size: 100,
  perCentreCap: 100,
  seed: 's',
  onePerPatient: true,
  kernel: 'any',
  contrast: 'any',
  uncertainFirst: true,
  severeFirst: false,
  quotas: [],
};

const decide = (input: Omit<Parameters<typeof decideRound<Candidate>>[0], 'withdrawn'>, withdrawn: readonly string[] = []): Decision[] =>
  decideRound({ ...input, withdrawn: new Set(withdrawn) });

function candidate(over: Partial<Candidate> & { studyId: string }): Candidate {
  return {
    subjectId: `subject of ${over.studyId}`,
    site: 'site-1',
    revision: `${over.studyId}-r${over.ordinal ?? 1}`,
    ordinal: 1,
    estimatedClass: 1,
    uncertain: false,
    sex: 'F',
    ageBand: '050-059',
    kernel: 'soft',
    contrast: 'none',
    ...over,
  };
}

const candidateArb = fc
  .record({
    studyId: fc.integer({ min: 0, max: 30 }).map((n) => `study-${n}`),
    ordinal: fc.integer({ min: 1, max: 3 }),
    estimatedClass: fc.integer({ min: 0, max: 4 }),
    uncertain: fc.boolean(),
    sex: fc.constantFrom('M', 'F', 'unknown'),
    ageBand: fc.constantFrom('040-049', '050-059', 'unknown'),
    kernel: fc.constantFrom('soft', 'sharp', 'unknown'),
    contrast: fc.constantFrom('none', 'given', 'uncertain'),
  })
  // Subject and site are of the study, not of its revision.
  .map((c) => candidate({ ...c, subjectId: `subject-${Number(c.studyId.slice(6)) % 20}`, site: `site-${Number(c.studyId.slice(6)) % 4}` }));

const candidatesArb = fc.uniqueArray(candidateArb, { selector: (c) => c.revision, maxLength: 40 });

const cohortArb: fc.Arbitrary<Cohort> = fc
  .record({
    size: fc.integer({ min: 1, max: 12 }),
    perCentreCap: fc.integer({ min: 1, max: 6 }),
    seed: fc.constantFrom('a', 'b'),
    onePerPatient: fc.boolean(),
    kernel: fc.constantFrom('any' as const, 'soft' as const),
    contrast: fc.constantFrom('any' as const, 'none' as const, 'none-or-uncertain' as const),
    uncertainFirst: fc.boolean(),
    severeFirst: fc.boolean(),
    quotas: fc.array(
      fc.record({
        class: fc.option(fc.integer({ min: 0, max: 4 }), { nil: undefined }),
        sex: fc.option(fc.constantFrom('M' as const, 'unknown' as const), { nil: undefined }),
        size: fc.integer({ min: 0, max: 3 }),
      }),
      { maxLength: 3 },
    ),
  })
  .map((c) => ({ ...base, ...c }));

const keyed = (decisions: readonly Decision[]): string[] =>
  decisions.map((d) => `${d.candidate.revision} ${d.outcome} ${'code' in d ? `${d.code} ${d.detail}` : ''}`).sort();

function laterOf(decisions: readonly Decision[]): EarlierDecision[] {
  return decisions.flatMap((d) =>
    d.outcome === 'skipped'
      ? []
      : [
          {
            studyId: d.candidate.studyId,
            ordinal: d.candidate.ordinal,
            subjectId: d.candidate.subjectId,
            site: d.candidate.site,
            cell: d.cell,
            outcome: d.outcome,
          },
        ],
  );
}

describe('properties', () => {
  test('the order of arrival within a round does not matter', () => {
    fc.assert(
      fc.property(cohortArb, candidatesArb, fc.infiniteStream(fc.double({ min: 0, max: 1, noNaN: true })), (cohort, candidates, keys) => {
        const shuffled = candidates
          .map((c) => ({ c, k: keys.next().value ?? 0 }))
          .sort((a, b) => a.k - b.k)
          .map(({ c }) => c);
        expect(decide({ cohort, candidates: shuffled, earlier: [] })).toEqual(decide({ cohort, candidates, earlier: [] }));
      }),
    );
  });

  test('every candidate gets exactly one decision', () => {
    fc.assert(
      fc.property(cohortArb, candidatesArb, (cohort, candidates) => {
        const decisions = decide({ cohort, candidates, earlier: [] });
        expect(decisions.map((d) => d.candidate.revision).sort()).toEqual(candidates.map((c) => c.revision).sort());
      }),
    );
  });

  test('size, centre cap, quotas and one study per patient hold over two rounds', () => {
    fc.assert(
      fc.property(cohortArb, candidatesArb, fc.integer({ min: 0, max: 40 }), (cohort, candidates, at) => {
        const first = decide({ cohort, candidates: candidates.slice(0, at), earlier: [] });
        const second = decide({ cohort, candidates: candidates.slice(at), earlier: laterOf(first) });
        const chosen = [...first, ...second].filter((d) => d.outcome === 'selected').map((d) => d.candidate);
        expect(chosen.length).toBeLessThanOrEqual(cohort.size);
        expect(new Set(chosen.map((c) => c.studyId)).size).toBe(chosen.length);
        for (const site of new Set(chosen.map((c) => c.site)))
          expect(chosen.filter((c) => c.site === site).length).toBeLessThanOrEqual(cohort.perCentreCap);
        for (const q of cohort.quotas)
          expect(
            chosen.filter((c) => (q.class ?? c.estimatedClass) === c.estimatedClass && (q.sex ?? c.sex) === c.sex).length,
          ).toBeLessThanOrEqual(q.size);
        if (cohort.onePerPatient) expect(new Set(chosen.map((c) => c.subjectId)).size).toBe(chosen.length);
      }),
    );
  });

  test('what was left out had a limit against it: nothing is excluded while there is room', () => {
    fc.assert(
      fc.property(candidatesArb, (candidates) => {
        const decisions = decide({ cohort: { ...base, onePerPatient: false }, candidates, earlier: [] });
        expect(decisions.filter((d) => d.outcome === 'excluded')).toEqual([]);
      }),
    );
  });
});

describe('withdrawn subjects', () => {
  const withdrawnArb = fc.subarray(Array.from({ length: 20 }, (_, n) => `subject-${n}`));

  test('are absent: a round is decided as if they had never come, and their places are free', () => {
    fc.assert(
      fc.property(cohortArb, candidatesArb, withdrawnArb, fc.integer({ min: 0, max: 40 }), (cohort, candidates, withdrawn, at) => {
        const earlier = laterOf(decide({ cohort, candidates: candidates.slice(0, at), earlier: [] }));
        const isThere = (c: { readonly subjectId: string }): boolean => !withdrawn.includes(c.subjectId);
        const later = candidates.slice(at);
        expect(decide({ cohort, candidates: later, earlier }, withdrawn)).toEqual(
          decide({ cohort, candidates: later.filter(isThere), earlier: earlier.filter(isThere) }),
        );
      }),
    );
  });

  test('recorded rounds replay: with the withdrawals that each round knew, everybody else is decided as then', () => {
    fc.assert(
      fc.property(cohortArb, candidatesArb, withdrawnArb, fc.integer({ min: 0, max: 40 }), (cohort, candidates, withdrawn, at) => {
        // Live: the first round, then the withdrawal erases candidates and decisions, then the second round.
        const isThere = (c: { readonly subjectId: string }): boolean => !withdrawn.includes(c.subjectId);
        const first = decide({ cohort, candidates: candidates.slice(0, at), earlier: [] });
        const kept = laterOf(first).filter(isThere);
        const second = decide({ cohort, candidates: candidates.slice(at).filter(isThere), earlier: kept }, withdrawn);
        // Replay from the log, where everything still stands.
        const firstAgain = decide({ cohort, candidates: candidates.slice(0, at), earlier: [] });
        const secondAgain = decide({ cohort, candidates: candidates.slice(at), earlier: laterOf(firstAgain) }, withdrawn);
        expect(keyed(secondAgain)).toEqual(keyed(second));
        const others = (ds: readonly Decision[]): string[] => keyed(ds.filter((d) => isThere(d.candidate)));
        expect(others(firstAgain)).toEqual(others(first));
      }),
    );
  });

  test('one that withdrew is not chosen, and the next takes the place', () => {
    const candidates = [candidate({ studyId: 'a', subjectId: 'gone' }), candidate({ studyId: 'b' })];
    const earlier: EarlierDecision[] = [
      { studyId: 'x', ordinal: 1, subjectId: 'gone', site: 'site-1', cell: 'CT-1/F/050-059', outcome: 'selected' },
    ];
    expect(decide({ cohort: { ...base, size: 1 }, candidates, earlier }, ['gone'])).toMatchObject([
      { outcome: 'selected', candidate: { studyId: 'b' } },
    ]);
  });
});

describe('reasons', () => {
  const codesOf = (cohort: Cohort, candidates: Candidate[], earlier: EarlierDecision[] = []): Record<string, string> =>
    Object.fromEntries(decide({ cohort, candidates, earlier }).map((d) => [d.candidate.revision, 'code' in d ? d.code : d.outcome]));

  test('the newest revision of an undecided study counts', () => {
    expect(
      codesOf(base, [
        candidate({ studyId: 'a', ordinal: 2 }),
        candidate({ studyId: 'a', ordinal: 10 }),
        candidate({ studyId: 'a', ordinal: 1 }),
      ]),
    ).toEqual({ 'a-r10': 'selected', 'a-r2': 'SUPERSEDED', 'a-r1': 'SUPERSEDED' });
  });

  const before = (outcome: EarlierDecision['outcome'], ordinal = 1): EarlierDecision => ({
    studyId: 'a',
    ordinal,
    subjectId: 'subject of a',
    site: 'site-1',
    cell: 'CT-1/F/050-059',
    outcome,
  });

  test('a newer revision of a selected study takes its place, although everything is full, and takes no second one', () => {
    const full = { ...base, size: 1, perCentreCap: 1 };
    const later = [candidate({ studyId: 'a', ordinal: 2 }), candidate({ studyId: 'a', ordinal: 3 }), candidate({ studyId: 'b' })];
    expect(codesOf(full, later, [before('selected')])).toEqual({ 'a-r3': 'revised', 'a-r2': 'SUPERSEDED', 'b-r1': 'COHORT_FULL' });
    const again = [candidate({ studyId: 'a', ordinal: 4 }), candidate({ studyId: 'b' })];
    expect(codesOf({ ...full, size: 2, perCentreCap: 2 }, again, [before('selected'), before('revised', 3)])).toEqual({
      'a-r4': 'revised',
      'b-r1': 'selected',
    });
  });

  test('a patient is merged in the PACS: the other has a study then, in this round and in later ones', () => {
    const merged = candidate({ studyId: 'a', ordinal: 2, subjectId: 'other' });
    const own = candidate({ studyId: 'b', subjectId: 'other' });
    expect(codesOf(base, [merged, own], [before('selected')])).toEqual({ 'a-r2': 'revised', 'b-r1': 'PATIENT_ALREADY_SELECTED' });
    const revised = { ...before('revised', 2), subjectId: 'other' };
    expect(codesOf(base, [own], [before('selected'), revised])).toEqual({ 'b-r1': 'PATIENT_ALREADY_SELECTED' });
    // One place, also when whom it was selected for has withdrawn since.
    const third = candidate({ studyId: 'c' });
    for (const earlier of [[before('selected'), revised], [revised, before('selected')], [revised]]) {
      expect(codesOf({ ...base, size: 1 }, [third], earlier)).toEqual({ 'c-r1': 'COHORT_FULL' });
      expect(codesOf({ ...base, size: 2 }, [third], earlier)).toEqual({ 'c-r1': 'selected' });
    }
    // An excluded one is nobody's place.
    expect(codesOf(base, [merged, own], [before('excluded')])).toEqual({ 'a-r2': 'ALREADY_DECIDED', 'b-r1': 'selected' });
  });

  test('a newer revision of an excluded study is skipped: that stands', () => {
    expect(codesOf(base, [candidate({ studyId: 'a', ordinal: 2 })], [before('excluded')])).toEqual({ 'a-r2': 'ALREADY_DECIDED' });
  });

  test('a revision that is older than the decided one comes late: superseded, whatever the decision was', () => {
    const late = [candidate({ studyId: 'a', ordinal: 2 })];
    for (const earlier of [[before('selected', 3)], [before('excluded', 3)], [before('selected', 1), before('revised', 3)]])
      expect(codesOf(base, late, earlier)).toEqual({ 'a-r2': 'SUPERSEDED' });
  });

  test('each limit has its own code', () => {
    const other: EarlierDecision = {
      studyId: 'x',
      ordinal: 1,
      subjectId: 'p',
      site: 'site-1',
      cell: 'CT-1/F/050-059',
      outcome: 'selected',
    };
    expect(codesOf({ ...base, size: 1 }, [candidate({ studyId: 'a' })], [other])).toEqual({ 'a-r1': 'COHORT_FULL' });
    expect(codesOf({ ...base, perCentreCap: 1 }, [candidate({ studyId: 'a' })], [other])).toEqual({ 'a-r1': 'CENTRE_CAP' });
    expect(codesOf({ ...base, quotas: [{ class: 1, size: 1 }] }, [candidate({ studyId: 'a' })], [other])).toEqual({ 'a-r1': 'QUOTA_FULL' });
    expect(codesOf(base, [candidate({ studyId: 'a', subjectId: 'p' })], [other])).toEqual({ 'a-r1': 'PATIENT_ALREADY_SELECTED' });
    expect(codesOf({ ...base, kernel: 'soft' }, [candidate({ studyId: 'a', kernel: 'sharp' })])).toEqual({ 'a-r1': 'KERNEL_NOT_WANTED' });
    expect(codesOf({ ...base, contrast: 'none-or-uncertain' }, [candidate({ studyId: 'a', contrast: 'given' })])).toEqual({
      'a-r1': 'CONTRAST_NOT_WANTED',
    });
    expect(codesOf({ ...base, contrast: 'none' }, [candidate({ studyId: 'a', contrast: 'uncertain' })])).toEqual({
      'a-r1': 'CONTRAST_UNCERTAIN',
    });
  });

  test('an excluded study takes no room', () => {
    const excluded: EarlierDecision = {
      studyId: 'x',
      ordinal: 1,
      subjectId: 'p',
      site: 'site-1',
      cell: 'CT-1/F/050-059',
      outcome: 'excluded',
    };
    expect(codesOf({ ...base, size: 1, perCentreCap: 1 }, [candidate({ studyId: 'a', subjectId: 'p' })], [excluded])).toEqual({
      'a-r1': 'selected',
    });
  });

  test('another seed chooses others, the same seed the same', () => {
    const candidates = Array.from({ length: 40 }, (_, i) => candidate({ studyId: `study-${i}` }));
    const chosen = (seed: string): string[] =>
      keyed(decide({ cohort: { ...base, size: 10, seed }, candidates, earlier: [] }).filter((d) => d.outcome === 'selected'));
    expect(chosen('one')).toEqual(chosen('one'));
    expect(chosen('one')).not.toEqual(chosen('two'));
  });

  test('uncertain first, then severe, when the cohort says so', () => {
    const candidates = [
      candidate({ studyId: 'mild' }),
      candidate({ studyId: 'severe', estimatedClass: 4 }),
      candidate({ studyId: 'white', estimatedClass: 0, uncertain: true }),
    ];
    const first = (cohort: Cohort): string[] => decide({ cohort, candidates, earlier: [] }).map((d) => d.candidate.studyId);
    expect(first({ ...base, severeFirst: true })).toEqual(['white', 'severe', 'mild']);
  });

  test('unknown sex and age are a cell of their own', () => {
    expect(cellOf({ estimatedClass: 3, sex: 'unknown', ageBand: 'unknown' })).toBe('CT-3/unknown/unknown');
    expect(
      codesOf({ ...base, quotas: [{ sex: 'unknown', size: 0 }] }, [
        candidate({ studyId: 'a', sex: 'unknown' }),
        candidate({ studyId: 'b' }),
      ]),
    ).toEqual({ 'a-r1': 'QUOTA_FULL', 'b-r1': 'selected' });
  });
});

describe('cohort file', () => {
  test('the demo cohort is valid', () => {
    expect(readCohortFile(new URL('./cohorts/demo.yaml', import.meta.url).pathname).cohort.name).toBe('demo');
  });

  test('all problems are named at once, unknown keys too', () => {
    expect(() => parseCohort('format: ctstream-cohort/1\nname: A b\nversion: 1\nsize: 0\nperCentreCap: 1\nseed: x\nquota: []\n')).toThrow(
      /name.*size.*quota/s,
    );
  });
});
