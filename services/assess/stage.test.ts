// The stage on objects in memory: choice of series, one assessment a revision, refusals, faults.
import { describe, expect, test } from '@jest/globals';
import { createHmac } from 'node:crypto';
import { gunzipSync } from 'node:zlib';
import type { StudyAnonymised } from '../../schemas/events.gen.ts';
import { sha256Hex } from '../kernel/digest.ts';
import type { ResearchRevision, ResearchStudyId, SiteId, SubjectId } from '../kernel/ids.ts';
import { canonicalJson, type ManifestSeries, type StudyManifest } from '../kernel/manifest.ts';
import type { Outcome } from '../kernel/outcome.ts';
import type { EventIn } from '../kernel/stage.ts';
import type { ObjectStore } from '../ports/object-store.ts';
import { TAG } from '../dicom/dictionary.ts';
import type { DicomFile } from '../dicom/model.ts';
import { element } from '../dicom/values.ts';
import { writeDicom } from '../dicom/write.ts';
import { DEFAULT_LIMITS } from './limits.ts';
import { readNifti } from './nifti.ts';
import { assess } from './stage.ts';
import type { Assessment } from './stored-assessment.ts';
import { syntheticSeries } from './synthetic-series.ts';

/** Objects in memory, streamed in odd pieces so that instances straddle them. */
const memoryStore = (objects: Map<string, Uint8Array>): ObjectStore => {
  const collect = async (body: Uint8Array | AsyncIterable<Uint8Array>): Promise<Uint8Array> => {
    if (body instanceof Uint8Array) return body;
    const parts: Uint8Array[] = [];
    for await (const part of body) parts.push(Uint8Array.from(part));
    return Buffer.concat(parts);
  };
  return {
    put: async (_bucket, key, body, options) => {
      if (options?.ifNoneMatch === true && objects.has(key)) return 'exists';
      objects.set(key, await collect(body));
      return 'created';
    },
    get: async (_bucket, key) => {
      const bytes = objects.get(key);
      if (bytes === undefined) return undefined;
      return (async function* () {
        for (let at = 0; at < bytes.length; at += 7001) yield bytes.subarray(at, at + 7001);
      })();
    },
    getBytes: async (_bucket, key) => objects.get(key),
    head: async (_bucket, key) => {
      const bytes = objects.get(key);
      return bytes === undefined ? undefined : { key, sizeBytes: bytes.length, lastModifiedMs: 0 };
    },
    list: async function* (_bucket, prefix) {
      for (const [key, bytes] of [...objects].sort()) if (key.startsWith(prefix)) yield { key, sizeBytes: bytes.length, lastModifiedMs: 0 };
    },
    folders: async () => [],
    remove: async (_bucket, keys) => keys.forEach((key) => objects.delete(key)),
  };
};

interface Series {
  readonly uid: string;
  readonly modality?: string;
  readonly files: readonly DicomFile[];
}

/** Puts a study as anonymise leaves it and gives its event. */
const putStudy = (
  objects: Map<string, Uint8Array>,
  series: readonly Series[],
  ordinal = 1,
): EventIn<'ctstream.research.v1.StudyAnonymised'> => {
  const revision = `r${ordinal}`;
  const manifestSeries = series.map(({ uid, modality = 'CT', files }): ManifestSeries => {
    const object = `study1/${revision}/a0/${uid}.tar`;
    const parts: Uint8Array[] = [];
    let offset = 0;
    // Headers of 512 bytes before each file, as in a tar; the last file's place comes first in the manifest.
    const instances = files.map((file, at) => {
      const bytes = writeDicom(file);
      parts.push(new Uint8Array(512), bytes);
      const instance = {
        sopInstanceUid: `${uid}.${at}`,
        sopClassUid: '',
        transferSyntaxUid: '',
        offset: offset + 512,
        sizeBytes: bytes.length,
        sha256: sha256Hex(bytes),
      };
      offset += 512 + bytes.length;
      return instance;
    });
    objects.set(object, Buffer.concat(parts));
    return { seriesInstanceUid: uid, modality, object, sizeBytes: offset, instances: instances.toReversed() };
  });
  const manifest: StudyManifest = {
    format: 'ctstream-manifest/1',
    study: 'study1',
    revision,
    attempt: 'a0',
    series: manifestSeries,
    facts: {},
  };
  const bytes = canonicalJson(manifest);
  const manifestKey = `study1/${revision}/manifest.json`;
  objects.set(manifestKey, bytes);
  const value: StudyAnonymised = {
    studyId: 'study1' as ResearchStudyId,
    subjectId: 'subject1' as SubjectId,
    site: 'site1' as SiteId,
    revision: revision as ResearchRevision,
    ordinal,
    manifestKey,
    manifestSha256: sha256Hex(bytes),
    instanceCount: 1,
    dropped: [],
    sizeBytes: 1,
    ageBand: '050-059',
    sex: 'F',
    manufacturer: 'ACME',
  };
  return {
    type: 'ctstream.research.v1.StudyAnonymised',
    value,
    id: 'e1',
    source: 's',
    timeMs: 0,
    topic: 't',
    partition: 0,
    offset: 0n,
    key: 'study1',
  };
};

