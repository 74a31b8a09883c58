// Text to plant into slices, for tests and figures of the detector: letters of our own drawn as thin strokes,
// bold or smooth, Latin, digits and Cyrillic. No font file is used.

/** Strokes on a grid 4 wide and 6 high, points as column and row, strokes parted by a space. */
const SHAPES: Readonly<Record<string, string>> = {
  А: '0602204246 0444',
  Б: '40000636454433 03334445',
  В: '00303142332403 334445360600',
  Г: '400006',
  Д: '0706464717 160110304046',
  Е: '4000064603 0333',
  Ж: '0006 4046 2026 0343 0026 4006',
  З: '01103041324345360605 1232',
  И: '00064046 0640',
  К: '0006 400346',
  Л: '0616203046',
  М: '0600234046',
  Н: '0006 4046 0343',
  О: '1030414536160501',
  П: '06004046',
  Р: '0600304132330313',
  С: '4130100105163645',
  Т: '0040 2026',
  У: '000243 404516',
  Ф: '2026 1130414434140301',
  Х: '0046 4006',
  Ц: '00064647 40460646',
  Ч: '000343 4046',
  Ш: '00064640 2026',
  Щ: '0006464740 2026',
  Ы: '000626350323 4046',
  Ь: '0006364533',
  Э: '0110304145361605 1343',
  Ю: '0006 0313 2040462620',
  Я: '46401001023242 2306',
  D: '00063645413000',
  F: '400006 0333',
  G: '4130100105163645431323',
  I: '2026 1030 1636',
  J: '3035261605',
  L: '000646',
  N: '06004640',
  Q: '1030414536160501 2446',
  R: '0600304132330313 2346',
  S: '41301001021232434536160501',
  U: '000516364540',
  V: '002640',
  W: '0016233640',
  Y: '0023 4023 2326',
  Z: '00400646',
  '0': '1030414536160501 4105',
  '1': '112026 1636',
  '2': '01103041420646',
  '3': '0110304132434536160512 1232',
  '4': '36300444',
  '5': '400002324345361605',
  '6': '30110405163645443303',
  '7': '004016',
  '8': '1232414030100112 12030516364543321212',
  '9': '4313020110304143360616',
  '.': '1516',
  '-': '0343',
  ':': '2122 2425',
  '/': '4006',
};
/** Latin letters that are drawn as the Cyrillic ones that look like them. */
const ALIKE = 'AАBВCСEЕHНKКMМOОPРTТXХ';

type Point = readonly [x: number, y: number];

const strokesOf = (sign: string): Point[][] => {
  const alike = ALIKE.indexOf(sign);
  const shape = SHAPES[alike >= 0 && alike % 2 === 0 ? (ALIKE[alike + 1] ?? '') : sign] ?? '';
  return shape.split(' ').map((stroke) => (stroke.match(/\d\d/g) ?? []).map((pair): Point => [Number(pair[0]), Number(pair[1])]));
};

/** How much of each pixel ink covers, 0 to 1, row by row. */
export interface Mask {
  width: number;
  height: number;
  cover: Float32Array;
}

export const PLANT_FONTS = ['thin', 'bold', 'smooth'] as const;
export type PlantFont = (typeof PLANT_FONTS)[number];

const SAMPLES = 4;

