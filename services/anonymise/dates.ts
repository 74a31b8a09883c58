// Moves dates by whole weeks and times so that the study starts at 12:00, in the forms of DICOM
// (PS3.5 6.2 DA, TM, DT; the older dotted and colon forms too). What cannot be read is not moved: undefined.

const DAY_US = 86_400_000_000n;
const NOON_US = DAY_US / 2n;
const DAY_MS = 86_400_000;

export interface Moment {
  /** Days since 1970-01-01 of the date, when known. */
  day: number | undefined;
  /** Microseconds since midnight. */
  timeUs: bigint;
}

export interface StudyClock {
  /** Whole days by which every date moves. */
  shiftDays: number;
  /** Microseconds that are added to every time, within (-12 h, +12 h]. */
  timeOffsetUs: bigint;
  /** First moment of the study as it was: pairs around it move together over midnight. */
  start: Moment | undefined;
}

/** Clock of a study that began at `start`. The offset is in whole seconds, so fractions stay as they were. */
export const studyClock = (shiftDays: number, start: Moment | undefined): StudyClock => ({
  shiftDays,
  timeOffsetUs: start === undefined ? 0n : NOON_US - (start.timeUs / 1_000_000n) * 1_000_000n,
  start,
});

/** Days since 1970-01-01 of YYYYMMDD or YYYY.MM.DD; undefined when it is no date of the calendar. */
export const parseDate = (text: string): number | undefined => {
  const match = /^(\d{4})(\.?)(\d{2})\2(\d{2})$/.exec(text.trim());
  return match ? dayOf(Number(match[1]), Number(match[3]), Number(match[4])) : undefined;
};

const dayOf = (year: number, month: number, day: number): number | undefined => {
  if (year < 1000) return undefined;
  const date = new Date(Date.UTC(year, month - 1, day));
  return date.getUTCMonth() === month - 1 && date.getUTCDate() === day ? date.getTime() / DAY_MS : undefined;
};

/**
 * Microseconds since midnight of HH[MM[SS[.F{1,9}]]], also with colons and then with one digit of hours; a leap second counts
 * as 59, and what is finer than a microsecond as nothing.
 */
export const parseTime = (text: string): bigint | undefined => {
  const match = /^(\d{2}|\d(?=:))(?::?(\d{2})(?::?(\d{2})(?:\.(\d{1,9}))?)?)?$/.exec(text.trim());
  if (!match) return undefined;
  const [hours, minutes, seconds] = [Number(match[1]), Number(match[2] ?? 0), Math.min(Number(match[3] ?? 0), 59)];
  if (hours > 23 || minutes > 59 || Number(match[3] ?? 0) > 60) return undefined;
  const fraction = BigInt((match[4] ?? '').slice(0, 6).padEnd(6, '0'));
  return BigInt((hours * 60 + minutes) * 60 + seconds) * 1_000_000n + fraction;
};

export const formatDate = (day: number): string => {
  const date = new Date(day * DAY_MS);
  const pad = (value: number, width: number): string => String(value).padStart(width, '0');
  return `${pad(date.getUTCFullYear(), 4)}${pad(date.getUTCMonth() + 1, 2)}${pad(date.getUTCDate(), 2)}`;
};

/** HHMMSS, and as many digits of the fraction as the source had. */
export const formatTime = (timeUs: bigint, fractionDigits: number): string => {
  const seconds = Number(timeUs / 1_000_000n);
  const pad = (value: number): string => String(value).padStart(2, '0');
  const whole = `${pad(Math.floor(seconds / 3600))}${pad(Math.floor(seconds / 60) % 60)}${pad(seconds % 60)}`;
  const fraction = String(timeUs % 1_000_000n)
    .padStart(6, '0')
    .slice(0, fractionDigits);
  return fractionDigits === 0 ? whole : `${whole}.${fraction}`;
};

const fractionDigitsOf = (text: string): number => Math.min(/\.(\d+)$/.exec(text.trim())?.[1]?.length ?? 0, 6);

const carryOf = (timeUs: bigint): number => (timeUs < 0n ? -1 : timeUs >= DAY_US ? 1 : 0);
const wrap = (timeUs: bigint): bigint => ((timeUs % DAY_US) + DAY_US) % DAY_US;

// A study that runs over midnight: its later pairs must move their date as well, or the interval to
// the start would jump by a day. Dates far from the study move by whole weeks and nothing else.
const isOfTheStudy = (clock: StudyClock, day: number, timeUs: bigint): boolean => {
  if (clock.start?.day === undefined) return false;
  const sinceStart = BigInt(day - clock.start.day) * DAY_US + timeUs - clock.start.timeUs;
  return sinceStart > -NOON_US && sinceStart < DAY_US;
};