const small = { columns: 48, rows: 40, pixelMm: 8 } as const;
const signal = new AbortController().signal;
let attempts = 0;
let nowMs = 1_000_000;
const ERASE_AGAIN_AFTER_MS = 60_000;
const run = (
  objects: Map<string, Uint8Array>,
  event: EventIn<'ctstream.research.v1.StudyAnonymised' | 'ctstream.research.v1.SubjectWithdrawn'>,
  store: ObjectStore = memoryStore(objects),
  limits = DEFAULT_LIMITS,
): Promise<Outcome> =>
  assess.handle(
    event,
    {
      store,
      random: { attempt: () => `attempt${++attempts}` },
      clock: { nowMs: () => nowMs, sleep: async () => undefined },
      limits,
      eraseAgainAfterMs: ERASE_AGAIN_AFTER_MS,
    },
    signal,
  );
const withdrawal = (subject = 'subject1', studies: string[] | null = null): EventIn<'ctstream.research.v1.SubjectWithdrawn'> => ({
  type: 'ctstream.research.v1.SubjectWithdrawn',
  value: { subjectId: subject as SubjectId, studies: studies as ResearchStudyId[] | null },
  id: `w-${subject}`,
  source: 's',
  timeMs: 0,
  topic: 't',
  partition: 0,
  offset: 0n,
  key: subject,
});

const assessed = (outcome: Outcome) => {
  const event = outcome.kind === 'emit' ? outcome.events[0] : undefined;
  if (event?.type !== 'ctstream.research.v1.StudyAssessed') throw new Error(JSON.stringify(outcome));
  return event.value;
};

const kernel = (name: string) => () => [element(TAG.ConvolutionKernel, 'SH', name)];
const soft: Series = { uid: '1.1', files: syntheticSeries(small) };
const sharp: Series = { uid: '1.2', files: syntheticSeries({ ...small, slices: 200, spacingMm: 1.25, change: kernel('B70f') }) };
const tilted: Series = { uid: '1.3', files: syntheticSeries({ ...small, change: () => [element(TAG.GantryDetectorTilt, 'DS', 14)] }) };
const report: Series = { uid: '1.4', modality: 'SR', files: syntheticSeries({ slices: 1, columns: 2, rows: 2 }) };

test('a series whose volume is too large is refused before it is built; the others are still judged', async () => {
  const objects = new Map<string, Uint8Array>();
  // The thin one has four times the voxels.
  const limits = { ...DEFAULT_LIMITS, volumeBytes: 48 * 40 * 100 * 10 };
  const value = assessed(await run(objects, putStudy(objects, [soft, sharp]), memoryStore(objects), limits));
  expect(value.series.map(({ codes }) => codes)).toEqual([[], ['LIMIT_EXCEEDED']]);
  const refused = await run(new Map(), putStudy(objects, [sharp], 2), memoryStore(objects), limits);
  expect(refused).toMatchObject({ kind: 'reject', code: 'LIMIT_EXCEEDED', detail: 'series of 200: LIMIT_EXCEEDED' });
});

