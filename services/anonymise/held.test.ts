// What is held waits for a person; what the person decided counts for exactly what they saw.
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inflateSync } from 'node:zlib';
import { openSqliteVault } from '../adapters/sqlite-vault.ts';
import { TAG } from '../dicom/dictionary.ts';
import { element } from '../dicom/values.ts';
import type { Outcome } from '../kernel/outcome.ts';
import type { IdentityVault } from '../ports/identity-vault.ts';
import type { DecisionKind, HeldStudy } from '../ports/held-decisions.ts';
import { memoryHeld } from '../../test/shared/memory-held.ts';
import { DEFAULT_IDENTITY_RULES } from './identity.ts';
import { compileProfile } from './profile/profile.ts';
import { mayPublish } from './held-decision.ts';
import { studyFindings } from './quarantine.ts';
import type { QuarantineNote } from './quarantine.ts';
import { boxesAround } from './quarantine-text.ts';
import { studyShelf } from './shelf.ts';
import { anonymiseStage } from './stage.ts';
import { storedStudy } from './stage-test-support.ts';
import { ctBytes, memoryStore, of } from './test-support.ts';

const folder = mkdtempSync(join(tmpdir(), 'ctstream-held-test-'));
let vault: IdentityVault;
beforeAll(() => {
  vault = openSqliteVault(join(folder, 'v.db'));
});
afterAll(async () => {
  await vault.close();
  rmSync(folder, { recursive: true, force: true });
});

const SIZE = 96;
/** Four bars of 2 by 10 pixels from (8, 8): what a console's letters look like to the detector. */
const lettered = (n: number): Uint8Array => {
  const pixels = Uint16Array.from({ length: SIZE * SIZE }, (_, i) => 20 + (Math.imul(i + 1, 2_654_435_761 + n * 97) >>> 26));
  for (let letter = 0; letter < 4; letter++)
    for (let y = 8; y < 18; y++) for (const x of [8 + letter * 8, 9 + letter * 8]) pixels[y * SIZE + x] = 3000;
  return ctBytes({ n, changes: [of('Rows', SIZE), of('Columns', SIZE), element(TAG.PixelData, 'OW', new Uint8Array(pixels.buffer))] });
};
const withText = (): Uint8Array[] => [1, 2, 3, 4].map(lettered);

// The de-identifier compares names as they are written; the verifier also in Latin letters.
const NAMED = [of('SpecificCharacterSet', 'ISO_IR 192'), element(TAG.PatientName, 'PN', Buffer.from('Лунг '))];
const leaking = (): Uint8Array[] => [1, 2].map((n) => ctBytes({ n, changes: [...NAMED, of('StudyDescription', 'Lung')] }));

const scene = (files: readonly Uint8Array[], revision: string) => {
  const [store, held] = [memoryStore(), memoryHeld()];
  const ports = {
    store,
    held,
    vault,
    random: { attempt: () => 'a' },
    profile: compileProfile(),
    rules: DEFAULT_IDENTITY_RULES,
    spoolFolder: folder,
    shelf: studyShelf(0),
    instanceLimitBytes: 1 << 24,
  };
  const handle = async (): Promise<Outcome> =>
    anonymiseStage.handle(await storedStudy(store, files, revision.repeat(32)), ports, new AbortController().signal);
  const inQuarantine = (): string[] => [...store.objects.keys()].filter((name) => name.startsWith('ct-quarantine/'));
  const inResearch = (): string[] => [...store.objects.keys()].filter((name) => name.startsWith('ct-research/'));
  const only = async (): Promise<HeldStudy> => {
    const [study, ...others] = await held.list();
    if (study === undefined || others.length > 0) throw new Error(`${others.length + 1} studies are held`);
    return study;
  };
  const decide = async (kind: DecisionKind): Promise<void> => {
    const { heldId, digest } = await only();
    expect(await held.decide({ heldId, digest, kind, by: 'Anna', reason: 'none' })).toBe(true);
  };
  return { store, held, handle, inQuarantine, inResearch, only, decide };
};

