// Puts studies into the centres' PACSs: phantoms, or a person's own files after a pre-flight.
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { promisify } from 'node:util';
import type { OrthancInstance } from '../../../deploy/local/platform.ts';
import { feed, type FeedFile, type FeedResult } from '../../centre-gateway/feed.ts';
import { preflight, refusedByPacs, studyRefusedByPacs, type IntakeFile, type IntakeRefusal } from '../../centre-gateway/intake.ts';
import { generateStudy, type Defect, type PhantomFile } from '../phantom/generate.ts';
import type { Running } from './deploy.ts';
import type { DemoOptions } from './options.ts';
import type { Fed } from './report.ts';

export interface FedStudies extends Fed {
  /** Studies that `account` must know: sent to a PACS, or refused before. */
  readonly studies: number;
}

type Note = (line: string) => void;

/** Sends what the options say. Resolves when the last file is in a PACS. */
export async function feedCentres(o: DemoOptions, running: Running, note: Note, signal: AbortSignal): Promise<FedStudies> {
  return o.dicom === undefined ? feedPhantoms(o, running, note, signal) : feedFolder(o.dicom, running, note, signal);
}

/** Two studies are meant to fail, so that people see what a refusal and a hold look like. */
export function defectOf(index: number, studies: number): Defect | undefined {
  if (studies < 4) return undefined;
  if (index === Math.floor(studies / 4)) return 'tilt';
  return index === Math.floor((studies * 3) / 4) ? 'burned-in-text-undeclared' : undefined;
}

async function hasStorescu(): Promise<boolean> {
  return promisify(execFile)('storescu', ['--version']).then(
    () => true,
    () => false,
  );
}

const targetOf = (pacs: OrthancInstance): { orthancUrl: string; dicomWebUrl: string; username: string; password: string } => ({
  orthancUrl: pacs.baseUrl,
  dicomWebUrl: pacs.dicomWebUrl,
  username: pacs.username,
  password: pacs.password,
});

