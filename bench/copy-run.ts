// The limit of the bench: reads and writes the same bytes, with as many threads, and looks at none: IN OUT WORKERS.
import { closeSync, fstatSync, mkdirSync, openSync, readdirSync, readSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isMainThread, Worker, workerData } from 'node:worker_threads';

interface Share {
  inDir: string;
  outDir: string;
  names: string[];
}

const copyAll = ({ inDir, outDir, names }: Share): void => {
  let bytes = new Uint8Array(1 << 20);
  for (const [i, name] of names.entries()) {
    const file = openSync(join(inDir, name), 'r');
    const { size } = fstatSync(file);
    if (bytes.length < size) bytes = new Uint8Array(size * 2);
    for (let at = 0, got = -1; at < size && got !== 0; at += got) got = readSync(file, bytes, at, size - at, at);
    closeSync(file);
    writeFileSync(join(outDir, `${i}.dcm`), bytes.subarray(0, size));
  }
};

if (!isMainThread) copyAll(workerData as Share);
else {
  const [inDir = '', outDir = '', workers = '1'] = process.argv.slice(2);
  const names = readdirSync(inDir, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(inDir.length + 1));
  for (let i = 0; i < Number(workers); i++) {
    const share: Share = { inDir, outDir: join(outDir, String(i)), names: names.filter((_, k) => k % Number(workers) === i) };
    mkdirSync(share.outDir, { recursive: true });
    new Worker(new URL(import.meta.url), { workerData: share });
  }
}