/** Width, height and bytes of a PNG of ours: 8 bits, every row unfiltered. */
const readPng = (bytes: Uint8Array): { width: number; height: number; at: (x: number, y: number) => number | undefined } => {
  const png = Buffer.from(bytes);
  expect(png.subarray(0, 8).toString('latin1')).toBe('\x89PNG\r\n\x1a\n');
  const start = png.indexOf('IDAT');
  const rows = inflateSync(png.subarray(start + 4, start + 4 + png.readUInt32BE(start - 4)));
  const [width, height] = [png.readUInt32BE(16), png.readUInt32BE(20)];
  return { width, height, at: (x, y) => rows[y * (width + 1) + 1 + x] };
};

describe('text in the pixels that nobody declared', () => {
  test('holds the study: a note, pictures with a frame around the text, no UID or name in any of it', async () => {
    const { handle, store, inQuarantine, inResearch, only } = scene(withText(), '1');
    await expect(handle()).rejects.toMatchObject({ code: 'HELD_BURNED_IN_TEXT', retryable: false });
    expect(inResearch()).toEqual([]);
    const note = JSON.parse(
      Buffer.from(store.objects.get(inQuarantine().find((name) => name.endsWith('findings.json')) ?? '') ?? '').toString(),
    ) as QuarantineNote;
    expect(note.findings).toEqual([{ check: 'text', where: 'series 1', count: 4 }]);
    expect(note.pictures[0]?.boxes).toEqual([{ x: 8, y: 8, width: 26, height: 10 }]);
    expect(await only()).toMatchObject({ digest: note.digest, checks: ['text'], eventId: 'clinical-event-id' });
    const { width, height, at } = readPng(store.objects.get(`ct-quarantine/${note.pictures[0]?.object}`) ?? new Uint8Array(0));
    expect([width, height]).toEqual([SIZE, SIZE]);
    // The frame, the first letter in it, and the ground beside it.
    expect([at(4, 4), at(8, 8), at(50, 50)]).toEqual([255, expect.any(Number), expect.any(Number)]);
    expect(at(8, 8) ?? 0).toBeGreaterThan((at(50, 50) ?? 255) + 50);
    const everything = JSON.stringify([await only(), note, inQuarantine()]);
    expect(everything).not.toMatch(/1\.2\.643|Testov|A-77120/);
  });

  test('released, exactly this is published and the quarantine is emptied', async () => {
    const { handle, held, decide, inQuarantine, inResearch } = scene(withText(), '2');
    await expect(handle()).rejects.toMatchObject({ code: 'HELD_BURNED_IN_TEXT' });
    await decide('released');
    expect(await handle()).toMatchObject({ kind: 'emit', events: [{ value: { instanceCount: 4 } }] });
    expect(inResearch().length).toBeGreaterThan(0);
    expect(inQuarantine()).toEqual([]);
    expect([...held.ended.values()]).toEqual(['published']);
    expect((await handle()).kind).toBe('emit');
  });

  test('a release of other findings releases nothing: it is held anew', async () => {
    const { handle, held, only, inResearch } = scene(withText(), '3');
    await expect(handle()).rejects.toMatchObject({ code: 'HELD_BURNED_IN_TEXT' });
    const { heldId, digest } = await only();
    // As if what was shown to the person had been found by an earlier version of the checks.
    await held.hold({ ...(await only()), token: '', digest: 'of other findings' });
    expect(await held.decide({ heldId, digest: 'of other findings', kind: 'released', by: 'Anna', reason: 'none' })).toBe(true);
    await expect(handle()).rejects.toMatchObject({ code: 'HELD_BURNED_IN_TEXT' });
    expect(inResearch()).toEqual([]);
    expect(await only()).toMatchObject({ heldId, digest });
    expect((await only()).decision).toBeUndefined();
  });

  test('refused, it is rejected, each time it comes, and the quarantine is emptied', async () => {
    const { handle, held, decide, inQuarantine, inResearch } = scene(withText(), '4');
    await expect(handle()).rejects.toMatchObject({ code: 'HELD_BURNED_IN_TEXT' });
    await decide('refused');
    for (let i = 0; i < 2; i++) expect(await handle()).toMatchObject({ kind: 'reject', code: 'BURNED_IN_TEXT' });
    expect([...inQuarantine(), ...inResearch()]).toEqual([]);
    expect([...held.ended.values()]).toEqual(['BURNED_IN_TEXT']);
  });

  test('what the header declares is rejected as before, nobody has to look', async () => {
    const { handle, inQuarantine } = scene([ctBytes({ changes: [of('BurnedInAnnotation', 'YES')] })], '5');
    expect(await handle()).toMatchObject({ kind: 'reject', code: 'BURNED_IN_TEXT' });
    expect(inQuarantine()).toEqual([]);
  });
});

