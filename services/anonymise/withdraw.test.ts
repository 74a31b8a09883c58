// The clinical half of a withdrawal, on stores and a book of withdrawals in memory; the vault's own is tested on PostgreSQL.
import { describe, expect, test } from '@jest/globals';
import { memoryStore } from '../../test/shared/memory-store.ts';
import { Fault } from '../kernel/fault.ts';
import { centreId } from '../kernel/ids.ts';
import type { ClinicalRevision, ResearchStudyId, StudyInstanceUid, SubjectId } from '../kernel/ids.ts';
import { emit, reject, skip, type Outcome } from '../kernel/outcome.ts';
import type { EventIn } from '../kernel/stage.ts';
import type { ErasingStage, ToErase, Withdrawals } from '../ports/withdrawals.ts';
import { anonymiseAndWithdraw } from './withdraw.ts';
import { eraseByPrefix, holdUntilSettled, refuseWithdrawn } from './withdrawn.ts';

const centre = centreId('c01');
const signal = new AbortController().signal;
const SUBJECT = 'SAAAA' as SubjectId;
const study = (uid: string, studyId: string) => ({
  centre,
  studyInstanceUid: uid as StudyInstanceUid,
  revision: 'r2' as ClinicalRevision,
  studyId: studyId as ResearchStudyId,
});
const TO_ERASE: ToErase = { subjectId: SUBJECT, studies: [study('1.2.3', 'RA'), study('1.2.4', 'RB')], heldIds: ['h1'] };

type Noted = [ErasingStage, number, number, boolean];
const book = (toErase: ToErase | undefined, noted: Noted[]): Withdrawals => ({
  withdrawPatient: () => Promise.reject(new Error('not here')),
  withdrawSubject: () => Promise.reject(new Error('not here')),
  receipt: () => Promise.resolve(undefined),
  requestOf: (subjectId) => Promise.resolve(subjectId === SUBJECT ? 'q1' : undefined),
  toErase: () => Promise.resolve(toErase),
  note: (_requestId, stage, { objects, rows }, isDone) => Promise.resolve(void noted.push([stage, objects, rows, isDone])),
  close: () => Promise.resolve(),
});

const MINE = [
  'ct-clinical/c01/1.2.3/r/a/s.tar',
  'ct-clinical/c01/1.2.4/r/manifest.json',
  'ct-research/RA/r/manifest.json',
  'ct-quarantine/h1/x/1.png',
];
const OTHERS = [
  'ct-clinical/c01/1.2.30/r/manifest.json',
  'ct-clinical/c02/1.2.3/r/manifest.json',
  'ct-research/RAB/r/manifest.json',
  'ct-quarantine/h10/x/1.png',
];

const world = async (o: { toErase?: ToErase | undefined; nowMs?: number } = { toErase: TO_ERASE }) => {
  const store = memoryStore();
  const put = async (name: string): Promise<void> => {
    const slash = name.indexOf('/');
    await store.put(name.slice(0, slash), name.slice(slash + 1), Buffer.from('x'));
  };
  for (const name of [...MINE, ...OTHERS]) await put(name);
  const noted: Noted[] = [];
  const ports = {
    store,
    withdrawals: book(o.toErase, noted),
    clock: { nowMs: () => o.nowMs ?? 0, sleep: () => Promise.resolve() },
    eraseAgainAfterMs: 1000,
  };
  const left = (): string[] =>
    ['ct-clinical', 'ct-research', 'ct-quarantine'].flatMap((b) => store.keys(b).map((key) => `${b}/${key}`)).sort();
  const handle = (type: EventIn['type'], value: object, timeMs = 0): Promise<Outcome> =>
    anonymiseAndWithdraw.handle(
      { type, value, id: 'clinical-id', source: 's', timeMs, topic: 't', partition: 0, offset: 0n, key: 'k' } as never,
      ports as never,
      signal,
    );
  return { store, put, noted, left, handle };
};

