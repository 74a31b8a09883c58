// Threads for DeidWork: each task goes to the next free one, some go to all.
import { Worker } from 'node:worker_threads';
import { deidWork } from './deid-work.ts';
import type { DeidWork } from './deid-work.ts';

type Method = keyof DeidWork;
type Args<M extends Method> = Parameters<DeidWork[M]>;
type Value<M extends Method> = ReturnType<DeidWork[M]>;

export interface Task {
  id: number;
  method: Method;
  args: readonly unknown[];
}

export interface Answer {
  id: number;
  value?: unknown;
  error?: Error;
}

export interface DeidPool {
  threads: number;
  /** On whichever thread is free first. */
  run<M extends Method>(method: M, ...args: Args<M>): Promise<Value<M>>;
  /** On every thread, before tasks that `run` is given later. */
  all<M extends Method>(method: M, ...args: Args<M>): Promise<Value<M>[]>;
  close(): Promise<void>;
}

/** `threads` below 2: the work is done in this one. */
export const deidPool = (inDir: string, outDir: string, threads: number): DeidPool => (threads < 2 ? ownThread(inDir, outDir) : workers(inDir, outDir, threads));

const ownThread = (inDir: string, outDir: string): DeidPool => {
  const work = deidWork(inDir, outDir);
  // Gives way after each task: a signal and the progress get their turn.
  const run = async <M extends Method>(method: M, ...args: Args<M>): Promise<Value<M>> => {
    await new Promise((resolve) => setImmediate(resolve));
    return (work[method] as (...args: Args<M>) => Value<M>)(...args);
  };
  return { threads: 1, run, all: async (method, ...args) => [await run(method, ...args)], close: async () => undefined };
};

interface Thread {
  worker: Worker;
  waiting: Map<number, { resolve: (value: unknown) => void; reject: (error: Error) => void }>;
}

/** Tasks that a thread has in hand: one more than it works on, so that it never waits for the next. */
const AHEAD = 2;

const workers = (inDir: string, outDir: string, count: number): DeidPool => {
  const queue: { method: Method; args: readonly unknown[]; resolve: (value: unknown) => void; reject: (error: Error) => void }[] = [];
  let lastId = 0;
  const post = (thread: Thread, method: Method, args: readonly unknown[]): Promise<unknown> =>
    new Promise((resolve, reject) => {
      const id = ++lastId;
      thread.waiting.set(id, { resolve, reject });
      thread.worker.postMessage({ id, method, args } satisfies Task);
    });
  const feed = (): void => {
    for (let next = leastBusy(threads); queue.length > 0 && next.waiting.size < AHEAD; next = leastBusy(threads)) {
      const task = queue.shift();
      if (task !== undefined) post(next, task.method, task.args).then(task.resolve, task.reject);
    }
  };
  const threads = Array.from({ length: count }, () => startThread(inDir, outDir, feed));
  return {
    threads: count,
    run: <M extends Method>(method: M, ...args: Args<M>) =>
      new Promise<Value<M>>((resolve, reject) => {
        queue.push({ method, args, resolve: resolve as (value: unknown) => void, reject });
        feed();
      }),
    all: <M extends Method>(method: M, ...args: Args<M>) => Promise.all(threads.map((thread) => post(thread, method, args) as Promise<Value<M>>)),
    close: async () => {
      await Promise.all(threads.map(({ worker }) => worker.terminate()));
    },
  };
};

const leastBusy = (threads: readonly Thread[]): Thread => threads.reduce((a, b) => (b.waiting.size < a.waiting.size ? b : a));

const startThread = (inDir: string, outDir: string, onFree: () => void): Thread => {
  const worker = new Worker(new URL('deid-worker.ts', import.meta.url), { workerData: { inDir, outDir } });
  const waiting: Thread['waiting'] = new Map();
  worker.on('message', ({ id, value, error }: Answer) => {
    const task = waiting.get(id);
    waiting.delete(id);
    if (error === undefined) task?.resolve(value);
    else task?.reject(error);
    onFree();
  });
  const fail = (error: Error): void => {
    for (const task of waiting.values()) task.reject(error);
    waiting.clear();
  };
  worker.on('error', fail);
  worker.on('exit', () => fail(new Error('a thread ended before its work')));
  return { worker, waiting };
};
