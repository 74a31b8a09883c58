// Text planted into slices, one trial at a time: every size, style, place, font, direction and extent.
import { textDetector } from '../services/anonymise/burned-in-text.ts';
import { planted, PLANT_FONTS, textMask, turned } from '../services/anonymise/pixel-text-plant.ts';
import type { Ink, Mask, Slice } from '../services/anonymise/pixel-text-plant.ts';
import { scanPixels } from '../services/anonymise/pixel-scan.ts';
import type { SeenPixels } from '../services/anonymise/pixels-seen.ts';
import { drawText } from '../services/cli/phantom/font.ts';
import type { Random } from '../services/cli/phantom/random.ts';
import { TAG } from '../services/dicom/dictionary.ts';
import { number } from '../services/dicom/values.ts';
import type { SourceSeries, SourceSlice } from './pixel-sources.ts';

export const SIZES = [8, 10, 12, 14, 16, 20] as const;
export const STYLES = ['saturated', 'slice maximum', 'outlined', 'boxed', 'dark', 'grey'] as const;
export const PLACES = ['air', 'lung', 'mediastinum'] as const;
export const FONTS = ['bitmap', ...PLANT_FONTS] as const;
export const EXTENTS = ['every slice', 'one slice', 'first slice'] as const;

export interface Trial {
  size: (typeof SIZES)[number];
  style: (typeof STYLES)[number];
  place: (typeof PLACES)[number];
  font: (typeof FONTS)[number];
  isTurned: boolean;
  extent: (typeof EXTENTS)[number];
}

/** Every combination that can be read: dark letters only on tissue. */
export const allTrials = (): Trial[] =>
  SIZES.flatMap((size) =>
    STYLES.flatMap((style) =>
      PLACES.filter((place) => style !== 'dark' || place === 'mediastinum').flatMap((place) =>
        FONTS.flatMap((font) =>
          [false, true].flatMap((isTurned) => EXTENTS.map((extent): Trial => ({ size, style, place, font, isTurned, extent }))),
        ),
      ),
    ),
  );

const LATIN = ['IVANOV I.P.', 'ID 4471190', 'PETROVA', 'CHEN LI 120', '12.03.1961', 'KUZNETSOV 64'] as const;
const CYRILLIC = ['СИДОРОВ А.Я.', 'ЩУКИНА', 'ХОЛОД Ю.Э. 77', 'ФЕДОРОВ', 'ЖИЛЬЦОВА'] as const;

const maskOf = ({ size, font, isTurned }: Trial, random: Random): Mask => {
  const upright =
    font === 'bitmap'
      ? bitmapMask(random.pick(LATIN), size)
      : textMask(random.pick([...LATIN, ...CYRILLIC]), font, size, font === 'smooth' ? random.between(0, 0.9) : 0);
  return isTurned ? turned(upright) : upright;
};

/** The phantom's font, each pixel repeated as often as it takes. */
const bitmapMask = (text: string, size: number): Mask => {
  const small = { pixels: new Uint8Array(text.length * 6 * 7), columns: text.length * 6, rows: 7 };
  drawText(small, text, 0, 0, 1, 1);
  const width = Math.ceil((small.columns * size) / 7);
  const cover = new Float32Array(width * size);
  for (let y = 0; y < size; y++)
    for (let x = 0; x < width; x++)
      cover[y * width + x] = small.pixels[Math.floor((y * 7) / size) * small.columns + Math.floor((x * 7) / size)] ?? 0;
  return { width, height: size, cover };
};

interface Numbers {
  intercept: number;
  slope: number;
  bits: number;
  isSigned: boolean;
}

const numbersOf = ({ dataset }: SourceSlice): Numbers => ({
  intercept: number(dataset, TAG.RescaleIntercept) ?? 0,
  slope: number(dataset, TAG.RescaleSlope) ?? 1,
  bits: number(dataset, TAG.BitsStored) ?? 16,
  isSigned: number(dataset, TAG.PixelRepresentation) === 1,
});