describe('what the verifier finds', () => {
  test('is held with all its places and counts, and refused for good', async () => {
    const { handle, only, decide } = scene(leaking(), '6');
    await expect(handle()).rejects.toMatchObject({ code: 'HELD_BY_VERIFIER' });
    expect(await only()).toMatchObject({ checks: ['element'], findings: 2 });
    await decide('refused');
    expect(await handle()).toMatchObject({ kind: 'reject', code: 'REFUSED_BY_REVIEW' });
  });

  test('released, it is published', async () => {
    const { handle, decide } = scene(leaking(), '7');
    await expect(handle()).rejects.toMatchObject({ code: 'HELD_BY_VERIFIER' });
    await decide('released');
    expect((await handle()).kind).toBe('emit');
  });
});

describe('digest of findings', () => {
  const digest = (revision: string, ...found: [string, string][]): string => {
    const all = studyFindings(revision);
    for (const [name, where] of found) all.add(name, [{ check: 'element', where }]);
    return all.digest();
  };
  const base = digest('r', ['a', '(0008,1030)'], ['b', '(0008,1030)']);

  test.each<[string, string]>([
    ['one instance fewer', digest('r', ['a', '(0008,1030)'])],
    ['another instance', digest('r', ['a', '(0008,1030)'], ['c', '(0008,1030)'])],
    ['another place', digest('r', ['a', '(0008,1030)'], ['b', '(0008,103E)'])],
    ['one more place', digest('r', ['a', '(0008,1030)'], ['b', '(0008,1030)'], ['b', '(0008,103E)'])],
    ['another revision', digest('s', ['a', '(0008,1030)'], ['b', '(0008,1030)'])],
  ])('differs with %s', (_, other) => expect(other).not.toBe(base));

  test('a place that a check finds twice in an instance counts once', () => {
    const all = studyFindings('r');
    all.add('a', [
      { check: 'element', where: 'x' },
      { check: 'element', where: 'x' },
    ]);
    expect(all.list()).toEqual([{ check: 'element', where: 'x', count: 1 }]);
  });

  test('a refusal never lets anything out, whatever its digest', () => {
    const all = studyFindings('r');
    all.add('a', [{ check: 'element', where: 'x' }]);
    const standing = { code: 'HELD_BY_VERIFIER', digest: all.digest(), objects: [] } as const;
    expect(mayPublish(all, { ...standing, decision: { kind: 'released', digest: all.digest() } })).toBe(true);
    expect(mayPublish(all, { ...standing, decision: { kind: 'refused', digest: all.digest() } })).toBe(false);
    expect(mayPublish(all, standing)).toBe(false);
  });
});

test('texts apart get boxes of their own; single strokes get none', () => {
  const at = (x: number, y: number): number => y * 512 + x;
  const line = (x: number, y: number): number[] => [0, 1, 2, 3, 4].map((i) => at(x + i * 8, y + i));
  expect(boxesAround([...line(10, 10), ...line(300, 400), at(200, 200)], 512)).toEqual([
    { x: 10, y: 10, width: 33, height: 5 },
    { x: 300, y: 400, width: 33, height: 5 },
  ]);
});
