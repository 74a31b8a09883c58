// Threads for DeidWork: a task goes to the next free one, to one that is named, or to all.
import { Worker } from 'node:worker_threads';
import type { DeidFolders, DeidWork } from './deid-work.ts';

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
  /** On this thread, after what it was given before. */
  on<M extends Method>(thread: number, method: M, ...args: Args<M>): Promise<Value<M>>;
  /** On every thread, before tasks that `run` is given later. */
  all<M extends Method>(method: M, ...args: Args<M>): Promise<Value<M>[]>;
  close(): Promise<void>;
}

/** A thread that works on tasks one after the other, this one or a worker. */
interface Thread {
  /** Tasks that it has in hand. */
  busy: number;
  post(method: Method, args: readonly unknown[]): Promise<unknown>;
  close(): Promise<void>;
}

/** Tasks that a thread has in hand: one more than it works on, so that it never waits for the next. */
const AHEAD = 2;

/** This thread works too: each further one takes time to start and to get warm. They start before it has its own code. */
export const deidPool = async (folders: DeidFolders, count: number): Promise<DeidPool> => {
  const workers = Array.from({ length: Math.max(0, count - 1) }, () => workerThread(folders));
  return poolOf([...workers, await ownThread(folders)]);
};

const poolOf = (threads: readonly Thread[]): DeidPool => {
  const queue: { method: Method; args: readonly unknown[]; resolve: (value: unknown) => void; reject: (error: unknown) => void }[] = [];
  const give = async (thread: Thread, method: Method, args: readonly unknown[]): Promise<unknown> => {
    thread.busy += 1;
    try {
      return await thread.post(method, args);
    } finally {
      thread.busy -= 1;
      feed();
    }
  };
  const feed = (): void => {
    for (let next = leastBusy(threads); queue.length > 0 && next.busy < AHEAD; next = leastBusy(threads)) {
      const task = queue.shift();
      if (task !== undefined) give(next, task.method, task.args).then(task.resolve, task.reject);
    }
  };
  return {
    threads: threads.length,
    run: <M extends Method>(method: M, ...args: Args<M>) =>
      new Promise<Value<M>>((resolve, reject) => {
        queue.push({ method, args, resolve: resolve as (value: unknown) => void, reject });
        feed();
      }),
    on: <M extends Method>(index: number, method: M, ...args: Args<M>) => {
      const thread = threads[index];
      if (thread === undefined) throw new RangeError('no such thread');
      return give(thread, method, args) as Promise<Value<M>>;
    },
    all: <M extends Method>(method: M, ...args: Args<M>) =>
      Promise.all(threads.map((thread) => give(thread, method, args) as Promise<Value<M>>)),
    close: async () => {
      await Promise.all(threads.map((thread) => thread.close()));
    },
  };
};

const leastBusy = (threads: readonly Thread[]): Thread => threads.reduce((a, b) => (b.busy < a.busy ? b : a));

const ownThread = async (folders: DeidFolders): Promise<Thread> => {
  const { deidWork } = await import('./deid-work.ts');
  const work = deidWork(folders);
  let last: Promise<unknown> = Promise.resolve();
  let isClosed = false;
  return {
    busy: 0,
    // One after the other, and the answers of the workers, the progress and a signal get their turn between.
    post: (method, args) => {
      const before = last;
      const now = (async () => {
        await before.catch(() => undefined);
        await new Promise((resolve) => setImmediate(resolve));
        if (isClosed) throw new Error('the work was broken off');
        return (work[method] as (...args: readonly unknown[]) => unknown)(...args);
      })();
      last = now;
      return now;
    },
    close: async () => {
      isClosed = true;
      await last.catch(() => undefined);
    },
  };
};

const workerThread = (folders: DeidFolders): Thread => {
  const worker = new Worker(new URL('deid-worker.ts', import.meta.url), { workerData: folders });
  const waiting = new Map<number, { resolve: (value: unknown) => void; reject: (error: Error) => void }>();
  let lastId = 0;
  worker.on('message', ({ id, value, error }: Answer) => {
    const task = waiting.get(id);
    waiting.delete(id);
    if (error === undefined) task?.resolve(value);
    else task?.reject(error);
  });
  let ended: Error | undefined;
  const end = (error: Error): void => {
    ended ??= error;
    for (const task of waiting.values()) task.reject(error);
    waiting.clear();
  };
  worker.on('error', end);
  worker.on('exit', () => end(new Error('a thread ended before its work')));
  return {
    busy: 0,
    post: (method, args) =>
      new Promise((resolve, reject) => {
        if (ended !== undefined) return reject(ended);
        const id = ++lastId;
        waiting.set(id, { resolve, reject });
        worker.postMessage({ id, method, args } satisfies Task);
      }),
    close: async () => void (await worker.terminate()),
  };
};
