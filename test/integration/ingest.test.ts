// Ingest on the real Orthanc, Kafka and MinIO: what it stores is what was put into the PACS, byte for byte, and
// whatever can't be stored ends in a code or waits with one.
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { extract } from 'tar-stream';
import { digestOfParts } from '../../services/kernel/digest.ts';
import type { CentreId, ClinicalRevision, StudyInstanceUid } from '../../services/kernel/ids.ts';
import type { EventIn } from '../../services/kernel/stage.ts';
import type { BusRecord } from '../../services/ports/event-bus.ts';
import { preflight } from '../../services/centre-gateway/intake.ts';
import type { ClinicalManifest } from '../../services/ingest/events.ts';
import {
  availableOf,
  codec,
  eventsOf,
  eventually,
  freshUid,
  openLab,
  put,
  rejectedOf,
  removeStudy,
  rest,
  smallStudy,
  storedOf,
  TOPICS,
  type Lab,
} from './pacs-support.ts';
import { REAL_FILES } from '../shared/real-files.ts';
import { releasePlatform, testPlatform, testPrefix } from './support.ts';

const SYNTAXES = join(REAL_FILES, 'edge/transfer-syntaxes');
const A = `ia${process.pid}`;
const WRONG = `iw${process.pid}`;
let lab: Lab;

const md5 = (bytes: Uint8Array): string => createHash('md5').update(bytes).digest('hex');

beforeAll(async () => {
  lab = await openLab({
    platform: await testPlatform(),
    centres: [A, WRONG],
    prefix: testPrefix('ingest'),
    stages: ['centre-gateway', 'ingest'],
    env: {
      'centre-gateway': { STABLE_AFTER_MS: '700', COUNT_PAUSE_MS: '100', CHANGES_POLL_MS: '200' },
      ingest: { RETRY_DELAYS_MS: '1000,2000,600000', KAFKA_SESSION_TIMEOUT_MS: '6000' },
    },
    before: async (provisioned) => {
      // No scope rule: one of the syntax files is an ultrasound image. And ingest has a wrong password for one centre.
      for (const name of ['gateway-centres.json', 'centres.json'] as const) {
        const centres = JSON.parse(await readFile(provisioned.file(name), 'utf8')) as { id: string; password: string; scope?: unknown }[];
        for (const centre of centres) {
          delete centre.scope;
          if (name === 'centres.json' && centre.id === WRONG) centre.password = 'not the password';
        }
        await writeFile(provisioned.file(name), JSON.stringify(centres), { mode: 0o600 });
      }
    },
  });
});

afterAll(async () => {
  await (lab as Lab | undefined)?.close();
  await releasePlatform();
});

async function manifestOf(key: string): Promise<ClinicalManifest> {
  const bytes = await lab.store.getBytes('ct-clinical', key, 1 << 24);
  if (bytes === undefined) throw new Error('no manifest');
  return JSON.parse(Buffer.from(bytes).toString()) as ClinicalManifest;
}

/** The stored event of a study that is not in `before`. */
function storedAnew(study: string, before: ReadonlySet<string>): Promise<EventIn<'ctstream.clinical.v1.StudyStored'>> {
  return eventually('study-stored', async () =>
    (await storedOf(lab)).find((e) => e.value.studyInstanceUid === study && !before.has(e.value.revision)),
  );
}

/** MD5 of each instance as one range GET gives it, and as an independent tar reader finds it. */
async function storedHashes(manifestKey: string): Promise<{ byRange: string[]; byTar: string[] }> {
  const manifest = await manifestOf(manifestKey);
  const byRange: string[] = [];
  const byTar: string[] = [];
  for (const series of manifest.series) {
    const tar = await lab.store.getBytes('ct-clinical', series.object, 1 << 28);
    if (tar === undefined) throw new Error('no tar');
    expect(tar.length).toBe(series.sizeBytes);
    for (const i of series.instances) {
      const stream = await lab.store.get('ct-clinical', series.object, { range: [i.offset, i.sizeBytes] });
      const chunks: Uint8Array[] = [];
      for await (const chunk of stream ?? []) chunks.push(chunk);
      const bytes = Buffer.concat(chunks);
      expect(createHash('sha256').update(bytes).digest('hex')).toBe(i.sha256);
      byRange.push(md5(bytes));
    }
    const reader = extract();
    Readable.from([tar]).pipe(reader);
    for await (const entry of reader) {
      const chunks: Buffer[] = [];
      for await (const chunk of entry) chunks.push(chunk as Buffer);
      expect(series.instances.map((i) => `${i.sopInstanceUid}.dcm`)).toContain(entry.header.name);
      byTar.push(md5(Buffer.concat(chunks)));
    }
  }
  return { byRange: byRange.sort(), byTar: byTar.sort() };
}

