// node test/fault/step-boundaries.ts: SIGKILL at every step of ingest and anonymise, and the table for docs/faults.md.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startPlatform } from '../../deploy/local/platform.ts';
import { commit } from '../../bench/report.ts';
import { writeRows, type FaultRows } from '../chaos/page.ts';
import { faultFlags } from './flags.ts';
import { killAtSteps, type StepRun } from './steps/run.ts';

const { seed, most, json, page } = faultFlags(
  'step-boundaries',
  'Ends ingest and anonymise by SIGKILL at each step of a job, a study for each.',
);
const say = (line: string): void => void process.stderr.write(`${new Date().toISOString().slice(11, 19)} ${line}\n`);

function rowsOf({ kills, takeOvers, partKills, studies, verdict: v, steps }: StepRun): FaultRows {
  const outcome = { times: 1, lost: v.lost, doubled: v.doubled };
  const missed = kills.filter((k) => !k.hit).map((k) => `${k.stage}, ${k.step}`);
  return {
    title: 'At every step of ingest and anonymise',
    command: `node test/fault/step-boundaries.ts --seed ${seed}${most === undefined ? '' : ` --most ${most}`} --page`,
    notes: [
      `A study takes ${steps.ingest.length} steps in ingest and ${steps.anonymise.length} in anonymise: after each read, before and after each write, publish and commit, and once within each stream. At ${most === undefined ? 'each' : `${most} of each stage, drawn by the seed,`} the process was ended by SIGKILL, with a study of its own, and started again. Commit ${commit()}.`,
      'Taken over: the process was stopped by SIGSTOP right before the step until it had lost its partitions and another process had finished the study; then it went on.',
      'A part killed: the process was stopped by SIGSTOP at the step, the part of the platform that the step uses was ended by SIGKILL, and the process went on while it was away; then the part was started again.',
      `${studies} studies: ${v.manifests.clinical} revisions stored, ${v.manifests.research} anonymised; lost ${v.lost}, doubled ${v.doubled}, unaccounted ${v.unaccounted}, other bytes ${v.hashMismatches}, dead letters ${v.deadLetters}. While the process was dead \`account\` found ${v.committedTooFar} offsets committed without an outcome. ${v.records} records in the log, ${v.repeated} of them repetitions under the same id.`,
      ...(missed.length === 0 ? [] : [`Not reached in this run: ${missed.join('; ')}.`]),
    ],
    rows: [
      ...kills.filter((k) => k.hit).map((k) => ({ fault: 'SIGKILL, started again', place: `${k.stage}, ${k.step}`, ...outcome })),
      ...partKills.map((k) => ({ fault: `${k.part} ended by SIGKILL, started again`, place: `${k.stage}, ${k.step}`, ...outcome })),
      ...takeOvers.map((t) => ({ fault: 'SIGSTOP, taken over, SIGCONT', place: `${t.stage}, ${t.step}`, ...outcome })),
    ],
  };
}

const dir = await mkdtemp(join(tmpdir(), 'ctstream-steps-'));
say(`folder ${dir}`);
const platform = await startPlatform({ dir: join(dir, 'platform'), centres: [], log: say });
try {
  const run = await killAtSteps({ dir, seed, platform, say, ...(most === undefined ? {} : { most }) });
  if (json !== undefined) await writeFile(json, `${JSON.stringify({ run, rows: rowsOf(run) }, null, 2)}\n`);
  if (page === true) await writeRows('step-boundaries', rowsOf(run));
  process.stdout.write(
    `${run.kills.filter((k) => k.hit).length} kills, ${run.takeOvers.length} take-overs, ${run.partKills.length} parts; ${JSON.stringify(run.verdict)}\n`,
  );
  // A step that is not reached was not tried.
  process.exitCode = run.verdict.problems.length === 0 && run.kills.every((k) => k.hit) ? 0 : 1;
} finally {
  await platform.stop();
}
if (process.exitCode === 0) await rm(dir, { recursive: true, force: true });
