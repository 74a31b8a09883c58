import { describe, expect, test } from '@jest/globals';
import type { CentreId, ClinicalRevision, StudyInstanceUid } from '../kernel/ids.ts';
import type { Published } from '../kernel/manifest.ts';
import { storedEvents } from './events.ts';
import type { Available, ClinicalManifest } from './events.ts';
import { isSuperseded, judge } from './standing.ts';
import type { Standing } from './standing.ts';

const A = 'a'.repeat(32);
const B = 'b'.repeat(32);

const announced = (revision: string, sequence: number): Available => ({
  type: 'ctstream.clinical.v1.StudyAvailable',
  value: {
    centre: 'c1' as CentreId,
    studyInstanceUid: '1.2' as StudyInstanceUid,
    revision: revision as ClinicalRevision,
    sequence,
    instanceCount: 1,
    seriesCount: 1,
    modalities: ['CT'],
    noticedBy: 'census',
  },
  id: 'x',
  source: 'test',
  timeMs: 0,
  topic: 'ct.clinical.c1.study-available.v1',
  partition: 0,
  offset: 0n,
  key: 'c1|1.2',
});

const stored = (revision: string, sequence: number, as?: string): Published<ClinicalManifest> => ({
  manifest: {
    format: 'ctstream-manifest/1',
    study: '1.2',
    revision,
    attempt: 't',
    series: [],
    facts: {
      centre: 'c1',
      sequence,
      contentDigest: '',
      instanceCount: 1,
      sizeBytes: 1,
      verified: 'content',
      transcodedBySource: 0,
      duplicates: 0,
      ...(as === undefined ? {} : { announced: as }),
    },
  },
  sha256: `${revision}${sequence}`,
  ours: false,
});

const standing = (manifests: readonly Published<ClinicalManifest>[], again = 0): Standing => ({ manifests, again });

describe('what stands makes of an announcement', () => {
  test('nothing stands: new, under its own revision', () => {
    expect(judge(announced(A, 10), standing([]))).toEqual({ kind: 'new', revision: A });
  });

  test('the same again, also under a later number, is answered from its manifest', () => {
    const first = stored(A, 10);
    expect(judge(announced(A, 10), standing([first]))).toEqual({ kind: 'stored', published: first });
    expect(judge(announced(A, 30), standing([first]))).toEqual({ kind: 'stored', published: first });
    expect(judge(announced(A, 5), standing([first]))).toEqual({ kind: 'stored', published: first });
    expect(judge(announced(A, 10), standing([first, stored(B, 20)]))).toEqual({ kind: 'stored', published: first });
  });

  test('an older one that never was stored is superseded', () => {
    expect(judge(announced(A, 10), standing([stored(B, 20)]))).toEqual({ kind: 'superseded' });
  });

  test('an older one is superseded by an announcement that told again of what stands, but not one of what stands', () => {
    const first = stored(A, 10);
    expect(judge(announced(B, 20), standing([first], 30))).toEqual({ kind: 'superseded' });
    expect(isSuperseded(announced(B, 20), standing([first], 30))).toBe(true);
    expect(judge(announced(A, 10), standing([first], 30))).toEqual({ kind: 'stored', published: first });
    expect(judge(announced(A, 30), standing([first], 30))).toEqual({ kind: 'stored', published: first });
    expect(judge(announced(B, 40), standing([first], 30))).toEqual({ kind: 'new', revision: B });
  });

  test('A, B and A again: the second A is stored under a revision of its own, once, and is later than B', () => {
    const before = [stored(A, 10), stored(B, 20)];
    const judged = judge(announced(A, 30), standing(before));
    expect(judged).toEqual({ kind: 'new', revision: expect.stringMatching(/^[0-9a-f]{32}$/) });
    const revision = judged.kind === 'new' ? judged.revision : '';
    expect([A, B]).not.toContain(revision);
    const returned = stored(revision, 30, A);
    // Delivered again, and announced again.
    expect(judge(announced(A, 30), standing([...before, returned]))).toEqual({ kind: 'stored', published: returned });
    expect(judge(announced(A, 40), standing([...before, returned]))).toEqual({ kind: 'stored', published: returned });
    // The first announcement, delivered late, and B.
    expect(judge(announced(A, 10), standing([...before, returned]))).toEqual({ kind: 'stored', published: before[0] });
    expect(judge(announced(B, 20), standing([...before, returned]))).toEqual({ kind: 'stored', published: before[1] });
    const [event, status] = storedEvents(returned);
    expect(event?.value).toMatchObject({ revision, sequence: 30, manifestKey: `c1/1.2/${revision}/manifest.json` });
    // The gateway must know its own announcement in the answer.
    expect(status?.value).toMatchObject({ revision: A, state: 'stored' });
  });
});
