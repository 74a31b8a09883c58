// Compiles Table E.1-1 with our options into one rule per tag: what happens to an attribute, and what
// when that fails. Everything that no rule names is removed. Start fails on a row it cannot read.
import { keywordOf, tagOf, vrOf } from '../../dicom/dictionary.ts';
import { ALLOWED } from './allow-list.ts';
import { ANNEX_E } from './annex-e.gen.ts';
import { ctTypeOf } from './ct-types.ts';

/** What is left when an attribute cannot be kept: nothing, an empty value, or a dummy. */
export type Fallback = 'remove' | 'empty' | 'dummy';

/**
 * keep: the value stays once its form is checked. uid: mapped unless well known. shift: by whole weeks,
 * times by the study's start. clean: only words of the vocabulary. recurse: the items are judged.
 * characteristic: age, sex, size, weight (113108, restricted). remove, empty, dummy: basic X, Z, D.
 */
export type Action = 'keep' | 'uid' | 'shift' | 'clean' | 'recurse' | 'characteristic' | Fallback;

export interface Rule {
  action: Action;
  fallback: Fallback;
  /** Where the rule is from: a row of Table E.1-1, or our allow-list of CT attributes. */
  source: 'annex-e' | 'allow-list';
}

export interface Profile {
  ruleOf(tag: number): Rule | undefined;
  /** Every tag with a rule of its own, for tests and docs. */
  rules: ReadonlyMap<number, Rule>;
  /** Repeating groups (50xx, 60xx) are removed whole. */
  isRepeatingGroup(tag: number): boolean;
}

export class ProfileError extends Error {
  override name = 'ProfileError';
}

const OPTIONS = new Set([
  'clean_descriptors',
  'clean_graphics',
  'clean_structured_content',
  'retain_device_identity',
  'retain_institution_identity',
  'retain_longitudinal_full_dates',
  'retain_longitudinal_modified_dates',
  'retain_patient_characteristics',
  'retain_safe_private',
  'retain_uids',
]);
const BASIC = new Set(['X', 'Z', 'D', 'U', 'X/Z', 'X/D', 'X/Z/D', 'Z/D', 'X/Z/U*']);
/** The only characteristics that we keep; the restriction is said in DeidentificationMethod. */
export const CHARACTERISTICS = ['PatientAge', 'PatientSex', 'PatientSize', 'PatientWeight'] as const;
const SHIFTABLE = new Set(['DA', 'DT', 'TM']);
const CLEANABLE = new Set(['LO', 'SH', 'ST', 'LT', 'UT', 'UC']);
const TAG = /^\(([0-9A-F]{4}),([0-9A-F]{4})\)$/i;
const PRIVATE_ROW = '(gggg,eeee) where gggg is odd';
const WILDCARDS = new Set(['(50xx,xxxx)', '(60xx,3000)', '(60xx,4000)']);

type Row = readonly [tag: string, basic: string, options: string];

/** Compiles rows of Table E.1-1. Throws ProfileError naming the row that it does not understand. */
export const compileProfile = (rows: readonly Row[] = ANNEX_E): Profile => {
  const rules = new Map<number, Rule>();
  const wildcards = new Set<string>();
  for (const row of rows) {
    const options = parseRow(row);
    if (row[0] === PRIVATE_ROW || WILDCARDS.has(row[0])) {
      if (row[1] !== 'X') throw new ProfileError(`Table E.1-1 ${row[0]}: action ${row[1]} on a wildcard`);
      wildcards.add(row[0]);
      continue;
    }
    const match = TAG.exec(row[0]);
    if (!match) throw new ProfileError(`Table E.1-1: cannot read the tag ${row[0]}`);
    const tag = Number.parseInt(`${match[1]}${match[2]}`, 16);
    if (rules.has(tag)) throw new ProfileError(`Table E.1-1 ${row[0]}: named twice`);
    rules.set(tag, ruleOfRow(tag, row[1], options));
  }
  for (const wildcard of [...WILDCARDS, PRIVATE_ROW])
    if (!wildcards.has(wildcard)) throw new ProfileError(`Table E.1-1: the row ${wildcard} is missing`);
  addAllowed(rules);
  return { ruleOf: (tag) => rules.get(tag), rules, isRepeatingGroup };
};