/** What the pre-flight keeps from the PACS. */
async function isRefused(path: string, bytes: Uint8Array): Promise<boolean> {
  async function* one(): AsyncGenerator<{ path: string; bytes: Uint8Array }> {
    yield { path, bytes };
  }
  return (await preflight(one())).refused.length > 0;
}

describe('bytes', () => {
  test('every instance of a study is stored as it was put into the PACS, once', async () => {
    const two = smallStudy({ slices: 5 });
    const other = smallStudy({ study: two.study, series: `${two.study}.2`, slices: 2, seed: 9 });
    const files = [...two.files, ...other.files];
    await put(lab.orthanc(A), files);
    const event = await storedAnew(two.study, new Set());
    expect(event.value).toMatchObject({ instanceCount: 7, seriesCount: 2, sizeBytes: files.reduce((sum, f) => sum + f.length, 0) });
    const expected = files.map(md5).sort();
    expect(await storedHashes(event.value.manifestKey)).toEqual({ byRange: expected, byTar: expected });
    const manifest = await manifestOf(event.value.manifestKey);
    expect(manifest.facts).toMatchObject({ verified: 'content', transcodedBySource: 0, duplicates: 0 });
    const status = await eventually('status', async () =>
      (await eventsOf(lab, 'ctstream.clinical.v1.StudyStatus', TOPICS.status(A))).find((e) => e.value.revision === event.value.revision),
    );
    expect(status.value).toMatchObject({ state: 'stored', code: null, instanceCount: 7 });
  });

  test('the files of each transfer syntax are stored byte for byte, each under a revision of its own', async () => {
    if (!existsSync(SYNTAXES)) {
      process.stderr.write(`skipped: ${SYNTAXES} is not there; set CTSTREAM_DATA to a folder that has edge/\n`);
      return;
    }
    const names = (await readdir(SYNTAXES)).sort();
    expect(names.length).toBeGreaterThan(15);
    const wrong: string[] = [];
    const refused: string[] = [];
    for (const name of names) {
      const bytes = await readFile(join(SYNTAXES, name));
      if (await isRefused(name, bytes)) {
        await expect(put(lab.orthanc(A), [bytes])).rejects.toThrow('HTTP 400');
        refused.push(name);
        continue;
      }
      const before = new Set((await storedOf(lab)).map((e) => e.value.revision as string));
      await put(lab.orthanc(A), [bytes]);
      const study = JSON.parse(await rest(lab.orthanc(A), 'GET', '/studies?expand')) as {
        MainDicomTags: { StudyInstanceUID: string };
        LastUpdate: string;
      }[];
      const uids = study.map((s) => s.MainDicomTags.StudyInstanceUID);
      const event = await eventually(`study-stored of ${name}`, async () =>
        (await storedOf(lab)).find((e) => uids.includes(e.value.studyInstanceUid) && !before.has(e.value.revision)),
      );
      const { byRange, byTar } = await storedHashes(event.value.manifestKey);
      if (byRange.join() !== md5(bytes) || byTar.join() !== md5(bytes)) wrong.push(name);
      // Many of them have one SOPInstanceUID: one at a time.
      await removeStudy(lab.orthanc(A), event.value.studyInstanceUid);
    }
    expect(wrong).toEqual([]);
    // Cut off in its pixel data; dcmtk says so too.
    expect(refused).toEqual(['no-pixel-spacing.dcm']);
  });

  test('a corrected instance with the same UIDs and count is a new revision, and both stand', async () => {
    const first = smallStudy({ slices: 2, seed: 1 });
    await put(lab.orthanc(A), first.files);
    const before = await storedAnew(first.study, new Set());
    const second = smallStudy({ study: first.study, slices: 2, seed: 2 });
    await put(lab.orthanc(A), second.files);
    const after = await storedAnew(first.study, new Set([before.value.revision]));
    expect(after.value.sequence).toBeGreaterThan(before.value.sequence);
    expect((await storedHashes(before.value.manifestKey)).byRange).toEqual(first.files.map(md5).sort());
    expect((await storedHashes(after.value.manifestKey)).byRange).toEqual(second.files.map(md5).sort());
  });

  test('a study that was corrected and set back is stored a third time, later than the correction', async () => {
    const first = smallStudy({ slices: 2, seed: 1 });
    const second = smallStudy({ study: first.study, slices: 2, seed: 2 });
    const events: EventIn<'ctstream.clinical.v1.StudyStored'>[] = [];
    for (const { files } of [first, second, first]) {
      await put(lab.orthanc(A), files);
      events.push(await storedAnew(first.study, new Set(events.map((e) => e.value.revision))));
    }
    const sequences = events.map((e) => e.value.sequence);
    expect(sequences).toEqual([...sequences].sort((a, b) => a - b));
    expect(new Set(sequences).size).toBe(3);
    expect((await storedHashes(events[2]?.value.manifestKey ?? '')).byRange).toEqual(first.files.map(md5).sort());
    // The gateway knows the answer as that to its own announcement.
    const last = (await availableOf(lab, A)).findLast((e) => e.value.studyInstanceUid === first.study);
    expect(last?.value.revision).toBe(events[0]?.value.revision);
    await eventually('the status of the last announcement', async () => {
      const told = await eventsOf(lab, 'ctstream.clinical.v1.StudyStatus', TOPICS.status(A));
      return told.filter((e) => e.value.revision === last?.value.revision && e.value.state === 'stored').length >= 2 ? true : undefined;
    });
  });
});

