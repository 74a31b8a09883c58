// De-identifies one instance: a pure function of the file, the patient's keys and what the study's
// survey found. The profile's rules decide; what no rule names is left out. Pixel bytes are not touched.
import { keywordOf, isPrivate, isPrivateCreator, TAG, vrOf } from '../dicom/dictionary.ts';
import { inTagOrder } from '../dicom/encode.ts';
import { headerMemory } from '../dicom/header-memory.ts';
import type { HeaderMemory } from '../dicom/header-memory.ts';
import { element, number, sequence, text, uid } from '../dicom/values.ts';
import { makeFile, newDataset } from '../dicom/write.ts';
import type { Dataset, DicomFile, Element, Vr } from '../dicom/model.ts';
import { areDefinedCharsets } from './closed-values.ts';
import { streamKindOf, withoutNotes } from './codestream.ts';
import type { StudyClock } from './dates.ts';
import { judgeElement } from './element-rules.ts';
import type { SubjectIdentity } from './identity.ts';
import { methodElements } from './method.ts';
import { safePrivateElement } from './private-elements.ts';
import { creatorTagOf } from './profile/private-tags.ts';
import type { Profile } from './profile/profile.ts';
import { CODE_TAGS, holdsCode, isPublicCode } from './public-codes.ts';
import { Refusal } from './refusal.ts';
import { ageOf } from './survey.ts';
import type { Identifiers } from './survey.ts';
import { remembered } from './value-key.ts';

/** What one study is de-identified with. */
export interface StudySubject {
  identity: SubjectIdentity;
  clock: StudyClock;
  /** Words that name the patient or the place, from every instance of the study. */
  identifiers: Identifiers;
  profile: Profile;
}

/** Passed down one instance. */
export interface Walk extends StudySubject {
  /** Character set of what is written. */
  charset: readonly string[];
  /** What was made of text values, by valueKey: 'same' for one that stays. */
  memory: Map<string, Judged>;
  /** Set when a kept text needs more than ASCII: then everything is written again in UTF-8. */
  needsUnicode: boolean;
}

export type Judged = Element | 'same' | 'fallback';

/** What is remembered from slice to slice of a study: their headers are nearly the same. */
interface StudyMemory {
  headers: HeaderMemory;
  texts: Map<string, Judged>;
  /** What became of elements of the top level, by what they are written in. */
  rewritten: Map<string, Map<number, Rewritten>>;
  /** The elements that say what was done, by what they are written in. */
  method: Map<string, readonly Element[]>;
}

/** Holds for this element object: a header memory gives the same object for the same bytes only. */
interface Rewritten {
  source: Element;
  /** The element that names the owner of a private one. */
  creator: Element | undefined;
  result: Element | undefined;
}

const memories = new WeakMap<StudySubject, StudyMemory>();

const memoryOf = (subject: StudySubject): StudyMemory => {
  const known = memories.get(subject);
  if (known !== undefined) return known;
  const memory: StudyMemory = { headers: headerMemory(), texts: new Map(), rewritten: new Map(), method: new Map() };
  memories.set(subject, memory);
  return memory;
};

/** What the study's files are read with, so that equal elements are one object. */
export const headersOf = (subject: StudySubject): HeaderMemory => memoryOf(subject).headers;

const UNICODE = 'ISO_IR 192';

/**
 * The instance without identity: fresh meta, zero preamble, mapped UIDs, moved dates. Throws Refusal
 * (MISSING_UID, BAD_PIXELS) and DicomError. The result is to be verified before anyone sees it.
 */
export const deidentifyInstance = (file: DicomFile, subject: StudySubject): DicomFile => {
  const sopInstanceUid = uid(file.dataset, TAG.SOPInstanceUID);
  const sopClassUid = uid(file.dataset, TAG.SOPClassUID);
  if (sopInstanceUid === undefined || sopClassUid === undefined) throw new Refusal('MISSING_UID', 'SOP Instance or Class UID is empty');
  // A term that is not defined is somebody's text, and what it means is not known.
  const charset = areDefinedCharsets(file.dataset.charset) ? file.dataset.charset : [];
  const memory = memoryOf(subject);
  const walk: Walk = { ...subject, charset, needsUnicode: false, memory: memory.texts };
  let dataset = rewriteTop(file, walk, memory);
  if (walk.needsUnicode) dataset = rewriteTop(file, { ...walk, charset: [UNICODE] }, memory);
  return makeFile({
    transferSyntaxUid: file.transferSyntaxUid,
    dataset,
    sopClassUid: subject.identity.mapUid(sopClassUid),
    sopInstanceUid: subject.identity.mapUid(sopInstanceUid),
  });
};

const rewriteTop = ({ dataset: source, transferSyntaxUid: syntax }: DicomFile, walk: Walk, memory: StudyMemory): Dataset => {
  const form = [source.littleEndian, source.explicitVr, ...walk.charset, '', ...source.charset].join('\\');
  const elements = rewriteElements(
    source,
    walk,
    remembered(memory.rewritten, form, () => new Map<number, Rewritten>()),
  );
  // A code stands in an item; at the top it is a text of somebody's.
  for (const tag of CODE_TAGS) elements.delete(tag);
  const { littleEndian, explicitVr } = source;
  const like = newDataset({ littleEndian, explicitVr, charset: walk.charset });
  const method = remembered(memory.method, form, () => methodElements(like));
  for (const one of [...subjectElements(source, walk), ...method]) elements.set(one.tag, one);
  const pixels = source.elements.get(TAG.PixelData);
  if (pixels?.fragments !== undefined) {
    const kind = streamKindOf(syntax);
    if (kind === undefined) throw new Refusal('UNSUPPORTED_SYNTAX', '(0002,0010)');
    const need = (tag: number): number => number(source, tag) ?? 0;
    const clean = withoutNotes(pixels, kind, { count: need(TAG.Rows) * need(TAG.Columns), bytesPerPixel: need(TAG.BitsAllocated) / 8 });
    if (clean === undefined) throw new Refusal('BAD_PIXELS', 'the codestream is damaged, or holds more than the image');
    elements.set(TAG.PixelData, clean);
  }
  return { ...like, elements: inOrder(elements) };
};

