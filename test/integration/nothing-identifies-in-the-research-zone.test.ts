// Studies with rich identities go the whole way; then everything that the research side holds, and every log, span
// and metric, is read back and searched for whatever could name a person, a centre or an original object.
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { gzipSync } from 'node:zlib';
import { STAGE_NAMES } from '../../deploy/local/stages.ts';
import { openDuckDb, rowLine, toParquet } from '../../services/event-log/parquet.ts';
import { sha256Hex } from '../../services/kernel/digest.ts';
import type { BusRecord } from '../../services/ports/event-bus.ts';
import { traceIdOf } from '../../services/runtime/telemetry.ts';
import { tarHeader, tarPadding, TAR_END } from '../../services/kernel/tar.ts';
import {
  closeCorpus,
  databasePieces,
  dicomPiece,
  folderPieces,
  logPiece,
  metricsPiece,
  objectPieces,
  recordPiece,
  recordsOf,
  rootStore,
} from './privacy/corpus.ts';
import { byteForms, exactNeedles, joined, needlesOf, type Needles } from './privacy/needles.ts';
import { CLINICAL_STAGES, flushed, originalsOf, parkOne, RESEARCH_STAGES, runToRelease, type Run, type Sent } from './privacy/run.ts';
import { hitsIn, searchFor, type Piece } from './privacy/search.ts';
import { serviceOf, type ZipkinSpan } from './privacy/span-collector.ts';
import { releasePlatform } from './support.ts';

// Together: undeclared CP1251, ISO_IR 144, ISO_IR 192 and Latin, surnames of two and three letters, and the letter yo.
const SENT: readonly Sent[] = [
  { seed: 17, index: 1, at: 0 },
  { seed: 17, index: 2, at: 1 },
  { seed: 17, index: 3, at: 0 },
  { seed: 17, index: 7, at: 1 },
  { seed: 23, index: 8, at: 0 },
  { seed: 23, index: 4, at: 1, defect: 'burned-in-text-undeclared' },
];

let run: Run;
let clinical: BusRecord[];
let research: BusRecord[];
const pieces = new Map<string, Piece[]>();
/** Names, numbers, dates and UIDs of the people and their studies. */
let identity: Needles;
/** Besides: whatever is of the clinical side alone. */
let clinicalOnly: Needles;

const identitiesOf = (r: Run): string[] =>
  r.truths.flatMap((t) => [...t.identifiers, t.studyInstanceUid, t.studyDate]).filter((id) => !id.startsWith('iss-'));
/** Of the phantoms' scanners (Thorax 128), whose model is kept: a planted hospital may have the same, one in 99. */
const MODEL_NUMBERS = new Set(['128']);
/** Digest of nothing, which an empty census page and an empty file share: it says nothing of anyone. */
const OF_NOTHING = sha256Hex('');
const clinicalTraces = (): Set<string> =>
  new Set(clinical.map((r) => traceIdOf(r.headers['traceparent'])).filter((id) => id !== undefined));
const ownIds = (r: BusRecord): string[] => {
  const value = run.p.ports.codec.decode(r).value as unknown as Record<string, unknown>;
  return ['revision', 'contentDigest', 'manifestSha256', 'censusId', 'digest', 'intakeId']
    .map((name) => value[name])
    .filter((v) => typeof v === 'string');
};
const spanPiece = (span: ZipkinSpan): Piece => ({
  where: `span ${serviceOf(span)} ${span.name}`,
  bytes: Buffer.from(JSON.stringify(span)),
  text: JSON.stringify(span),
  free: '',
});
const ofClinicalLog = (key: string): boolean => key.startsWith('ct.clinical.');
const isClinicalSpan = (span: ZipkinSpan): boolean =>
  CLINICAL_STAGES.some((name) => name === serviceOf(span)) && span.name !== 'enter research';

beforeAll(async () => {
  run = await runToRelease('nothing', SENT);
  const { p } = run;
  await parkOne(p);
  await flushed(p);
  pieces.set('metrics of clinical stages', await Promise.all(CLINICAL_STAGES.map((name) => metricsPiece(p, name))));
  pieces.set('metrics of research stages', await Promise.all(RESEARCH_STAGES.map((name) => metricsPiece(p, name))));
  // Ends the processes: what they still have in hand, they log and send.
  await p.stages.stop();
  clinical = await recordsOf(p, 'ct.clinical.*');
  research = await recordsOf(p, 'ct.research.*');
  pieces.set(
    'research topics',
    research.map((r) => recordPiece(p, r)),
  );
  for (const bucket of ['ct-research', 'ct-releases', 'ct-release-candidates']) pieces.set(bucket, await objectPieces(p, bucket));
  pieces.set('archive of research topics', await objectPieces(p, 'ct-event-log', (key) => !ofClinicalLog(key)));
  pieces.set('archive of clinical topics', await objectPieces(p, 'ct-event-log', ofClinicalLog));
  pieces.set('released folder', await folderPieces(run.dataset));
  for (const name of ['select', 'label_queue', 'release'] as const) pieces.set(`database ${name}`, await databasePieces(p, name));
  pieces.set('logs of clinical stages', await Promise.all(CLINICAL_STAGES.map((name) => logPiece(p, name))));
  pieces.set('logs of research stages', await Promise.all(RESEARCH_STAGES.map((name) => logPiece(p, name))));
  pieces.set('spans of clinical stages', run.spans.spans.filter(isClinicalSpan).map(spanPiece));
  pieces.set('spans of research traces', run.spans.spans.filter((s) => !isClinicalSpan(s)).map(spanPiece));
  const { numbers, ...needles } = needlesOf(identitiesOf(run));
  identity = { ...needles, numbers: new Set([...numbers].filter((n) => !MODEL_NUMBERS.has(n))) };
  const ids = clinical.flatMap((r) => [r.headers['ce_id'] ?? '', ...(r.headers['ct-stage'] === undefined ? ownIds(r) : [])]);
  clinicalOnly = exactNeedles([...ids, ...clinicalTraces(), ...p.provisioned.centres].filter((id) => id !== '' && id !== OF_NOTHING));
});

