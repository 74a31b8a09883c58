// Dates and times of the result against the original's: written minus source is one shift for all dates and
// one offset around the clock for all times. What has no source is a finding.
import { tagOf } from '../../dicom/dictionary.ts';
import { parseDate, parseTime } from '../dates.ts';
import { remembered } from '../value-key.ts';
import type { Source } from './source-facts.ts';
import { kindOf, latin1 } from './second-reader.ts';
import type { SeenElement, SeenFile } from './second-reader.ts';
import type { Add, Expected } from './verify.ts';

const DAY_US = 86_400_000_000n;
const BIRTH_DATE = tagOf('PatientBirthDate');
const DUMMY = /^(?:19700101(?:120000)?|120000)$/;

const valuesOf = (text: string): string[] => text.split('\\').map((value) => value.trim());

/** Times of day and days of a value; of a DT both. */
const partsOf = (vr: string, value: string): { day: number | undefined; timeUs: bigint | undefined } => ({
  day: vr === 'TM' ? undefined : parseDate(vr === 'DT' ? value.slice(0, 8) : value),
  timeUs: vr === 'DA' ? undefined : parseTime(vr === 'DT' ? value.slice(8).replace(/[+-]\d{4}$/, '') : value),
});

const offsetOf = (after: bigint, before: bigint): bigint => (((after - before) % DAY_US) + DAY_US) % DAY_US;

/** `known` remembers values that were found right or wrong, for one study. */
export const checkTimes = (source: Source, result: SeenFile, expected: Expected, known: Map<string, boolean>, add: Add): void => {
  const before = new Map<string, string>();
  for (const [kind, text] of source.dates) before.set(kind, before.has(kind) ? `${before.get(kind)}\\${text}` : text);
  const state: State = { before, expected, offsetUs: undefined };
  if (typeof expected.timeOffsetUs === 'bigint') state.offsetUs = offsetOf(expected.timeOffsetUs, 0n);
  for (const { elements, dates } of result.pieces) {
    if (dates.length === 0) continue;
    for (const one of elements) {
      if ((one.vr !== 'DA' && one.vr !== 'DT' && one.vr !== 'TM') || one.value.length === 0) continue;
      if (one.tag === BIRTH_DATE || !isMoved(one, state, known)) add('date', one.path);
    }
  }
};

interface State {
  /** Values of the source by the kind of their path. */
  before: ReadonlyMap<string, string>;
  expected: Expected;
  /** By which all times moved, once one of them told. */
  offsetUs: bigint | undefined;
}

const isMoved = (one: SeenElement, state: State, known: Map<string, boolean>): boolean => {
  const [text, was] = [latin1(one.value), state.before.get(kindOf(one.path)) ?? ''];
  const judge = (): boolean => isMovedText(one, text, valuesOf(was), state);
  // Where the offset is not given, the first time tells it for all others.
  return state.expected.timeOffsetUs === undefined ? judge() : remembered(known, `${one.tag} ${one.vr} ${text} ${was}`, judge);
};

const isMovedText = ({ tag, vr }: SeenElement, text: string, was: readonly string[], state: State): boolean =>
  valuesOf(text.replaceAll('\0', '')).every((value) => {
    if (value === '') return true;
    const isDummy = DUMMY.test(value) && (state.expected.profile.ruleOf(tag)?.fallback ?? '') === 'dummy';
    return isDummy || was.some((then) => isShift(vr, value, then, state));
  });

const isShift = (vr: string, value: string, then: string, state: State): boolean => {
  const [after, before] = [partsOf(vr, value), partsOf(vr, then)];
  if (after.timeUs !== undefined) {
    if (before.timeUs === undefined || state.expected.timeOffsetUs === 'unknown') return false;
    const offset = offsetOf(after.timeUs, before.timeUs);
    // A leap second is written as 59.
    if (offset !== (state.offsetUs ?? offset)) return false;
    state.offsetUs = offset;
  }
  if (vr === 'TM') return after.timeUs !== undefined;
  // Years and months alone (DT) can't be compared to the day.
  if (after.day === undefined) return /^\d{4}(?:\d{2})?$/.test(value) && value !== then.slice(0, value.length);
  // A study over midnight may move by a day more or less; nothing may stay where it was.
  return before.day !== undefined && Math.abs(after.day - before.day - state.expected.shiftDays) <= 1;
};
