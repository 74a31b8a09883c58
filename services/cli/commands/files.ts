// Commands on folders of DICOM files, without any deployment: phantom, deid, verify, nifti, assess.
// Each brings in what it needs itself: a folder of a few files should not wait for the code of the others.
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { InvalidArgumentError, type Command } from 'commander';
import type { DiffSummary } from '../../anonymise/deid-diff-file.ts';
import { DEFECT_NAMES, isDefect, type Defect } from '../phantom/defects.ts';
import { print, progress, progressCounter, type Printable } from '../output.ts';

function wholeNumber(text: string): number {
  const n = Number(text);
  if (!Number.isInteger(n) || n < 0) throw new InvalidArgumentError('give a whole number');
  return n;
}

function workersOf(text: string): number {
  const n = wholeNumber(text);
  if (n < 1) throw new InvalidArgumentError('give 1 or more');
  return n;
}

function severityOf(text: string): 0 | 1 | 2 | 3 | 4 {
  const n = wholeNumber(text);
  if (n !== 0 && n !== 1 && n !== 2 && n !== 3 && n !== 4) throw new InvalidArgumentError('give 0 to 4');
  return n;
}

function defectOf(text: string): Defect {
  if (!isDefect(text)) throw new InvalidArgumentError(`give one of ${DEFECT_NAMES.join(', ')}`);
  return text;
}

interface PhantomCommand extends Printable {
  readonly studies: number;
  readonly severity?: 0 | 1 | 2 | 3 | 4;
  readonly defect?: Defect;
  readonly seed: number;
  readonly rows: number;
  readonly truth?: string;
}

async function phantom(out: string, o: PhantomCommand): Promise<void> {
  const show = progressCounter('phantom studies');
  const { writePhantoms } = await import('../phantom/write-phantoms.ts');
  const truths = await writePhantoms(resolve(out), {
    studies: o.studies,
    seed: o.seed,
    rows: o.rows,
    ...(o.severity === undefined ? {} : { severity: o.severity }),
    ...(o.defect === undefined ? {} : { defect: o.defect }),
    ...(o.truth === undefined ? {} : { truthFile: resolve(o.truth) }),
    onProgress: (p) => show(p.study, p.studies),
  });
  print(
    o,
    {
      studies: truths.map((t, i) => ({
        folder: `study-${String(i + 1).padStart(4, '0')}`,
        severity: t.severity,
        affectedPercent: t.affectedPercent,
        lungVolumeMl: t.lungVolumeMl,
      })),
    },
    () => `${truths.length} studies in ${out}`,
  );
}

/** Folder vault of the stand-alone command: never in IN or OUT. */
function defaultVault(): string {
  return join(homedir(), '.local', 'share', 'ctstream', 'vault.sqlite');
}

interface DeidCommand extends Printable {
  readonly vault: string;
  readonly workers?: number;
  readonly resume?: boolean;
  readonly diff?: string;
  readonly diffValues?: boolean;
}

/** The sums of a diff as lines: what was done, and the rules that did most of it. */
function diffLines(diff: DiffSummary): string[] {
  const byCount = (counts: Readonly<Record<string, number>>): [string, number][] => Object.entries(counts).sort(([, a], [, b]) => b - a);
  return [
    `${diff.files} files compared: ${byCount(diff.actions)
      .map(([action, n]) => `${n} ${action}`)
      .join(', ')}`,
    ...byCount(diff.rules)
      .slice(0, 10)
      .map(([rule, n]) => `${String(n).padStart(8)}  ${rule}`),
  ];
}

async function diffOf(inDir: string, outDir: string, file: string, withValues: boolean): Promise<DiffSummary> {
  const { writeDiff } = await import('../../anonymise/deid-diff-file.ts');
  return writeDiff(inDir, outDir, file, withValues);
}

