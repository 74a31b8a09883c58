import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { createHmac } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { avroCodec } from '../adapters/avro-codec.ts';
import { centreId } from '../kernel/ids.ts';
import type { StudyInstanceUid } from '../kernel/ids.ts';
import { enqueueRefusal, refuseUnnamed } from './intake-store.ts';
import type { CentreLink } from './link.ts';
import { outboxDepth, outboxOf } from './outbox.ts';
import { reportOf } from './report.ts';
import { addCentre, openState, sourceOf } from './state.ts';
import type { State } from './state.ts';
import {
  applyStatus,
  dueStudies,
  isUntouched,
  markAnnounced,
  markStable,
  markTouched,
  nextStudySequence,
  postpone,
  settle,
  studyRow,
} from './studies.ts';

const centre = centreId('c1');
const uid = '1.2.3' as StudyInstanceUid;
const quiet = { stableAfterMs: 1000, stableSaidMs: 50 };
const codec = avroCodec();
let now = 1_000_000;
let folder: string;
let state: State;

const open = (): State => openState({ file: join(folder, 'g.sqlite'), codec, nowMs: () => now });
const refusal = (n: number) => ({
  intakeId: String(n).padStart(16, '0'),
  unit: 'file' as const,
  code: 'NOT_DICOM' as const,
  files: 1,
  detail: 'x',
});
const row = () => {
  const found = studyRow(state, centre, uid);
  if (found === undefined) throw new Error('no row');
  return found;
};

beforeEach(async () => {
  now = 1_000_000;
  folder = await mkdtemp(join(tmpdir(), 'gateway-test-'));
  state = open();
  addCentre(state, centre);
});
afterEach(async () => {
  state.close();
  await rm(folder, { recursive: true, force: true });
});

describe('outbox', () => {
  test('sequences are contiguous over restarts; what fails leaves neither row nor number', async () => {
    state.transaction(() => enqueueRefusal(state, centre, refusal(1)));
    expect(() =>
      state.transaction(() => {
        enqueueRefusal(state, centre, refusal(2));
        throw new Error('after');
      }),
    ).toThrow('after');
    const source = sourceOf(state, centre);
    state.close();
    state = open();
    expect(sourceOf(state, centre)).toBe(source);
    state.transaction(() => enqueueRefusal(state, centre, refusal(2)));
    const rows = await outboxOf(state, centre).next(10);
    expect(rows.map((r) => r.sequence)).toEqual([1n, 2n]);
    expect(rows.map((r) => r.headers['ce_sequence'])).toEqual(['1', '2']);
    expect(new Set(rows.map((r) => r.eventId)).size).toBe(2);
    expect(codec.decode({ ...(rows[0] ?? never()), partition: 0, offset: 0n, timestampMs: 0 }).value).toMatchObject({
      centre: 'c1',
      code: 'NOT_DICOM',
    });
  });

  test('sent rows are not given again, and a refusal goes in once', async () => {
    state.transaction(() => {
      expect(enqueueRefusal(state, centre, refusal(1))).toBe(true);
      expect(enqueueRefusal(state, centre, refusal(1))).toBe(false);
      enqueueRefusal(state, centre, refusal(2));
    });
    const outbox = outboxOf(state, centre);
    await outbox.markSent([1n]);
    expect((await outbox.next(10)).map((r) => r.sequence)).toEqual([2n]);
    expect(outboxDepth(state, centre)).toBe(1);
  });

  test('an event outside of a transaction, or of a centre that is not served, is a mistake of ours', () => {
    expect(() => enqueueRefusal(state, centre, refusal(1))).toThrow('transaction');
    expect(() => state.transaction(() => enqueueRefusal(state, centreId('c2'), refusal(1)))).toThrow('does not serve');
  });
});

function never(): never {
  throw new Error('missing');
}

describe('deadlines', () => {
  test('each instance starts it anew; stability only shortens it', () => {
    markTouched(state, centre, uid, 'change-feed', quiet);
    now += 900;
    markTouched(state, centre, uid, 'change-feed', quiet);
    now += 900;
    expect(dueStudies(state, centre, 10)).toEqual([]);
    markStable(state, centre, uid, quiet);
    expect(row().deadline_ms).toBe(now + 50);
    now += 50;
    expect(dueStudies(state, centre, 10).map((r) => r.uid)).toEqual([uid]);
    markStable(state, centre, uid, quiet);
    expect(row().deadline_ms).toBe(now);
  });

  test('what came while a study was counted keeps it due', () => {
    markTouched(state, centre, uid, 'change-feed', quiet);
    const before = row();
    now += 10;
    markTouched(state, centre, uid, 'change-feed', quiet);
    expect(isUntouched(state, centre, before)).toBe(false);
    settle(state, centre, before, 'announced', 3);
    postpone(state, centre, before, quiet);
    expect(row().deadline_ms).toBe(now + 1000);
  });

  test('study sequences rise, also in a new database after an old one was lost', () => {
    const first = nextStudySequence(state, centre);
    expect(nextStudySequence(state, centre)).toBeGreaterThan(first);
    now -= 5000;
    expect(nextStudySequence(state, centre)).toBeGreaterThan(first + 1);
    now += 60_000;
    const other = openState({ file: ':memory:', codec, nowMs: () => now });
    addCentre(other, centre);
    expect(nextStudySequence(other, centre)).toBeGreaterThan(nextStudySequence(state, centre) - 1);
    other.close();
  });
});

