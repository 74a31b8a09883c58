// pydicom as the independent reader of the tests here: every file of a folder as it sees it.
import { spawn, spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

export interface PydicomRow {
  /** Tags from the top, such as (0008,1140)[0](0008,1155). */
  path: string;
  vr: string;
  /** Text as pydicom decodes it, several values joined by a backslash; bytes as hex:...; the number of items of a sequence. */
  value: string;
  creator: string | null;
  keyword: string;
}

export interface PydicomFile {
  file: string;
  warnings: string[];
  /** Name of the exception when it could not be read. */
  error: string | null;
  /** MD5 of PixelData. */
  pixels: string;
  /** Whether a byte of the preamble is not zero. */
  preamble: boolean;
  meta: PydicomRow[];
  rows: PydicomRow[];
  /** All bytes but the pixels', one character a byte. */
  outside: string;
}

const SCRIPT = join(import.meta.dirname, 'read-with-pydicom.py');

/** Debian's package belongs to the system's own python3, which need not be the first in PATH. */
const PYTHON = ['python3', '/usr/bin/python3'].find((python) => spawnSync(python, ['-c', 'import pydicom']).status === 0);

export const hasPydicom = (): boolean => PYTHON !== undefined;

/** Every file under `folder`. Throws when python3 fails. */
export const readWithPydicom = async (folder: string): Promise<PydicomFile[]> => {
  const child = spawn(PYTHON ?? 'python3', ['-W', 'ignore', SCRIPT, folder], { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = new Promise<number | null>((resolve) => void child.once('close', resolve));
  const files: PydicomFile[] = [];
  for await (const line of createInterface({ input: child.stdout })) files.push(JSON.parse(line) as PydicomFile);
  if ((await ended) !== 0) throw new Error('python3 with pydicom failed');
  return files;
};
