// Reads back what a deployment holds: records, objects and what is in them, rows, logs and metrics, as searchable pieces.
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import pg from 'pg';
import type { StageName } from '../../../deploy/local/stages.ts';
import { s3Store, type S3Store } from '../../../services/adapters/s3-store.ts';
import type { Dataset, Element, Vr } from '../../../services/dicom/model.ts';
import { readDicom } from '../../../services/dicom/read.ts';
import { textOf } from '../../../services/dicom/values.ts';
import { endOfFile, openDuckDb } from '../../../services/event-log/parquet.ts';
import { runQuery } from '../../../services/event-log/query.ts';
import type { BusRecord } from '../../../services/ports/event-bus.ts';
import type { Pipeline } from '../pipeline.ts';
import type { Piece } from './search.ts';

const NONE = new Uint8Array(0);
const LIMIT_BYTES = 1 << 30;

/** Every record of the topics, retry and dead ones too. */
export async function recordsOf(p: Pipeline, pattern: string): Promise<BusRecord[]> {
  const found: BusRecord[] = [];
  for await (const record of p.ports.bus.read(await p.ports.bus.ends(await p.ports.bus.topics([pattern])))) found.push(record);
  return found;
}

export function recordPiece(p: Pipeline, r: BusRecord): Piece {
  const head = JSON.stringify({ key: r.key, headers: r.headers });
  let told = '';
  try {
    told = JSON.stringify(p.ports.codec.decode(r).value);
  } catch {
    told = Buffer.from(r.value).toString('utf8');
  }
  return {
    where: `${r.topic}/${r.partition}/${r.offset}`,
    bytes: Buffer.concat([Buffer.from(`${head}\n${r.key}\n${Object.values(r.headers).join('\n')}\n`), r.value]),
    text: `${head}\n${told}`,
    free: '',
  };
}

/** The store as its administrator sees it. */
export function rootStore(p: Pipeline): S3Store {
  const { minio } = p.platform;
  return s3Store({
    endpoint: `http://${minio.endPoint}:${minio.port}`,
    accessKey: minio.accessKey,
    secretKey: minio.secretKey,
    bucketPrefix: p.provisioned.bucketPrefix,
  });
}

const TYPED: ReadonlySet<Vr> = new Set(['LO', 'LT', 'SH', 'ST', 'UT', 'UC', 'PN']);
const WRITTEN: ReadonlySet<Vr> = new Set(['AE', 'AS', 'CS', 'DA', 'DT', 'TM', 'DS', 'IS', 'UI', 'UR', 'UN']);

/** What people in Russia write without saying so. */
const UNDECLARED = ['utf-8', 'windows-1251', 'koi8-r', 'ibm866', 'iso-8859-5', 'windows-1252'].map((label) => new TextDecoder(label));
const isAscii = (bytes: Uint8Array): boolean => bytes.every((byte) => byte < 0x80);

function typedTexts(element: Element, charset: readonly string[]): string[] {
  const declared = textOf(element, charset);
  return isAscii(element.value) ? [declared] : [declared, ...UNDECLARED.map((decoder) => decoder.decode(element.value))];
}

function dicomTexts(dataset: Dataset, typed: string[], written: string[]): void {
  for (const element of dataset.elements.values()) {
    for (const item of element.items ?? []) dicomTexts(item, typed, written);
    if (TYPED.has(element.vr)) typed.push(...typedTexts(element, dataset.charset));
    else if (WRITTEN.has(element.vr)) written.push(Buffer.from(element.value).toString('latin1'));
  }
}

/** A DICOM file: all its bytes, and its texts as their character set says. */
export function dicomPiece(where: string, bytes: Uint8Array): Piece {
  const file = readDicom(bytes);
  const [typed, written]: [string[], string[]] = [[], []];
  dicomTexts(file.meta, typed, written);
  dicomTexts(file.dataset, typed, written);
  return { where, bytes, text: written.join('\n'), free: typed.join('\n') };
}

/** Members of a plain tar. */
export function* tarMembers(tar: Uint8Array): Generator<{ name: string; bytes: Uint8Array }> {
  const textAt = (from: number, length: number): string =>
    Buffer.from(tar.subarray(from, from + length))
      .toString('latin1')
      .replace(/\0.*$/s, '');
  for (let at = 0; at + 512 <= tar.length && tar[at] !== 0;) {
    const size = Number.parseInt(textAt(at + 124, 12), 8);
    yield { name: textAt(at, 100), bytes: tar.subarray(at + 512, at + 512 + size) };
    at += 512 + Math.ceil(size / 512) * 512;
  }
}

const endOf = (whole: Uint8Array, part: Uint8Array | undefined): number =>
  part === undefined ? 0 : part.byteOffset - whole.byteOffset + part.length;

