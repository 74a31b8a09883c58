// Lung mask, crop and estimate on made-up bodies whose truth is known.
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { assessEligible, judgeLungs, judgeSource, type SeriesAssessment } from './assess-series.ts';
import { classOf, estimateSeverity, floorPercent } from './estimate.ts';
import { closeAndFill, components, type Grid } from './grid.ts';
import { LEFT, RIGHT, type Lungs } from './lungs.ts';
import { syntheticSeries, type SyntheticOptions } from './synthetic-series.ts';

const assess = async (options: SyntheticOptions): Promise<SeriesAssessment> => {
  const files = syntheticSeries({ columns: 96, rows: 80, pixelMm: 4, ...options });
  const judged = await judgeSource({ series: 'x', files: () => files });
  return judged.eligible ? assessEligible(judged) : judged;
};

const estimated = async (options: SyntheticOptions): Promise<Extract<SeriesAssessment, { eligible: true }>> => {
  const result = await assess(options);
  if (!result.eligible) throw new Error(result.codes.join());
  return result;
};

describe('lungs', () => {
  test('two healthy lungs: their volume is that of the ellipsoids, little is affected, class 0', async () => {
    const { estimate } = await estimated({});
    // Two ellipsoids with half axes 0.3*192, 0.45*160 and 0.8*120 mm.
    const truth = (2 * (4 / 3) * Math.PI * 0.3 * 192 * 0.45 * 160 * 0.8 * 120) / 1000;
    expect(Math.abs(estimate.lungMl - truth) / truth).toBeLessThan(0.08);
    expect(estimate.class).toBe(0);
    expect(estimate.uncertain).toBe(false);
  });

  test("disease on one side shows on that side: low columns are the patient's right", async () => {
    const right = await estimated({ lungHu: (x) => (x < 0 ? -500 : -860) });
    expect(right.estimate.rightAffectedPercent).toBeGreaterThan(80);
    expect(right.estimate.leftAffectedPercent).toBeLessThan(10);
    // Lying on the front with rows and columns turned: now low columns are the left.
    const turned = await estimated({ orientation: [-1, 0, 0, 0, -1, 0], lungHu: (x) => (x < 0 ? -500 : -860) });
    expect(turned.estimate.leftAffectedPercent).toBeGreaterThan(80);
    expect(turned.estimate.rightAffectedPercent).toBeLessThan(10);
  });

  test('more ground glass never gives a lower class', async () => {
    const classes: number[] = [];
    for (const top of [-1, -0.6, -0.2, 0.2, 0.9])
      classes.push((await estimated({ lungHu: (_x, _y, z) => (z < top ? -550 : -860) })).estimate.class);
    expect(classes).toEqual(classes.toSorted((a, b) => a - b));
    expect(classes[0]).toBe(0);
    expect(classes.at(-1)).toBe(4);
  });

  test('consolidation inside a lung is taken back by the closing and counts as affected', async () => {
    const { estimate } = await estimated({ lungHu: (x, y, z) => ((x - 0.42) ** 2 + y ** 2 + z ** 2 < 0.03 ? 40 : -860) });
    expect(estimate.consolidationPercent).toBeGreaterThan(1);
  });

  test('lungs that reach the first and last slice are LUNGS_CUT; none at all LUNGS_NOT_FOUND', async () => {
    expect(await assess({ lungPart: 1.6 })).toMatchObject({ eligible: false, codes: ['LUNGS_CUT'] });
    expect(await assess({ lungHu: () => 40 })).toMatchObject({ eligible: false, codes: ['LUNGS_NOT_FOUND'] });
  });

  test('a long scan is cropped by whole slices to the lungs and 40 mm, and the crop is recorded', async () => {
    const { crop, volume, series } = await estimated({ slices: 100, spacingMm: 5, lungPart: 0.5 });
    // Lungs of 250 mm in the middle of 500; 40 mm more on each side.
    expect(crop.ofSlices).toBe(100);
    expect(Math.abs(crop.first - 17)).toBeLessThanOrEqual(2);
    expect(Math.abs(crop.last - 82)).toBeLessThanOrEqual(2);
    expect(volume.shape[2]).toBe(crop.last - crop.first + 1);
    expect(volume.affine[11]).toBe((series.geometry.affine[11] as number) + crop.first * 5);
  });

  test('the same series gives the same estimate in any order of its files', async () => {
    const files = syntheticSeries({ columns: 48, rows: 40, pixelMm: 8, lungHu: (x, y) => -860 + 300 * x * y });
    const run = async (order: typeof files) => {
      const judged = await judgeSource({ series: 'x', files: () => order });
      if (!judged.eligible) throw new Error('refused');
      const result = await assessEligible(judged);
      return result.eligible ? result.estimate : result.codes;
    };
    expect(await run(files.toReversed())).toEqual(await run(files));
  });
});

