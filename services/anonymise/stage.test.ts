import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { open } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openSqliteVault } from '../adapters/sqlite-vault.ts';
import { readDicom } from '../dicom/read.ts';
import { DEFLATED_LE } from '../dicom/transfer-syntax.ts';
import { TAG } from '../dicom/dictionary.ts';
import { SOP_CLASS } from '../dicom/uid.ts';
import { element, text } from '../dicom/values.ts';
import { sha256Hex } from '../kernel/digest.ts';
import { Fault } from '../kernel/fault.ts';
import type { Outcome } from '../kernel/outcome.ts';
import type { IdentityVault } from '../ports/identity-vault.ts';
import { memoryHeld } from '../../test/shared/memory-held.ts';
import { DEFAULT_IDENTITY_RULES } from './identity.ts';
import { compileProfile } from './profile/profile.ts';
import type { ResearchManifest } from './research-events.ts';
import { studyShelf } from './shelf.ts';
import { anonymiseStage } from './stage.ts';
import type { AnonymisePorts } from './stage.ts';
import { storedStudy } from './stage-test-support.ts';
import { ctBytes, memoryStore, of, PLANTED, plantedElements, SERIES_UID, sopUidOf, STUDY_UID } from './test-support.ts';

const folder = mkdtempSync(join(tmpdir(), 'ctstream-stage-test-'));
const spoolFolder = mkdtempSync(join(tmpdir(), 'ctstream-stage-spool-'));
let vault: IdentityVault;
beforeAll(() => {
  vault = openSqliteVault(join(folder, 'v.db'));
});
afterAll(async () => {
  await vault.close();
  for (const one of [folder, spoolFolder]) rmSync(one, { recursive: true, force: true });
});

const signal = new AbortController().signal;
let attempts = 0;

type Store = ReturnType<typeof memoryStore>;
const ports = (store: Store, shelf = studyShelf(8 * 1024 * 1024)): AnonymisePorts => ({
  store,
  vault,
  held: memoryHeld(),
  random: { attempt: () => `a${++attempts}` },
  profile: compileProfile(),
  rules: DEFAULT_IDENTITY_RULES,
  spoolFolder,
  shelf,
  instanceLimitBytes: 1 << 24,
});

const research = (store: Store): [string, Uint8Array][] => [...store.objects].filter(([name]) => name.startsWith('ct-research/'));
const eventOf = (outcome: Outcome) => {
  const event = outcome.kind === 'emit' ? outcome.events[0] : undefined;
  if (event?.type !== 'ctstream.research.v1.StudyAnonymised') throw new Error(`no event: ${JSON.stringify(outcome)}`);
  return event;
};
const study = (): Uint8Array[] => [1, 2, 3].map((n) => ctBytes({ n, changes: [...plantedElements(), of('SOPInstanceUID', sopUidOf(n))] }));