test('the thin series becomes the volume, the soft one gives the estimate; every series has its verdict', async () => {
  const objects = new Map<string, Uint8Array>();
  const value = assessed(await run(objects, putStudy(objects, [soft, sharp, tilted, report])));
  expect(value).toMatchObject({
    kernel: 'sharp',
    shape: [48, 40, 200],
    spacingMm: [8, 8, 1.25],
    contrast: 'none',
    ageBand: '050-059',
    estimatedClass: 0,
  });
  expect(value.series).toEqual([
    { series: '1.1', eligible: true, codes: [], slices: 48 },
    { series: '1.2', eligible: true, codes: [], slices: 200 },
    { series: '1.3', eligible: false, codes: ['GANTRY_TILT'], slices: 48 },
    { series: '1.4', eligible: false, codes: ['NOT_CT'], slices: 1 },
  ]);
  const assessment = JSON.parse(Buffer.from(objects.get(value.manifestKey) as Uint8Array).toString()) as {
    volumeSeries: string;
    estimateSeries: string;
    affine: number[];
  };
  expect(assessment).toMatchObject({ volumeSeries: '1.2', estimateSeries: '1.1' });
  expect(value.manifestSha256).toBe(sha256Hex(objects.get(value.manifestKey) as Uint8Array));
  const image = readNifti(objects.get(value.volumeKey) as Uint8Array);
  expect(image.shape).toEqual(value.shape);
  expect(image.affine).toEqual(assessment.affine);
});

test('a second delivery publishes the same event and writes no second volume', async () => {
  const objects = new Map<string, Uint8Array>();
  const event = putStudy(objects, [soft]);
  const first = await run(objects, event);
  const names = [...objects.keys()];
  expect(await run(objects, event)).toEqual(first);
  expect([...objects.keys()]).toEqual(names);
});

test('the event names the volume by an HMAC that is the same after a replay into an empty bucket, and neither hash nor affine stands in it', async () => {
  const [first, second] = [new Map<string, Uint8Array>(), new Map<string, Uint8Array>()];
  const value = assessed(await run(first, putStudy(first, [soft])));
  const again = assessed(await run(second, putStudy(second, [soft])));
  expect(again.volumeKey).not.toBe(value.volumeKey);
  expect(again.volumeDigest).toBe(value.volumeDigest);
  const assessment = JSON.parse(Buffer.from(first.get(value.manifestKey) as Uint8Array).toString()) as Assessment;
  const bytes = gunzipSync(first.get(value.volumeKey) as Uint8Array);
  expect(assessment.volumeSha256).toBe(sha256Hex(bytes));
  expect(value.volumeDigest).toBe(createHmac('sha256', Buffer.from(assessment.volumeSalt, 'hex')).update(bytes).digest('hex'));
  const told = JSON.stringify(value);
  for (const secret of [assessment.volumeSha256, assessment.volumeSalt, '"affine"']) expect(told).not.toContain(secret);
  // The same pixels under other research UIDs: another salt, so whoever has the pixels computes nothing.
  const files = syntheticSeries({ ...small, change: () => [element(TAG.StudyInstanceUID, 'UI', '1.9')] });
  const third = new Map<string, Uint8Array>();
  const other = assessed(await run(third, putStudy(third, [{ uid: '1.1', files }])));
  expect(sha256Hex(gunzipSync(third.get(other.volumeKey) as Uint8Array))).toBe(assessment.volumeSha256);
  expect(other.volumeDigest).not.toBe(value.volumeDigest);
});

test("two attempts at once: the loser publishes the winner's event", async () => {
  const objects = new Map<string, Uint8Array>();
  const event = putStudy(objects, [soft]);
  const [a, b] = await Promise.all([run(objects, event), run(objects, event)]);
  expect(a).toEqual(b);
  expect([...objects.keys()].filter((key) => key.endsWith('/assessment.json'))).toEqual(['study1/r1/assessment.json']);
});

test("a study without an eligible series is refused with its largest CT series' code and all codes in the detail", async () => {
  const objects = new Map<string, Uint8Array>();
  expect(await run(objects, putStudy(objects, [tilted, report]))).toEqual({
    kind: 'reject',
    code: 'GANTRY_TILT',
    detail: 'series of 48: GANTRY_TILT; series of 1: NOT_CT',
    events: [],
  });
  expect(await run(objects, putStudy(objects, [report]))).toMatchObject({ kind: 'reject', code: 'NO_ELIGIBLE_SERIES' });
});