describe('what is shown of UIDs and patients', () => {
  const references = () => reportOf(state, { centre, name: 'c1' } as CentreLink).studies.map((s) => s.reference);
  const hmac = (key: string, of: string): string => createHmac('sha256', key).update(of).digest('hex');
  const unnamed = {
    studyInstanceUid: '' as StudyInstanceUid,
    patientId: 'P',
    studyDate: '20200401',
    studyDescription: '',
    modalities: ['CT'],
  };
  const refuse = (instanceCount: number): void => state.transaction(() => refuseUnnamed(state, centre, { ...unnamed, instanceCount }));
  const refusals = () => state.all<{ intake_id: string }>('SELECT intake_id FROM intake').map((r) => r.intake_id);

  test("can't be computed from what the records tell, and outlives a restart", () => {
    markTouched(state, centre, uid, 'poll', quiet);
    refuse(3);
    const [reference] = references();
    expect(reference).not.toBe(hmac(`reference|${state.generation}`, uid).slice(-6));
    const [intakeId] = refusals();
    for (const named of [[unnamed.patientId, unnamed.studyDate], { ...unnamed, instanceCount: 3 }])
      expect(intakeId).not.toBe(hmac(`unnamed|${state.generation}`, JSON.stringify(named)).slice(0, 32));
    const sources = state.all<{ headers: string }>('SELECT headers FROM outbox').map((r) => r.headers);
    expect(sources.join('')).toContain(state.generation);
    expect(sources.join('')).not.toContain(state.secret.slice(0, 8));
    state.close();
    state = open();
    refuse(3);
    expect([references(), refusals()]).toEqual([[reference], [intakeId]]);
  });

  test('a study without a UID is refused once, however its row changes; also when that was under its former id', () => {
    const former = hmac(`unnamed|${state.generation}`, JSON.stringify({ ...unnamed, instanceCount: 3 })).slice(0, 32);
    state.transaction(() => enqueueRefusal(state, centre, { ...refusal(1), intakeId: former, unit: 'study', code: 'MISSING_UID' }));
    for (const count of [3, 4, 5]) refuse(count);
    expect([refusals().length, outboxDepth(state, centre)]).toEqual([1, 1]);
    state.transaction(() => refuseUnnamed(state, centre, { ...unnamed, studyDate: '20200402', instanceCount: 3 }));
    expect([refusals().length, outboxDepth(state, centre)]).toEqual([2, 2]);
  });
});

describe('what ingest tells', () => {
  const announce = (revision: string): void => {
    markTouched(state, centre, uid, 'census', quiet);
    markAnnounced(state, centre, row(), { revision, sequence: 1, instanceCount: 3 });
  };

  test('changed: looked at again whatever the revision, each time later', () => {
    const waits: number[] = [];
    for (let i = 0; i < 4; i += 1) {
      markAnnounced(state, centre, i === 0 ? (markTouched(state, centre, uid, 'census', quiet), row()) : row(), {
        revision: 'r',
        sequence: i,
        instanceCount: 3,
      });
      applyStatus(state, centre, { studyInstanceUid: uid, revision: 'r', state: 'waiting', code: 'STUDY_CHANGED' }, quiet);
      expect(row()).toMatchObject({ revision: null, state: 'pending' });
      waits.push((row().deadline_ms ?? 0) - now);
    }
    expect(waits).toEqual([1000, 2000, 4000, 8000]);
  });

  test('vanished: forgotten, so that the same revision is announced when it is back', () => {
    announce('r');
    applyStatus(state, centre, { studyInstanceUid: uid, revision: 'r', state: 'rejected', code: 'STUDY_VANISHED' }, quiet);
    expect(row()).toMatchObject({ revision: null, deadline_ms: null, status_code: 'STUDY_VANISHED' });
  });

  test('an answer about another revision than the announced one changes nothing', () => {
    announce('r2');
    applyStatus(state, centre, { studyInstanceUid: uid, revision: 'r1', state: 'waiting', code: 'STUDY_CHANGED' }, quiet);
    expect(row()).toMatchObject({ revision: 'r2', deadline_ms: null, status: null });
  });
});
