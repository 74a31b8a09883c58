import { expect, jest, test } from '@jest/globals';
import { memoryStore } from '../../test/shared/memory-store.ts';
import { revisionOf } from '../kernel/digest.ts';
import { Fault } from '../kernel/fault.ts';
import type { CentreId, StudyInstanceUid } from '../kernel/ids.ts';
import { canonicalJson } from '../kernel/manifest.ts';
import { LONGEST_ATTEMPT_MS } from '../kernel/sweep.ts';
import type { DicomWeb } from '../ports/dicomweb.ts';
import { TAG } from '../dicom/dictionary.ts';
import { element } from '../dicom/values.ts';
import { makeFile, newDataset, withElements, writeDicom } from '../dicom/write.ts';
import type { Available } from './events.ts';
import { fairPlaces } from '../kernel/fair-places.ts';
import { limitedWork } from './ports.ts';
import { ingestStage } from './stage.ts';
import { CLINICAL_BUCKET } from './store-series.ts';

const CT = '1.2.840.10008.5.1.4.1.1.2';
const signal = new AbortController().signal;
const study = '1.2' as StudyInstanceUid;
const listed = { seriesInstanceUid: '1.2.3', sopInstanceUid: '1.2.3.4', sopClassUid: CT, modality: 'CT', availableTransferSyntaxUids: [] };
const file = writeDicom(
  makeFile({
    transferSyntaxUid: '1.2.840.10008.1.2.1',
    sopClassUid: CT,
    sopInstanceUid: '1.2.3.4',
    dataset: withElements(newDataset(), [
      element(TAG.SOPClassUID, 'UI', CT),
      element(TAG.SOPInstanceUID, 'UI', '1.2.3.4'),
      element(TAG.Modality, 'CS', 'CT'),
      element(TAG.StudyInstanceUID, 'UI', study),
      element(TAG.SeriesInstanceUID, 'UI', '1.2.3'),
    ]),
  }),
);

const event: Available = {
  type: 'ctstream.clinical.v1.StudyAvailable',
  value: {
    centre: 'c1' as CentreId,
    studyInstanceUid: study,
    revision: revisionOf([listed]),
    sequence: 10,
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
};

interface Given {
  readonly turn?: () => Promise<void>;
  readonly store?: ReturnType<typeof memoryStore>;
  readonly announced?: Available;
  readonly knowsCentre?: boolean;
}

async function handled(
  duringPull: (store: ReturnType<typeof memoryStore>) => Promise<void>,
  { turn = async () => undefined, store = memoryStore(), announced = event, knowsCentre = true }: Given = {},
) {
  async function* parts() {
    await duringPull(store);
    async function* body() {
      yield file;
    }
    yield { headers: new Map<string, string>(), body: body() };
  }
  const web: DicomWeb = {
    async *studies() {},
    study: async () => [
      { studyInstanceUid: study, patientId: 'P', studyDate: '', studyDescription: '', modalities: ['CT'], instanceCount: 1 },
    ],
    series: async () => [{ ...listed, instanceCount: 1 }],
    instances: async () => [listed],
    retrieveSeries: async () => {
      await turn();
      return parts();
    },
  };
  const outcome = await ingestStage.handle(
    announced,
    {
      store,
      pacs: () => (knowsCentre ? { pull: (s, work) => work(web, s) } : undefined),
      random: { attempt: () => 'attempt' } as never,
      clock: { nowMs: () => 0, sleep: async () => undefined },
      admission: { isOpen: () => true, open: async () => undefined },
      spill: { folder: '/nowhere', memoryBytes: 1 << 20, headBytes: 1 << 20, maxBytes: 1 << 20 },
      work: limitedWork(fairPlaces(1), 60_000),
      byContent: new Set<string>(),
      count: () => undefined,
    },
    signal,
  );
  const keys: string[] = [];
  for await (const { key } of store.list(CLINICAL_BUCKET, 'c1/', signal)) keys.push(key);
  return { outcome, keys };
}

test('a study is pulled and its manifest published', async () => {
  const { outcome, keys } = await handled(async () => undefined);
  expect(outcome).toMatchObject({ kind: 'emit', events: [{ type: 'ctstream.clinical.v1.StudyStored', value: { sequence: 10 } }, {}] });
  expect(keys).toHaveLength(2);
});

test('of a centre that the centres file no longer names nothing is said, whatever stands of the study: its record waits', async () => {
  const store = memoryStore();
  const nothing = async (): Promise<void> => undefined;
  expect((await handled(nothing, { store })).outcome.kind).toBe('emit');
  const forged = { ...event, value: { ...event.value, centre: 'c2' as CentreId } };
  const older = { ...event, value: { ...event.value, revision: 'b'.repeat(32) as never, sequence: 5 } };
  for (const announced of [event, forged, older]) {
    const gone = handled(nothing, { store, announced, knowsCentre: false });
    await expect(gone).rejects.toMatchObject({ code: 'PACS_UNREACHABLE', retryable: true });
  }
});

test.each(['.', '..', '...', '', '1/2', '1.2/..', 'x', '1'.repeat(65)])(
  'a study called "%s" is a broken event: no object can be called so',
  async (uid) => {
    const broken = { ...event, value: { ...event.value, studyInstanceUid: uid as StudyInstanceUid } };
    await expect(handled(async () => undefined, { announced: broken })).rejects.toMatchObject({ code: 'BAD_EVENT', retryable: false });
  },
);

test('a wait of hours for its turn does not make an attempt too old to publish; hours of storing do', async () => {
  const real = performance.now.bind(performance);
  let laterMs = 0;
  const hoursPass = async (): Promise<void> => void (laterMs += 2 * LONGEST_ATTEMPT_MS);
  const clock = jest.spyOn(performance, 'now').mockImplementation(() => real() + laterMs);
  try {
    expect((await handled(async () => undefined, { turn: hoursPass })).outcome.kind).toBe('emit');
    await expect(handled(hoursPass)).rejects.toMatchObject({ code: 'JOB_TIMEOUT', retryable: true });
  } finally {
    clock.mockRestore();
  }
});

test('a later revision that was stored while this one was pulled supersedes it, and nothing of it stays', async () => {
  const later = 'b'.repeat(32);
  const { outcome, keys } = await handled(async (store) => {
    const manifest = {
      format: 'ctstream-manifest/1',
      study,
      revision: later,
      attempt: 'o',
      series: [],
      facts: { centre: 'c1', sequence: 20 },
    };
    await store.put(CLINICAL_BUCKET, `c1/${study}/${later}/manifest.json`, canonicalJson(manifest), { signal });
  });
  expect(outcome).toMatchObject({ kind: 'skip', code: 'SUPERSEDED' });
  expect(keys).toEqual([`c1/${study}/${later}/manifest.json`]);
});

test('work that takes too long is a fault with that code, and its place is free again', async () => {
  const work = limitedWork(fairPlaces(1), 20);
  const late = work(
    'c1',
    signal,
    (s) => new Promise<never>((_, reject) => s.addEventListener('abort', () => reject(new Error('aborted')))),
  );
  await expect(late).rejects.toMatchObject({ code: 'JOB_TIMEOUT', retryable: true });
  await expect(late).rejects.toBeInstanceOf(Fault);
  expect(await work('c1', signal, async () => 'next')).toBe('next');
});
