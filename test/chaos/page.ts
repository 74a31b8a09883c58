// The fault table: docs/faults.md from the results in docs/faults/*.json. This run writes chaos.json there; the tests of
// single faults write theirs, a file each with rows of the same shape.
import { readdirSync, readFileSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { DEFAULT_CLIENT, type BusClient } from '../../services/ports/event-bus.ts';
import type { ChaosResult } from './run.ts';

const docs = join(import.meta.dirname, '../../docs');
const folder = join(docs, 'faults');

const rowSchema = z.object({
  /** What was done, such as 'disk full'. */
  fault: z.string(),
  /** Where, such as 'minio' or 'ingest, before the manifest'. */
  place: z.string(),
  times: z.number().int(),
  lost: z.number().int(),
  doubled: z.number().int(),
});

/** A file of docs/faults/: rows, with a word on what made them. */
const fileSchema = z.object({
  title: z.string(),
  /** How to make it again. */
  command: z.string(),
  /** Markdown under the title. */
  notes: z.array(z.string()).default([]),
  rows: z.array(rowSchema).min(1),
});
export type FaultRows = z.input<typeof fileSchema>;

/** What `npm run chaos` writes with --json. */
export interface ChaosDocument extends ChaosResult {
  /** How to do the same again. */
  readonly command: string;
  readonly commit: string;
}

const NAMES: Readonly<Record<BusClient, string>> = { kafkajs: 'kafkajs', platformatic: '@platformatic/kafka' };

const isDefault = ({ kafkaClient }: ChaosDocument): boolean => kafkaClient === DEFAULT_CLIENT;

/** The run's result as rows. What is lost or doubled can't be laid to one fault: it stands in every row. */
export function chaosRows(r: ChaosDocument): FaultRows {
  return {
    title: isDefault(r) ? 'At random moments' : `At random moments, over ${NAMES[r.kafkaClient]}`,
    command: r.command,
    notes: [
      `${r.kills} SIGKILLs in ${r.minutes} minutes, seed ${r.seed}, commit ${r.commit}, over ${NAMES[r.kafkaClient]}, while ${r.studies} studies were sent: ${r.manifests.clinical} revisions stored, ${r.manifests.research} anonymised. ${r.records} records in the log, ${r.repeated} of them repetitions under the same id.`,
      `In the end: lost ${r.lost}, doubled ${r.doubled}, unaccounted ${r.unaccounted}, other bytes ${r.hashMismatches}, dead letters ${r.deadLetters}. \`account\` was asked ${r.samples} times while faults went on and found ${r.committedTooFar} offsets committed without an outcome. All was at rest ${r.restSeconds} s after the last fault.`,
      'The seed decides what is done, where and in which order; how far each process had come at that moment it does not. Lost and doubled are counted over the whole run and stand in every row.',
    ],
    rows: r.faults.map((f) => ({ ...f, fault: FAULTS[f.fault], lost: r.lost, doubled: r.doubled })),
  };
}

const FAULTS: Readonly<Record<ChaosResult['faults'][number]['fault'], string>> = {
  kill: 'SIGKILL, started again at once',
  pause: 'SIGSTOP for 0.3 to 10 s, then SIGCONT',
  'second consumer': 'another process joins the group and leaves (SIGTERM or SIGKILL)',
};

const HEAD = `# Faults survived

Generated from docs/faults/*.json. Do not edit.

After each fault, once all is up again: every study that a PACS took has one published manifest per revision, with the
very files that were sent; every instance read back has its hash; every event that a stage consumed has its outcome in
the log and the archive, once; \`account\` says 0 unaccounted; no dead letters.
`;

function section(text: string, name: string): string {
  const parsed = fileSchema.safeParse(JSON.parse(text));
  if (!parsed.success)
    throw new Error(`docs/faults/${name}: ${parsed.error.issues.map((i) => `${i.path.join('.')}: ${i.message}`).join('; ')}`);
  const { title, command, notes, rows } = parsed.data;
  const lines = rows.map((r) => `| ${r.fault} | ${r.place} | ${r.times} | ${r.lost} | ${r.doubled} |`);
  return [
    `## ${title}`,
    '',
    `\`${command}\``,
    '',
    ...notes.flatMap((n) => [n, '']),
    '| fault | place | times tried | lost | doubled |',
    '|---|---|---|---|---|',
    ...lines,
    '',
  ].join('\n');
}

const isLong = (name: string): boolean => name.startsWith('chaos');

/** The text of docs/faults.md from what docs/faults/ holds. @throws Error naming a file that is not of this shape. */
export function faultsPage(): string {
  const names = readdirSync(folder)
    .filter((n) => n.endsWith('.json'))
    .map((n) => n.slice(0, -'.json'.length))
    // The long runs first, the single faults by name.
    .sort((a, b) => Number(isLong(b)) - Number(isLong(a)) || (a < b ? -1 : 1));
  return [HEAD, ...names.map((name) => section(readFileSync(join(folder, `${name}.json`), 'utf8'), `${name}.json`))].join('\n');
}

/** Writes a result to docs/faults/<name>.json and the page anew. */
export async function writeRows(name: string, rows: FaultRows): Promise<void> {
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, `${name}.json`), `${JSON.stringify(rows, null, 2)}\n`);
  await writeFile(join(docs, 'faults.md'), faultsPage());
}

export async function writePage(result: ChaosDocument): Promise<void> {
  await writeRows(isDefault(result) ? 'chaos' : `chaos-${result.kafkaClient}`, chaosRows(result));
}