/** Writes an announcement past the gateway, as a forged or late one would be. */
async function announce(
  centreOfTopic: string,
  value: { centre: string; study: string; revision: string; instanceCount: number; sequence?: number },
): Promise<string> {
  const event = {
    type: 'ctstream.clinical.v1.StudyAvailable' as const,
    value: {
      centre: value.centre as CentreId,
      studyInstanceUid: value.study as StudyInstanceUid,
      revision: value.revision as ClinicalRevision,
      sequence: value.sequence ?? Date.now(),
      instanceCount: value.instanceCount,
      seriesCount: 1,
      modalities: ['CT'],
      noticedBy: 'census',
    },
  };
  const id = digestOfParts(['test', freshUid()]).slice(0, 32);
  const record = codec.encode(event, { id, source: 'test', timeMs: Date.now() });
  await lab.bus.publish([{ ...record, topic: TOPICS.available(centreOfTopic) }]);
  return id;
}

const revision = (): string => digestOfParts([freshUid()]).slice(0, 32);

describe('what ends with a code', () => {
  test('a study that vanished between announcement and pull is rejected', async () => {
    const vanished = freshUid();
    await announce(A, { centre: A, study: vanished, revision: revision(), instanceCount: 3 });
    const event = await eventually('rejection', async () => (await rejectedOf(lab)).find((e) => e.value.studyInstanceUid === vanished));
    expect(event.value).toMatchObject({ centre: A, stage: 'ingest', code: 'STUDY_VANISHED' });
  });

  test("an announcement on another centre's topic is rejected under the topic's own centre", async () => {
    const study = smallStudy({ slices: 1 });
    await announce(A, { centre: WRONG, study: study.study, revision: revision(), instanceCount: 1 });
    const event = await eventually('rejection', async () => (await rejectedOf(lab)).find((e) => e.value.studyInstanceUid === study.study));
    expect(event.value).toMatchObject({ centre: A, code: 'CENTRE_MISMATCH' });
    const told = await eventsOf(lab, 'ctstream.clinical.v1.StudyStatus', TOPICS.status(WRONG));
    expect(told.filter((e) => e.value.studyInstanceUid === study.study)).toEqual([]);
  });

  test('two patients in one study are rejected, whatever the PACS makes of them', async () => {
    const one = smallStudy({ slices: 2, patientId: 'PLANTED-A' });
    const other = smallStudy({ study: one.study, series: `${one.study}.2`, slices: 1, patientId: 'PLANTED-B' });
    await put(lab.orthanc(A), [...one.files, ...other.files]);
    const event = await eventually('rejection', async () => (await rejectedOf(lab)).find((e) => e.value.studyInstanceUid === one.study));
    expect(event.value.code).toBe('MIXED_PATIENTS');
    expect(JSON.stringify(event.value)).not.toContain('PLANTED');
  });

  test('an announcement that is not what the PACS has is skipped, and the right one is stored', async () => {
    const study = smallStudy({ slices: 3 });
    await put(lab.orthanc(A), study.files);
    await announce(A, { centre: A, study: study.study, revision: revision(), instanceCount: 2 });
    const skipped = await eventually('skip', async () =>
      (await eventsOf(lab, 'ctstream.clinical.v1.StudySkipped', TOPICS.skipped)).find((e) => e.value.studyInstanceUid === study.study),
    );
    expect(skipped.value.code).toBe('STUDY_CHANGED');
    const stored = await storedAnew(study.study, new Set());
    expect(stored.value.instanceCount).toBe(3);
  });

  test('an older revision after a newer one is superseded; the same one again gives the same event id', async () => {
    const study = smallStudy({ slices: 2 });
    await put(lab.orthanc(A), study.files);
    const stored = await storedAnew(study.study, new Set());
    await announce(A, { centre: A, study: study.study, revision: revision(), instanceCount: 2, sequence: 1 });
    const skipped = await eventually('skip', async () =>
      (await eventsOf(lab, 'ctstream.clinical.v1.StudySkipped', TOPICS.skipped)).find((e) => e.value.studyInstanceUid === study.study),
    );
    expect(skipped.value.code).toBe('SUPERSEDED');
    await announce(A, { centre: A, study: study.study, revision: stored.value.revision, instanceCount: 2 });
    const twice = await eventually('the event again', async () => {
      const all = (await storedOf(lab)).filter((e) => e.value.studyInstanceUid === study.study);
      return all.length >= 2 ? all : undefined;
    });
    expect(new Set(twice.map((e) => e.id)).size).toBe(1);
    expect(twice[1]?.value).toEqual(twice[0]?.value);
  });
});

