// What de-identifying changed in a file, and by which rule: the original and its result side by side, element by
// element. Made from the two files alone, so it shows what was done and not what was meant.
import { formatTag, isPrivate, isPrivateCreator, keywordOf, TAG } from '../dicom/dictionary.ts';
import type { Dataset, DicomFile, Element } from '../dicom/model.ts';
import { textOf } from '../dicom/values.ts';
import { ANNEX_E } from './profile/annex-e.gen.ts';
import type { Profile, Rule } from './profile/profile.ts';

/** kept: byte for byte. mapped: a UID. shifted: a date or time. cleaned: only allowed words, or notes cut from pixels. replaced: another value. added: it was not there. */
export type DiffAction = 'removed' | 'emptied' | 'replaced' | 'shifted' | 'mapped' | 'cleaned' | 'kept' | 'added';

export interface Change {
  /** Tags from the top, as in the verifier's findings: (0008,1140)[0](0008,1155), by the original's items. */
  tag: string;
  /** Empty for private and unknown tags. */
  keyword: string;
  action: DiffAction;
  /** The row of PS3.15 Table E.1-1 and the option that decided, or 'beyond the table' and why. */
  rule: string;
  /** Values, only when they are asked for. */
  before?: string;
  after?: string;
}

const BASIC: ReadonlyMap<string, string> = new Map(ANNEX_E.map(([tag, basic]) => [tag.toUpperCase(), basic]));
const OPTIONS: Readonly<Partial<Record<Rule['action'], string>>> = {
  clean: ', 113105 Clean Descriptors',
  recurse: ', items by their own rows',
  shift: ', 113107 Modified Dates',
  characteristic: ', 113108 Patient Characteristics',
};
const OWN: ReadonlyMap<number, string> = new Map([
  [TAG.SpecificCharacterSet, 'beyond the table: the character set of what is written'],
  [TAG.PatientIdentityRemoved, 'PS3.15 E.1.1: said of every result'],
  [TAG.DeidentificationMethod, 'PS3.15 E.1.1: said of every result'],
  [TAG.DeidentificationMethodCodeSequence, 'PS3.15 E.1.1: said of every result'],
  [TAG.LongitudinalTemporalInformationModified, 'PS3.15 E.3.6: said of every result'],
  [TAG.PixelData, 'beyond the table: pixels stay, notes in a compressed stream go'],
]);

/** The rule that decides on a tag, in words. */
export const ruleText = (tag: number, profile: Profile, isKept: boolean): string => {
  const own = OWN.get(tag);
  if (own !== undefined) return own;
  if (tag >>> 16 === 2) return 'beyond the table: file meta is written anew';
  if (isPrivate(tag))
    return isKept
      ? 'Table E.1-1 private X, 113111 Safe Private'
      : `Table E.1-1 private X${isPrivateCreator(tag) ? ' (creator of nothing that stays)' : ''}`;
  if (profile.isRepeatingGroup(tag)) return 'Table E.1-1 (50xx, 60xx) X';
  const rule = profile.ruleOf(tag);
  if (rule === undefined) return 'beyond the table: not in the allow-list of CT attributes';
  if (rule.source === 'allow-list') return 'beyond the table: allow-list of CT attributes, value checked';
  return `Table E.1-1 ${BASIC.get(formatTag(tag)) ?? ''}${OPTIONS[rule.action] ?? ''}`;
};

/** Everything in `before` and `after`, kept elements too. `withValues` makes a list that identifies. */
export const diffOf = (before: DicomFile, after: DicomFile, profile: Profile, withValues = false): Change[] => {
  const changes: Change[] = [];
  if (before.preamble.some((byte) => byte !== 0))
    changes.push({ tag: 'preamble', keyword: '', action: 'emptied', rule: 'beyond the table: 128 zeros are written' });
  const walk: Walk = { profile, withValues, into: changes };
  compare(before.meta, after.meta, '', walk);
  compare(before.dataset, after.dataset, '', walk);
  return changes;
};

interface Walk {
  profile: Profile;
  withValues: boolean;
  into: Change[];
}

const compare = (before: Dataset, after: Dataset | undefined, prefix: string, walk: Walk): void => {
  const tags = new Set([...before.elements.keys(), ...(after?.elements.keys() ?? [])]);
  for (const tag of [...tags].toSorted((a, b) => a - b)) {
    const [was, is] = [before.elements.get(tag), after?.elements.get(tag)];
    const path = prefix + formatTag(tag);
    const action = actionOf(was, is, walk.profile.ruleOf(tag));
    const change: Change = { tag: path, keyword: keywordOf(tag) ?? '', action, rule: ruleText(tag, walk.profile, is !== undefined) };
    if (walk.withValues) addValues(change, was, is, before, after);
    walk.into.push(change);
    if (was?.items !== undefined && is?.items !== undefined) compareItems(was.items, is.items, path, walk);
  }
};

const isSame = (a: Element, b: Element): boolean =>
  Buffer.compare(a.value, b.value) === 0 &&
  (a.fragments?.length ?? 0) === (b.fragments?.length ?? 0) &&
  (a.fragments ?? []).every((part, i) => Buffer.compare(part, b.fragments?.[i] ?? new Uint8Array(0)) === 0);

const isEmpty = ({ value, items, fragments }: Element): boolean => value.length === 0 && (items ?? fragments ?? []).length === 0;

const actionOf = (was: Element | undefined, is: Element | undefined, rule: Rule | undefined): DiffAction => {
  if (was === undefined) return 'added';
  if (is === undefined) return 'removed';
  if (is.items !== undefined) return (was.items?.length ?? 0) === is.items.length ? 'kept' : is.items.length === 0 ? 'emptied' : 'cleaned';
  if (isSame(was, is)) return 'kept';
  if (isEmpty(is)) return 'emptied';
  if (is.fragments !== undefined) return 'cleaned';
  if (rule?.action === 'shift') return 'shifted';
  if (is.vr === 'UI') return 'mapped';
  return rule?.action === 'clean' ? 'cleaned' : 'replaced';
};

/** A code that stays stays as it was, so items of one sequence are told apart by it. */
const isMadeOf = (after: Dataset, before: Dataset): boolean => {
  const [was, is] = [before, after].map(({ elements }) => elements.get(TAG.CodeValue));
  return [...after.elements.keys()].every((tag) => before.elements.has(tag)) && (was === undefined || is === undefined || isSame(was, is));
};

/** Items of a result are those of the original in their order; some may be gone. An item is taken for the first that has all its tags, and its code. */
const compareItems = (before: readonly Dataset[], after: readonly Dataset[], path: string, walk: Walk): void => {
  let next = 0;
  const spare = before.length - after.length;
  before.forEach((item, i) => {
    const candidate = after[next];
    const isIt = candidate !== undefined && (i - next >= spare || isMadeOf(candidate, item));
    if (isIt) next += 1;
    compare(item, isIt ? candidate : undefined, `${path}[${i}]`, walk);
  });
};

const MAX_TEXT = 200;

const addValues = (
  change: Change,
  was: Element | undefined,
  is: Element | undefined,
  before: Dataset,
  after: Dataset | undefined,
): void => {
  const shown = (one: Element, charset: readonly string[]): string => {
    const text = textOf(one, charset).slice(0, MAX_TEXT);
    return text === '' && one.value.length > 0 ? `${one.value.length} bytes` : text;
  };
  if (was !== undefined) change.before = shown(was, before.charset);
  if (is !== undefined) change.after = shown(is, after?.charset ?? []);
};
