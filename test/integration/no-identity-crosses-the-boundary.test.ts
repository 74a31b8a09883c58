// Anonymise as a process on the real parts, killed while it works: every study crosses once, is held or is refused with
// a code, and no planted identity, original UID or clinical event id is in a research object, name or event.
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { readFileSync } from 'node:fs';
import { startStages } from '../../deploy/local/stages.ts';
import type { RunningStages } from '../../deploy/local/stages.ts';
import type { EventRecord } from '../../schemas/events.gen.ts';
import { openPostgresHeld } from '../../services/adapters/postgres-held.ts';
import { byteForms } from '../../services/anonymise/verify/spellings.ts';
import { TAR_HEADER_BYTES, tarHeader } from '../../services/kernel/tar.ts';
import { generateStudy } from '../../services/cli/phantom/generate.ts';
import type { Defect } from '../../services/cli/phantom/generate.ts';
import { TAG } from '../../services/dicom/dictionary.ts';
import { readDicom } from '../../services/dicom/read.ts';
import { text } from '../../services/dicom/values.ts';
import { withElements, writeDicom } from '../../services/dicom/write.ts';
import { digestOfParts, sha256Hex } from '../../services/kernel/digest.ts';
import { centreId } from '../../services/kernel/ids.ts';
import type { ClinicalRevision, StudyInstanceUid } from '../../services/kernel/ids.ts';
import { canonicalJson } from '../../services/kernel/manifest.ts';
import type { ManifestSeries, StudyManifest } from '../../services/kernel/manifest.ts';
import { eventually, openKit } from './research-kit.ts';
import type { Kit } from './research-kit.ts';

const GOOD = 6;
const centre = centreId('c01');
let kit: Kit;
let stages: RunningStages;
let held: ReturnType<typeof openPostgresHeld>;

beforeAll(async () => {
  kit = await openKit('boundary');
  stages = await startStages({
    platform: kit.platform,
    provisioned: kit.provisioned,
    dir: kit.dir,
    only: ['anonymise'],
    env: { anonymise: { LOG_LEVEL: 'debug' } },
  });
  held = openPostgresHeld(kit.provisioned.databases.vault);
});

afterAll(async () => {
  await held?.close();
  await stages?.stop();
  await kit?.end();
});

interface StoredStudy {
  event: EventRecord;
  identifiers: readonly string[];
}

/** A phantom study in ct-clinical as ingest leaves it. */
const store = async (index: number, defect?: Defect): Promise<StoredStudy> => {
  const clinical = kit.store('ingest');
  const generated = generateStudy({ seed: 77, index, rows: 64, slices: 6, spacingMm: 50, ...(defect === undefined ? {} : { defect }) });
  const files: Uint8Array[] = [];
  let next = generated.next();
  for (; next.done !== true; next = generated.next()) files.push(next.value.bytes);
  const truth = next.value;
  const prefix = `${centre}/${truth.studyInstanceUid}/${digestOfParts([truth.studyInstanceUid]).slice(0, 32)}`;
  const series: ManifestSeries[] = [];
  const uidOf = (bytes: Uint8Array, tag: number): string => text(readDicom(bytes).dataset, tag) ?? '';
  for (const [seriesInstanceUid, members] of Map.groupBy(files, (bytes) => uidOf(bytes, TAG.SeriesInstanceUID))) {
    const parts: Uint8Array[] = [];
    let offset = 0;
    const instances = members.map((bytes) => {
      const entry = {
        sopInstanceUid: uidOf(bytes, TAG.SOPInstanceUID),
        sopClassUid: uidOf(bytes, TAG.SOPClassUID),
        transferSyntaxUid: readDicom(bytes).transferSyntaxUid,
        offset: offset + TAR_HEADER_BYTES,
        sizeBytes: bytes.length,
        sha256: sha256Hex(bytes),
      };
      parts.push(
        tarHeader(`${entry.sopInstanceUid}.dcm`, bytes.length),
        bytes,
        new Uint8Array((TAR_HEADER_BYTES - (bytes.length % TAR_HEADER_BYTES)) % TAR_HEADER_BYTES),
      );
      offset = parts.reduce((sum, part) => sum + part.length, 0);
      return entry;
    });
    const object = `${prefix}/attempt/${seriesInstanceUid}.tar`;
    await clinical.put('ct-clinical', object, Buffer.concat(parts));
    series.push({ seriesInstanceUid, modality: 'CT', object, sizeBytes: offset, instances });
  }
  const revision = prefix.split('/')[2] ?? '';
  const manifest: StudyManifest = {
    format: 'ctstream-manifest/1',
    study: truth.studyInstanceUid,
    revision,
    attempt: 'attempt',
    series,
    facts: { sequence: index + 1 },
  };
  const bytes = canonicalJson(manifest);
  await clinical.put('ct-clinical', `${prefix}/manifest.json`, bytes);
  const value = {
    centre,
    studyInstanceUid: truth.studyInstanceUid as StudyInstanceUid,
    revision: revision as ClinicalRevision,
    sequence: index + 1,
    manifestKey: `${prefix}/manifest.json`,
    manifestSha256: sha256Hex(bytes),
    contentDigest: '',
    seriesCount: series.length,
    instanceCount: files.length,
    sizeBytes: 0,
  };
  return { event: { type: 'ctstream.clinical.v1.StudyStored', value }, identifiers: truth.identifiers };
};

