// Makes private-tags.gen.ts, the private elements that stay, from tcia-private-2024-02.tsv:
// `node services/anonymise/profile/generate-private.ts`. `--check` only compares, exit 1 when the generated file is stale.
// The .tsv is what TCIA's knowledge base of private tags (February 2024) says of the elements it keeps of CT scanners:
// group, creator, low byte, VR, disposition, name. The name of TCIA's CSV file as argument makes it anew.
import { readFileSync, writeFileSync } from 'node:fs';

/** Creators in files of CT scanners. UIH, HMC (Hitachi), Picker, Canon and Siemens' VIDA ones have no row that TCIA keeps. */
const CREATORS: ReadonlySet<string> = new Set([
  'ELSCINT1',
  'GEHC_CT_ADVAPP_001',
  'GEMS_ACQU_01',
  'GEMS_CT_HINO_01',
  'GEMS_HELIOS_01',
  'GEMS_IMAG_01',
  'GEMS_IMPS_01',
  'GEMS_PARM_01',
  'GEMS_RELA_01',
  'GEMS_SERS_01',
  'GEMS_STDY_01',
  'SIEMENS CM VA0  CMS',
  'SIEMENS CT VA0  COAD',
  'SIEMENS CT VA0  GEN',
  'SIEMENS CT VA0  RAW',
  'SIEMENS MED',
  'TOSHIBA_MEC_CT3',
]);

/** Names of elements that TCIA keeps and we don't, with the reason. */
export const EXCLUDED: readonly (readonly [name: RegExp, why: string])[] = [
  [/unknown|reserved/i, 'nobody says what it holds'],
  [/\bidentif|\bu?id\b|\bkey\b|checksum|random|unique/i, 'an identifier'],
  [
    /\b(?:exam|series|image|study|patient|instance|frame|plan|acquisition|reconstruction|raw data|run) number/i,
    'tells one exam from another',
  ],
  [/from which/i, 'the number of another image or series'],
  [/\b(?:sort|counter)\b/i, 'a place in an order, or a count, that may run over all that a device did'],
  [/\bdate|(?:\b|_)timer?\b|stamp/i, 'a date or a time'],
  [/serial|station|\bhost|operator|configuration|calibrat/i, 'one device among others of its model, or who worked at it'],
  [/\bpatient/i, 'the patient; what may stay of a patient stays in attributes of the standard'],
  [/\buser\b|\bslop\b/i, 'a place for what a site or a protocol puts there'],
  // The makers' MR scanners use the same creators. A CT file has no such element; one that has it means something else.
  [/\bsar\b|\bsat\b|\btesla\b|\bfield strength|\bmotion correction\b|\bMR\b|\bMRF\b|\bexcitation/i, 'MR'],
  [/\bechos?\b|\bcoil\b|\bgradient\b|\bgrad\b|\bspectro\b|\bdiffusion\b|\bprescan\b|\breceiver?\b|\btransmit/i, 'MR'],
  [/\bpulse sequence\b|\bpseq\b|\bsequence\b|\bflow\b|\bvelocity encod|\bEPI\b|\bPSD\b|\bfatq\b|\bCVs\b/i, 'MR'],
  [/\bphase frequency\b|\bfrequency axis\b|\bbaseline\b|\benhanced scans\b|\boffset frequency\b|\bnet frequency\b|dB\/dt|0\.2T/i, 'MR'],
  [/\bcardiac\b|\bfast phases\b|\bregressor\b|\brest volumes\b|\bexperiment\b|\bdual drive\b|\b3D slab|\brespiratory\b|\bvas\b/i, 'MR'],
  [/\bsaturation\b|\bcenter frequency\b|\bper (?:volume|segment)\b|\bmagnitude\b|\bcontiguous\b/i, 'MR'],
  [/\btag(?:ging)?\b|\basset\b|^overlaps$|\bthickness disclaimer\b|\bpause\b|\bafter trigger\b|\bNPW\b|\bfps\b/i, 'MR'],
];

/** Durations and numbers that the words above would take, kept by PS3.15 Table E.3.10-1 or looked at one by one. */
export const KEPT_ANYWAY: ReadonlySet<string> = new Set([
  '0019|GEMS_ACQU_01|24', // Mid Scan Time [sec]
  '01f1|ELSCINT1|27', // Rotation Time
  '01f1|ELSCINT1|33', // Cycle Time
  '0019|SIEMENS CT VA0  COAD|24', // Reading Integration Time
  '0019|SIEMENS CT VA0  GEN|20', // Exposure Time
]);

/** Forms of texts that stay; private-elements.ts has the grammars. A text without one goes, whatever TCIA says. */
const FORMS: ReadonlyMap<string, string> = new Map([
  ['0043|GEMS_PARM_01|27', 'pitch'],
  ['01f1|ELSCINT1|01', 'acquisition'],
  ['01e1|ELSCINT1|26', 'phantom'],
  ['0019|GEMS_ACQU_01|18', 'side'],
  ['0019|GEMS_ACQU_01|1a', 'side'],
  ['0027|GEMS_IMAG_01|52', 'side'],
  ['0027|GEMS_IMAG_01|53', 'side'],
  ['0027|GEMS_IMAG_01|54', 'side'],
  ['0027|GEMS_IMAG_01|55', 'side'],
]);