describe('anonymise', () => {
  test('publishes a study: no clinical word or UID in event, object, name or manifest; every instance where the manifest says', async () => {
    const store = memoryStore();
    const event = eventOf(await anonymiseStage.handle(await storedStudy(store, study()), ports(store), signal));
    expect(event.value).toMatchObject({ ordinal: 1, instanceCount: 3, ageBand: '050-059', sex: 'M', manufacturer: 'SIEMENS', dropped: [] });
    const everything = [JSON.stringify(event), ...research(store).flatMap(([name, bytes]) => [name, Buffer.from(bytes).toString('latin1')])]
      .join('\n')
      .toLowerCase();
    for (const word of [...PLANTED, STUDY_UID, SERIES_UID, 'clinical-event-id', '"c01"'])
      expect(everything).not.toContain(word.toLowerCase());
    const manifest = JSON.parse(
      Buffer.from(store.objects.get(`ct-research/${event.value.manifestKey}`) ?? '').toString(),
    ) as ResearchManifest;
    expect(event.cause).toBe(event.value.manifestSha256);
    for (const series of manifest.series) {
      const tar = store.objects.get(`ct-research/${series.object}`) ?? new Uint8Array(0);
      expect(tar.length).toBe(series.sizeBytes);
      for (const one of series.instances) {
        const bytes = tar.subarray(one.offset, one.offset + one.sizeBytes);
        expect(sha256Hex(bytes)).toBe(one.sha256);
        expect(text(readDicom(bytes).dataset, TAG.SOPInstanceUID)).toBe(one.sopInstanceUid);
      }
    }
    expect(readdirSync(spoolFolder)).toEqual([]);
  });

  test('the result is the same whether all originals stay in memory, some of them, or none; those that stay are fetched once', async () => {
    const files = study();
    const size = Math.max(...files.map(({ length }) => length));
    const runs: { objects: unknown; fetched: number }[] = [];
    for (const shelf of [studyShelf(size * 8, size), studyShelf(size * 2, size), studyShelf(0)]) {
      const store = memoryStore();
      const event = await storedStudy(store, files);
      let fetched = 0;
      const counting: Store = {
        ...store,
        get: (bucket, key, options) => {
          if (key.endsWith('.tar')) fetched += 1;
          return store.get(bucket, key, options);
        },
      };
      const fresh = openSqliteVault(join(folder, 'same.db'));
      // Twice: what the first study left on the shelf is nobody's.
      for (const round of [1, 2]) {
        for (const [key] of research(store)) store.objects.delete(key);
        fetched = 0;
        const outcome = await anonymiseStage.handle(
          event,
          { ...ports(counting, shelf), vault: fresh, random: { attempt: () => 'a' } },
          signal,
        );
        expect([round, outcome.kind]).toEqual([round, 'emit']);
      }
      await fresh.close();
      runs.push({ objects: research(store).map(([key, bytes]) => [key, sha256Hex(bytes)]), fetched });
    }
    expect(runs.map(({ fetched }) => fetched)).toEqual([1, 2, 2]);
    expect(runs[1]?.objects).toEqual(runs[0]?.objects);
    expect(runs[2]?.objects).toEqual(runs[0]?.objects);
  });

  test('an instance that is too large is left behind unread: a CT image as LIMIT_EXCEEDED, others as what they are', async () => {
    const store = memoryStore();
    const small = study();
    const instanceLimitBytes = Math.max(...small.map(({ length }) => length));
    // No DICOM at all: who looks into them finds NOT_DICOM.
    const large = new Uint8Array(instanceLimitBytes + 1);
    const classes = [SOP_CLASS.CTImageStorage, SOP_CLASS.EnhancedCTImageStorage, SOP_CLASS.SecondaryCaptureImageStorage];
    const files = [large, large, large, ...small];
    for (const shelf of [studyShelf(1 << 24), studyShelf(0)]) {
      for (const [key] of research(store)) store.objects.delete(key);
      const event = await storedStudy(store, files, undefined, undefined, classes);
      const { value } = eventOf(await anonymiseStage.handle(event, { ...ports(store, shelf), instanceLimitBytes }, signal));
      expect([value.instanceCount, value.dropped]).toEqual([
        3,
        [
          { code: 'LIMIT_EXCEEDED', count: 1 },
          { code: 'NOT_PRIMARY_AXIAL_CT', count: 1 },
          { code: 'SECONDARY_CAPTURE', count: 1 },
        ],
      ]);
    }
    const alone = memoryStore();
    const event = await storedStudy(alone, [large]);
    const outcome = await anonymiseStage.handle(event, { ...ports(alone), instanceLimitBytes }, signal);
    expect(outcome).toMatchObject({ kind: 'reject', code: 'LIMIT_EXCEEDED' });
  });

  test('an inflated dataset does not stay in memory, which the shelf would not count: it is fetched again', async () => {
    const store = memoryStore();
    const files = [1, 2, 3].map((n) => ctBytes({ n, syntax: DEFLATED_LE }));
    const event = await storedStudy(store, files);
    const get = jest.spyOn(store, 'get');
    expect(eventOf(await anonymiseStage.handle(event, ports(store), signal)).value.instanceCount).toBe(3);
    expect(get.mock.calls.filter(([, key]) => key.endsWith('.tar'))).toHaveLength(2);
  });

  test('the manifest counts the attributes that were emptied because nobody knows their value', async () => {
    const emptiedWith = async (model: string): Promise<number> => {
      const store = memoryStore();
      const files = [1, 2].map((n) => ctBytes({ n, changes: [of('ManufacturerModelName', model)] }));
      const event = eventOf(await anonymiseStage.handle(await storedStudy(store, files), ports(store), signal));
      const bytes = store.objects.get(`ct-research/${event.value.manifestKey}`) ?? new Uint8Array(0);
      return (JSON.parse(Buffer.from(bytes).toString()) as ResearchManifest).facts.emptied;
    };
    expect((await emptiedWith('Petrov')) - (await emptiedWith('Brilliance 16'))).toBe(2);
  });

  test('a redelivery publishes the same event and stores nothing more', async () => {
    const store = memoryStore();
    const event = await storedStudy(store, study());
    const first = eventOf(await anonymiseStage.handle(event, ports(store), signal));
    const before = [...store.objects.keys()];
    expect(eventOf(await anonymiseStage.handle(event, ports(store), signal))).toEqual(first);
    expect([...store.objects.keys()]).toEqual(before);
  });

  test('two attempts at once publish one manifest and the same event', async () => {
    const store = memoryStore();
    const event = await storedStudy(store, study());
    const [a, b] = await Promise.all([
      anonymiseStage.handle(event, ports(store), signal),
      anonymiseStage.handle(event, ports(store), signal),
    ]);
    expect(eventOf(a)).toEqual(eventOf(b));
    expect(research(store).filter(([name]) => name.endsWith('manifest.json'))).toHaveLength(1);
  });

  test('a later revision is the same study and subject with the next ordinal', async () => {
    const store = memoryStore();
    const first = eventOf(await anonymiseStage.handle(await storedStudy(store, study()), ports(store), signal)).value;
    const second = eventOf(
      await anonymiseStage.handle(await storedStudy(store, study().slice(0, 2), 'b'.repeat(32), 2), ports(store), signal),
    ).value;
    expect([second.studyId, second.subjectId, second.site]).toEqual([first.studyId, first.subjectId, first.site]);
    expect(second.revision).not.toBe(first.revision);
    expect(second.ordinal).toBe(first.ordinal + 1);
  });

  test('an older revision that comes late is superseded', async () => {
    const store = memoryStore();
    const old = await storedStudy(store, study().slice(0, 1), 'c'.repeat(32), 1);
    await storedStudy(store, study(), 'd'.repeat(32), 2);
    expect(await anonymiseStage.handle(old, ports(store), signal)).toMatchObject({ kind: 'skip', code: 'SUPERSEDED' });
    expect(research(store)).toEqual([]);
  });

  test('a patient is merged in the PACS, so the files name another: the same research study, under the other subject', async () => {
    const store = memoryStore();
    const wrong = [ctBytes({ changes: [of('PatientID', 'WRONG-7')] })];
    const before = eventOf(await anonymiseStage.handle(await storedStudy(store, wrong, '3'.repeat(32), 1), ports(store), signal)).value;
    const after = eventOf(await anonymiseStage.handle(await storedStudy(store, study(), '4'.repeat(32), 2), ports(store), signal)).value;
    expect(after).toMatchObject({ studyId: before.studyId, ordinal: before.ordinal + 1 });
    expect(after.subjectId).not.toBe(before.subjectId);
  });

  test('a revision that comes late does not take the study from the patient of the newest; what it published stands', async () => {
    const store = memoryStore();
    const late = await storedStudy(store, [ctBytes({ changes: [of('PatientID', 'B-2')] })], '1'.repeat(32), 1);
    const moved: string[] = [];
    const watched: IdentityVault = { ...vault, study: (seen, ...rest) => (moved.push(rest[2]), vault.study(seen, ...rest)) };
    const told = eventOf(await anonymiseStage.handle(late, { ...ports(store), vault: watched }, signal));
    const newest = await storedStudy(store, study(), '2'.repeat(32), 2);
    await anonymiseStage.handle(newest, { ...ports(store), vault: watched }, signal);
    expect(eventOf(await anonymiseStage.handle(late, { ...ports(store), vault: watched }, signal))).toEqual(told);
    expect(moved).toEqual(['1'.repeat(32), '2'.repeat(32)]);
  });

  test('a refused revision that comes late does not take the study from the patient of the newest', async () => {
    const store = memoryStore();
    const late = await storedStudy(
      store,
      [ctBytes({ changes: [of('PatientID', 'B-2'), of('BurnedInAnnotation', 'YES')] })],
      'e'.repeat(32),
      1,
    );
    await storedStudy(store, study(), 'f'.repeat(32), 2);
    const asked: string[] = [];
    const watched: IdentityVault = { ...vault, subject: (key, s) => (asked.push(key.patientId), vault.subject(key, s)) };
    expect(await anonymiseStage.handle(late, { ...ports(store), vault: watched }, signal)).toMatchObject({ code: 'BURNED_IN_TEXT' });
    expect(asked).toEqual([]);
  });

  test('what the verifier finds holds the whole study: nothing in ct-research, a note without values', async () => {
    const store = memoryStore();
    // The de-identifier compares names as they are written; the verifier also in Latin letters.
    const named = [of('SpecificCharacterSet', 'ISO_IR 192'), element(TAG.PatientName, 'PN', Buffer.from('Лунг '))];
    const leak = ctBytes({ n: 2, changes: [...named, of('StudyDescription', 'Lung')] });
    const event = await storedStudy(store, [ctBytes({ n: 1, changes: named }), leak]);
    const held = anonymiseStage.handle(event, ports(store), signal);
    await expect(held).rejects.toBeInstanceOf(Fault);
    await expect(held).rejects.toMatchObject({ code: 'HELD_BY_VERIFIER', retryable: false });
    expect(research(store)).toEqual([]);
    const notes = [...store.objects].filter(([name]) => name.startsWith('ct-quarantine/'));
    expect(notes).toHaveLength(1);
    expect(
      Buffer.from(notes[0]?.[1] ?? '')
        .toString()
        .toLowerCase(),
    ).not.toMatch(/лунг|lung/);
    expect(readdirSync(spoolFolder)).toEqual([]);
  });

  test.each<[string, () => Uint8Array[], string]>([
    ['two patients', () => [ctBytes(), ctBytes({ n: 2, changes: [of('PatientID', 'B-2')] })], 'MIXED_PATIENTS'],
    ['no patient', () => [ctBytes({ changes: [of('PatientID', '')] })], 'NO_PATIENT_IDENTITY'],
    ['text in the pixels', () => [ctBytes({ changes: [of('BurnedInAnnotation', 'YES')] })], 'BURNED_IN_TEXT'],
    ['no image', () => [ctBytes({ changes: [of('SOPClassUID', SOP_CLASS.SecondaryCaptureImageStorage)] })], 'NOTHING_KEPT'],
  ])('%s: rejected with a code, nothing stored', async (_what, files, code) => {
    const store = memoryStore();
    expect(await anonymiseStage.handle(await storedStudy(store, files()), ports(store), signal)).toMatchObject({ kind: 'reject', code });
    expect(research(store)).toEqual([]);
  });

  test.each(['ENOSPC', 'EDQUOT'])('a spool folder without room (%s) keeps its study waiting and dooms none', async (code) => {
    const probe = await open(spoolFolder);
    const full = jest
      .spyOn(Object.getPrototypeOf(probe) as FileHandle, 'writev')
      .mockRejectedValue(Object.assign(new Error('writev'), { code }));
    await probe.close();
    const store = memoryStore();
    const event = await storedStudy(store, study());
    try {
      const spooled = anonymiseStage.handle(event, ports(store), signal);
      await expect(spooled).rejects.toMatchObject({ code: 'STORE_FULL', retryable: true });
    } finally {
      full.mockRestore();
    }
    expect(research(store)).toEqual([]);
    expect(eventOf(await anonymiseStage.handle(event, ports(store), signal)).value.instanceCount).toBe(3);
  });

  test('a damaged object or a missing manifest is a fault to be tried again', async () => {
    const store = memoryStore();
    const event = await storedStudy(store, study());
    const [name, tar] = [...store.objects].find(([one]) => one.endsWith('.tar')) ?? ['', new Uint8Array(0)];
    store.objects.set(name, Buffer.from(tar).fill(0, 2000, 2010));
    await expect(anonymiseStage.handle(event, ports(store), signal)).rejects.toMatchObject({ code: 'OBJECT_CORRUPT', retryable: true });
    store.objects.clear();
    await expect(anonymiseStage.handle(event, ports(store), signal)).rejects.toMatchObject({ code: 'MANIFEST_MISSING', retryable: true });
  });
});
