// Which processes are a deployment's stages, in DIR/stages.json (0600): so that the next start and `ctstream down` end
// what a killed parent left. A pid counts only with the moment of its start, since pids are reused.
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { isRunning, processStart } from './processes.ts';

const recordSchema = z.object({ pid: z.number().int().positive(), startedAt: z.string() });
const fileSchema = z.record(z.string(), recordSchema);
type StageRecords = z.infer<typeof fileSchema>;

/** A stage drains for up to 20 s (services/runtime); only then is it stuck. */
export const STOP_WITHIN_MS = 30_000;

const fileOf = (dir: string): string => join(dir, 'stages.json');

/** Records of the folder; none when the file is missing or is not one. */
export function readStageRecords(dir: string): StageRecords {
  try {
    return fileSchema.parse(JSON.parse(readFileSync(fileOf(dir), 'utf8')));
  } catch {
    return {};
  }
}

/** Notes a process that was just started. Synchronous, so that a parent killed in between leaves next to nothing unknown. */
export function recordStage(dir: string, name: string, pid: number): void {
  const startedAt = processStart(pid);
  if (startedAt === undefined) return;
  const file = fileOf(dir);
  writeFileSync(`${file}.tmp`, JSON.stringify({ ...readStageRecords(dir), [name]: { pid, startedAt } }, null, 2), { mode: 0o600 });
  renameSync(`${file}.tmp`, file);
}

/** Signals a stage's whole process group; it may have ended meanwhile. */
export function signalStage(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-pid, signal);
  } catch {
    // Gone between the look and the signal.
  }
}

/** Ends the stages that are recorded in the folder and still run: in order, then after `graceMs` by force. Gives their names. */
export async function endRecordedStages(dir: string, graceMs = STOP_WITHIN_MS): Promise<string[]> {
  const left = Object.entries(readStageRecords(dir)).filter(([, record]) => isRunning(record));
  for (const [, { pid }] of left) signalStage(pid, 'SIGTERM');
  const deadline = Date.now() + graceMs;
  for (;;) {
    const still = left.filter(([, record]) => isRunning(record));
    if (still.length === 0) break;
    if (Date.now() > deadline) for (const [, { pid }] of still) signalStage(pid, 'SIGKILL');
    await sleep(50);
  }
  await rm(fileOf(dir), { force: true });
  return left.map(([name]) => name);
}
