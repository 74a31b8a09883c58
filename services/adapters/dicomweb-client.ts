// DICOMweb port: QIDO-RS through the npm package dicomweb-client, WADO-RS through our own stream.
import { api } from 'dicomweb-client';
import { z } from 'zod';
import { Fault } from '../kernel/fault.ts';
import type { StudyInstanceUid } from '../kernel/ids.ts';
import type { DicomWeb, FoundInstance, FoundSeries, FoundStudy, StudyFilter } from '../ports/dicomweb.ts';
import { basicAuth, faultOfStatus, PACS_TIMEOUT_MS, rootOf } from './dicomweb-http.ts';
import type { PacsOptions } from './dicomweb-http.ts';
import { retrieveStream } from './dicomweb-stream.ts';
import { FetchXhr } from './dicomweb-xhr.ts';

/** Of one answer. A server that pays no heed to `limit` gives everything that it has at once. */
const LIMIT_BYTES = 128 * 1024 * 1024;
/** Of one answer about one study: the smallest JSON takes 45 times its size as objects, and several studies are searched at once. */
const STUDY_LIMIT_BYTES = 16 * 1024 * 1024;
/** Of what is kept of a row below a study: UIDs, and the id of the patient to tell rows apart. */
const MAX_ROW_CHARS = 4096;
/** Instances of a QIDO-RS answer. An answer as JSON and its objects take some 40 MB for a thousand. */
const INSTANCE_PAGE = 250;
const STUDY_FIELDS = '00080061,00081030,00201208';
const SERIES_PAGE = 1000;
/** A server that never ends stops here. */
const MAX_PAGES = 20_000;
/** A number beyond it counts no study's instances (an event's numbers end at 2^31): the server does not say. */
const LARGEST_COUNT = 10_000_000;

// The DICOM JSON model (PS3.18 F.2): an attribute has a list of values, or none.
const attribute = z.looseObject({ vr: z.string().optional(), Value: z.array(z.unknown()).optional() });
const rowsShape = z.array(z.record(z.string(), attribute));
type Row = z.output<typeof rowsShape>[number];

function texts(row: Row, tag: string): string[] {
  const values = row[tag]?.Value ?? [];
  return values.filter((v) => typeof v === 'string' || typeof v === 'number').map((v) => String(v).replace(/[\0 ]+$/, ''));
}

function text(row: Row, tag: string): string {
  return texts(row, tag)[0] ?? '';
}

function count(row: Row, tag: string): number | undefined {
  const value = Number(text(row, tag));
  return text(row, tag) !== '' && Number.isInteger(value) && value >= 0 && value <= LARGEST_COUNT ? value : undefined;
}

function foundStudy(row: Row): FoundStudy {
  return {
    studyInstanceUid: text(row, '0020000D') as StudyInstanceUid,
    patientId: text(row, '00100020'),
    studyDate: text(row, '00080020'),
    studyDescription: text(row, '00081030'),
    // Some servers give one value with backslashes in it.
    modalities: texts(row, '00080061')
      .flatMap((m) => m.split('\\'))
      .map((m) => m.trim())
      .filter((m) => m !== ''),
    instanceCount: count(row, '00201208'),
  };
}

function foundSeries(row: Row): FoundSeries {
  return { seriesInstanceUid: text(row, '0020000E'), instanceCount: count(row, '00201209') };
}

function foundInstance(row: Row): FoundInstance {
  return {
    seriesInstanceUid: text(row, '0020000E'),
    sopInstanceUid: text(row, '00080018'),
    sopClassUid: text(row, '00080016'),
    modality: text(row, '00080060'),
    availableTransferSyntaxUids: texts(row, '00083002'),
  };
}

type Client = InstanceType<typeof api.DICOMwebClient>;
type Options = Parameters<Client['searchForStudies']>[0] &
  Parameters<Client['searchForSeries']>[0] &
  Parameters<Client['searchForInstances']>[0];
type Search = (client: Client, options: Options) => unknown;

interface Query {
  readonly what: string;
  readonly params: Readonly<Record<string, string | number>>;
  readonly study?: StudyInstanceUid;
  readonly limitBytes: number;
}

/** One search through the client. 204, and 404 below a study, are no rows. @throws Fault */
async function search(o: PacsOptions, query: Query, signal: AbortSignal, run: Search): Promise<Row[]> {
  const { what, limitBytes } = query;
  const timeoutMs = o.timeoutMs ?? PACS_TIMEOUT_MS;
  const xhr = new FetchXhr({ what, authorization: basicAuth(o), timeoutMs, limitBytes, signal });
  const client = new api.DICOMwebClient({ url: rootOf(o.dicomWebUrl), verbose: false, singlepart: false });
  let answer: unknown;
  try {
    // The client's own types ask for a browser's XMLHttpRequest.
    const options = {
      queryParams: query.params,
      request: { instance: xhr },
      ...(query.study === undefined ? {} : { studyInstanceUID: encodeURIComponent(query.study) }),
    } as unknown as Options;
    answer = await run(client, options);
  } catch {
    if (xhr.failure !== undefined) throw xhr.failure;
    const fault = faultOfStatus(xhr.status, what);
    if (fault !== undefined) throw fault;
    if (xhr.status === 404 && query.study !== undefined) return [];
    // An address that is no DICOMweb root must not look like a PACS without studies.
    throw new Fault('PACS_ERROR', true, `${what}: HTTP ${xhr.status}; check the centre's dicomWebUrl`);
  }
  const rows = rowsShape.safeParse(answer);
  if (!rows.success) throw new Fault('PACS_ERROR', true, `${what}: the answer is no DICOM JSON`);
  return rows.data;
}