afterAll(async () => {
  await closeCorpus();
  await run?.p.stop();
  await run?.spans.close();
  await releasePlatform();
});

const piecesOf = (name: string): Piece[] => pieces.get(name) ?? [];

describe('no identity, original UID, centre or clinical id', () => {
  test.each([
    'research topics',
    'ct-research',
    'ct-releases',
    'ct-release-candidates',
    'archive of research topics',
    'archive of clinical topics',
    'released folder',
    'database select',
    'database label_queue',
    'database release',
    'logs of research stages',
    'spans of research traces',
    'metrics of research stages',
  ])('in %s', (name) => {
    expect(piecesOf(name).length).toBeGreaterThan(0);
    expect(hitsIn(piecesOf(name), searchFor(joined(identity, clinicalOnly)))).toEqual([]);
  });
});

describe('no identity and no original UID', () => {
  test.each(['logs of clinical stages', 'spans of clinical stages', 'metrics of clinical stages'])('in %s', (name) => {
    expect(piecesOf(name).length).toBeGreaterThan(0);
    expect(hitsIn(piecesOf(name), searchFor(identity))).toEqual([]);
  });
});

test('what was searched is all there', () => {
  const good = SENT.filter((s) => s.defect === undefined).length;
  const topics = new Set(research.map((r) => r.topic));
  for (const topic of [
    'study-anonymised.v1',
    'study-assessed.v1',
    'study-selected.v1',
    'study-labelled.v1',
    'dataset-released.v1',
    'assess.retry.30s',
  ])
    expect(topics).toContain(`ct.research.${topic}`);
  const instances = piecesOf('ct-research').filter(({ where }) => where.includes('.tar!'));
  expect(instances.length).toBeGreaterThanOrEqual(good * 80);
  expect(piecesOf('ct-releases').filter(({ where }) => where.endsWith('.nii.gz!')).length).toBe(good);
  expect(piecesOf('archive of clinical topics').some(({ where }) => where.endsWith('.parquet!'))).toBe(true);
  expect(new Set(run.spans.spans.map(serviceOf))).toEqual(
    new Set(['centre-gateway', 'ingest', 'anonymise', 'assess', 'select', 'label-queue', 'release']),
  );
  for (const name of STAGE_NAMES)
    expect(
      `${name} ${[...piecesOf('logs of clinical stages'), ...piecesOf('logs of research stages')].find((l) => l.where === `log ${name}`)?.bytes.length ?? 0}`,
    ).not.toBe(`${name} 0`);
  expect(new Set(run.truths.map((t) => t.textEncoding))).toEqual(new Set(['utf-8', 'iso-8859-5', 'windows-1251', 'latin1']));
});