async function deid(input: string, out: string, o: DeidCommand): Promise<void> {
  const [inDir, outDir, file] = [resolve(input), resolve(out), resolve(o.vault)];
  const { isWithin } = await import('../../anonymise/deid-folders.ts');
  for (const dir of [inDir, outDir]) {
    if (await isWithin(file, dir)) throw new Error(`the vault ${file} may not lie in ${dir}: it links what leaves to who it was`);
    if (o.diff !== undefined && (await isWithin(resolve(o.diff), dir)))
      throw new Error(`${o.diff} may not lie in ${dir}: both hold DICOM files only`);
  }
  if (o.diffValues === true && o.diff === undefined) throw Object.assign(new Error('--diff-values needs --diff FILE'), { exitCode: 2 });
  if (o.diffValues === true) progress(`${o.diff} will hold the patients' values: keep it where the originals are kept`);
  const { deidFolder } = await import('../../anonymise/deid-folder.ts');
  const { openSqliteVault } = await import('../../adapters/sqlite-vault.ts');
  const vault = openSqliteVault(file, 'whenTold');
  try {
    const show = progressCounter('files');
    const result = await deidFolder(inDir, outDir, {
      vault,
      settle: vault.settle,
      onProgress: show,
      resume: o.resume === true,
      ...(o.workers === undefined ? {} : { workers: o.workers }),
    });
    const diff = o.diff === undefined ? undefined : await diffOf(inDir, outDir, resolve(o.diff), o.diffValues === true);
    print(o, diff === undefined ? result : { ...result, diff }, () =>
      [
        ...result.refused.flatMap((r) => [
          `refused ${r.code}  ${r.file}`,
          ...(r.findings ?? []).map(({ check, where }) => `        ${check} ${where}`),
        ]),
        ...result.unconfirmed.map((file) => `unconfirmed, from an earlier run: ${file}`),
        ...(diff === undefined ? [] : diffLines(diff)),
        `${result.written} written, ${result.refused.length} refused, ${result.seconds.toFixed(1)} s`,
      ].join('\n'),
    );
  } finally {
    await vault.close();
  }
}

async function verify(original: string, out: string, o: Printable): Promise<void> {
  const { verifyFolders } = await import('../../anonymise/verify-folder.ts');
  const result = await verifyFolders(resolve(original), resolve(out), progressCounter('files'));
  print(o, result, () =>
    [
      ...result.findings.map((f) => `${f.check.padEnd(10)}  ${f.where}  ${f.file}`),
      ...result.unmatched.map((file) => `no original  ${file}`),
      `${result.checked} files compared, ${result.findings.length} findings, ${result.unmatched.length} without an original, ${result.left} originals left behind`,
    ].join('\n'),
  );
  if (result.findings.length > 0 || result.unmatched.length > 0) process.exitCode = 1;
}

async function nifti(input: string, out: string, o: Printable): Promise<void> {
  const { niftiFromFolder } = await import('../../assess/nifti-cli.ts');
  const result = await niftiFromFolder(resolve(input), resolve(out));
  print(o, result, () => JSON.stringify(result, null, 2));
  if ('refused' in result) process.exitCode = 1;
}

async function assess(input: string, o: Printable): Promise<void> {
  const { default: Table } = await import('cli-table3');
  const { assessFolder } = await import('../../assess/nifti-cli.ts');
  const result = await assessFolder(resolve(input));
  print(o, result, () => {
    const table = new Table({
      head: ['series', 'slices', 'eligible', 'codes', 'shape', 'estimate'],
      style: { head: [], border: [], compact: true },
    });
    for (const s of result.series) {
      const estimate = s.estimate === undefined ? '' : `CT-${s.estimate.class} (${s.estimate.affectedPercent.toFixed(1)}%)`;
      table.push([`...${s.series.slice(-20)}`, s.slices, s.eligible ? 'yes' : 'no', s.codes.join(' '), s.shape?.join('x') ?? '', estimate]);
    }
    return [table.toString(), ...result.unread.map((u) => `${u.code}  ${u.file}`)].join('\n');
  });
}

