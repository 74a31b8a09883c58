// De-identification against gdcmanon, dicognito and the limit: the same files, in turn, in one run.
import { existsSync, mkdtempSync, readdirSync, renameSync, rmSync, statfsSync, truncateSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { writePhantoms } from '../services/cli/phantom/write-phantoms.ts';
import { isThere, timed } from './process-run.ts';
import { medianOf } from './report.ts';
import { replicate } from './replicate.ts';
import type { Replicated } from './replicate.ts';

export interface DeidBenchOptions {
  /** Folder whose CT images are replicated; phantoms when not given. */
  dicom?: string;
  files: number;
  rounds: number;
  workers: number;
  /** Where input and output lie while it runs; their file system is part of what is measured. */
  scratch?: string;
}

export interface Contender {
  name: string;
  /** Files per second of each round, whole process. */
  rates: number[];
  median: number;
}

export interface DeidBench {
  source: string;
  input: Replicated;
  workers: number;
  /** Where the files lay. */
  place: 'disk' | 'memory';
  ours: Contender & {
    /** Median without the start of the process. */
    withoutStart: number;
    maxRssMb: number;
  };
  peer: Contender | undefined;
  dicognito: Contender | undefined;
  limit: Contender;
  /** Why something was left out. */
  leftOut: string[];
}

/** Where the bench's own virtual environment for dicognito is looked for. */
const DICOGNITO = join(homedir(), '.cache', 'ctstream', 'bench', 'dicognito', 'bin', 'dicognito');
/** dicognito takes minutes for what the others do in a second: this many files, once. */
const DICOGNITO_FILES = 100;

/** Type of a file system in memory, as Linux says it. */
const TMPFS = 0x01021994;

/**
 * Before each run. A virtual machine gives freed pages back to its host after 2 s and pays for them when they are written
 * again: whoever ran right after the output of another was removed found them warm. The plain copy of 4,092 files took
 * 0.6 s then, 1.4 s after a pause, and those that run longer than 2 s never have that advantage. So nobody has it.
 */
const SETTLE_MS = 5_000;

/**
 * Frees what a run wrote and keeps its files, empty. An ext4 without a journal gives an inode that was freed in the last
 * minutes to no new file, and looks at each of them for each new file: after 4,000 removed ones everybody was slow, the plain
 * copy half as fast.
 */
const setAside = (out: string, aside: string): void => {
  for (const entry of readdirSync(out, { recursive: true, withFileTypes: true }))
    if (entry.isFile()) truncateSync(join(entry.parentPath, entry.name));
  renameSync(out, aside);
};

const program = (name: string): string => new URL(name, import.meta.url).pathname;

/** Runs the bench. Throws when a contender fails or does not write every file. */
export const benchDeid = async (options: DeidBenchOptions, say: (line: string) => void): Promise<DeidBench> => {
  const folder = mkdtempSync(join(options.scratch ?? tmpdir(), 'ctstream-bench-'));
  try {
    const input = join(folder, 'in');
    const source = options.dicom ?? (await phantoms(join(folder, 'phantoms'), say));
    const replicated = replicate(source, input, options.files);
    say(`${replicated.files} files, ${Math.round(replicated.bytes / 1e6)} MB, ${options.workers} threads`);
    return await inTurn({ folder, input, replicated }, options, say);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
};

const phantoms = async (folder: string, say: (line: string) => void): Promise<string> => {
  say('making phantoms');
  await writePhantoms(folder, { studies: 2, seed: 5, rows: 512 });
  return folder;
};

interface Place {
  folder: string;
  input: string;
  replicated: Replicated;
}

interface OwnRun {
  written: number;
  seconds: number;
  maxRssMb: number;
}

/** The command's document, and behind it the line with the memory. */
const ownRun = (stdout: string): OwnRun => {
  const end = stdout.trimEnd().lastIndexOf('\n');
  const { written, seconds } = JSON.parse(stdout.slice(0, end)) as OwnRun;
  return { written, seconds, maxRssMb: (JSON.parse(stdout.slice(end)) as OwnRun).maxRssMb };
};

const inTurn = async (
  { folder, input, replicated }: Place,
  { rounds, workers, dicom }: DeidBenchOptions,
  say: (line: string) => void,
): Promise<DeidBench> => {
  const { files } = replicated;
  const rates = { ours: [] as number[], peer: [] as number[], limit: [] as number[], inner: [] as number[] };
  const leftOut: string[] = [];
  let maxRssMb = 0;
  const hasPeer = isThere('gdcmanon');
  if (!hasPeer) leftOut.push('gdcmanon: not installed (Debian and Ubuntu: libgdcm-tools)');
  const out = join(folder, 'out');
  let runs = 0;
  const inOut = async (command: string, args: readonly string[]): Promise<{ rate: number; stdout: string }> => {
    await sleep(SETTLE_MS);
    const { seconds, stdout } = await timed(command, args);
    setAside(out, join(folder, `done-${++runs}`));
    return { rate: files / seconds, stdout };
  };
  for (let round = 1; round <= rounds; round++) {
    const ours = await inOut(process.execPath, [
      '--no-warnings',
      program('deid-run.ts'),
      'deid',
      input,
      out,
      '--json',
      '--vault',
      join(folder, `vault-${round}.sqlite`),
      '--workers',
      String(workers),
    ]);
    const own = ownRun(ours.stdout);
    if (own.written !== files) throw new Error(`${files - own.written} of ${files} files were refused: nothing to compare`);
    rates.ours.push(ours.rate);
    rates.inner.push(files / own.seconds);
    maxRssMb = Math.max(maxRssMb, own.maxRssMb);
    if (hasPeer)
      rates.peer.push(
        (await inOut('gdcmanon', ['--dumb', '--empty', '10,10', '--empty', '10,20', '--remove', '10,40', '-r', '-i', input, '-o', out]))
          .rate,
      );
    rates.limit.push((await inOut(process.execPath, [program('copy-run.ts'), input, out, String(workers)])).rate);
    const shown = [rates.ours, rates.peer, rates.limit].map((list) => Math.round(list.at(-1) ?? 0));
    say(`round ${round}: ours ${shown[0]} files/s, gdcmanon ${hasPeer ? shown[1] : 'left out'}, limit ${shown[2]}`);
  }
  return {
    source: dicom ?? 'phantoms',
    input: replicated,
    workers,
    place: statfsSync(folder).type === TMPFS ? 'memory' : 'disk',
    ours: { ...contender('ctstream deid, full profile and verification', rates.ours), withoutStart: medianOf(rates.inner), maxRssMb },
    peer: hasPeer ? contender('gdcmanon --dumb, three tags', rates.peer) : undefined,
    dicognito: await dicognitoOnce(folder, input, leftOut, say),
    limit: contender('read and write, same threads', rates.limit),
    leftOut,
  };
};

const contender = (name: string, rates: number[]): Contender => ({ name, rates, median: medianOf(rates) });

const dicognitoOnce = async (
  folder: string,
  input: string,
  leftOut: string[],
  say: (line: string) => void,
): Promise<Contender | undefined> => {
  // Its launcher can be broken by its own release, so the module is run.
  const python = join(DICOGNITO, '..', 'python');
  if (!existsSync(DICOGNITO)) {
    leftOut.push('dicognito: no virtual environment with it in the cache folder (python3 -m venv, pip install dicognito)');
    return undefined;
  }
  try {
    const some = join(folder, 'some');
    const { files } = replicate(input, some, DICOGNITO_FILES, DICOGNITO_FILES);
    const { seconds } = await timed(python, [
      '-c',
      'import sys; from dicognito.__main__ import main; main(sys.argv[1:])',
      '-o',
      join(folder, 'dicognito'),
      some,
    ]);
    const rates = [files / seconds];
    say(`dicognito: ${Math.round(rates[0] ?? 0)} files/s, once, on ${files} files`);
    return contender(`dicognito, once, ${files} files`, rates);
  } catch (error) {
    leftOut.push(`dicognito: ${error instanceof Error ? error.message : 'failed'}`);
    return undefined;
  }
};