/** Attributes whose new value does not come from the old one. */
const subjectElements = (source: Dataset, walk: Walk): readonly Element[] => {
  const like = { littleEndian: source.littleEndian, charset: walk.charset };
  const { pseudonym } = walk.identity;
  // An age that can't be known is said to be unknown by an empty value.
  const changed = [
    element(TAG.PatientName, 'PN', pseudonym, like),
    element(TAG.PatientID, 'LO', pseudonym, like),
    element(TAG.PatientBirthDate, 'DA', '', like),
    element(TAG.PatientAge, 'AS', ageOf(source) ?? '', like),
  ];
  return walk.charset.length === 0 ? changed : [element(TAG.SpecificCharacterSet, 'CS', walk.charset, like), ...changed];
};

/** An item by the rules, in the output's character set, ascending by tag. */
const rewrite = (source: Dataset, walk: Walk): Dataset => {
  const { littleEndian, explicitVr } = source;
  return { ...newDataset({ littleEndian, explicitVr, charset: walk.charset }), elements: inOrder(rewriteElements(source, walk)) };
};

/** What becomes of each element of a dataset, by tag; `known` remembers it at the top level. */
const rewriteElements = (source: Dataset, walk: Walk, known?: Map<number, Rewritten>): Map<number, Element> => {
  const kept = new Map<number, Element>();
  for (const one of source.elements.values()) {
    const result = known === undefined ? rewriteOne(one, source, walk) : rewriteKnown(one, source, walk, known);
    if (result === undefined || isPrivateCreator(one.tag)) continue;
    kept.set(result.tag, result);
    if (isPrivate(result.tag)) keepCreator(result.tag, source, kept);
  }
  return kept;
};

const rewriteOne = (one: Element, source: Dataset, walk: Walk): Element | undefined =>
  isPrivate(one.tag) ? safePrivateElement(one, source, walk.identifiers) : rewriteElement(one, source, walk);

const rewriteKnown = (one: Element, source: Dataset, walk: Walk, known: Map<number, Rewritten>): Element | undefined => {
  // A date moves with the time that belongs to it; pixels are never the same.
  if (isDateVr(one.vr) || isDateVr(vrOf(one.tag)) || one.tag === TAG.PixelData) return rewriteOne(one, source, walk);
  const creator = isPrivate(one.tag) ? source.elements.get(creatorTagOf(one.tag)) : undefined;
  const last = known.get(one.tag);
  if (last?.source === one && last.creator === creator) return last.result;
  const needed = walk.needsUnicode;
  walk.needsUnicode = false;
  const result = rewriteOne(one, source, walk);
  // What needs Unicode has to say so each time.
  if (!walk.needsUnicode) known.set(one.tag, { source: one, creator, result });
  walk.needsUnicode ||= needed;
  return result;
};

const isDateVr = (vr: Vr | undefined): boolean => vr === 'DA' || vr === 'DT' || vr === 'TM';

const keepCreator = (tag: number, source: Dataset, kept: Map<number, Element>): void => {
  const creatorTag = ((tag & 0xffff0000) | ((tag >>> 8) & 0xff)) >>> 0;
  const name = text(source, creatorTag);
  if (name !== undefined) kept.set(creatorTag, element(creatorTag, 'LO', name));
};

const rewriteElement = (one: Element, source: Dataset, walk: Walk): Element | undefined => {
  if (one.tag === TAG.SpecificCharacterSet) return undefined;
  if (one.items !== undefined) return rewriteSequence(one, walk);
  return judgeElement(one, source, walk);
};

const rewriteSequence = (one: Element, walk: Walk): Element | undefined => {
  const rule = walk.profile.ruleOf(one.tag);
  if (rule === undefined || rule.action === 'remove') return undefined;
  if (rule.action === 'recurse') {
    const isNamedCodes = keywordOf(one.tag)?.endsWith('CodeSequence') === true;
    const items = (one.items ?? []).flatMap((item) => {
      const isCode = isNamedCodes || holdsCode(item);
      if (isCode && !isPublicCode(item)) return [];
      const written = rewrite(item, walk);
      return written.elements.size > 0 && (!isCode || written.elements.has(TAG.CodeMeaning)) ? [written] : [];
    });
    if (items.length > 0 || one.items?.length === 0) return sequence(one.tag, items);
  }
  return sequenceFallback(one, rule.fallback);
};

const sequenceFallback = (one: Element, fallback: 'remove' | 'empty' | 'dummy'): Element | undefined => {
  if (fallback === 'remove') return undefined;
  return sequence(one.tag, fallback === 'empty' ? [] : [newDataset()]);
};

const inOrder = (elements: ReadonlyMap<number, Element>): ReadonlyMap<number, Element> => {
  const sorted = new Map<number, Element>();
  for (const one of inTagOrder(elements)) sorted.set(one.tag, one);
  return sorted;
};
