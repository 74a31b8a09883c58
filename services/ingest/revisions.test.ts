// Revisions and copies of a study at ingest: rows of docs/revisions.md. A PACS in memory, the stage itself.
import { createHash } from 'node:crypto';
import { beforeEach, describe, expect, test } from '@jest/globals';
import { memoryStore } from '../../test/shared/memory-store.ts';
import { TAG } from '../dicom/dictionary.ts';
import { element } from '../dicom/values.ts';
import { makeFile, newDataset, withElements, writeDicom } from '../dicom/write.ts';
import { revisionOf } from '../kernel/digest.ts';
import type { CentreId, StudyInstanceUid } from '../kernel/ids.ts';
import type { Outcome } from '../kernel/outcome.ts';
import type { DicomWeb, FoundInstance } from '../ports/dicomweb.ts';
import type { Available, ClinicalManifest } from './events.ts';
import { ingestStage } from './stage.ts';
import { CLINICAL_BUCKET } from './store-series.ts';

const CT = '1.2.840.10008.5.1.4.1.1.2';
const STUDY = '1.2' as StudyInstanceUid;
const signal = new AbortController().signal;

interface Slice {
  readonly series: string;
  readonly sop: string;
  readonly bytes: Uint8Array;
}

/** An instance; `content` makes it another file with the same UIDs. */
function slice(n: number, { content = 0, series = '1.2.3' } = {}): Slice {
  const sop = `1.2.3.${n}`;
  const dataset = withElements(newDataset(), [
    element(TAG.SOPClassUID, 'UI', CT),
    element(TAG.SOPInstanceUID, 'UI', sop),
    element(TAG.Modality, 'CS', 'CT'),
    element(TAG.StudyInstanceUID, 'UI', STUDY),
    element(TAG.SeriesInstanceUID, 'UI', series),
    element(TAG.PixelData, 'OW', new Uint8Array(64).fill(content)),
  ]);
  return {
    series,
    sop,
    bytes: writeDicom(makeFile({ transferSyntaxUid: '1.2.840.10008.1.2.1', sopClassUid: CT, sopInstanceUid: sop, dataset })),
  };
}

const listedOf = ({ series, sop }: Slice): FoundInstance => ({
  seriesInstanceUid: series,
  sopInstanceUid: sop,
  sopClassUid: CT,
  modality: 'CT',
  availableTransferSyntaxUids: [],
});

/** What each centre's PACS holds now, and what it does while a series is sent. */
let pacs: Map<string, Slice[]>;
let duringPull: () => Promise<void>;
let store: ReturnType<typeof memoryStore>;
/** Searches of the centres' PACSs, in order. */
let asked: ('series' | 'instances')[];
let byContent: Set<string>;
let attempts: number;
let sequence: number;

beforeEach(() => {
  pacs = new Map();
  duringPull = () => Promise.resolve();
  store = memoryStore();
  asked = [];
  byContent = new Set();
  attempts = 0;
  sequence = 0;
});

function webOf(centre: string): DicomWeb {
  const held = (): Slice[] => pacs.get(centre) ?? [];
  // A PACS lists one instance where it holds two files of one UID.
  const listed = (): FoundInstance[] => [...new Map(held().map((s) => [`${s.series}/${s.sop}`, listedOf(s)])).values()];
  async function* parts(series: string) {
    await duringPull();
    for (const one of held().filter((s) => s.series === series)) {
      async function* body() {
        yield one.bytes;
      }
      yield { headers: new Map<string, string>(), body: body() };
    }
  }
  const row = { studyInstanceUid: STUDY, patientId: 'P', studyDate: '', studyDescription: '', modalities: ['CT'], instanceCount: 1 };
  return {
    async *studies() {},
    study: () => Promise.resolve(held().length === 0 ? [] : [row]),
    series: async () => {
      asked.push('series');
      return [...Map.groupBy(listed(), (i) => i.seriesInstanceUid)].map(([seriesInstanceUid, of]) => ({
        seriesInstanceUid,
        instanceCount: of.length,
      }));
    },
    instances: async () => {
      asked.push('instances');
      return listed();
    },
    retrieveSeries: (_study, series) => Promise.resolve(parts(series)),
  };
}

