// What the commands of this folder share: a platform of their own, the result as JSON, and its rows for docs/faults.md.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startPlatform, type Platform, type PlatformOptions } from '../../deploy/local/platform.ts';
import { commit } from '../../bench/report.ts';
import { writeRows, type FaultRows } from '../chaos/page.ts';
import { faultFlags } from './flags.ts';
import type { OneByOne } from './one-by-one.ts';

export interface RunOptions {
  readonly platform: Platform;
  readonly seed: number;
  readonly most?: number;
  readonly say: (line: string) => void;
}

interface CommandOptions {
  /** Of the file and of the result in docs/faults/. */
  readonly name: string;
  /** For --help. */
  readonly description: string;
  readonly with?: NonNullable<PlatformOptions['with']>;
  readonly title: string;
  readonly note: string;
  readonly run: (o: RunOptions) => Promise<OneByOne>;
}

/** Exit code 1 when something is lost or doubled. */
export async function runOneByOne(c: CommandOptions): Promise<void> {
  const { seed, most, json, page } = faultFlags(c.name, c.description);
  const say = (line: string): void => void process.stderr.write(`${new Date().toISOString().slice(11, 19)} ${line}\n`);
  const dir = await mkdtemp(join(tmpdir(), `ctstream-${c.name}-`));
  const platform = await startPlatform({
    dir: join(dir, 'platform'),
    centres: [],
    log: say,
    ...(c.with === undefined ? {} : { with: c.with }),
  });
  try {
    const result = await c.run({ platform, seed, say, ...(most === undefined ? {} : { most }) });
    const rows = rowsOf(c, result, `--seed ${seed}${most === undefined ? '' : ` --most ${most}`}`);
    if (json !== undefined) await writeFile(json, `${JSON.stringify({ result, rows }, null, 2)}\n`);
    if (page === true) await writeRows(c.name, rows);
    process.stdout.write(
      `${result.faults.length} faults; ${JSON.stringify({ ...result.verdict, retries: result.retries, ownEnds: result.ownEnds })}\n`,
    );
    process.exitCode = result.verdict.problems.length === 0 ? 0 : 1;
  } finally {
    await platform.stop();
  }
  if (process.exitCode === 0) await rm(dir, { recursive: true, force: true });
}

function rowsOf(c: CommandOptions, { faults, studies, retries, ownEnds, verdict: v }: OneByOne, options: string): FaultRows {
  const tried = Object.entries(retries).map(([stage, n]) => `${n} in ${stage}`);
  return {
    title: c.title,
    command: `node test/fault/${c.name}.ts ${options} --page`,
    notes: [
      `${c.note} Commit ${commit()}.`,
      `${studies} studies: ${v.manifests.clinical} revisions stored, ${v.manifests.research} anonymised; lost ${v.lost}, doubled ${v.doubled}, unaccounted ${v.unaccounted}, other bytes ${v.hashMismatches}, dead letters ${v.deadLetters}, offsets committed without an outcome ${v.committedTooFar}. ${v.records} records in the log, ${v.repeated} of them repetitions under the same id.`,
      `Tries that failed and were repeated after a wait: ${tried.length === 0 ? 'none' : tried.join(', ')}. Processes that gave up and were started again: ${ownEnds.length === 0 ? 'none' : ownEnds.join(', ')}.`,
    ],
    rows: faults.map((f) => ({ ...f, times: 1, lost: v.lost, doubled: v.doubled })),
  };
}
