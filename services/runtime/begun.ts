// Jobs that a process had begun when it ended without a word: out of memory, or killed. The log shows only that a record comes
// again. That it was being done, and how often, stands in a folder that outlasts the process: a file for each job under way, with
// a byte for each begin. Files and not objects or commits: it costs two small calls a job, and needs no right at any server.
import { createHash } from 'node:crypto';
import { appendFileSync, mkdirSync, readdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { BusRecord } from '../ports/event-bus.ts';
import { ConfigError } from './env.ts';

type Place = Pick<BusRecord, 'topic' | 'partition' | 'offset'>;

export interface Begun {
  /** Notes the begin of a job. How many begins of it before this one came to no end. */
  begin(record: Place): number;
  /** It has come to an end, whatever became of it. */
  end(record: Place): void;
}

/** Older notes are of records that went to another machine. */
const KEEP_MS = 86_400_000;

/**
 * Notes in `folder`, which is made. Processes on one machine may share it. A note is only a guard: what fails later, on a full
 * disk or because the folder was cleaned away, fails no job, and `failed` is told the first time.
 * @throws ConfigError when the folder can't be written at the start
 */
export function begunIn(folder: string, nowMs: number, failed: (error: unknown) => void): Begun {
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    for (const name of readdirSync(folder)) removeOld(join(folder, name), nowMs);
  } catch (error) {
    throw new ConfigError([`JOBS_FOLDER: ${folder} can't be written (${codeOf(error)})`]);
  }
  // Not the names themselves: a topic names a centre.
  const fileOf = ({ topic, partition, offset }: Place): string =>
    join(folder, createHash('sha256').update(`${topic}/${partition}/${offset}`).digest('hex').slice(0, 32));
  let isTold = false;
  const guarded = <T>(work: () => T): T | undefined => {
    try {
      return work();
    } catch (error) {
      if (!isTold) failed(error);
      isTold = true;
      return undefined;
    }
  };
  return {
    begin: (record) =>
      guarded(() => {
        const file = fileOf(record);
        appendFileSync(file, '.', { mode: 0o600 });
        return statSync(file).size - 1;
      }) ?? 0,
    end: (record) => guarded(() => rmSync(fileOf(record), { force: true })),
  };
}

function removeOld(file: string, nowMs: number): void {
  try {
    if (nowMs - statSync(file).mtimeMs > KEEP_MS) rmSync(file, { force: true });
  } catch (error) {
    // Another process has just ended that job.
    if (codeOf(error) !== 'ENOENT') throw error;
  }
}

const codeOf = (error: unknown): string => (error instanceof Error && 'code' in error ? String(error.code) : 'unknown');