/** A DA value moved; `pairedTime` is the TM value that belongs to it, when the dataset has one. */
export const shiftDate = (clock: StudyClock, text: string, pairedTime?: string): string | undefined => {
  const day = parseDate(text);
  if (day === undefined) return undefined;
  const timeUs = pairedTime === undefined ? undefined : parseTime(pairedTime);
  const carry = timeUs !== undefined && isOfTheStudy(clock, day, timeUs) ? carryOf(timeUs + clock.timeOffsetUs) : 0;
  return formatDate(day + clock.shiftDays + carry);
};

/** A TM value moved, around the clock. Without a start of the study the offset is none: callers leave such times out. */
export const shiftTime = (clock: StudyClock, text: string): string | undefined => {
  const timeUs = parseTime(text);
  if (timeUs === undefined) return undefined;
  return formatTime(wrap(timeUs + clock.timeOffsetUs), fractionDigitsOf(text));
};

/** A DT value moved, in the precision that it had; the zone's offset is left out (it tells the place). */
export const shiftDateTime = (clock: StudyClock, text: string): string | undefined => {
  const match = /^(\d{4})(\d{2})?(\d{2})?(\d{2}(?:\d{2}(?:\d{2}(?:\.\d{1,9})?)?)?)?(?:[+-]\d{4})?$/.exec(text.trim());
  if (!match) return undefined;
  const [, year, month, dayText, time] = match;
  const day = dayOf(Number(year), Number(month ?? 1), Number(dayText ?? 1));
  if (day === undefined || (time !== undefined && dayText === undefined)) return undefined;
  if (time === undefined) return formatDate(day + clock.shiftDays).slice(0, dayText ? 8 : month ? 6 : 4);
  const timeUs = parseTime(time);
  if (timeUs === undefined) return undefined;
  if (clock.start === undefined) return formatDate(day + clock.shiftDays);
  const moved = timeUs + clock.timeOffsetUs;
  const carry = isOfTheStudy(clock, day, timeUs) ? carryOf(moved) : 0;
  return formatDate(day + clock.shiftDays + carry) + formatTime(wrap(moved), fractionDigitsOf(time));
};

/** Age in DICOM's form at `studyDate`, both DA; undefined when either is no date or birth comes later. */
export const ageAt = (birthDate: string, studyDate: string): string | undefined => {
  const [birth, study] = [parseDate(birthDate), parseDate(studyDate)];
  if (birth === undefined || study === undefined || study < birth) return undefined;
  const [from, to] = [new Date(birth * DAY_MS), new Date(study * DAY_MS)];
  const months =
    (to.getUTCFullYear() - from.getUTCFullYear()) * 12 +
    to.getUTCMonth() -
    from.getUTCMonth() -
    (to.getUTCDate() < from.getUTCDate() ? 1 : 0);
  if (months >= 24) return months >= 150 * 12 ? undefined : `${String(Math.floor(months / 12)).padStart(3, '0')}Y`;
  return months >= 3 ? `${String(months).padStart(3, '0')}M` : `${String(study - birth).padStart(3, '0')}D`;
};

/** A PatientAge that may stay: well formed, and 090Y for everyone older than 89. undefined: not an age. */
export const safeAge = (age: string): string | undefined => {
  const match = /^(\d{1,3})([DWMY])$/.exec(age.trim().toUpperCase());
  if (!match) return undefined;
  const [count, unit] = [Number(match[1]), match[2]];
  const years = unit === 'Y' ? count : unit === 'M' ? count / 12 : unit === 'W' ? count / 52.18 : count / 365.25;
  return years >= 90 ? '090Y' : `${String(count).padStart(3, '0')}${unit}`;
};

/** Ten-year band of a safe age: 050-059, 090+, or unknown. */
export const ageBandOf = (age: string | undefined): string => {
  const match = age === undefined ? null : /^(\d{3})([DWMY])$/.exec(age);
  if (!match) return 'unknown';
  const years = match[2] === 'Y' ? Number(match[1]) : match[2] === 'M' ? Math.floor(Number(match[1]) / 12) : 0;
  if (years >= 90) return '090+';
  const from = Math.floor(years / 10) * 10;
  return `${String(from).padStart(3, '0')}-${String(from + 9).padStart(3, '0')}`;
};