/** The first record of a study that waits for another try. */
function parkedOf(study: string): Promise<BusRecord> {
  return eventually('a retry record', async () => {
    for (const topic of await lab.bus.topics(['ct.clinical.ingest.retry.*'])) {
      for await (const record of lab.bus.read(await lab.bus.ends([topic]))) if (record.key.endsWith(study)) return record;
    }
    return undefined;
  });
}

describe('what waits', () => {
  test('a wrong password waits with its reason, and another centre goes on', async () => {
    const waiting = smallStudy({ slices: 1 });
    await put(lab.orthanc(WRONG), waiting.files);
    await eventually('announcement', async () => (await availableOf(lab, WRONG)).find((e) => e.value.studyInstanceUid === waiting.study));
    const parked = await parkedOf(waiting.study);
    expect(Object.values(parked.headers).join(' ')).toContain('PACS_UNAUTHORISED');
    const other = smallStudy({ slices: 1 });
    await put(lab.orthanc(A), other.files);
    await storedAnew(other.study, new Set());
    expect((await storedOf(lab)).some((e) => e.value.studyInstanceUid === waiting.study)).toBe(false);
  });

  test('a PACS that is down holds its study; when it is back the study is stored', async () => {
    const study = smallStudy({ slices: 2 });
    await put(lab.orthanc(A), study.files);
    const announced = await eventually('announcement', async () =>
      (await availableOf(lab, A)).find((e) => e.value.studyInstanceUid === study.study),
    );
    await storedAnew(study.study, new Set());
    // The same study under a name that ingest has not seen: it has to ask the PACS, which is down.
    await lab.platform.stopOrthanc(A, 'SIGKILL');
    const later = revision();
    await announce(A, { centre: A, study: study.study, revision: later, instanceCount: 2, sequence: announced.value.sequence + 1 });
    expect(Object.values((await parkedOf(study.study)).headers).join(' ')).toContain('PACS_UNREACHABLE');
    await lab.platform.startOrthanc(A);
    const outcome = await eventually('skip after the PACS is back', async () =>
      (await eventsOf(lab, 'ctstream.clinical.v1.StudySkipped', TOPICS.skipped)).find((e) => e.value.revision === later),
    );
    expect(outcome.value.code).toBe('STUDY_CHANGED');
  });

  test('killed with SIGKILL while it works: nothing lost, nothing doubled', async () => {
    const studies = Array.from({ length: 12 }, (_, n) => smallStudy({ slices: 4, seed: n }));
    for (const s of studies) await put(lab.orthanc(A), s.files);
    const count = async (): Promise<number> =>
      new Set(
        (await storedOf(lab)).filter((e) => studies.some((s) => s.study === e.value.studyInstanceUid)).map((e) => e.value.studyInstanceUid),
      ).size;
    await eventually('the first study', async () => ((await count()) >= 1 ? true : undefined));
    await lab.stages.kill('ingest', 'SIGKILL');
    await lab.stages.start('ingest');
    await eventually('all studies', async () => ((await count()) === studies.length ? true : undefined), 90_000);
    for (const s of studies) {
      const manifests: string[] = [];
      const objects: string[] = [];
      for await (const { key } of lab.store.list('ct-clinical', `${A}/${s.study}/`))
        (key.endsWith('/manifest.json') ? manifests : objects).push(key);
      expect(manifests).toHaveLength(1);
      const named = (await manifestOf(manifests[0] ?? '')).series.map((x) => x.object);
      expect(objects).toEqual(expect.arrayContaining(named));
      expect((await storedHashes(manifests[0] ?? '')).byRange).toEqual(s.files.map(md5).sort());
      expect(new Set((await storedOf(lab)).filter((e) => e.value.studyInstanceUid === s.study).map((e) => e.id)).size).toBe(1);
    }
  });
});