/** The announcement of what the centre's PACS holds now, as its gateway writes it: with hashes when it is an Orthanc. */
function announced(centre = 'c1', { hashes } = { hashes: true }): Available {
  const held = pacs.get(centre) ?? [];
  sequence += 10;
  return {
    type: 'ctstream.clinical.v1.StudyAvailable',
    value: {
      centre: centre as CentreId,
      studyInstanceUid: STUDY,
      revision: revisionOf(
        held.map((s) => ({ ...listedOf(s), ...(hashes ? { hash: createHash('md5').update(s.bytes).digest('hex') } : {}) })),
      ),
      sequence,
      instanceCount: new Set(held.map((s) => `${s.series}/${s.sop}`)).size,
      seriesCount: new Set(held.map((s) => s.series)).size,
      modalities: ['CT'],
      noticedBy: 'census',
    },
    id: `announcement-${sequence}`,
    source: 'test',
    timeMs: 0,
    topic: `ct.clinical.${centre}.study-available.v1`,
    partition: 0,
    offset: 0n,
    key: `${centre}|${STUDY}`,
  };
}

function ingest(event: Available): Promise<Outcome> {
  return ingestStage.handle(
    event,
    {
      store,
      pacs: (centre) => ({ pull: (s, work) => work(webOf(centre), s) }),
      random: { attempt: () => `attempt${++attempts}` },
      clock: { nowMs: () => 0, sleep: async () => undefined },
      admission: { isOpen: () => true, open: async () => undefined },
      spill: { folder: '/nowhere', memoryBytes: 1 << 20, headBytes: 1 << 20, maxBytes: 1 << 20 },
      work: (_centre, s, work) => work(s),
      byContent,
      count: () => undefined,
    },
    signal,
  );
}

/** Puts the slices into the centre's PACS, instead of what it held, and announces and ingests them. */
async function comes(slices: Slice[], centre = 'c1'): Promise<Outcome> {
  pacs.set(centre, slices);
  return await ingest(announced(centre));
}

async function manifests(centre = 'c1'): Promise<ClinicalManifest[]> {
  const keys = store.keys(CLINICAL_BUCKET).filter((k) => k.startsWith(`${centre}/`) && k.endsWith('/manifest.json'));
  const bytes = await Promise.all(keys.map((key) => store.getBytes(CLINICAL_BUCKET, key, 1 << 20, signal)));
  return bytes
    .map((b) => JSON.parse(Buffer.from(b ?? []).toString()) as ClinicalManifest)
    .sort((a, b) => a.facts.sequence - b.facts.sequence);
}

const counts = async (centre?: string): Promise<number[]> => (await manifests(centre)).map((m) => m.facts.instanceCount);
const stored = { kind: 'emit', events: [{ type: 'ctstream.clinical.v1.StudyStored' }, { value: { state: 'stored' } }] };
const told = (state: string, code: string) => ({ code, events: [{ type: 'ctstream.clinical.v1.StudyStatus', value: { state, code } }] });

test('once a revision was made of hashes only series are listed, until one is not', async () => {
  pacs.set('c1', [slice(1), slice(2)]);
  expect(await ingest(announced())).toMatchObject(stored);
  pacs.set('c1', [slice(1), slice(2), slice(3)]);
  expect(await ingest(announced())).toMatchObject(stored);
  expect(asked).toEqual(['instances', 'series']);
  // Its gateway has lost the way to the hashes.
  pacs.set('c1', [slice(1), slice(2), slice(3), slice(4)]);
  expect(await ingest(announced('c1', { hashes: false }))).toMatchObject(stored);
  pacs.set('c1', [slice(1)]);
  expect(await ingest(announced('c1', { hashes: false }))).toMatchObject(stored);
  expect(asked).toEqual(['instances', 'series', 'series', 'instances']);
  expect((await manifests()).map((m) => m.facts.verified)).toEqual(['content', 'content', 'list', 'list']);
});