/** C-STORE of a whole study, as a scanner does it. */
async function storescu(files: readonly PhantomFile[], pacs: OrthancInstance, signal: AbortSignal): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), 'ctstream-cstore-'));
  try {
    for (const file of files) {
      await mkdir(dirname(join(dir, file.path)), { recursive: true });
      await writeFile(join(dir, file.path), file.bytes);
    }
    await promisify(execFile)(
      'storescu',
      ['-aet', pacs.scannerAeTitle, '-aec', pacs.aeTitle, '+sd', '+r', '127.0.0.1', String(pacs.dicomPort), dir],
      { signal, maxBuffer: 1 << 24 },
    );
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

async function sendPhantom(files: readonly PhantomFile[], pacs: OrthancInstance, byCStore: boolean, signal: AbortSignal): Promise<void> {
  if (byCStore) return storescu(files, pacs, signal);
  const results = await feed(
    files.map((f) => ({ path: f.path, bytes: async () => f.bytes })),
    targetOf(pacs),
    { signal },
  );
  const bad = results.filter((r) => !r.stored);
  if (bad.length > 0) throw new Error(`the PACS of ${pacs.centre} refused ${bad.length} phantom files (HTTP ${bad[0]?.httpCode})`);
}

async function feedPhantoms(o: DemoOptions, running: Running, note: Note, signal: AbortSignal): Promise<FedStudies> {
  const pacss = running.platform.orthancs;
  const cStore = await hasStorescu();
  let instances = 0;
  let bytes = 0;
  let sending: Promise<void> = Promise.resolve();
  for (let index = 0; index < o.studies; index += 1) {
    const pacs = pacss[index % pacss.length];
    if (pacs === undefined) throw new Error('no centre has a PACS');
    const defect = defectOf(index, o.studies);
    const files: PhantomFile[] = [];
    for (const file of generateStudy({
      seed: o.seed,
      index,
      rows: o.rows,
      issuer: `phantom-${pacs.centre}`,
      ...(defect === undefined ? {} : { defect }),
    })) {
      files.push(file);
      // Drawing slices is work without a pause: let the sends and the display go on.
      if (files.length % 8 === 0) await new Promise((r) => setImmediate(r));
    }
    await sending;
    const byCStore = cStore && pacs === pacss[0];
    note(
      `Study ${index + 1} of ${o.studies}: ${files.length} files to the PACS of ${pacs.centre}${byCStore ? ' by C-STORE' : ''}${defect === undefined ? '' : ` (meant to be refused: ${defect})`}`,
    );
    sending = sendPhantom(files, pacs, byCStore, signal);
    // Its failure is thrown by the next await; without this it would count as unhandled meanwhile.
    sending.catch(() => undefined);
    instances += files.length;
    bytes += files.reduce((sum, f) => sum + f.bytes.length, 0);
  }
  await sending;
  note(`All ${o.studies} studies are in the PACSs; waiting for them to come through`);
  return { studies: o.studies, instances, bytes };
}

async function* readTree(dir: string, paths: readonly string[]): AsyncGenerator<IntakeFile> {
  for (const path of paths) yield { path, bytes: await readFile(join(dir, path)) };
}

async function filesBelow(dir: string): Promise<string[]> {
  const entries = await readdir(dir, { recursive: true, withFileTypes: true });
  return entries
    .filter((e) => e.isFile())
    .map((e) => relative(dir, join(e.parentPath, e.name)))
    .sort();
}

async function reportRefusals(running: Running, centre: string, refusals: readonly IntakeRefusal[], signal: AbortSignal): Promise<void> {
  if (refusals.length === 0) return;
  const body = { centre, refusals: refusals.map(({ paths: _, ...refusal }) => refusal) };
  const response = await fetch(`${running.stages.apiUrl('centre-gateway')}/intake-refused`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${running.provisioned.gatewayToken}` },
    body: JSON.stringify(body),
    signal,
  });
  if (!response.ok) throw new Error(`the gateway did not take the refusals: ${response.status} ${(await response.text()).slice(0, 200)}`);
}

function refusalsOf(study: string, results: readonly FeedResult[]): IntakeRefusal[] {
  const bad = results.filter((r) => !r.stored);
  if (bad.length > 0 && bad.length === results.length) return [studyRefusedByPacs(study, bad)];
  return bad.map((r) => refusedByPacs(r.path, r.httpCode));
}

async function feedFolder(dir: string, running: Running, note: Note, signal: AbortSignal): Promise<FedStudies> {
  const paths = await filesBelow(dir);
  if (paths.length === 0) throw new Error(`${dir} holds no file`);
  note(`Looking at ${paths.length} files of ${dir}`);
  const intake = await preflight(readTree(dir, paths));
  for (const r of intake.refused)
    note(`refused ${r.code}: ${r.paths.length === 1 ? r.paths[0] : `${r.paths.length} files, the first ${r.paths[0]}`}`);
  const pacss = running.platform.orthancs;
  const first = pacss[0];
  if (first === undefined) throw new Error('no centre has a PACS');
  await reportRefusals(running, first.centre, intake.refused, signal);
  const sum = { studies: intake.studies.length + intake.refused.filter((r) => r.unit === 'study').length, instances: 0, bytes: 0 };
  for (const [i, study] of intake.studies.entries()) {
    const pacs = pacss[i % pacss.length] ?? first;
    note(`Study ${i + 1} of ${intake.studies.length}: ${study.files.length} files to the PACS of ${pacs.centre}`);
    const files: FeedFile[] = study.files.map((path) => ({ path, bytes: () => readFile(join(dir, path)) }));
    const results = await feed(files, targetOf(pacs), { signal });
    await reportRefusals(running, pacs.centre, refusalsOf(study.studyInstanceUid, results), signal);
    sum.instances += results.filter((r) => r.stored).length;
    sum.bytes += results.reduce((all, r) => all + (r.stored ? r.sizeBytes : 0), 0);
  }
  return sum;
}