test('a series that turns out to have no lungs is passed over for the next', async () => {
  const objects = new Map<string, Uint8Array>();
  const abdomen: Series = { uid: '1.5', files: syntheticSeries({ ...small, slices: 200, spacingMm: 1.25, lungHu: () => 40 }) };
  const value = assessed(await run(objects, putStudy(objects, [abdomen, soft])));
  expect(value.shape[2]).toBe(48);
  expect(value.series[0]).toMatchObject({ eligible: false, codes: ['LUNGS_NOT_FOUND'] });
});

test('an older revision that comes late is SUPERSEDED', async () => {
  const objects = new Map<string, Uint8Array>();
  const older = putStudy(objects, [soft], 1);
  assessed(await run(objects, putStudy(objects, [soft], 2)));
  expect(await run(objects, older)).toMatchObject({ kind: 'skip', code: 'SUPERSEDED' });
});

test("a changed byte, a missing tar and a missing manifest are faults, not the study's", async () => {
  const objects = new Map<string, Uint8Array>();
  const event = putStudy(objects, [soft]);
  const tar = objects.get('study1/r1/a0/1.1.tar') as Uint8Array;
  const changed = Uint8Array.from(tar);
  changed[5000] = (changed[5000] as number) ^ 1;
  objects.set('study1/r1/a0/1.1.tar', changed);
  await expect(run(objects, event)).rejects.toMatchObject({ code: 'OBJECT_CORRUPT', retryable: true });
  objects.set('study1/r1/a0/1.1.tar', tar.subarray(0, tar.length - 9));
  await expect(run(objects, event)).rejects.toMatchObject({ code: 'OBJECT_CORRUPT' });
  objects.delete('study1/r1/a0/1.1.tar');
  await expect(run(objects, event)).rejects.toMatchObject({ code: 'OBJECT_CORRUPT' });
  objects.delete('study1/r1/manifest.json');
  await expect(run(objects, event)).rejects.toMatchObject({ code: 'MANIFEST_MISSING' });
});

