// A lock between processes that cannot go stale: an exclusive SQLite transaction is an operating-system
// lock on the file, and a process that dies, however it dies, gives it back.
import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';

/** Runs `work` while holding the lock `file`; `onWait` is called once if someone else holds it. */
export async function withLock<T>(file: string, work: () => Promise<T>, onWait?: () => void): Promise<T> {
  mkdirSync(dirname(file), { recursive: true });
  const db = new DatabaseSync(file);
  let waited = false;
  try {
    for (;;) {
      if (tryLock(db)) break;
      if (!waited) onWait?.();
      waited = true;
      await sleep(25 + Math.random() * 50);
    }
    return await work();
  } finally {
    db.close();
  }
}

function tryLock(db: DatabaseSync): boolean {
  try {
    db.exec('BEGIN EXCLUSIVE');
    return true;
  } catch (error) {
    // Another process, or another task of this one, holds it.
    if (isBusy(error)) return false;
    throw error;
  }
}

/** SQLite's result code 5; not by `instanceof`, which fails across jest's realms. */
function isBusy(error: unknown): boolean {
  return typeof error === 'object' && error !== null && 'errcode' in error && error.errcode === 5;
}
