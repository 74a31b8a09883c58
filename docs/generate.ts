// The generated pages of docs/: codes.md from the table of codes, configuration.md from the stages' environment schemas.
import { readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { z } from 'zod';
import { CODES, type CodeKind } from '../services/kernel/codes.ts';
import { faultsPage } from '../test/chaos/page.ts';
import { accountingPage } from './generate-accounting.ts';
import { credentialsPage } from './credentials-page.ts';
import { databaseShape, kafkaShape, processShape, stageShape, storeShape, vaultShape } from '../services/runtime/env.ts';

const root = join(import.meta.dirname, '..');
const services = join(root, 'services');

const KINDS: Readonly<Record<CodeKind, string>> = {
  final: 'ends the study, series or file that it is said of',
  waiting: 'leaves it to be retried, replayed or decided; nothing is lost',
  info: 'is counted and changes nothing',
  start: 'keeps a process from starting, or stops it',
};

const SHARED: readonly { readonly title: string; readonly shape: z.core.$ZodLooseShape }[] = [
  { title: 'Process', shape: processShape },
  { title: 'Kafka', shape: kafkaShape },
  { title: 'Object store', shape: storeShape },
  { title: 'Database', shape: databaseShape },
  { title: 'Identity vault', shape: vaultShape },
  { title: 'Stage loop', shape: stageShape },
];

const cell = (text: string): string => text.replaceAll('|', '\\|').replaceAll('\n', ' ').replaceAll('<', '&lt;');

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  return [head, head.map(() => '---'), ...rows].map((row) => `| ${row.join(' | ')} |`).join('\n');
}

function codesPage(): string {
  const kinds = Object.entries(KINDS).map(([kind, meaning]) => `- **${kind}** ${meaning}.`);
  const rows = Object.entries(CODES).map(([code, row]) => [`\`${code}\``, row.kind, cell(row.meaning), cell(row.remedy)]);
  return `# Codes\n\nGenerated from services/kernel/codes.ts by \`npm run generate\`. Do not edit.\n\nEverything that does not go straight through has one of these codes: in events, on the status page, in the log, in\n\`account\`. The kind says what it means for the study:\n\n${kinds.join('\n')}\n\n${table(['code', 'kind', 'meaning', 'what to do'], rows)}\n`;
}

/** The environment schema of each service that has one, by the name of its folder. */
export async function environmentSchemas(): Promise<Map<string, z.ZodObject>> {
  const found = new Map<string, z.ZodObject>();
  const folders = readdirSync(services).filter((name) => name !== 'runtime' && readdirSync(join(services, name)).includes('env.ts'));
  for (const folder of folders.sort()) {
    const exported = Object.values((await import(join(services, folder, 'env.ts'))) as Record<string, unknown>);
    const schemas = exported.filter((value) => value instanceof z.ZodObject);
    if (schemas.length !== 1 || schemas[0] === undefined)
      throw new Error(`services/${folder}/env.ts exports ${schemas.length} environment schemas, not one`);
    found.set(folder, schemas[0]);
  }
  return found;
}

/** The default as people read it: without this machine's folders. */
function defaultText(type: z.core.$ZodType): string {
  const parsed = z.safeParse(type, undefined);
  if (!parsed.success) return '**required**';
  if (parsed.data === undefined) return '';
  const text = String(parsed.data instanceof Set ? [...parsed.data].join(',') : parsed.data);
  if (text === '') return 'empty';
  // The project first: a checkout may itself lie in the temporary folder.
  if (text.startsWith(`${root}/`)) return `\`${relative(root, text)}\``;
  if (text === tmpdir() || text.startsWith(`${tmpdir()}/`))
    return text === tmpdir() ? 'the temporary folder' : `\`${relative(tmpdir(), text)}\` in the temporary folder`;
  return `\`${text}\``;
}

function variableRows(where: string, shape: z.core.$ZodLooseShape): string[][] {
  return Object.entries(shape).map(([name, type]) => {
    const description = z.globalRegistry.get(type)?.description;
    if (description === undefined) throw new Error(`${where}: ${name} has no description`);
    return [`\`${name}\``, defaultText(type), cell(description)];
  });
}

function stageSection(name: string, schema: z.ZodObject): string {
  const own = new Map(Object.entries(schema.shape));
  const shared: string[] = [];
  for (const { title, shape } of SHARED) {
    const same = Object.keys(shape).filter((key) => own.get(key) === shape[key]);
    for (const key of same) own.delete(key);
    const absent = Object.keys(shape).filter((key) => schema.shape[key] === undefined);
    if (same.length > 0) shared.push(absent.length === 0 ? title : `${title} (${same.map((key) => `\`${key}\``).join(', ')} only)`);
  }
  return `## ${name}\n\nShared: ${shared.join(', ')}.\n\n${table(['variable', 'default', 'meaning'], variableRows(`services/${name}/env.ts`, Object.fromEntries(own)))}\n`;
}

async function configurationPage(): Promise<string> {
  const shared = SHARED.map(
    ({ title, shape }) => `### ${title}\n\n${table(['variable', 'default', 'meaning'], variableRows('services/runtime/env.ts', shape))}\n`,
  );
  const stages = [...(await environmentSchemas())].map(([name, schema]) => stageSection(name, schema));
  return `# Configuration\n\nGenerated from services/*/env.ts by \`npm run generate\`. Do not edit.\n\nA stage is configured by environment variables alone. All problems are reported at once, and the process ends with\ncode 78. A variable that is set and empty counts as not set. Secrets come as files: \`NAME_FILE\` in place of \`NAME\`.\n\n## Shared by several stages\n\n${shared.join('\n')}\n${stages.join('\n')}`;
}

/** The generated pages' texts by path under docs/. */
export async function generateDocs(): Promise<Record<string, string>> {
  return {
    'accounting.md': accountingPage(),
    'codes.md': codesPage(),
    'credentials.md': credentialsPage(),
    'configuration.md': await configurationPage(),
    'faults.md': faultsPage(),
  };
}