/** Everything in ct-research but pixels, as bytes in a string. */
const researchBytes = async (): Promise<{ text: string; manifests: number }> => {
  const research = kit.store('assess');
  const parts: string[] = [];
  let manifests = 0;
  for await (const { key } of research.list('ct-research', '')) {
    const bytes = (await research.getBytes('ct-research', key, 1 << 28)) ?? new Uint8Array(0);
    parts.push(key);
    if (!key.endsWith('manifest.json')) continue;
    manifests++;
    parts.push(Buffer.from(bytes).toString('latin1'));
    for (const series of (JSON.parse(Buffer.from(bytes).toString()) as StudyManifest).series) {
      const tar = (await research.getBytes('ct-research', series.object, 1 << 28)) ?? new Uint8Array(0);
      for (const { offset, sizeBytes } of series.instances) {
        parts.push(Buffer.from(tar.subarray(offset - TAR_HEADER_BYTES, offset)).toString('latin1'));
        const file = readDicom(tar.subarray(offset, offset + sizeBytes));
        parts.push(Buffer.from(writeDicom({ ...file, dataset: withElements(file.dataset, [], [TAG.PixelData]) })).toString('latin1'));
      }
    }
  }
  return { text: parts.join('\n').toLowerCase(), manifests };
};

test('no identity crosses the boundary, and every study crosses once or is refused', async () => {
  const studies: StoredStudy[] = [];
  for (let index = 0; index < GOOD; index++) studies.push(await store(index));
  const burned = await store(GOOD, 'burned-in-text-undeclared');
  const overlay = await store(GOOD + 1, 'embedded-overlay');
  await kit.publish(
    'ingest',
    [...studies.slice(0, 3), burned, overlay].map(({ event }) => event),
  );
  await eventually('the first study', async () => (await kit.events('ctstream.research.v1.StudyAnonymised')).length > 0);
  await stages.kill('anonymise', 'SIGKILL');
  await kit.publish(
    'ingest',
    studies.slice(3).map(({ event }) => event),
  );
  await stages.start('anonymise');
  const all = await eventually(
    'all studies',
    async () => {
      const events = await kit.events('ctstream.research.v1.StudyAnonymised');
      const rejected = await kit.events('ctstream.clinical.v1.StudyRejected');
      const waiting = await held.list();
      return new Set(events.map(({ id }) => id)).size === GOOD && rejected.length > 0 && waiting.length > 0
        ? { events, rejected, waiting }
        : undefined;
    },
    60_000,
  );
  expect(all.rejected.map(({ value }) => value.code)).toEqual(all.rejected.map(() => 'EMBEDDED_OVERLAY'));
  expect(all.waiting.map(({ code }) => code)).toEqual(['HELD_BURNED_IN_TEXT']);
  expect(new Set(all.events.map(({ value }) => value.studyId)).size).toBe(GOOD);

  const { text: stored, manifests } = await researchBytes();
  expect(manifests).toBe(GOOD);
  const told = JSON.stringify(all.events.map(({ id, key, source, value }) => ({ id, key, source, value }))).toLowerCase();
  const log = readFileSync(stages.logFile('anonymise'), 'utf8').toLowerCase();
  const clinicalIds = (await kit.events('ctstream.clinical.v1.StudyStored')).map(({ id }) => id);
  // Shorter words stand in every header; the verifier looks for those by element.
  const words = [...studies, burned, overlay].flatMap(({ identifiers }) => identifiers).filter((word) => word.length >= 4);
  expect(words.length).toBeGreaterThan(100);
  for (const word of new Set([...words, ...clinicalIds])) {
    for (const form of byteForms(word.toLowerCase())) if (stored.includes(form)) throw new Error(`ct-research holds ${word}`);
    if (told.includes(word.toLowerCase())) throw new Error(`a research event holds ${word}`);
    if (word.length >= 6 && log.includes(word.toLowerCase()) && !clinicalIds.includes(word)) throw new Error(`the log holds ${word}`);
  }
});
