// What `ctstream deid` makes of one file alone, and whether what it wrote still holds a planted identity.
import { globSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openSqliteVault } from '../../services/adapters/sqlite-vault.ts';
import { deidFolder } from '../../services/anonymise/deid-folder.ts';
import { ctFile, PLANTED, plantedElements } from '../../services/anonymise/test-support.ts';
import type { DicomFile } from '../../services/dicom/model.ts';
import { DicomError, readDicom } from '../../services/dicom/read.ts';
import { DEFLATED_LE, EXPLICIT_BE, EXPLICIT_LE, IMPLICIT_LE } from '../../services/dicom/transfer-syntax.ts';
import { withElements, writeDicom } from '../../services/dicom/write.ts';
import { REAL_FILES } from '../shared/real-files.ts';
import type { Code } from '../../services/kernel/codes.ts';
import { mutated, victimOf } from './edge-and-fuzz-mutations.ts';
import type { Victim } from './edge-and-fuzz-mutations.ts';

export type Outcome = { kind: 'written'; bytes: Uint8Array } | { kind: 'refused'; code: Code } | { kind: 'crashed'; reason: string };

export interface Workbench {
  /** De-identifies a folder that holds this file and no other. */
  deid(bytes: Uint8Array): Promise<Outcome>;
  close(): Promise<void>;
}

export const workbench = (): Workbench => {
  const folder = mkdtempSync(join(tmpdir(), 'ctstream-edge-'));
  const vault = openSqliteVault(join(folder, 'vault.sqlite'));
  const [inDir, outDir] = [join(folder, 'in'), join(folder, 'out')];
  mkdirSync(inDir);
  return {
    deid: async (bytes) => {
      rmSync(outDir, { recursive: true, force: true });
      writeFileSync(join(inDir, 'one'), bytes);
      try {
        const result = await deidFolder(inDir, outDir, { vault, workers: 1 });
        const [refused] = result.refused;
        const [written] = globSync(join(outDir, '**/*')).filter((path) => statSync(path).isFile());
        if (refused !== undefined) {
          if (written !== undefined) return { kind: 'crashed', reason: `${refused.code}, and a file was left` };
          return { kind: 'refused', code: refused.code };
        }
        return written === undefined ? { kind: 'crashed', reason: 'no outcome' } : { kind: 'written', bytes: readFileSync(written) };
      } catch (error) {
        return { kind: 'crashed', reason: error instanceof Error ? `${error.name}: ${error.message}` : String(error) };
      }
    },
    close: async () => {
      await vault.close();
      rmSync(folder, { recursive: true });
    },
  };
};

const planted = (file: DicomFile): Uint8Array => writeDicom({ ...file, dataset: withElements(file.dataset, plantedElements()) });

/** Real files, by syntax and maker, that are damaged when they are there. */
const REAL = [
  'chest/philips-brilliance16/*',
  'chest/siemens-sensation10/b40f/*',
  'edge/encapsulation/encapsulated/single-frame/CT1_UNC.fragmented_bot_jpeg_ls.80.dcm',
  'edge/transfer-syntaxes/CTImage.dcm_BigEndian*',
  'edge/transfer-syntaxes/CTImage.dcm_Deflated*',
  'edge/transfer-syntaxes/CTImage.dcm_JPEG2000LosslessOnly*',
  'edge/transfer-syntaxes/CTImage.dcm_JPEGProcess14TransferSyntax*',
  'edge/transfer-syntaxes/CTImage.dcm_RLE*',
];

/** Files to damage, with identities planted in more than thirty places; synthetic ones alone when there is no data. */
export const victims = (data = REAL_FILES): readonly Victim[] => {
  const synthetic = [IMPLICIT_LE, EXPLICIT_LE, EXPLICIT_BE, DEFLATED_LE].map((syntax) =>
    victimOf(`synthetic ${syntax}`, planted(ctFile({ syntax }))),
  );
  const real = REAL.flatMap((pattern) => globSync(join(data, pattern)).toSorted().slice(0, 1));
  return [...synthetic, ...real.map((path) => victimOf(path.slice(data.length + 1), planted(readDicom(readFileSync(path)))))];
};

/** Planted words that a file holds anywhere, in any case of letters, deflated or not. */
export const leaksIn = (bytes: Uint8Array): readonly string[] => {
  const file = readDicom(bytes);
  const open = writeDicom({
    ...file,
    meta: { ...file.meta, elements: new Map() },
    transferSyntaxUid: EXPLICIT_LE,
    dataset: { ...file.dataset },
  });
  const hay = `${Buffer.from(bytes).toString('latin1')}${Buffer.from(open).toString('latin1')}`.toLowerCase();
  const wide = (word: string): string => Buffer.from(word, 'utf16le').toString('latin1');
  return PLANTED.filter((word) => hay.includes(word.toLowerCase()) || hay.includes(wide(word.toLowerCase())));
};

export interface FuzzRow {
  kind: string;
  tried: number;
  written: number;
  refused: Map<Code, number>;
  /** What went wrong, with the seed that shows it again. */
  faults: string[];
}

export const newRow = (kind: string): FuzzRow => ({ kind, tried: 0, written: 0, refused: new Map(), faults: [] });

/** Damages files of `list` in turn, `count` times by one kind, and de-identifies each. */
export const fuzz = async (bench: Workbench, kind: string, list: readonly Victim[], count: number, seed: number): Promise<FuzzRow> => {
  const row = newRow(kind);
  for (let n = 0; n < count; n++) {
    const victim = list[n % list.length];
    if (victim === undefined) break;
    const fault = await judge(bench, mutated(kind, victim, seed + n), row);
    if (fault !== undefined) row.faults.push(`${kind}, seed ${seed + n}, ${victim.name}: ${fault}`);
  }
  return row;
};

/** Counts the outcome of one file; what is wrong with it, if anything. */
export const judge = async (bench: Workbench, bytes: Uint8Array, row: FuzzRow): Promise<string | undefined> => {
  row.tried++;
  const outcome = await bench.deid(bytes);
  if (outcome.kind === 'crashed') return outcome.reason;
  if (outcome.kind === 'refused') {
    row.refused.set(outcome.code, (row.refused.get(outcome.code) ?? 0) + 1);
    return undefined;
  }
  row.written++;
  if (roundTrip(outcome.bytes) !== true) return 'the result does not read again';
  const leaks = leaksIn(outcome.bytes);
  return leaks.length > 0 ? `${leaks.length} planted words in the result` : undefined;
};

/** Whether the file comes back byte for byte when nothing is edited, or the code with which it is refused. */
export const roundTrip = (bytes: Uint8Array): boolean | string => {
  try {
    return Buffer.compare(writeDicom(readDicom(bytes)), bytes) === 0;
  } catch (error) {
    if (error instanceof DicomError) return error.code;
    throw error;
  }
};