describe('a withdrawn patient', () => {
  const WITHDRAWN = 'ctstream.clinical.v1.PatientWithdrawn';
  const AGAIN = 'ctstream.research.v1.SubjectWithdrawn';

  test('everything of theirs is erased, and nothing of others whose names begin alike', async () => {
    const { left, noted, handle } = await world();
    await handle(WITHDRAWN, { requestId: 'q1', subjectRow: 's' });
    expect(left()).toEqual([...OTHERS].sort());
    expect(noted).toEqual([['anonymise', 4, 0, false]]);
  });

  test('each study is told to be withdrawn; the research zone hears the pseudonym and its own ids of them, from no clinical cause', async () => {
    const { handle } = await world();
    const outcome = await handle(WITHDRAWN, { requestId: 'q1', subjectRow: 's' });
    const [first, second, research, ...rest] = outcome.events;
    expect(rest).toEqual([]);
    expect([first, second].map((e) => e?.value)).toMatchObject(
      ['1.2.3', '1.2.4'].map((studyInstanceUid) => ({
        centre,
        studyInstanceUid,
        revision: 'r2',
        stage: 'anonymise',
        code: 'PATIENT_WITHDRAWN',
      })),
    );
    expect(research).toEqual({ type: AGAIN, value: { subjectId: SUBJECT, studies: ['RA', 'RB'] }, cause: SUBJECT });
  });

  test('after a merge or split in the vault the retired studies are named, and none is told to be withdrawn', async () => {
    const toErase = { subjectId: SUBJECT, studies: [], heldIds: [], retiredStudies: ['RB', 'RA'] as ResearchStudyId[] };
    const { handle, left } = await world({ toErase });
    expect((await handle(WITHDRAWN, { requestId: 'q1', subjectRow: 's' })).events).toEqual([
      { type: AGAIN, value: { subjectId: SUBJECT, studies: ['RA', 'RB'] }, cause: SUBJECT },
    ]);
    expect(left()).not.toContain('ct-research/RA/r/manifest.json');
    expect(left()).toContain('ct-clinical/c01/1.2.3/r/a/s.tar');
  });

  test('is erased again when the longest job is over, not before, and then reported', async () => {
    const early = await world({ toErase: TO_ERASE, nowMs: 5999 });
    const tooSoon = early.handle(AGAIN, { subjectId: SUBJECT }, 5000);
    await expect(tooSoon).rejects.toBeInstanceOf(Fault);
    await expect(tooSoon).rejects.toMatchObject({ code: 'ERASURE_PENDING', retryable: true });
    expect(early.noted).toEqual([]);
    const due = await world({ toErase: TO_ERASE, nowMs: 6000 });
    expect((await due.handle(AGAIN, { subjectId: SUBJECT }, 5000)).events).toEqual([]);
    expect(due.left()).toEqual([...OTHERS].sort());
    expect(due.noted).toEqual([['anonymise', 4, 0, true]]);
  });

  test('events that come again after the receipt is complete, or of a subject nobody withdrew, do nothing', async () => {
    const { left, noted, handle } = await world({ toErase: undefined, nowMs: 9999 });
    expect((await handle(WITHDRAWN, { requestId: 'q1', subjectRow: 's' })).events).toEqual([]);
    await handle(AGAIN, { subjectId: SUBJECT });
    await handle(AGAIN, { subjectId: 'SOTHER' });
    expect(left()).toEqual([...MINE, ...OTHERS].sort());
    expect(noted).toEqual([]);
  });

  test('reports of the research stages are noted; nobody reports for anonymise, or for a stage that there is not', async () => {
    const { noted, handle } = await world();
    const report = (stage: string, subjectId: string = SUBJECT) =>
      handle('ctstream.research.v1.ErasureDone', { subjectId, stage, objects: 3, rows: 2 });
    for (const stage of ['assess', 'anonymise', 'constructor', 'release']) await report(stage);
    await report('select', 'SOTHER');
    expect(noted).toEqual([
      ['assess', 3, 2, true],
      ['release', 3, 2, true],
    ]);
  });
});