describe('estimate', () => {
  const grid = (hu: number[]): Grid => ({ shape: [hu.length, 1, 1], spacingMm: [10, 10, 10], slicesPerSlice: 1, hu: Int16Array.from(hu) });
  const lungs = (sides: number[]): Lungs => ({ mask: Uint8Array.from(sides), first: 0, last: 0, volumeMl: sides.length, endAreaPart: 0 });

  test('bands: -950..-700 aerated, -700..-300 ground glass, -300..100 consolidation, above 100 no lung', () => {
    const estimate = estimateSeverity(grid([-960, -950, -701, -700, -301, -300, 100, 101]), lungs([1, 1, 1, 1, 1, 1, 1, 1]), 0, 0);
    expect(estimate).toMatchObject({
      lungMl: 7,
      aeratedPercent: 28.57,
      groundGlassPercent: 28.57,
      consolidationPercent: 28.57,
      affectedPercent: 57.14,
      class: 3,
    });
    expect(estimate.rightAffectedPercent).toBeUndefined();
  });

  test('whole and per lung; under the volume limit it is uncertain', () => {
    const estimate = estimateSeverity(grid([-500, -800, -800, -800]), lungs([LEFT, LEFT, RIGHT, RIGHT]), 0, 1000);
    expect(estimate).toMatchObject({
      affectedPercent: 25,
      leftAffectedPercent: 50,
      rightAffectedPercent: 0,
      uncertain: true,
      distanceToCut: 0,
    });
  });

  test.each([
    [0, 0],
    [1.99, 0],
    [2, 1],
    [24.99, 1],
    [25, 2],
    [49.99, 2],
    [50, 3],
    [75, 3],
    [75.01, 4],
    [100, 4],
  ])('%f percent is class %i', (percent, wanted) => {
    expect(classOf(percent)).toBe(wanted);
  });

  test('the floor grows with thickness; a lung that is all affected stays all affected, one at the floor has none', () => {
    expect(floorPercent(1, 'soft')).toBeLessThan(floorPercent(8, 'soft'));
    expect(estimateSeverity(grid([-500, -500]), lungs([LEFT, RIGHT]), 8, 0).affectedPercent).toBe(100);
    expect(estimateSeverity(grid([-500, -800]), lungs([LEFT, LEFT]), 50, 0).affectedPercent).toBe(0);
    expect(estimateSeverity(grid([-500, -800]), lungs([LEFT, LEFT]), 20, 0).affectedPercent).toBe(37.5);
  });
});

describe('morphology', () => {
  const plane = fc.array(fc.boolean(), { minLength: 120, maxLength: 120 }).map((bits) => Uint8Array.from(bits, Number));

  test('closing keeps every pixel that was set, and leaves no hole', () => {
    fc.assert(
      fc.property(plane, fc.double({ min: 0, max: 4, noNaN: true }), (bits, radius) => {
        const closed = closeAndFill(bits, 12, 10, radius);
        bits.forEach((bit, at) => expect((closed[at] as number) >= bit).toBe(true));
        expect(closeAndFill(closed, 12, 10, 0)).toEqual(closed);
      }),
    );
  });

  test('components: neighbours share a label, sizes sum up', () => {
    fc.assert(
      fc.property(plane, (bits) => {
        const { labels, sizes } = components(bits, [6, 5, 4]);
        expect(sizes.reduce((a, b) => a + b, 0)).toBe(bits.reduce((a, b) => a + b, 0));
        bits.forEach((bit, at) => {
          expect(labels[at] !== 0).toBe(bit === 1);
          if (at % 6 < 5 && bit === 1 && bits[at + 1] === 1) expect(labels[at]).toBe(labels[at + 1]);
          if (at + 30 < bits.length && bit === 1 && bits[at + 30] === 1) expect(labels[at]).toBe(labels[at + 30]);
        });
      }),
    );
  });
});

test('an empty volume has no lungs', () => {
  const volume = {
    shape: [4, 4, 4] as const,
    spacingMm: [2, 2, 2] as const,
    affine: [-2, 0, 0, 0, 0, 2, 0, 0, 0, 0, 2, 0, 0, 0, 0, 1],
    data: new Int16Array(64),
    paddedVoxels: 0,
    clampedVoxels: 0,
  };
  expect(judgeLungs(volume)).toEqual({ eligible: false, codes: ['LUNGS_NOT_FOUND'] });
});