const parseRow = ([tag, basic, text]: Row): ReadonlyMap<string, string> => {
  if (!BASIC.has(basic)) throw new ProfileError(`Table E.1-1 ${tag}: unknown action ${basic}`);
  const options = new Map<string, string>();
  for (const part of text === '' ? [] : text.split(';')) {
    const [name, action] = part.split('=');
    if (!name || !OPTIONS.has(name) || (action !== 'K' && action !== 'C'))
      throw new ProfileError(`Table E.1-1 ${tag}: unknown option ${part}`);
    options.set(name, action);
  }
  return options;
};

// Options override the basic action (PS3.15 E.3). A text can be cleaned and a date shifted only where
// the VR is of that kind; elsewhere the basic action stands.
const ruleOfRow = (tag: number, basic: string, options: ReadonlyMap<string, string>): Rule => {
  const keyword = keywordOf(tag);
  const vr = vrOf(tag) ?? 'UN';
  const fallback = fallbackOf(basic, keyword);
  const rule = (action: Action): Rule => ({ action, fallback, source: 'annex-e' });
  if (keyword !== undefined && (CHARACTERISTICS as readonly string[]).includes(keyword)) return rule('characteristic');
  // Dates of the device are known outside: moved by the patient's shift they would tell it (decision 0013).
  if (options.has('retain_device_identity') && SHIFTABLE.has(vr)) return rule(fallback);
  if (options.has('retain_longitudinal_modified_dates') && SHIFTABLE.has(vr)) return rule('shift');
  if (options.has('clean_descriptors') && CLEANABLE.has(vr)) return rule('clean');
  if (options.has('clean_descriptors') && vr === 'SQ') return rule('recurse');
  if (basic === 'U') return rule(vr === 'UI' ? 'uid' : fallback);
  // U*: the sequence stays and the UIDs in its items are replaced.
  if (basic === 'X/Z/U*') return rule('recurse');
  if (fallback === 'dummy' && vr === 'UI') return rule('uid');
  return rule(fallback);
};

/** X/Z/D and the like: the least that keeps the CT IOD's type of the attribute. */
const fallbackOf = (basic: string, keyword: string | undefined): Fallback => {
  const type = ctTypeOf(keyword);
  switch (basic) {
    case 'X':
      return 'remove';
    case 'Z':
      return 'empty';
    case 'D':
      return 'dummy';
    case 'U':
      return type === 1 ? 'dummy' : 'remove';
    case 'X/Z':
      return type === 3 ? 'remove' : 'empty';
    case 'X/D':
      return type === 3 ? 'remove' : 'dummy';
    case 'Z/D':
      return type === 1 ? 'dummy' : 'empty';
    default:
      return type === 1 ? 'dummy' : type === 2 ? 'empty' : 'remove';
  }
};

const addAllowed = (rules: Map<number, Rule>): void => {
  for (const [keyword, action] of ALLOWED) {
    const tag = tagOf(keyword);
    if (rules.has(tag)) throw new ProfileError(`allow-list: ${keyword} is in Table E.1-1, whose row decides`);
    const type = ctTypeOf(keyword);
    const fallback: Fallback = type === 3 ? 'remove' : 'empty';
    rules.set(tag, { action, fallback, source: 'allow-list' });
  }
};

/** Curves (50xx) and overlays (60xx), even groups xx00-xx1E (PS3.5 7.6); all of them are removed. */
const isRepeatingGroup = (tag: number): boolean => {
  const group = tag >>> 16;
  return (group & 1) === 0 && ((group & 0xff00) === 0x5000 || (group & 0xff00) === 0x6000);
};
