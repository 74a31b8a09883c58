// Writes phantom studies into a folder, as the command and the demo do.

import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { generateStudy, type Defect, type PhantomOptions, type PhantomTruth } from './generate.ts';

export interface WriteOptions extends Omit<PhantomOptions, 'index' | 'severity' | 'defect'> {
  studies: number;
  severity?: PhantomOptions['severity'];
  defect?: Defect;
  onProgress?: (progress: { study: number; studies: number; files: number; bytes: number }) => void;
  /** Where to write the truths as JSON, outside `out`: `out` holds what a scanner sends and nothing else. */
  truthFile?: string;
}

/**
 * Writes `<out>/study-0001/<series>/<n>.dcm` and so on, and returns the truth of each study. Throws
 * what the file system throws, and RangeError on options out of range.
 */
export async function writePhantoms(out: string, options: WriteOptions): Promise<PhantomTruth[]> {
  const { studies, onProgress, truthFile, ...study } = options;
  const truths: PhantomTruth[] = [];
  let files = 0;
  let bytes = 0;
  for (let index = 0; index < studies; index++) {
    const folder = join(out, `study-${String(index + 1).padStart(4, '0')}`);
    const generated = generateStudy({ ...study, index });
    let next = generated.next();
    for (; next.done !== true; next = generated.next()) {
      const path = join(folder, next.value.path);
      await mkdir(dirname(path), { recursive: true });
      await writeFile(path, next.value.bytes);
      files++;
      bytes += next.value.bytes.length;
    }
    truths.push(next.value);
    onProgress?.({ study: index + 1, studies, files, bytes });
  }
  if (truthFile !== undefined) await writeFile(truthFile, `${JSON.stringify(truths, null, 2)}\n`);
  return truths;
}
