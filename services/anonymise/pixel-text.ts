// Judges one slice: rows of letters in it, and the shapes that may turn out to be letters once other slices have them too.
import type { Look, PixelScan } from './pixel-scan.ts';
import { boxAround, MOST_SHAPES, rowBoxes } from './pixel-text-lines.ts';
import { evenShapes } from './pixel-text-shapes.ts';
import { lineShapes } from './pixel-text-strokes.ts';
import type { Box, Shape } from './pixel-text-shapes.ts';

/** Contrast in HU of letters of one exact value: less can't be read in a lung window either. */
export const EVEN_CONTRAST_HU = 80;
/** The same of the slice's least value, which is also where noise of air is cut off. */
const EDGE_CONTRAST_HU = 150;
/** Contrast in HU of lines of any values: bone and vessels reach it in points, not in rows of letters. */
export const LINE_CONTRAST_HU = 450;

/** Letters that a row needs: of a value that only they have; of the slice's least or greatest, as metal and air have; of lines whose
 * brightest or darkest pixels are alike, as those of one ink are; of lines of any values. */
const LETTERS = { own: 3, extreme: 4, inkedLine: 4, line: 5 } as const;
/** Where in the slice's range of values bright letters begin; lines below are vessels in lung. */
const INK_STARTS = 0.33;
/** How much of the slice's range of values letters of one ink may differ by, at their brightest or darkest. */
const INK_SLACK = 0.12;
/** Shapes of one slice that are remembered for comparing with others. */
const MOST_REMEMBERED = 200;

export interface SliceText {
  /** Where rows of letters stand. */
  boxes: Box[];
  /** Shapes of one exact value; whether it is the slice's least or greatest. */
  shapes: (Shape & { isExtreme: boolean })[];
}

export interface SliceNumbers {
  rows: number;
  columns: number;
  /** Stored units of one HU. */
  unitsPerHu: number;
}

/** How far marks have to stand out in a slice, in its stored units. */
export const markContrasts = ({ least, most }: PixelScan, { unitsPerHu }: SliceNumbers): Omit<Look, 'rows' | 'columns'> => {
  // Where all grey values together have hardly more contrast, as in 8 bits, letters do not have it either.
  const range = most - least;
  const even = (hu: number): number => Math.floor(Math.min(hu * unitsPerHu, Math.max(8, range / 8)));
  return {
    contrast: even(EVEN_CONTRAST_HU),
    edge: even(EDGE_CONTRAST_HU),
    ink: Math.floor(least + range * INK_STARTS),
    ridge: Math.floor(Math.min(LINE_CONTRAST_HU * unitsPerHu, Math.max(24, range / 2))),
  };
};

/** What one slice shows by itself. `scan` is of its pixels, as numbers in order. */
export const textOfSlice = (scan: PixelScan, numbers: SliceNumbers): SliceText => {
  const { rows, columns } = numbers;
  const contrasts = markContrasts(scan, numbers);
  const { words, runs, bright, dark } = scan.marks({ rows, columns, ...contrasts });
  const ground = { words, rows, columns };
  const shapes = evenShapes(ground, runs, contrasts, scan.least).map((shape) => ({
    ...shape,
    isExtreme: shape.value === scan.least || shape.value === scan.most,
  }));
  const slack = (scan.most - scan.least) * INK_SLACK;
  const boxes = [
    ...evenRows(shapes),
    ...lineRows(lineShapes(ground, bright, true), slack),
    ...lineRows(lineShapes(ground, dark, false), slack),
  ];
  return { boxes, shapes: shapes.slice(0, MOST_REMEMBERED) };
};

const evenRows = (shapes: SliceText['shapes']): Box[] =>
  [...Map.groupBy(shapes, ({ value }) => value).values()].flatMap((same) => {
    // Noise leaves no such shapes, so that very many of one value are a page of text.
    if (same.length > MOST_SHAPES) return [boxAround(same.slice(0, MOST_SHAPES))];
    const needed = same[0]?.isExtreme === true ? LETTERS.extreme : LETTERS.own;
    return boxesOf(same, needed);
  });

const lineRows = (shapes: readonly Shape[], slack: number): Box[] =>
  rowBoxes(shapes, [
    { needed: LETTERS.line, slack: Number.POSITIVE_INFINITY },
    { needed: LETTERS.inkedLine, slack },
  ]);

const boxesOf = (shapes: readonly Shape[], needed: number): Box[] => rowBoxes(shapes, [{ needed, slack: 0 }]);

/** A shape as other slices of the series may have it too. */
export interface RepeatedShape extends Box {
  value: number;
  isExtreme: boolean;
}

/** Shapes that have to be repeated: of a value that only they have; of the least or greatest, in a row. */
const REPEATED = { own: 3, extreme: 3 } as const;

/** Where shapes stand that several slices have, each in the same pixels: nothing in a body stays like that, cut-off metal apart. */
export const repeatedText = (shapes: readonly RepeatedShape[]): Box[] =>
  [...Map.groupBy(shapes, ({ value }) => value).values()].flatMap((same) => {
    if (same.some(({ isExtreme }) => isExtreme))
      return boxesOf(
        same.map((shape) => ({ ...shape, area: 0 })),
        REPEATED.extreme,
      );
    return same.length >= REPEATED.own ? [boxAround(same)] : [];
  });
