// Private elements that are known safe: the CT scanners' elements that TCIA's list keeps, as generate-private.ts takes
// them; PS3.15 2026d Table E.3.10-1 has some of them too. Numbers, and texts of a closed grammar: text that a
// person could type is not here.
import type { Vr } from '../../dicom/model.ts';
import { PRIVATE_TAGS } from './private-tags.gen.ts';
import type { TextForm } from './private-tags.gen.ts';

export interface SafePrivate {
  /** The VRs that the maker documents; the value must have the form of the first whatever VR the file states. */
  vrs: readonly [Vr, ...Vr[]];
  /** The grammar of a text. */
  form?: TextForm;
}

const keyOf = (group: number, creator: string, low: number): string => `${group}|${creator}|${low}`;

const safe: ReadonlyMap<string, SafePrivate> = new Map(
  PRIVATE_TAGS.map(([group, creator, low, vrs, , form]) => [
    keyOf(group, creator, low),
    { vrs: vrs.split('|') as [Vr, ...Vr[]], ...(form === undefined ? {} : { form }) },
  ]),
);

/** What is known of a private element; undefined: not known safe, so it goes. */
export const safePrivate = (tag: number, creator: string): SafePrivate | undefined => safe.get(keyOf(tag >>> 16, creator, tag & 0xff));

const creators: ReadonlySet<string> = new Set(PRIVATE_TAGS.map(([group, creator]) => `${group}|${creator}`));

/** Whether some element of this group and creator is known safe. */
export const isSafeCreator = (group: number, creator: string): boolean => creators.has(`${group}|${creator}`);

/** The tag of the private creator element that owns a private element's block (PS3.5 7.8.1). */
export const creatorTagOf = (tag: number): number => ((tag & 0xffff0000) | ((tag >>> 8) & 0xff)) >>> 0;
