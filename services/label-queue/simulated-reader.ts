// A simulated reader: a program that uses the readers' API as a person would. It really looks at the voxels, with
// a cruder rule than a radiologist's eye, and disagrees with itself and others by a seed. Never a label for use.
import { createHmac } from 'node:crypto';
import { gunzipSync } from 'node:zlib';
import { z } from 'zod';
import { sha256Hex } from '../kernel/digest.ts';
import { affectedPercent, gradeOf } from './simulated-look.ts';

export interface SimulatedReaderOptions {
  /** Base URL of label-queue's API. */
  readonly baseUrl: string;
  readonly readerId: string;
  readonly token: string;
  /** Same seed, reader and volume: same grade. */
  readonly seed: string | number;
  /** Ends the reader; a task in hand is finished first. */
  readonly signal: AbortSignal;
  /** Known grade by SHA-256 (hex) of the unpacked volume, where the volume is a phantom: taken in place of the look, before the disagreement. */
  readonly truth?: ReadonlyMap<string, number>;
  /** Pause when there is no task; 500 ms by default. */
  readonly idleMs?: number;
  /** Told of each reading; `grade` undefined for a skip. */
  readonly onReading?: (reading: { readonly taskId: string; readonly grade: number | undefined }) => void;
  /** Told of failures that are tried again. */
  readonly onProblem?: (problem: string) => void;
}

const taskSchema = z.object({ taskId: z.string(), token: z.number(), volumeDigest: z.string(), shape: z.array(z.number()) });
const heldSchema = z.object({ tasks: z.array(taskSchema) });
type Task = z.output<typeof taskSchema>;

/** One reader in so many grades one class off: the raw agreement of two comes near that of published readers. */
const SLIP_RATE = 0.12;
const LARGEST_VOLUME_BYTES = 1024 * 1024 * 1024;
const CALL_TIMEOUT_MS = 120_000;

/** Reads until the signal aborts; answers how many readings it gave. @throws Error for a token that the API refuses. */
export async function runSimulatedReader(o: SimulatedReaderOptions): Promise<{ readings: number; skips: number }> {
  const done = { readings: 0, skips: 0 };
  // A claim whose answer was lost still holds its task: after a start or a failure, first what is held.
  let resume = true;
  while (!o.signal.aborted) {
    let task: Task | undefined;
    try {
      const held: Task | undefined = resume ? await firstHeld(o) : undefined;
      task = held ?? (await claimNext(o));
      resume = held !== undefined;
      if (task !== undefined) {
        const grade = await read(o, task);
        if (grade === undefined) done.skips += 1;
        else done.readings += 1;
        o.onReading?.({ taskId: task.taskId, grade });
      }
    } catch (error) {
      if (error instanceof RefusedError && error.status === 401) throw error;
      o.onProblem?.(error instanceof Error ? error.message : 'failed');
      task = undefined;
      resume = true;
    }
    if (task === undefined) await pause(o.idleMs ?? 500, o.signal);
  }
  return done;
}

class RefusedError extends Error {
  readonly status: number;

  constructor(status: number, what: string) {
    super(`${what}: ${status}`);
    this.name = 'RefusedError';
    this.status = status;
  }
}

async function call(o: SimulatedReaderOptions, method: 'GET' | 'POST', path: string, body?: object): Promise<Response> {
  const response = await fetch(new URL(path, o.baseUrl), {
    method,
    headers: { authorization: `Bearer ${o.token}`, ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
    signal: AbortSignal.timeout(CALL_TIMEOUT_MS),
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  if (response.ok) return response;
  throw new RefusedError(response.status, `${method} ${path.replace(/[0-9a-f]{16,}/, ':id')} ${(await response.text()).slice(0, 200)}`);
}

async function claimNext(o: SimulatedReaderOptions): Promise<Task | undefined> {
  const response = await call(o, 'POST', '/tasks/claim');
  return response.status === 204 ? undefined : taskSchema.parse(await response.json());
}

async function firstHeld(o: SimulatedReaderOptions): Promise<Task | undefined> {
  return heldSchema.parse(await (await call(o, 'GET', '/tasks/mine')).json()).tasks[0];
}

/** Looks at the volume and answers; undefined when it had to skip. */
async function read(o: SimulatedReaderOptions, task: Task): Promise<number | undefined> {
  const started = performance.now();
  const response = await call(o, 'GET', `/tasks/${task.taskId}/volume?token=${task.token}`);
  const volume = gunzipSync(Buffer.from(await response.arrayBuffer()), { maxOutputLength: LARGEST_VOLUME_BYTES });
  // For truth and seed only; what goes back is the task's own word for the volume.
  const volumeSha256 = sha256Hex(volume);
  const percent = affectedPercent(volume);
  const viewing = {
    token: task.token,
    seconds: Math.max(1, Math.round((performance.now() - started) / 100) / 10),
    windows: [{ width: 1500, level: -600 }],
    slicesVisited: task.shape[2] ?? 0,
    pageVersion: 'simulated-reader/1',
  };
  const looked = o.truth?.get(volumeSha256) ?? (percent === undefined ? undefined : gradeOf(percent));
  if (looked === undefined) {
    await call(o, 'POST', `/tasks/${task.taskId}/skip`, { ...viewing, code: 'UNGRADABLE' });
    return undefined;
  }
  const grade = slipped(looked, o, volumeSha256);
  await call(o, 'POST', `/tasks/${task.taskId}/readings`, { ...viewing, grade, volumeDigest: task.volumeDigest });
  return grade;
}

/** The disagreement: now and then one class up or down, by HMAC(seed, reader, volume). */
function slipped(grade: number, o: SimulatedReaderOptions, volumeSha256: string): number {
  const draw = createHmac('sha256', String(o.seed)).update(`${o.readerId}|${volumeSha256}`).digest();
  if (draw.readUInt32BE(0) / 2 ** 32 >= SLIP_RATE) return grade;
  const step = (draw[4] ?? 0) % 2 === 0 ? 1 : -1;
  return Math.min(4, Math.max(0, grade + step));
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise<void>((resolve) => {
    const end = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal.addEventListener('abort', end, { once: true });
  });
}