describe('the search finds', () => {
  test('every planted identity in the originals, whatever their character set', () => {
    for (const [i, sent] of SENT.entries()) {
      const truth = run.truths[i];
      if (truth === undefined) throw new Error('no truth');
      const originals = originalsOf(run.p, sent).map((bytes, n) => dicomPiece(`original ${n}`, bytes));
      const found = new Set(hitsIn(originals, searchFor(needlesOf(truth.identifiers))).map((hit) => hit.found));
      const seriesAndStudy = [truth.studyInstanceUid, ...truth.seriesUids.map(({ uid }) => uid)];
      // The study that was sent has more slices than these few files.
      for (const identifier of truth.identifiers.filter((id) => !id.startsWith('2.25.') || seriesAndStudy.includes(id))) {
        const { anywhere, tokens, numbers } = needlesOf([identifier]);
        const spelled = [...anywhere.values(), ...tokens, ...numbers];
        expect([identifier, spelled.some((word) => found.has(word))]).toEqual([identifier, true]);
      }
    }
  });

  test('a name in any encoding and case, in the midst of pixels', () => {
    const pixels = piecesOf('ct-research').find(({ where }) => where.includes('.tar!'));
    if (pixels === undefined) throw new Error('no instance');
    const search = searchFor(identity);
    for (const word of ['Воробьёв', 'ВОРОБЬЕВ', 'Müller', 'Jürgen']) {
      for (const form of byteForms(word)) {
        const bytes = Buffer.from(pixels.bytes);
        bytes.write(form, bytes.length - 1001, 'latin1');
        expect([form, search({ ...pixels, bytes }).length]).toEqual([form, 1]);
      }
    }
    expect(search(pixels)).toEqual([]);
  });

  test('a short name in text, a clinical event id in a header, a centre in a name', () => {
    const record = piecesOf('research topics')[0];
    const event = clinical[0]?.headers['ce_id'] ?? '';
    const centre = run.p.provisioned.centres[1] ?? '';
    if (record === undefined) throw new Error('no record');
    const search = searchFor(joined(identity, clinicalOnly));
    expect(search({ ...record, text: `${record.text} КТ ЦОЙ Ф.` }).map((h) => h.found)).toEqual(['цой']);
    expect(search({ ...record, bytes: Buffer.concat([record.bytes, Buffer.from(event.toUpperCase())]) }).map((h) => h.found)).toEqual([
      event,
    ]);
    expect(search({ ...record, where: `ct-research/${centre}/x` }).map((h) => h.found)).toEqual([centre]);
  });

  test('what is packed: in a tar, a gzip and a Parquet file of a bucket', async () => {
    const store = rootStore(run.p);
    const name = 'Воробьёв^Илья^Петрович';
    const [dicom] = originalsOf(run.p, SENT[0] ?? { seed: 17, index: 1, at: 0 });
    if (dicom === undefined) throw new Error('no original');
    const db = await openDuckDb();
    const parquet = await toParquet(db, {
      columns: [{ name: 'who', type: 'VARCHAR' }],
      lines: [rowLine({ who: name })],
      firstOffset: 0n,
      nextOffset: 1n,
    });
    db.closeSync();
    await store.put(
      'ct-quarantine',
      'planted/a.tar',
      Buffer.concat([tarHeader('a.dcm', dicom.length), dicom, tarPadding(dicom.length), TAR_END]),
    );
    await store.put('ct-quarantine', 'planted/b.nii.gz', gzipSync(Buffer.concat([Buffer.alloc(352), Buffer.from(name, 'utf16le')])));
    await store.put('ct-quarantine', 'planted/c.parquet', parquet);
    const hits = hitsIn(await objectPieces(run.p, 'ct-quarantine', (key) => key.startsWith('planted/')), searchFor(identity));
    for (const where of ['planted/a.tar!', 'planted/b.nii.gz!', 'planted/c.parquet!'])
      expect([where, hits.some((h) => h.where.includes(where))]).toEqual([where, true]);
  });
});

describe('traces', () => {
  const traceOf = (r: BusRecord): string => traceIdOf(r.headers['traceparent']) ?? '';
  const servicesOf = (trace: string): Set<string> =>
    new Set(run.spans.spans.filter((s) => s.traceId === trace).map((s) => `${serviceOf(s)}: ${s.name}`));

  test('one runs through the clinical zone, another through the research zone', () => {
    const announced = clinical.filter((r) => r.topic.endsWith('.study-available.v1'));
    expect(announced.length).toBeGreaterThanOrEqual(SENT.length);
    for (const record of announced) {
      const services = servicesOf(traceOf(record));
      for (const step of ['centre-gateway: announce', 'ingest: handle ingest', 'anonymise: handle anonymise'])
        expect(services).toContain(step);
      for (const service of [...services].map((s) => s.split(':')[0])) expect(['centre-gateway', 'ingest', 'anonymise']).toContain(service);
    }
    const anonymised = research.filter((r) => r.topic === 'ct.research.study-anonymised.v1' && r.headers['traceparent'] !== undefined);
    expect(anonymised.length).toBe(SENT.length - 1);
    for (const record of anonymised) {
      expect(servicesOf(traceOf(record))).toEqual(new Set(['anonymise: enter research', 'assess: handle assess', 'select: handle select']));
    }
  });

  test('the link stands in the clinical zone only', () => {
    const researchTraces = new Set(research.map(traceOf).filter((id) => id !== ''));
    const known = clinicalTraces();
    expect([...researchTraces].filter((id) => known.has(id))).toEqual([]);
    const handled = run.spans.spans.filter((s) => s.name === 'handle anonymise');
    const links = handled.map((s) => s.tags?.['ctstream.research_trace_id']).filter((id) => id !== undefined);
    const entered = run.spans.spans.filter((s) => s.name === 'enter research');
    expect(new Set(links)).toEqual(new Set(entered.map((s) => s.traceId)));
    for (const span of handled) expect(known).toContain(span.traceId);
    for (const span of entered) expect([span.parentId, known.has(span.traceId)]).toEqual([undefined, false]);
    for (const span of run.spans.spans.filter((s) => s.name !== 'handle anonymise'))
      expect(Object.keys(span.tags ?? {})).not.toContain('ctstream.research_trace_id');
  });
});