const distanceTo = (x: number, y: number, [ax, ay]: Point, [bx, by]: Point): number => {
  const [dx, dy] = [bx - ax, by - ay];
  const along = dx === 0 && dy === 0 ? 0 : Math.max(0, Math.min(1, ((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy)));
  return Math.hypot(x - ax - along * dx, y - ay - along * dy);
};

/** One line of text with capitals `size` pixels high. `shift` moves smooth letters by a part of a pixel. */
export const textMask = (text: string, font: PlantFont, size: number, shift = 0): Mask => {
  const thickness = font === 'thin' ? 1 : font === 'bold' ? Math.max(2, Math.round(size / 6)) : Math.max(1.2, size / 9);
  const [high, wide] = [size - thickness, Math.round((size * 2) / 3) - thickness];
  const advance = Math.ceil(wide + thickness + Math.max(2, size / 6));
  const signs = [...text.toUpperCase()];
  const mask = emptyMask(signs.length * advance + 2, Math.ceil(size + high / 6 + 2));
  for (const [n, sign] of signs.entries()) {
    const at = ([x, y]: Point): Point => [
      n * advance + 1 + thickness / 2 + snap((x / 4) * wide, font) + shift,
      1 + thickness / 2 + snap((y / 6) * high, font) + shift,
    ];
    for (const stroke of strokesOf(sign)) drawStroke(mask, stroke.map(at), font === 'thin' ? 0 : thickness / 2, font === 'smooth');
  }
  return mask;
};

const snap = (value: number, font: PlantFont): number => (font === 'smooth' ? value : Math.round(value));

const emptyMask = (width: number, height: number): Mask => ({ width, height, cover: new Float32Array(width * height) });

const drawStroke = (mask: Mask, points: readonly Point[], radius: number, isSmooth: boolean): void => {
  for (const [i, to] of points.entries()) {
    const from = points[i - 1];
    if (from === undefined) continue;
    if (radius === 0) drawThin(mask, from, to);
    else drawThick(mask, from, to, radius, isSmooth);
  }
};

const drawThin = (mask: Mask, from: Point, to: Point): void => {
  const steps = Math.max(1, Math.round(Math.max(Math.abs(to[0] - from[0]), Math.abs(to[1] - from[1]))));
  for (let i = 0; i <= steps; i++) {
    const x = Math.floor(from[0] + ((to[0] - from[0]) * i) / steps);
    const y = Math.floor(from[1] + ((to[1] - from[1]) * i) / steps);
    mask.cover[y * mask.width + x] = 1;
  }
};

const drawThick = (mask: Mask, from: Point, to: Point, radius: number, isSmooth: boolean): void => {
  const least = (axis: 0 | 1): number => Math.max(0, Math.floor(Math.min(from[axis], to[axis]) - radius));
  const most = (axis: 0 | 1, size: number): number => Math.min(size - 1, Math.ceil(Math.max(from[axis], to[axis]) + radius));
  for (let y = least(1); y <= most(1, mask.height); y++)
    for (let x = least(0); x <= most(0, mask.width); x++) {
      let inside = 0;
      const samples = isSmooth ? SAMPLES : 1;
      for (let s = 0; s < samples * samples; s++) {
        const [sx, sy] = [x + ((s % samples) + 0.5) / samples, y + (Math.floor(s / samples) + 0.5) / samples];
        if (distanceTo(sx, sy, from, to) <= radius) inside++;
      }
      const at = y * mask.width + x;
      mask.cover[at] = Math.max(mask.cover[at] ?? 0, inside / (samples * samples));
    }
};

/** The mask as read from below. */
export const turned = ({ width, height, cover }: Mask): Mask => {
  const result = emptyMask(height, width);
  for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) result.cover[(width - 1 - x) * height + y] = cover[y * width + x] ?? 0;
  return result;
};

/** A slice as signed numbers, row by row. */
export interface Slice {
  rows: number;
  columns: number;
  pixels: Int32Array;
}

export interface Ink {
  value: number;
  /** Value of a line one pixel wide around the letters. */
  outline?: number;
  /** Value of a box behind the letters. */
  box?: number;
}

/** A copy of the slice with the mask drawn at (x, y); what falls outside is cut off. */
export const planted = (slice: Slice, mask: Mask, [x, y]: Point, ink: Ink): Slice => {
  const pixels = slice.pixels.slice();
  for (let my = -1; my <= mask.height; my++)
    for (let mx = -1; mx <= mask.width; mx++) {
      const [px, py] = [x + mx, y + my];
      if (px < 0 || py < 0 || px >= slice.columns || py >= slice.rows) continue;
      const at = py * slice.columns + px;
      let ground = ink.box ?? pixels[at] ?? 0;
      if (ink.outline !== undefined && isBeside(mask, mx, my)) ground = ink.outline;
      const cover = mx < 0 || my < 0 || mx >= mask.width || my >= mask.height ? 0 : (mask.cover[my * mask.width + mx] ?? 0);
      pixels[at] = Math.round(ground + (ink.value - ground) * cover);
    }
  return { ...slice, pixels };
};

const isBeside = (mask: Mask, x: number, y: number): boolean => {
  for (let dy = -1; dy <= 1; dy++)
    for (let dx = -1; dx <= 1; dx++) {
      const [mx, my] = [x + dx, y + dy];
      if (mx >= 0 && my >= 0 && mx < mask.width && my < mask.height && (mask.cover[my * mask.width + mx] ?? 0) > 0.5) return true;
    }
  return false;
};