describe('a later study of a withdrawn patient', () => {
  test('is denied before its originals go, so that the event may come again', async () => {
    const { store, left } = await world();
    const order: string[] = [];
    const vault = { denyStudy: () => Promise.resolve(void order.push(`denied with ${store.keys('ct-clinical').length}`)) };
    const outcome = await refuseWithdrawn({ centre, studyInstanceUid: '1.2.3' } as never, { vault, store } as never, signal);
    expect(outcome).toMatchObject({ kind: 'reject', code: 'PATIENT_WITHDRAWN' });
    expect(order).toEqual(['denied with 4']);
    expect(left()).not.toContain(MINE[0]);
    expect(left()).toContain(MINE[1]);
  });

  test('erasing takes a folder only', async () => {
    const { store } = await world();
    await expect(eraseByPrefix(store, 'ct-clinical', 'c01/1.2.3', signal)).rejects.toThrow('slash');
  });
});

describe('the lock', () => {
  const lock = () => {
    const seen: string[] = [];
    return { seen, confirm: () => Promise.resolve(), release: () => Promise.resolve(void seen.push('released')) };
  };

  test('outlives the work until the job settles; without a job it ends with the work, however that ends', async () => {
    const held = lock();
    const releases: (() => Promise<void>)[] = [];
    await expect(
      holdUntilSettled(held, { untilSettled: (r) => void releases.push(r) }, () => Promise.reject(new Error('x'))),
    ).rejects.toThrow('x');
    expect(held.seen).toEqual([]);
    await releases[0]?.();
    expect(held.seen).toEqual(['released']);
    const alone = lock();
    await expect(holdUntilSettled(alone, undefined, () => Promise.reject(new Error('x')))).rejects.toThrow('x');
    expect(alone.seen).toEqual(['released']);
  });
});

describe('the mark of a study that is done', () => {
  const MANIFEST = 'c01/1.2.3/r/manifest.json';
  const tell = async (type: EventIn['type'], outcome: Outcome): Promise<unknown> => {
    const store = memoryStore();
    const event = { type, value: { centre, studyInstanceUid: '1.2.3', manifestKey: MANIFEST }, id: 'e' };
    await anonymiseAndWithdraw.told?.(event as never, outcome, { store } as never, signal);
    const [key, ...more] = store.keys('ct-clinical');
    expect(more).toEqual([]);
    const bytes = key === undefined ? undefined : await store.getBytes('ct-clinical', key, 1000);
    return bytes === undefined ? undefined : { key, ...(JSON.parse(Buffer.from(bytes).toString()) as object) };
  };

  test.each([
    ['goes on', emit([]), null],
    ['is rejected', reject('MIXED_PATIENTS', ''), 'MIXED_PATIENTS'],
    ['is superseded', skip('SUPERSEDED', ''), 'SUPERSEDED'],
  ])('is written when it %s', async (_, outcome, code) => {
    expect(await tell('ctstream.clinical.v1.StudyStored', outcome)).toEqual({
      key: 'c01/1.2.3/r/done.json',
      format: 'ctstream-done/1',
      code,
    });
  });

  test('is taken back when the study comes again: until its new outcome is told, its originals stay', async () => {
    const store = memoryStore();
    await store.put('ct-clinical', 'c01/1.2.3/r/done.json', Buffer.from('{}'));
    const event = {
      type: 'ctstream.clinical.v1.StudyStored',
      value: { centre, studyInstanceUid: '1.2.3', manifestKey: MANIFEST },
      id: 'e',
    };
    const vault = { denied: () => Promise.reject(new Error('away')) };
    await expect(anonymiseAndWithdraw.handle(event as never, { store, vault } as never, signal)).rejects.toThrow('away');
    expect(store.keys('ct-clinical')).toEqual([]);
  });

  test('is not written for a withdrawn patient: nothing may come after the erasure', async () => {
    expect(await tell('ctstream.clinical.v1.StudyStored', reject('PATIENT_WITHDRAWN', ''))).toBeUndefined();
    for (const type of ['ctstream.clinical.v1.PatientWithdrawn', 'ctstream.research.v1.SubjectWithdrawn'] as const)
      expect(await tell(type, emit([]))).toBeUndefined();
  });
});
