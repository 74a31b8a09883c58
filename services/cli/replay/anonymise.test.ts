// What a replay of anonymise compares, and what it leaves in its buckets, when originals were freed, a subject withdrew since
// the replay before, or the code of today holds a study.
import { afterAll, beforeEach, expect, test } from '@jest/globals';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { memoryHeld } from '../../../test/shared/memory-held.ts';
import { memoryStore, type MemoryStore } from '../../../test/shared/memory-store.ts';
import { avroCodec } from '../../adapters/avro-codec.ts';
import { openSqliteVault } from '../../adapters/sqlite-vault.ts';
import { DEFAULT_IDENTITY_RULES } from '../../anonymise/identity.ts';
import { compileProfile } from '../../anonymise/profile/profile.ts';
import { studyShelf } from '../../anonymise/shelf.ts';
import { CENTRE, storedStudy } from '../../anonymise/stage-test-support.ts';
import { anonymiseStage } from '../../anonymise/stage.ts';
import { ctBytes, of, sopUidOf } from '../../anonymise/test-support.ts';
import { TAG } from '../../dicom/dictionary.ts';
import { element } from '../../dicom/values.ts';
import type { EventIn } from '../../kernel/stage.ts';
import type { HeldBook } from '../../ports/held-decisions.ts';
import type { IdentityVault } from '../../ports/identity-vault.ts';
import { eventsIn, replayEvents } from '../../runtime/replay.ts';
import { replayRecorded } from './anonymise.ts';
import type { ReplayReport } from './context.ts';
import { recordedVault } from './recorded-vault.ts';

const folder = mkdtempSync(join(tmpdir(), 'ctstream-replay-test-'));
const namespace = DEFAULT_IDENTITY_RULES.namespaceOfCentre(CENTRE);
const centre = { id: CENTRE, dicomWebUrl: 'http://pacs.test/dicom-web', username: 'u', password: 'p', namespace };
writeFileSync(join(folder, 'centres.json'), JSON.stringify([centre]), { mode: 0o600 });
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const signal = new AbortController().signal;
const codec = avroCodec();
const slices = (): Uint8Array[] => [1, 2].map((n) => ctBytes({ n, changes: [of('SOPInstanceUID', sopUidOf(n))] }));
// The de-identifier compares names as they are written; the verifier also in Latin letters.
const LEAKING = [1, 2].map((n) =>
  ctBytes({
    n,
    changes: [
      of('SpecificCharacterSet', 'ISO_IR 192'),
      element(TAG.PatientName, 'PN', Buffer.from('Лунг ')),
      of('StudyDescription', 'Lung'),
    ],
  }),
);

let source: MemoryStore;
let target: MemoryStore;
let vault: IdentityVault;
let runs = 0;
beforeEach(() => {
  [source, target] = [memoryStore(), memoryStore()];
  vault = openSqliteVault(join(folder, `v${++runs}.db`));
});

/** The stage itself has handled the study: the log. */
async function handled(files: readonly Uint8Array[], held: HeldBook = memoryHeld()): Promise<EventIn[]> {
  const event = await storedStudy(source, files);
  const ports = {
    store: source,
    vault,
    held,
    random: { attempt: () => 'a'.repeat(16) },
    profile: compileProfile(),
    rules: DEFAULT_IDENTITY_RULES,
    spoolFolder: folder,
    shelf: studyShelf(0),
    instanceLimitBytes: 1 << 24,
  };
  const { told } = await replayEvents(anonymiseStage, [event], async () => ports, { codec, signal, concurrency: 1 });
  return [event, ...told];
}

async function replayed(events: readonly EventIn[], held: HeldBook = memoryHeld(), seen = vault): Promise<ReplayReport> {
  const provisioned = { file: (name: string) => join(folder, name) };
  const log = { ends: [], records: events, events, bad: 0 };
  const recorded = await recordedVault(seen, () => 1, signal);
  return await replayRecorded({ provisioned, codec, source, target, signal, progress: () => undefined }, log, recorded, held, {});
}

const identical = { differences: [], faults: [] };

test('studies whose originals were freed are left out and counted', async () => {
  const events = await handled(slices());
  expect(await replayed(events)).toMatchObject({ ...identical, handled: 1, events: 1, objects: 2, notes: [] });
  target = memoryStore();
  await source.remove('ct-clinical', source.keys('ct-clinical'));
  const report = await replayed(events);
  expect(report).toMatchObject({ ...identical, handled: 0, events: 0 });
  expect(report.notes).toEqual([expect.stringMatching(/^1 stored revisions are left out: originals freed/)]);
});

test('a manifest that is missing beside its originals was not freed, and is missed', async () => {
  const events = await handled(slices());
  await source.remove(
    'ct-clinical',
    source.keys('ct-clinical').filter((key) => key.endsWith('/manifest.json')),
  );
  const { differences, faults, notes } = await replayed(events);
  expect(faults.map(({ code }) => code)).toEqual(['MANIFEST_MISSING']);
  expect(differences.map(({ how, what }) => `${how} ${what}`)).toEqual(['missing event', 'missing object']);
  expect(notes).toEqual([]);
});

test('nothing stays of a subject who withdrew since the replay before, and a replay is identical again', async () => {
  const events = await handled(slices());
  await replayed(events);
  expect(target.keys('ct-research')).toHaveLength(2);
  const [published] = eventsIn({ events }, 'ctstream.research.v1.StudyAnonymised');
  if (published === undefined) throw new Error('nothing was published');
  for (const bucket of ['ct-clinical', 'ct-research']) await source.remove(bucket, source.keys(bucket));
  const { subjectId } = published.value;
  const told = { type: 'ctstream.research.v1.SubjectWithdrawn' as const, value: { subjectId, studies: null } };
  const withdrawn = codec.decode({
    ...codec.encode(told, { id: 'w', source: 'anonymise', timeMs: 0 }),
    partition: 0,
    offset: 0n,
    timestampMs: 0,
  });
  const denying: IdentityVault = { ...vault, denied: async (studies) => new Set(studies), lineages: async function* () {} };
  const report = await replayed([...events, withdrawn], memoryHeld(), denying);
  expect(report).toMatchObject({ ...identical, handled: 0, objects: 0 });
  expect(report.notes[0]).toBe('2 objects of an earlier replay were erased: their subjects have withdrawn since');
  expect(target.keys('ct-research')).toEqual([]);
  expect((await replayed([...events, withdrawn], memoryHeld(), denying)).notes).not.toContain(report.notes[0]);
});

test('a study that is held this time is told, and nothing of it is put anywhere', async () => {
  const held = memoryHeld();
  await handled(LEAKING, held);
  const [study] = await held.list();
  if (study === undefined) throw new Error('nothing is held');
  await held.decide({ heldId: study.heldId, digest: study.digest, kind: 'released', by: 'Anna', reason: 'none' });
  const events = await handled(LEAKING, held);
  expect(await replayed(events, held)).toMatchObject(identical);
  target = memoryStore();
  // Without the decision it is as if other code had found something else.
  const { faults, notes } = await replayed(events);
  expect(faults.map(({ code }) => code)).toEqual(['HELD_BY_VERIFIER']);
  expect(notes).toEqual(['1 stored revisions are held this time: no note or picture of them is put anywhere']);
  expect(['ct-quarantine', 'ct-research'].flatMap((bucket) => target.keys(bucket))).toEqual([]);
});