const meanIn = ({ pixels, columns }: Slice, x: number, y: number, width: number, height: number): number => {
  let [sum, count] = [0, 0];
  for (let row = y; row < y + height; row += 2)
    for (let column = x; column < x + width; column += 2, count++) sum += pixels[row * columns + column] ?? 0;
  return sum / count;
};

const LUNG_HU = -850;

/** The upper left corner for a box of that size; undefined when it does not fit. */
const placeOf = (source: SourceSlice, place: Trial['place'], mask: Mask, random: Random): readonly [number, number] | undefined => {
  const { slice } = source;
  const { intercept, slope } = numbersOf(source);
  const [right, lower] = [slice.columns - mask.width - 2, slice.rows - mask.height - 2];
  if (right < 2 || lower < 2) return undefined;
  if (place === 'air')
    return [
      random.chance(0.5) ? random.whole(1, Math.min(12, right)) : right,
      random.chance(0.5) ? random.whole(1, Math.min(12, lower)) : lower,
    ];
  let best: { at: readonly [number, number]; cost: number } | undefined;
  const step = Math.max(4, slice.columns >> 5);
  for (let y = slice.rows >> 3; y <= Math.min(lower, (slice.rows * 7) / 8); y += step)
    for (let x = slice.columns >> 3; x <= Math.min(right, (slice.columns * 7) / 8); x += step) {
      const hu = meanIn(slice, x, y, mask.width, mask.height) * slope + intercept;
      const cost = (place === 'lung' ? Math.abs(hu - LUNG_HU) : -hu) * (1 + random.next() / 10);
      if (best === undefined || cost < best.cost) best = { at: [x, y], cost };
    }
  return best?.at;
};

const SATURATED_HU = 3071;
const GREY_HU = 300;

const inkOf = (source: SourceSlice, style: Trial['style'], [x, y]: readonly [number, number], mask: Mask): Ink => {
  const { pixels } = source.slice;
  const { intercept, slope, bits, isSigned } = numbersOf(source);
  const limit = (value: number): number => {
    const least = isSigned ? -(2 ** (bits - 1)) : 0;
    return Math.max(least, Math.min(least + 2 ** bits - 1, Math.round(value)));
  };
  const [least, most] = [pixels.reduce((a, b) => Math.min(a, b)), pixels.reduce((a, b) => Math.max(a, b))];
  const saturated = limit((SATURATED_HU - intercept) / slope);
  switch (style) {
    case 'saturated':
      return { value: saturated };
    case 'slice maximum':
      return { value: most };
    case 'outlined':
      return { value: saturated, outline: least };
    case 'boxed':
      return { value: saturated, box: least };
    case 'dark':
      return { value: least };
    case 'grey':
      return { value: limit(meanIn(source.slice, x, y, mask.width, mask.height) + GREY_HU / slope) };
  }
};

export const seenOf = ({ pixels }: Slice): SeenPixels => {
  const bytes = new Uint8Array(Uint16Array.from(pixels).buffer);
  return { bytes, scan: scanPixels(bytes) };
};

/** Slices that a trial in every slice looks at: more are not needed to tell. */
const MOST_SLICES = 8;

/** Whether planted text is found; undefined when it does not fit. Slices without text add nothing to a finding. */
export const isFound = (series: SourceSeries, trial: Trial, random: Random): boolean | undefined => {
  const middle = series.slices.length >> 1;
  const from = trial.extent === 'first slice' ? 0 : trial.extent === 'one slice' ? middle : Math.max(0, middle - MOST_SLICES / 2);
  const first = series.slices[from];
  if (first === undefined) return undefined;
  const mask = maskOf(trial, random);
  const at = placeOf(first, trial.place, mask, random);
  if (at === undefined) return undefined;
  const ink = inkOf(first, trial.style, at, mask);
  const detector = textDetector();
  for (const { slice, dataset } of series.slices.slice(from, trial.extent === 'every slice' ? from + MOST_SLICES : from + 1)) {
    detector.add('series', dataset, seenOf(planted(slice, mask, at, ink)));
    if (detector.found().length > 0) return true;
  }
  return false;
};