/** VRs whose values have one form: what stands in one element of several VRs is looked at as the first. */
const SAME_FORM: readonly (readonly string[])[] = [['DS'], ['IS'], ['SS', 'US'], ['SL', 'UL'], ['FL'], ['FD']];
const TEXTS: readonly string[] = ['CS', 'LO', 'SH'];
/** Rows of archives that lost the VR; their disposition counts. */
const NO_VR: readonly string[] = ['UN', 'OB'];

export interface Row {
  key: string;
  vr: string;
  isKept: boolean;
  name: string;
}

/** The rows of the .tsv. Throws on a line of another shape. */
export const rowsOf = (tsv: string): Row[] =>
  linesOf(tsv).map((line, index) => {
    const [group, creator, low, vr, disposition, name, more] = line.split('\t');
    if (!group || !creator || !low || vr === undefined || !disposition || name === undefined || more !== undefined)
      throw new Error(`tcia-private-2024-02.tsv line ${index + 1}: not six cells`);
    return { key: `${group}|${creator}|${low}`, vr, isKept: disposition === 'k', name };
  });

const linesOf = (text: string): string[] => text.split(/\r?\n/).filter((line) => line.trim() !== '');

/** The text of private-tags.gen.ts for the text of the .tsv. */
export const generatePrivate = (tsv: string): string => {
  const rows = rowsOf(tsv);
  const byKey = new Map<string, Row[]>();
  for (const row of rows) byKey.set(row.key, [...(byKey.get(row.key) ?? []), row]);
  return [
    '// Generated by generate-private.ts from tcia-private-2024-02.tsv; do not edit. Private elements that stay:',
    '// [group, creator, low byte, VRs, name, form of a text].',
    "export type TextForm = 'pitch' | 'acquisition' | 'phantom' | 'side';",
    'type Row = readonly [group: number, creator: string, low: number, vrs: string, name: string, form?: TextForm];',
    'export const PRIVATE_TAGS: readonly Row[] = [',
    ...[...byKey].flatMap(([key, ofKey]) => lineOf(key, ofKey)),
    '];',
    '',
  ].join('\n');
};

/** The line of one element; none when it goes. Where TCIA has several rows for it, all must keep it. */
const lineOf = (key: string, rows: readonly Row[]): string[] => {
  const name = rows[0]?.name ?? '';
  const form = FORMS.get(key);
  const vrs = vrsOf(rows, form);
  const isExcluded = !KEPT_ANYWAY.has(key) && rows.some((row) => EXCLUDED.some(([words]) => words.test(row.name)));
  if (vrs.length === 0 || isExcluded || !rows.every((row) => row.isKept)) return [];
  const [group, creator = '', low] = key.split('|');
  const cells = [`0x${group}`, quote(creator), `0x${low}`, quote(vrs.join('|')), quote(name), ...(form === undefined ? [] : [quote(form)])];
  return [`  [${cells.join(', ')}],`];
};

/** The documented VRs of an element; none when they are of several forms, or texts without a grammar. */
const vrsOf = (rows: readonly Row[], form: string | undefined): string[] => {
  const vrs = [...new Set(rows.map((row) => row.vr))].filter((vr) => !NO_VR.includes(vr)).sort();
  const alike = form === undefined ? SAME_FORM : [TEXTS];
  return alike.some((group) => vrs.every((vr) => group.includes(vr))) ? vrs : [];
};

const quote = (text: string): string => `'${text.replaceAll("'", "\\'")}'`;

/** The .tsv for TCIA's CSV: what it says, at any depth, of our creators' elements that it keeps somewhere; sorted, each row once. */
export const cutTable = (csv: string): string => {
  const cells = linesOf(csv).flatMap((line) => {
    // Pattern, name, VR, disposition; a cell with a comma is quoted.
    const [pattern = '', name = '', vr = '', disposition = ''] = [...line.matchAll(/(?:^|,)(?:"((?:[^"]|"")*)"|([^,]*))/g)].map((match) =>
      (match[1] ?? match[2] ?? '').replaceAll('""', '"').trim(),
    );
    // The last element of the path: (gggg,CREATOR",xx) or (gggg,"CREATOR",xx).
    const [, group, creator, low] = /\(([\da-f]{4}),"?([^"(]+)",([\da-f]{2})\)$/i.exec(pattern) ?? [];
    if (group === undefined || creator === undefined || low === undefined || !CREATORS.has(creator)) return [];
    const key = [group.toLowerCase(), creator, low.toLowerCase()].join('\t');
    return [{ key, disposition: disposition.toLowerCase(), line: [key, vr, disposition.toLowerCase(), name.split(':').at(-1)].join('\t') }];
  });
  const kept = new Set(cells.filter(({ disposition }) => disposition === 'k').map(({ key }) => key));
  const rows = new Set(cells.filter(({ key }) => kept.has(key)).map(({ line }) => line));
  return `${[...rows].sort().join('\n')}\n`;
};

if (process.argv[1] !== undefined && import.meta.filename === process.argv[1]) {
  const here = new URL('.', import.meta.url);
  const [table, target] = [new URL('tcia-private-2024-02.tsv', here), new URL('private-tags.gen.ts', here)];
  const csv = process.argv[2];
  if (csv !== undefined && csv !== '--check') writeFileSync(table, cutTable(readFileSync(csv, 'utf8')));
  const text = generatePrivate(readFileSync(table, 'utf8'));
  if (csv !== '--check') writeFileSync(target, text);
  else if (readFileSync(target, 'utf8') !== text) {
    console.error('private-tags.gen.ts is stale: run node services/anonymise/profile/generate-private.ts');
    process.exitCode = 1;
  }
}
