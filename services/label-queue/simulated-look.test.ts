// The simulated reader's look follows what is there, and refuses what it can't read.
import { describe, expect, test } from '@jest/globals';
import { affectedPercent, gradeOf } from './simulated-look.ts';
import { thoraxNifti } from './synthetic-volume.ts';

describe('a little thorax', () => {
  test.each([
    [0, 0],
    [0.15, 1],
    [0.4, 2],
    [0.65, 3],
    [0.95, 4],
  ])('%f of the lung dense: CT-%i', (affected, grade) => {
    expect(gradeOf(affectedPercent(thoraxNifti({ seed: 1, affected })) ?? -1)).toBe(grade);
  });
});

test('no lungs, no grade', () => {
  const nii = thoraxNifti({ seed: 1, affected: 0 });
  for (let at = 352; at < nii.byteLength; at += 2) nii.writeInt16LE(40, at);
  expect(affectedPercent(nii)).toBeUndefined();
});

test('what is no volume is refused', () => {
  expect(() => affectedPercent(Buffer.alloc(400))).toThrow(/NIfTI/);
  expect(() => affectedPercent(thoraxNifti({ seed: 1, affected: 0 }).subarray(0, 1000))).toThrow(/ends before/);
});
