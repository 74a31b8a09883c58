import { describe, expect, test } from '@jest/globals';
import { readFileSync } from 'node:fs';
import { TAG, tagOf, vrOf } from '../../dicom/dictionary.ts';
import { ANNEX_E } from './annex-e.gen.ts';
import { generateAnnexE } from './generate.ts';
import { compileProfile, ProfileError } from './profile.ts';

const profile = compileProfile();
const actionOf = (keyword: string): string | undefined => profile.ruleOf(tagOf(keyword))?.action;
const fallbackOf = (keyword: string): string | undefined => profile.ruleOf(tagOf(keyword))?.fallback;

describe('the profile', () => {
  test('is generated from the table as it stands', () => {
    const tsv = readFileSync(new URL('annex-e-2026d.tsv', import.meta.url), 'utf8');
    expect(readFileSync(new URL('annex-e.gen.ts', import.meta.url), 'utf8')).toBe(generateAnnexE(tsv));
    expect(ANNEX_E).toHaveLength(657);
  });

  test('has a rule for every row but the four wildcards', () => {
    const rows = [...profile.rules.values()].filter((rule) => rule.source === 'annex-e');
    expect(rows).toHaveLength(ANNEX_E.length - 4);
  });

  // Each kind of row, by its basic action and the option that we take.
  test.each([
    ['X', 'OtherPatientNames', 'remove', 'remove'],
    ['Z', 'AccessionNumber', 'empty', 'empty'],
    ['D', 'ClinicalTrialSponsorName', 'dummy', 'dummy'],
    ['U', 'StudyInstanceUID', 'uid', 'dummy'],
    ['X/Z without an option', 'ReferencedStudySequence', 'remove', 'remove'],
    ['X/Z/D of type 3', 'InstitutionName', 'remove', 'remove'],
    ['X/D of type 3', 'DetectorID', 'remove', 'remove'],
    ['Z/D of type 2', 'ContrastBolusAgent', 'clean', 'empty'],
    ['X/Z/U*', 'ReferencedImageSequence', 'recurse', 'remove'],
    ['Z, date', 'StudyDate', 'shift', 'empty'],
    ['X/Z, date', 'AcquisitionDate', 'shift', 'remove'],
    ['X/D, date', 'SeriesDate', 'shift', 'remove'],
    ['Z/D, date of type 2', 'ContentDate', 'shift', 'empty'],
    ['device and date options', 'DateOfLastCalibration', 'remove', 'remove'],
    ['cleaned text', 'StudyDescription', 'clean', 'remove'],
    ['cleaned text, D', 'StructureSetLabel', 'clean', 'dummy'],
    ['cleaned sequence', 'RequestAttributesSequence', 'recurse', 'remove'],
    ['device identity, not taken', 'DeviceSerialNumber', 'remove', 'remove'],
    ['institution identity, not taken', 'InstitutionAddress', 'remove', 'remove'],
    ['structured content, not taken', 'ContentSequence', 'dummy', 'dummy'],
    ['graphics, not taken', 'GraphicAnnotationSequence', 'dummy', 'dummy'],
    ['characteristic that stays', 'PatientWeight', 'characteristic', 'remove'],
    ['characteristic beyond our restriction', 'EthnicGroup', 'remove', 'remove'],
    ['zone of the place', 'TimezoneOffsetFromUTC', 'remove', 'remove'],
    ['allow-list', 'KVP', 'keep', 'empty'],
    ['allow-list, code sequence', 'AnatomicRegionSequence', 'recurse', 'remove'],
  ])('%s: %s', (_kind, keyword, action, fallback) => {
    expect([actionOf(keyword), fallbackOf(keyword)]).toEqual([action, fallback]);
  });

  test('shifts only dates and times, cleans only texts, maps only UIDs', () => {
    const allowed: Record<string, readonly string[]> = {
      shift: ['DA', 'TM', 'DT'],
      clean: ['LO', 'SH', 'ST', 'LT', 'UT', 'UC'],
      uid: ['UI'],
      recurse: ['SQ'],
    };
    for (const [tag, { action }] of profile.rules) if (action in allowed) expect(allowed[action]).toContain(vrOf(tag));
  });

  test('names no rule for pixels of overlays and curves, and knows their groups', () => {
    expect(profile.ruleOf(0x60003000)).toBeUndefined();
    expect(profile.isRepeatingGroup(0x601e3000)).toBe(true);
    expect(profile.isRepeatingGroup(0x50020010)).toBe(true);
    expect(profile.isRepeatingGroup(TAG.PixelData)).toBe(false);
  });

  test.each([
    ['an unknown action', ['(0010,0010)', 'Q', ''] as const],
    ['an unknown option', ['(0010,0010)', 'X', 'retain_everything=K'] as const],
    ['an unknown option action', ['(0010,0010)', 'X', 'clean_descriptors=Z'] as const],
    ['a tag that is none', ['(0010,001)', 'X', ''] as const],
    ['an unknown wildcard', ['(70xx,0010)', 'X', ''] as const],
    ['a doubled tag', ['(0010,0010)', 'Z', ''] as const],
  ])('refuses %s', (_what, row) => {
    expect(() => compileProfile([...ANNEX_E, row])).toThrow(ProfileError);
  });

  test('refuses a table without its private row', () => {
    expect(() => compileProfile(ANNEX_E.filter(([tag]) => !tag.startsWith('(gggg')))).toThrow(ProfileError);
  });
});