export function addFileCommands(program: Command): void {
  program
    .command('phantom')
    .argument('<out>', 'folder for the studies')
    .description('synthetic chest CT studies with known severity and synthetic identities')
    .option('--studies <n>', 'how many', wholeNumber, 1)
    .option('--severity <0..4>', 'CT class of all of them; drawn by the seed when not given', severityOf)
    .option('--defect <name>', `what is wrong with them: ${DEFECT_NAMES.join(', ')}`, defectOf)
    .option('--seed <n>', 'same seed, same bytes', wholeNumber, 1)
    .option('--rows <n>', 'rows and columns', wholeNumber, 512)
    .option('--truth <file>', 'write the truth (severity, identities) to this file')
    .option('--json', 'one JSON document')
    .addHelpText('after', '\nExamples:\n  ctstream phantom scans --studies 3\n  ctstream phantom scans --defect tilt --severity 2\n')
    .action(phantom);
  program
    .command('deid')
    .argument('<in>', 'folder of DICOM files')
    .argument('<out>', 'folder for the de-identified ones; must be empty, but for --resume')
    .description('de-identify a folder and verify the result; what may not leave is listed with its code')
    .option('--vault <file>', 'folder vault (SQLite): keeps pseudonyms the same from run to run', defaultVault())
    .option('--workers <n>', 'threads; as many as there are cores unless told', workersOf)
    .option('--resume', 'go on with an OUT that an earlier run with the same vault began')
    .option(
      '--diff <file>',
      'write what changed, element by element, and by which rule: CSV when it ends in .csv, else JSON lines; no values',
    )
    .option('--diff-values', 'with the values before and after: the file then identifies the patients')
    .option(
      '--json',
      'written, refused [{file, code, findings}], unconfirmed, seconds, bytes, emptied; with --diff also diff {files, actions, rules}',
    )
    .addHelpText(
      'after',
      `
A study in which the verifier found something is held whole: the check and the tag path are printed beside its files,
never a value. Links in IN are followed. With --resume, files of OUT for which no file of IN stands any more, or whose
study is refused now, are listed as unconfirmed and left where they are: look at them before OUT leaves.

Examples:
  ctstream deid scans clean
  ctstream deid scans clean --vault /safe/vault.sqlite --json
  ctstream deid scans clean --resume --workers 4
  ctstream deid scans clean --diff changes.csv
`,
    )
    .action(deid);
  program
    .command('verify')
    .argument('<original>', 'folder of the originals, or one file')
    .argument('<out>', 'folder of the de-identified files, or one file')
    .description('the independent check alone, without the vault: what is wrong with OUT, by file, check and tag (exit code 1)')
    .option('--json', 'checked, findings [{file, check, where}], unmatched, left, seconds')
    .addHelpText(
      'after',
      `
Files are paired by their pixels, which stay the same. Every check of the stage is made: words, ids and UIDs of the
originals by element and by byte, allowed tags, private elements, dates, pixels, file meta. What only the vault could
tell is checked by agreement: one pseudonym per patient, one shift in whole weeks, each UID one new one. A file of OUT
without an original is a failure; an original that was left behind is counted and is none. No value is printed.

Examples:
  ctstream verify scans clean
  ctstream verify scans/slice7.dcm clean/S3KQ.../2.25.1/2.25.7.dcm --json
`,
    )
    .action(verify);
  program
    .command('nifti')
    .argument('<in>', 'folder with a series')
    .argument('<out>', 'OUT.nii.gz')
    .description('one series to a volume, or the reason why not (exit code 1)')
    .option('--json', 'written, shape, affine; or refused, code')
    .addHelpText('after', '\nExample:\n  ctstream nifti scans/series2 volume.nii.gz --json\n')
    .action(nifti);
  program
    .command('assess')
    .argument('<in>', 'folder of DICOM files')
    .description('gates and severity estimate of each series; the estimate is never a label')
    .option('--json', 'one JSON document')
    .addHelpText('after', '\nExample:\n  ctstream assess scans\n')
    .action(assess);
}