describe.each([
  ['with the instances listed', []],
  ['with the series listed', ['c1', 'c2']],
])('%s:', (_listed, centres) => {
  beforeEach(() => void (byContent = new Set(centres)));

  test.each([
    ['with hashes, the very bytes', true, 'content'],
    ['without, the instances', false, 'list'],
  ])('what the revision of a PACS vouches for stands in the manifest: %s', async (_what, hashes, verified) => {
    pacs.set('c1', [slice(1), slice(2)]);
    expect(await ingest(announced('c1', { hashes }))).toMatchObject(stored);
    expect((await manifests()).map((m) => m.facts.verified)).toEqual([verified]);
  });

  test('without hashes, an instance in the place of another is a changed study', async () => {
    pacs.set('c1', [slice(1), slice(2)]);
    const event = announced('c1', { hashes: false });
    pacs.set('c1', [slice(1), slice(3)]);
    expect(await ingest(event)).toMatchObject({ kind: 'skip', ...told('waiting', 'STUDY_CHANGED') });
    expect(store.keys(CLINICAL_BUCKET)).toEqual([]);
  });

  describe('late slices', () => {
    test('between announcement and pull: the study has changed, and its gateway is told to look again', async () => {
      pacs.set('c1', [slice(1)]);
      const event = announced();
      pacs.set('c1', [slice(1), slice(2)]);
      expect(await ingest(event)).toMatchObject({ kind: 'skip', ...told('waiting', 'STUDY_CHANGED') });
      expect(store.keys(CLINICAL_BUCKET)).toEqual([]);
      expect(await ingest(announced())).toMatchObject(stored);
    });

    test('while the study is pulled: it has changed, and nothing of it stays', async () => {
      pacs.set('c1', [slice(1)]);
      const event = announced();
      duringPull = () => Promise.resolve(void pacs.set('c1', [slice(1), slice(2)]));
      expect(await ingest(event)).toMatchObject({ kind: 'skip', ...told('waiting', 'STUDY_CHANGED') });
      expect(store.keys(CLINICAL_BUCKET)).toEqual([]);
    });

    test('while the study is pulled, without end: no more is read than tells that it has changed, and nothing stays', async () => {
      pacs.set('c1', [slice(1)]);
      const event = announced();
      let read = 0;
      const many = Array.from({ length: 1000 }, (_, n): Slice => {
        const one = slice(n + 1);
        return {
          ...one,
          get bytes() {
            return ((read += 1), one.bytes);
          },
        };
      });
      duringPull = () => Promise.resolve(void pacs.set('c1', many));
      expect(await ingest(event)).toMatchObject({ kind: 'skip', ...told('waiting', 'STUDY_CHANGED') });
      expect(read).toBe(2);
      expect(store.keys(CLINICAL_BUCKET)).toEqual([]);
      expect(byContent.size).toBe(centres.includes('c1') ? 1 : 0);
    });

    test('after a revision was stored: a new revision with all slices, and both stand', async () => {
      expect(await comes([slice(1)])).toMatchObject(stored);
      expect(await comes([slice(1), slice(2)])).toMatchObject(stored);
      expect(await counts()).toEqual([1, 2]);
    });
  });

  test.each(['.', '..'])('a series called "%s" is refused: no object can be called so', async (series) => {
    expect(await comes([slice(1, { series })])).toMatchObject({ kind: 'reject', ...told('rejected', 'BAD_ELEMENT') });
  });

  describe('instances that vanish', () => {
    test('some of them: what is left is a new revision, and both stand', async () => {
      await comes([slice(1), slice(2)]);
      expect(await comes([slice(2)])).toMatchObject(stored);
      expect(await counts()).toEqual([2, 1]);
    });

    test('all of them after the announcement: that announcement alone is rejected, and what is stored stands', async () => {
      await comes([slice(1)]);
      pacs.set('c1', [slice(1), slice(2)]);
      const event = announced();
      pacs.set('c1', []);
      expect(await ingest(event)).toMatchObject({ kind: 'reject', ...told('rejected', 'STUDY_VANISHED') });
      expect(await counts()).toEqual([1]);
    });
  });

  describe('one SOP Instance UID with other bytes', () => {
    test('two files in one series: refused', async () => {
      expect(await comes([slice(1), slice(1, { content: 7 })])).toMatchObject({ kind: 'reject', code: 'UID_COLLISION' });
      expect(store.keys(CLINICAL_BUCKET)).toEqual([]);
    });

    test('in two series of the study: refused', async () => {
      expect(await comes([slice(1), slice(1, { series: '1.2.4' })])).toMatchObject({ kind: 'reject', code: 'UID_COLLISION' });
      expect(store.keys(CLINICAL_BUCKET)).toEqual([]);
    });

    test('the file was corrected in the PACS: a new revision, and both stand', async () => {
      await comes([slice(1)]);
      expect(await comes([slice(1, { content: 7 })])).toMatchObject(stored);
      const [before, after] = await manifests();
      expect(after?.facts.contentDigest).not.toBe(before?.facts.contentDigest);
    });
  });

  test('an announcement that comes back from a retry topic after a newer one was stored is superseded', async () => {
    pacs.set('c1', [slice(1)]);
    const old = announced();
    await comes([slice(1), slice(2)]);
    const before = store.keys(CLINICAL_BUCKET);
    expect(await ingest(old)).toMatchObject({ kind: 'skip', code: 'SUPERSEDED' });
    expect(store.keys(CLINICAL_BUCKET)).toEqual(before);
  });

  describe('set back while the correction is tried again', () => {
    const A = [slice(1)];
    const B = [slice(1, { content: 7 })];

    test('the correction is superseded, before it is pulled or after, and what the PACS holds stays the newest', async () => {
      expect(await comes(A)).toMatchObject(stored);
      pacs.set('c1', B);
      const correction = announced();
      // It was judged new and its files have come already; then the gateway tells that the study was set back.
      let back: Outcome | undefined;
      duringPull = async () => {
        duringPull = () => Promise.resolve();
        pacs.set('c1', A);
        back = await ingest(announced());
        pacs.set('c1', B);
      };
      expect(await ingest(correction)).toMatchObject({ kind: 'skip', code: 'SUPERSEDED' });
      expect(back).toMatchObject(stored);
      expect(await ingest(correction)).toMatchObject({ kind: 'skip', code: 'SUPERSEDED' });
      expect(await manifests()).toHaveLength(1);
      expect(store.keys(CLINICAL_BUCKET).filter((key) => key.endsWith('.tar'))).toHaveLength(1);
    });

    test('a correction that comes once more is stored, and another centre has no content to compare but what is stored', async () => {
      await comes(A);
      await comes(A);
      expect(await comes(B)).toMatchObject(stored);
      expect((await manifests()).map((m) => m.facts.sequence)).toEqual([10, 30]);
      expect(await comes(A, 'c2')).toMatchObject({ kind: 'skip', code: 'DUPLICATE_OF' });
      await expect(comes([slice(1, { content: 8 })], 'c2')).rejects.toMatchObject({ code: 'CONFLICTING_COPY', retryable: false });
    });

    test('what was stored between the look and the mark of the study that was set back comes before it', async () => {
      await comes(A);
      pacs.set('c1', B);
      const correction = announced();
      pacs.set('c1', A);
      const back = announced();
      const { put } = store;
      store.put = async (bucket, key, body, options) => {
        if (key.includes('/again/')) {
          store.put = put;
          pacs.set('c1', B);
          expect(await ingest(correction)).toMatchObject(stored);
          pacs.set('c1', A);
        }
        return await put(bucket, key, body, options);
      };
      expect(await ingest(back)).toMatchObject(stored);
      expect((await manifests()).map((m) => m.facts.sequence)).toEqual([10, 20, 30]);
    });
  });

  describe('a study from two centres', () => {
    test('equal: the second is a duplicate, its centre is told, and nothing of it is stored', async () => {
      await comes([slice(1), slice(2)], 'c1');
      const before = store.keys(CLINICAL_BUCKET);
      expect(await comes([slice(2), slice(1)], 'c2')).toMatchObject({ kind: 'skip', ...told('rejected', 'DUPLICATE_OF') });
      expect(store.keys(CLINICAL_BUCKET)).toEqual(before);
    });

    test('equal to an older revision of the first centre: a duplicate too', async () => {
      await comes([slice(1)], 'c1');
      await comes([slice(1), slice(2)], 'c1');
      expect(await comes([slice(1)], 'c2')).toMatchObject({ kind: 'skip', code: 'DUPLICATE_OF' });
    });

    test.each([
      ['other bytes', [slice(1, { content: 7 }), slice(2)]],
      ['some of its instances', [slice(1)]],
      ['more instances', [slice(1), slice(2), slice(3)]],
    ])('%s: held for an operator, and nothing of it is stored', async (_name, copy) => {
      await comes([slice(1), slice(2)], 'c1');
      const before = store.keys(CLINICAL_BUCKET);
      // Parked at once: trying again can't make the copies equal.
      await expect(comes(copy, 'c2')).rejects.toMatchObject({ code: 'CONFLICTING_COPY', retryable: false });
      expect(store.keys(CLINICAL_BUCKET)).toEqual(before);
    });

    test('at the same moment: exactly one is stored, whoever it is', async () => {
      for (const centre of ['c1', 'c2']) pacs.set(centre, [slice(1), slice(2)]);
      const events = [announced('c1'), announced('c2')];
      const ends = await Promise.allSettled(events.map((e) => ingest(e)));
      expect([...(await manifests('c1')), ...(await manifests('c2'))]).toHaveLength(1);
      // The loser is a duplicate at once, or when it is tried again: the winner's manifest may not stand yet.
      for (const [i, end] of ends.entries()) {
        const event = events[i];
        if (event === undefined || end.status === 'fulfilled') continue;
        expect(end.reason).toMatchObject({ code: 'CONFLICTING_COPY', retryable: true });
        expect(await ingest(event)).toMatchObject({ kind: 'skip', code: 'DUPLICATE_OF' });
      }
      const again = await Promise.all(events.map((e) => ingest(e)));
      expect(again.map((o) => o.kind).sort()).toEqual(['emit', 'skip']);
    });

    test('the first centre corrects its own: a new revision, and the held copy that it now equals is a duplicate', async () => {
      await comes([slice(1)], 'c1');
      pacs.set('c2', [slice(1), slice(2)]);
      const held = announced('c2');
      await expect(ingest(held)).rejects.toMatchObject({ code: 'CONFLICTING_COPY' });
      expect(await comes([slice(1), slice(2)], 'c1')).toMatchObject(stored);
      expect(await ingest(held)).toMatchObject({ kind: 'skip', code: 'DUPLICATE_OF' });
    });

    test('the first was refused: it claims nothing, and the second is stored', async () => {
      expect(await comes([slice(1), slice(1, { content: 7 })], 'c1')).toMatchObject({ kind: 'reject', code: 'UID_COLLISION' });
      expect(await comes([slice(1)], 'c2')).toMatchObject(stored);
    });

    test('the first died between claim and manifest: the second waits, and ends when the first is stored', async () => {
      pacs.set('c1', [slice(1)]);
      const first = announced('c1');
      const { put } = store;
      store.put = (bucket, key, ...rest) =>
        key.endsWith('/manifest.json') ? Promise.reject(new Error('killed')) : put(bucket, key, ...rest);
      await expect(ingest(first)).rejects.toThrow('killed');
      store.put = put;
      await expect(comes([slice(1)], 'c2')).rejects.toMatchObject({ code: 'CONFLICTING_COPY', retryable: true });
      expect(await ingest(first)).toMatchObject(stored);
      expect(await comes([slice(1)], 'c2')).toMatchObject({ kind: 'skip', code: 'DUPLICATE_OF' });
    });

    test("the first centre's originals were freed: copies are still compared with what it had stored", async () => {
      await comes([slice(1)], 'c1');
      await store.remove(
        CLINICAL_BUCKET,
        store.keys(CLINICAL_BUCKET).filter((k) => k.startsWith('c1/')),
      );
      expect(await comes([slice(1)], 'c2')).toMatchObject({ kind: 'skip', code: 'DUPLICATE_OF' });
      await expect(comes([slice(1), slice(2)], 'c2')).rejects.toMatchObject({ code: 'CONFLICTING_COPY', retryable: false });
      expect(await counts('c2')).toEqual([]);
    });

    test('the first died between manifest and mark: its next attempt makes the mark before it tells', async () => {
      pacs.set('c1', [slice(1)]);
      const first = announced('c1');
      const { put } = store;
      store.put = (bucket, key, ...rest) => (key.includes('/content/') ? Promise.reject(new Error('killed')) : put(bucket, key, ...rest));
      await expect(ingest(first)).rejects.toThrow('killed');
      store.put = put;
      await expect(comes([slice(1)], 'c2')).rejects.toMatchObject({ code: 'CONFLICTING_COPY', retryable: true });
      expect(await ingest(first)).toMatchObject(stored);
      expect(await comes([slice(1)], 'c2')).toMatchObject({ kind: 'skip', code: 'DUPLICATE_OF' });
    });
  });
});
