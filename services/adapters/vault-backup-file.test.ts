// The file of a backup: whole under its own key, or nothing.
import { afterAll, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { randomBytes } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readBackup, readBackupHeader, writeBackup } from './vault-backup-file.ts';

const dir = mkdtempSync(join(tmpdir(), 'vault-backup-'));
afterAll(() => rmSync(dir, { recursive: true }));
const key = randomBytes(32);
let n = 0;
const path = (): string => join(dir, `${n++}`);

async function* each(lines: readonly unknown[]): AsyncIterable<unknown> {
  yield* lines;
}

const all = async (file: string, under: Uint8Array = key): Promise<unknown[]> => {
  const lines: unknown[] = [];
  for await (const line of readBackup(file, under)) lines.push(line);
  return lines;
};

test('lines come back as they were, whatever characters they hold and however long they are', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.record({ text: fc.string({ unit: 'binary', maxLength: 40 }), times: fc.integer({ min: 0, max: 4000 }) }), {
        maxLength: 6,
      }),
      async (parts) => {
        const lines = parts.map(({ text, times }) => ({ text: text.repeat(times) }));
        const file = path();
        await writeBackup(file, key, 'vault', each(lines));
        expect(await all(file)).toEqual(lines);
      },
    ),
    { numRuns: 30 },
  );
});

test('it is the owner’s alone, says what it is, and another key or a changed byte gives nothing', async () => {
  const file = path();
  const written = await writeBackup(file, key, 'denials', each([{ a: 1 }, { b: 'SECRET' }]));
  expect(statSync(file).mode & 0o777).toBe(0o600);
  expect(await readBackupHeader(file)).toMatchObject({ kind: 'denials' });
  const good = readFileSync(file);
  expect(written.sizeBytes).toBe(good.length);
  expect(good.includes('SECRET')).toBe(false);
  await expect(all(file, randomBytes(32))).rejects.toMatchObject({ name: 'BackupDamaged' });
  for (let at = 0; at < good.length; at++) {
    const changed = Buffer.from(good);
    changed[at] = (changed[at] ?? 0) ^ 2;
    writeFileSync(file, changed);
    await expect(all(file)).rejects.toMatchObject({ name: 'BackupDamaged' });
  }
  for (let end = 0; end < good.length; end += 7) {
    writeFileSync(file, good.subarray(0, end));
    await expect(all(file)).rejects.toMatchObject({ name: 'BackupDamaged' });
  }
});

test('a file that is there is not written over, and one that fails leaves nothing', async () => {
  const file = path();
  writeFileSync(file, 'mine');
  await expect(writeBackup(file, key, 'vault', each([1]))).rejects.toMatchObject({ code: 'EEXIST' });
  expect(readFileSync(file, 'utf8')).toBe('mine');
  const failing = path();
  async function* broken(): AsyncIterable<unknown> {
    yield { a: 1 };
    throw new Error('the database went away');
  }
  await expect(writeBackup(failing, key, 'vault', broken())).rejects.toThrow('went away');
  expect([existsSync(failing), existsSync(`${failing}.part`)]).toEqual([false, false]);
});