describe('withdrawal', () => {
  test('erases every object of the subject at once, again after the longest job, and only then tells so', async () => {
    const objects = new Map<string, Uint8Array>([['other/r1/manifest.json', Buffer.from('{}')]]);
    assessed(await run(objects, putStudy(objects, [soft])));
    expect(await run(objects, putStudy(objects, [tilted], 2))).toMatchObject({ code: 'GANTRY_TILT' });
    const before = [...objects.keys()].filter((key) => key.startsWith('study1/')).length;
    await expect(run(objects, withdrawal())).rejects.toMatchObject({ code: 'ERASURE_PENDING', retryable: true });
    expect([...objects.keys()].sort()).toEqual(['other/r1/manifest.json', 'withdrawn/subject1']);
    // A job that began before wrote this after.
    objects.set('study1/r1/late/volume.nii.gz', Buffer.from('late'));
    nowMs += ERASE_AGAIN_AFTER_MS - 1;
    await expect(run(objects, withdrawal())).rejects.toMatchObject({ code: 'ERASURE_PENDING' });
    objects.set('study1/r1/later/volume.nii.gz', Buffer.from('later'));
    nowMs += 1;
    const told = await run(objects, withdrawal());
    expect([...objects.keys()].sort()).toEqual(['other/r1/manifest.json', 'withdrawn/subject1']);
    expect(told).toMatchObject({
      kind: 'emit',
      events: [
        { type: 'ctstream.research.v1.ErasureDone', value: { subjectId: 'subject1', stage: 'assess', objects: before + 2, rows: 0 } },
        {
          type: 'ctstream.research.v1.StudyRejected',
          value: { studyId: 'study1', revision: 'r1', code: 'PATIENT_WITHDRAWN', subjectId: null },
        },
        { type: 'ctstream.research.v1.StudyRejected', value: { studyId: 'study1', revision: 'r2', code: 'PATIENT_WITHDRAWN' } },
      ],
    });
    // Delivered again: the same words.
    expect(await run(objects, withdrawal())).toEqual(told);
  });

  test('a study that comes later is not assessed and its objects go', async () => {
    const objects = new Map<string, Uint8Array>([['other/r1/manifest.json', Buffer.from('{}')]]);
    await expect(run(objects, withdrawal())).rejects.toMatchObject({ code: 'ERASURE_PENDING' });
    expect(await run(objects, putStudy(objects, [soft]))).toMatchObject({ kind: 'skip', code: 'PATIENT_WITHDRAWN' });
    expect([...objects.keys()].sort()).toEqual(['other/r1/manifest.json', 'withdrawn/subject1']);
  });

  test('of a study whose patient was merged with another only the revisions of the one who withdraws go', async () => {
    const objects = new Map<string, Uint8Array>([
      ['subjects/subject1/study1/r1', Buffer.from('{}')],
      ['subjects/subject2/study1/r2', Buffer.from('{}')],
      ['study1/r1/manifest.json', Buffer.from('{}')],
      ['study1/r2/manifest.json', Buffer.from('{}')],
    ]);
    await expect(run(objects, withdrawal())).rejects.toMatchObject({ code: 'ERASURE_PENDING' });
    expect([...objects.keys()].sort()).toEqual(['study1/r2/manifest.json', 'subjects/subject2/study1/r2', 'withdrawn/subject1']);
  });

  test('a study that the withdrawal names goes whole, though assess knows it by another subject alone, and does not come back', async () => {
    const objects = new Map<string, Uint8Array>([
      ['subjects/subject1/study2/r1', Buffer.from('{}')],
      ['study2/r1/manifest.json', Buffer.from('{}')],
    ]);
    assessed(await run(objects, putStudy(objects, [soft])));
    objects.set('study1/r2/manifest.json', Buffer.from('never told'));
    await expect(run(objects, withdrawal('subject2', ['study1']))).rejects.toMatchObject({ code: 'ERASURE_PENDING' });
    const left = ['study2/r1/manifest.json', 'subjects/subject1/study2/r1', 'withdrawn/studies/study1', 'withdrawn/subject2'];
    expect([...objects.keys()].sort()).toEqual(left);
    expect(await run(objects, putStudy(objects, [soft]))).toMatchObject({ kind: 'skip', code: 'PATIENT_WITHDRAWN' });
    expect([...objects.keys()].sort()).toEqual(left);
    nowMs += ERASE_AGAIN_AFTER_MS;
    const told = await run(objects, withdrawal('subject2', ['study1']));
    expect(told.events.map((e) => e.value)).toMatchObject([
      { subjectId: 'subject2', stage: 'assess' },
      { studyId: 'study1', revision: 'r1', code: 'PATIENT_WITHDRAWN', subjectId: 'subject2' },
    ]);
    expect(await run(objects, withdrawal('subject2', ['study1']))).toEqual(told);
  });

  test('a study in hand when its subject withdraws is not published, and the volume that it wrote goes', async () => {
    const objects = new Map<string, Uint8Array>();
    const event = putStudy(objects, [soft]);
    const store = memoryStore(objects);
    const late: ObjectStore = {
      ...store,
      // The withdrawal comes when the volume has just been written.
      put: async (bucket, key, body, options) => {
        const result = await store.put(bucket, key, body, options);
        if (key.endsWith('.nii.gz')) await run(objects, withdrawal()).catch(() => undefined);
        if (key.endsWith('.nii.gz')) objects.set(key, Buffer.from('the upload ended after the erasure'));
        return result;
      },
    };
    expect(await run(objects, event, late)).toMatchObject({ kind: 'skip', code: 'PATIENT_WITHDRAWN' });
    expect([...objects.keys()]).toEqual(['withdrawn/subject1']);
  });

  test('another subject is not touched', async () => {
    const objects = new Map<string, Uint8Array>();
    const value = assessed(await run(objects, putStudy(objects, [soft])));
    const before = [...objects.keys()].sort();
    await expect(run(objects, withdrawal('subject2'))).rejects.toMatchObject({ code: 'ERASURE_PENDING' });
    nowMs += ERASE_AGAIN_AFTER_MS;
    expect(await run(objects, withdrawal('subject2'))).toMatchObject({ events: [{ value: { objects: 0 } }] });
    expect([...objects.keys()].sort()).toEqual([...before, 'withdrawn/subject2']);
    expect(objects.has(value.volumeKey)).toBe(true);
  });
});