interface Paging {
  readonly what: string;
  readonly limit: number;
  page(offset: number): Promise<readonly Row[]>;
  keyOf(row: Row): string;
}

/**
 * All pages of a search. A server may send fewer rows than asked for (PS3.18 8.3.4.4), so only an empty
 * page, or one with nothing new, is the end. One that ignores `offset` gives everything at once, or as much as `limit` lets
 * through: then the rest can't be asked for, and whether there is any can't be known. @throws Fault
 */
async function* paged({ what, limit, page, keyOf }: Paging): AsyncGenerator<Row> {
  const seen = new Set<string>();
  let offset = 0;
  for (let n = 0; n < MAX_PAGES; n += 1) {
    const rows = await page(offset);
    const fresh = rows.filter((row) => {
      const key = keyOf(row);
      return seen.has(key) ? false : (seen.add(key), true);
    });
    yield* fresh;
    if (fresh.length === 0 && rows.length === limit && offset === limit)
      throw new Fault('PACS_ERROR', true, `${what}: the server gives the same ${limit} rows whatever the offset, so there may be more`);
    if (fresh.length === 0) return;
    offset += rows.length;
  }
  throw new Fault('PACS_ERROR', true, `${what}: no end after ${MAX_PAGES} pages`);
}

const studyKey = (row: Row): string => `${text(row, '0020000D')}|${text(row, '00100020')}|${text(row, '00100021')}`;
const seriesKey = (row: Row): string => `${text(row, '0020000E')}|${text(row, '00100020')}`;
// A study of two patients can list the same instance twice; the place in the answer does not matter.
const instanceKey = (row: Row): string => `${text(row, '0020000E')}|${text(row, '00080018')}|${text(row, '00100020')}`;

interface Level<Found> {
  readonly name: string;
  readonly includefield: string;
  readonly limit: number;
  readonly run: Search;
  keyOf(row: Row): string;
  found(row: Row): Found;
}

const SERIES: Level<FoundSeries> = {
  name: 'series',
  includefield: '00201209',
  limit: SERIES_PAGE,
  run: (client, options) => client.searchForSeries(options),
  keyOf: seriesKey,
  found: foundSeries,
};
const INSTANCES: Level<FoundInstance> = {
  name: 'instances',
  includefield: '00083002',
  limit: INSTANCE_PAGE,
  run: (client, options) => client.searchForInstances(options),
  keyOf: instanceKey,
  found: foundInstance,
};

function dateRange(filter: StudyFilter): Record<string, string> {
  if (filter.studyDateFrom === undefined && filter.studyDateTo === undefined) return {};
  return { StudyDate: `${filter.studyDateFrom ?? ''}-${filter.studyDateTo ?? ''}` };
}

/** DICOMweb of one centre's PACS. */
export function dicomWebClient(o: PacsOptions): DicomWeb {
  const name = (what: string): string => `${what} of centre ${o.centre}`;
  const studies = (params: Query['params'], limitBytes: number, signal: AbortSignal): Promise<Row[]> =>
    search(o, { what: name('QIDO-RS studies'), params: { includefield: STUDY_FIELDS, ...params }, limitBytes }, signal, (client, options) =>
      client.searchForStudies(options),
    );
  /** All pages of what a study has, as far as the one behind `atMost`. */
  const below = async <Found>(study: StudyInstanceUid, signal: AbortSignal, level: Level<Found>, atMost = Infinity): Promise<Found[]> => {
    const { includefield, limit, keyOf } = level;
    const what = name(`QIDO-RS ${level.name}`);
    const query = (offset: number): Query => ({ what, study, params: { includefield, limit, offset }, limitBytes: STUDY_LIMIT_BYTES });
    const page = (offset: number): Promise<Row[]> => search(o, query(offset), signal, level.run);
    const all: Found[] = [];
    for await (const row of paged({ what, limit, page, keyOf })) {
      const one = level.found(row);
      if (keyOf(row).length + JSON.stringify(one).length > MAX_ROW_CHARS) throw new Fault('PACS_ERROR', true, `${what}: a row is too long`);
      all.push(one);
      if (all.length > atMost) break;
    }
    return all;
  };
  return {
    async *studies(filter, signal) {
      const page = (offset: number): Promise<Row[]> =>
        studies({ ...dateRange(filter), limit: filter.pageSize, offset }, LIMIT_BYTES, signal);
      const paging = { what: name('QIDO-RS studies'), limit: filter.pageSize, page, keyOf: studyKey };
      for await (const row of paged(paging)) yield foundStudy(row);
    },
    async study(study, signal) {
      const rows = await studies({ StudyInstanceUID: study }, STUDY_LIMIT_BYTES, signal);
      // A server that ignores the key answers with everything: with a `limit` the study might not be in it, and seem to have vanished.
      return rows.map(foundStudy).filter((s) => s.studyInstanceUid === study);
    },
    series: (study, signal, atMost) => below(study, signal, SERIES, atMost),
    instances: (study, signal, atMost) => below(study, signal, INSTANCES, atMost),
    retrieveSeries: (study, series, signal) =>
      retrieveStream(
        o,
        `${rootOf(o.dicomWebUrl)}/studies/${encodeURIComponent(study)}/series/${encodeURIComponent(series)}`,
        name('WADO-RS series'),
        signal,
      ),
  };
}