/** A file or object by the ending of its name: what it packs is unpacked too. */
export async function* contentPieces(where: string, bytes: Uint8Array): AsyncGenerator<Piece> {
  if (where.endsWith('.tar')) {
    const members = [...tarMembers(bytes)];
    // What stands between the members is the tar's own.
    const between = members.map((m, i) =>
      bytes.subarray(i === 0 ? 0 : endOf(bytes, members[i - 1]?.bytes), m.bytes.byteOffset - bytes.byteOffset),
    );
    yield { where, bytes: Buffer.concat([...between, bytes.subarray(endOf(bytes, members.at(-1)?.bytes))]), text: '', free: '' };
    for (const member of members) yield dicomPiece(`${where}!${member.name}`, member.bytes);
  } else if (where.endsWith('.gz')) {
    const plain = gunzipSync(bytes);
    yield { where, bytes, text: '', free: '' };
    yield { where: `${where}!`, bytes: plain, text: plain.subarray(0, 352).toString('latin1'), free: '' };
  } else if (where.endsWith('.parquet')) {
    const rows = await parquetRows(bytes);
    yield { where, bytes, text: rows, free: '' };
    yield { where: `${where}!`, bytes: Buffer.from(rows), text: '', free: '' };
  } else {
    yield { where, bytes, text: Buffer.from(bytes).toString('utf8'), free: '' };
  }
}

let reader: ReturnType<typeof openDuckDb> | undefined;

/** Rows as JSON lines, and the file's own metadata. */
async function parquetRows(bytes: Uint8Array): Promise<string> {
  reader ??= openDuckDb();
  const db = await reader;
  const dir = await mkdtemp(join(tmpdir(), 'ctstream-rows-'));
  try {
    const file = join(dir, 'rows.parquet');
    await writeFile(file, bytes);
    const { rows } = await runQuery(db, `SELECT * FROM read_parquet('${file}')`);
    return `${(await endOfFile(db, bytes)).next}\n${rows.map((row) => JSON.stringify(row, (_, v: unknown) => (typeof v === 'bigint' ? v.toString() : v))).join('\n')}`;
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

/** Closes what reading Parquet opened. */
export async function closeCorpus(): Promise<void> {
  (await reader)?.closeSync();
  reader = undefined;
}

export async function objectPieces(p: Pipeline, bucket: string, wanted: (key: string) => boolean = () => true): Promise<Piece[]> {
  const store = rootStore(p);
  const found: Piece[] = [];
  for await (const { key } of store.list(bucket, '')) {
    if (!wanted(key)) continue;
    const bytes = (await store.getBytes(bucket, key, LIMIT_BYTES)) ?? NONE;
    for await (const piece of contentPieces(`${bucket}/${key}`, bytes)) found.push(piece);
  }
  return found;
}

/** Every file under a folder; names are told relative to it. */
export async function folderPieces(dir: string): Promise<Piece[]> {
  const found: Piece[] = [];
  for (const entry of await readdir(dir, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    for await (const piece of contentPieces(path.slice(dir.length + 1), await readFile(path))) found.push(piece);
  }
  return found;
}

/** Every row of every table of a stage's own database. */
export async function databasePieces(p: Pipeline, name: 'select' | 'label_queue' | 'release'): Promise<Piece[]> {
  const client = new pg.Client({ connectionString: p.provisioned.databases[name] });
  await client.connect();
  try {
    const tables = await client.query<{ table_name: string }>(
      "select table_name from information_schema.tables where table_schema = 'public' and table_type = 'BASE TABLE'",
    );
    const found: Piece[] = [];
    for (const { table_name: table } of tables.rows) {
      const { rows } = await client.query<Record<string, unknown>>(`select * from "${table}"`);
      const text = JSON.stringify(rows, (_, v: unknown) =>
        typeof v === 'object' && v !== null && 'type' in v && v.type === 'Buffer' ? '' : v,
      );
      const blobs = rows.flatMap((row) => Object.values(row).filter((v) => v instanceof Uint8Array));
      found.push({ where: `database ${name}/${table}`, bytes: Buffer.concat([Buffer.from(`${text}\n`), ...blobs]), text, free: '' });
    }
    return found;
  } finally {
    await client.end();
  }
}

export async function logPiece(p: Pipeline, stage: StageName): Promise<Piece> {
  const bytes = await readFile(p.stages.logFile(stage));
  return { where: `log ${stage}`, bytes, text: bytes.toString('utf8'), free: '' };
}

export async function metricsPiece(p: Pipeline, stage: StageName): Promise<Piece> {
  const response = await fetch(`${p.stages.url(stage)}/metrics`);
  if (!response.ok) throw new Error(`/metrics of ${stage} was answered ${response.status}`);
  const text = await response.text();
  return { where: `metrics ${stage}`, bytes: Buffer.from(text), text, free: '' };
}
