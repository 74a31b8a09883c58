// Severity estimate from fixed HU bands in the lung mask. No learned weights; it orders the reading list and
// fills quotas, and is never a label.
import type { Grid } from './grid.ts';
import { LEFT, RIGHT, type Lungs } from './lungs.ts';
import type { KernelClass } from './header-gates.ts';

/** HU bands: Colombi 2020 (well aerated); 10.1186/s12879-021-06556-z (the -300 cut). */
const AERATED = [-950, -700] as const;
const CONSOLIDATION = [-300, 100] as const;

/** Upper bounds of CT-0 to CT-3 in percent: CT-0 < 2, CT-1 < 25, CT-2 < 50, CT-3 <= 75, CT-4 above. */
const CUTS = [2, 25, 50, 75] as const;

export interface Estimate {
  readonly lungMl: number;
  /** Percent of the lung: -950..-700 HU, -700..-300, -300..100. */
  readonly aeratedPercent: number;
  readonly groundGlassPercent: number;
  readonly consolidationPercent: number;
  /** Ground glass and consolidation in percent of the lung, the floor taken off; whole and per lung. */
  readonly affectedPercent: number;
  readonly leftAffectedPercent: number | undefined;
  readonly rightAffectedPercent: number | undefined;
  /** What vessels and partial volume give in a healthy lung of this kernel and thickness. */
  readonly floorPercent: number;
  readonly class: number;
  /** Percent points to the nearest cut between classes. */
  readonly distanceToCut: number;
  /** Lung under 1 L (white-out lungs look so), or nearer to a cut than the method's own spread. */
  readonly uncertain: boolean;
}

/**
 * Nearer to a cut than this is within the method's spread: what a kernel alone shifts (PMC7843021: up to 14% of the
 * value), and at most what the estimate missed the phantom's truth by (5 points).
 */
const SPREAD_PART = 0.14;
const SPREAD_POINTS = 5;

/**
 * Floor by slice thickness (mm) and kernel, percent: vessels and edges in a lung without disease, as measured on the
 * healthy phantom (512 x 512, 2.5 and 5 mm: 7.7 to 8.4 soft, 6.4 to 7.0 sharp).
 */
export function floorPercent(thicknessMm: number, kernel: KernelClass): number {
  const byThickness = thicknessMm <= 1.5 ? 7 : thicknessMm <= 3 ? 8 : thicknessMm <= 5 ? 8.5 : 10;
  return kernel === 'sharp' ? byThickness - 1 : byThickness;
}

/**
 * Takes the floor off: it stands in the part of the lung that is healthy only, raw = a + (1 - a) * floor. Taking
 * it off whole would bring a lung that is all affected under the last cut.
 */
function withoutFloor(rawPercent: number, floor: number): number {
  return Math.max(0, (100 * (rawPercent - floor)) / (100 - floor));
}

/** Class 0..4 of a percentage. */
export function classOf(percent: number): number {
  if (percent > CUTS[3]) return 4;
  if (percent >= CUTS[2]) return 3;
  if (percent >= CUTS[1]) return 2;
  return percent >= CUTS[0] ? 1 : 0;
}

interface Counts {
  lung: number;
  aerated: number;
  groundGlass: number;
  consolidation: number;
}

function count(grid: Grid, lungs: Lungs, side: number): Counts {
  const counts: Counts = { lung: 0, aerated: 0, groundGlass: 0, consolidation: 0 };
  for (let at = 0; at < grid.hu.length; at++) {
    if (lungs.mask[at] !== side) continue;
    const hu = grid.hu[at] as number;
    // Above the consolidation band is bone, metal or contrast that the closing took in.
    if (hu > CONSOLIDATION[1]) continue;
    counts.lung++;
    if (hu >= CONSOLIDATION[0]) counts.consolidation++;
    else if (hu >= AERATED[1]) counts.groundGlass++;
    else if (hu >= AERATED[0]) counts.aerated++;
  }
  return counts;
}

const round = (value: number): number => Math.round(value * 100) / 100;

/** The estimate; percentages are rounded to two decimals. `uncertainMl` is the least trusted lung volume. */
export function estimateSeverity(grid: Grid, lungs: Lungs, floor: number, uncertainMl: number): Estimate {
  const left = count(grid, lungs, LEFT);
  const right = count(grid, lungs, RIGHT);
  const all = (key: keyof Counts): number => left[key] + right[key];
  const percent = (part: number): number => (all('lung') === 0 ? 0 : round((100 * part) / all('lung')));
  const affected = ({ lung, groundGlass, consolidation }: Counts): number | undefined =>
    lung === 0 ? undefined : round(withoutFloor((100 * (groundGlass + consolidation)) / lung, floor));
  const whole = affected({ lung: all('lung'), aerated: 0, groundGlass: all('groundGlass'), consolidation: all('consolidation') }) ?? 0;
  const lungMl = (all('lung') * grid.spacingMm[0] * grid.spacingMm[1] * grid.spacingMm[2]) / 1000;
  const nearest = CUTS.reduce((a, b) => (Math.abs(b - whole) < Math.abs(a - whole) ? b : a));
  const distanceToCut = round(Math.abs(nearest - whole));
  return {
    lungMl: round(lungMl),
    aeratedPercent: percent(all('aerated')),
    groundGlassPercent: percent(all('groundGlass')),
    consolidationPercent: percent(all('consolidation')),
    affectedPercent: whole,
    leftAffectedPercent: affected(left),
    rightAffectedPercent: affected(right),
    floorPercent: floor,
    class: classOf(whole),
    distanceToCut,
    uncertain: lungMl < uncertainMl || distanceToCut < Math.min(SPREAD_POINTS, nearest * SPREAD_PART),
  };
}
