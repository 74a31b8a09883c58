// The data dictionary of PS3.6: keyword, VR and multiplicity of a tag, and tags by keyword.
import { ATTRIBUTES, REPEATING, TAG } from './dictionary.gen.ts';
import { DicomError, formatTag } from './dicom-error.ts';
import type { Vr } from './model.ts';

export { formatTag, TAG };

export interface Attribute {
  readonly keyword: string;
  /** All VRs that the standard allows; the first is the usual one. */
  readonly vrs: readonly Vr[];
  /** Value multiplicity as PS3.6 writes it: `1`, `1-n`, `2-2n`. */
  readonly vm: string;
  readonly retired: boolean;
}

function parseCode(keyword: string, code: string): Attribute {
  const [vrs = '', vm = '', retired] = code.split(':');
  return { keyword, vrs: vrs.split('/') as Vr[], vm, retired: retired === 'R' };
}

/** Rows as they are first asked for: a file has a hundred attributes, the dictionary thousands. */
const attributeByTag: (tag: number) => Attribute | undefined = (() => {
  const codes = ATTRIBUTES.trim().split(/\s+/);
  const keywords = Object.keys(TAG);
  const rows = new Map(Object.values(TAG).map((tag, row) => [tag as number, row]));
  const shared = new Map<string, readonly Vr[]>();
  const made: (Attribute | undefined)[] = [];
  return (tag) => {
    const row = rows.get(tag);
    if (row === undefined) return undefined;
    const known = made[row];
    if (known !== undefined) return known;
    const attribute = parseCode(keywords[row] ?? '', codes[row] ?? '');
    const key = attribute.vrs.join('/');
    shared.set(key, shared.get(key) ?? attribute.vrs);
    return (made[row] = { ...attribute, vrs: shared.get(key) ?? attribute.vrs });
  };
})();

const REPEATING_BY_MASK: ReadonlyMap<number, ReadonlyMap<number, Attribute>> = (() => {
  const masks = new Map<number, Map<number, Attribute>>();
  for (const [mask, value, keyword, code] of REPEATING) {
    const rows = masks.get(mask) ?? new Map<number, Attribute>();
    masks.set(mask, rows.set(value, parseCode(keyword, code)));
  }
  return masks;
})();

const REPEATING_TAG_BY_KEYWORD: ReadonlyMap<string, number> = new Map(REPEATING.map(([, value, keyword]) => [keyword, value]));

/** The dictionary's row for a standard tag, repeating groups (50xx, 60xx and others) included. */
export function attributeOf(tag: number): Attribute | undefined {
  const found = attributeByTag(tag);
  if (found !== undefined || isPrivate(tag)) return found;
  for (const [mask, rows] of REPEATING_BY_MASK) {
    const row = rows.get((tag & mask) >>> 0);
    if (row !== undefined) return row;
  }
  return undefined;
}

/** Keyword of a standard tag, `undefined` for private and unknown ones. */
export function keywordOf(tag: number): string | undefined {
  return attributeOf(tag)?.keyword;
}

/** Tag of a keyword; of a repeating group the first. Throws DicomError UNKNOWN_KEYWORD. */
export function tagOf(keyword: string): number {
  const tag = Object.hasOwn(TAG, keyword) ? (TAG as Readonly<Record<string, number>>)[keyword] : REPEATING_TAG_BY_KEYWORD.get(keyword);
  if (tag === undefined) throw new DicomError('UNKNOWN_KEYWORD', 'the data dictionary has no such keyword');
  return tag;
}

/**
 * VR of a tag where the file does not say it. Of several the one that every value fits: OW before OB
 * and US (PS3.5 A.1); of US and SS the first, which the reader corrects by Pixel Representation.
 * Group lengths are UL, private creators LO, other private tags unknown.
 */
export function vrOf(tag: number): Vr | undefined {
  if ((tag & 0xffff) === 0) return 'UL';
  if (isPrivate(tag)) return isPrivateCreator(tag) ? 'LO' : undefined;
  const vrs = attributeOf(tag)?.vrs;
  if (vrs === undefined) return undefined;
  return vrs.length > 1 && vrs.includes('OW') ? 'OW' : vrs[0];
}

/** Whether PS3.6 lets the tag be US or SS, by Pixel Representation. */
export function isSignedByPixelRepresentation(tag: number): boolean {
  const vrs = attributeOf(tag)?.vrs;
  return vrs?.length === 2 && vrs[0] === 'US' && vrs[1] === 'SS';
}

/** Odd group (PS3.5 7.8). */
export function isPrivate(tag: number): boolean {
  return ((tag >>> 16) & 1) === 1;
}

/** (gggg,0010-00FF) of an odd group: names the owner of a block (PS3.5 7.8.1). */
export function isPrivateCreator(tag: number): boolean {
  const element = tag & 0xffff;
  return isPrivate(tag) && element >= 0x10 && element <= 0xff;
}
