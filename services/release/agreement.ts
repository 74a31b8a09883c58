// Agreement of the first two independent reads of each study. Adjudications and third reads do not count:
// who reads them knows, or may guess, that others differed.

export interface Agreement {
  /** Studies with two independent reads. */
  readonly pairs: number;
  /** Share of pairs with equal grades; null without pairs. */
  readonly raw: number | null;
  /** Cohen's kappa with quadratic weights (Cohen 1968); null without pairs or when chance alone explains all. */
  readonly quadraticWeightedKappa: number | null;
  /** `confusion[a][b]`: pairs whose first read is CT-a and whose second is CT-b. */
  readonly confusion: readonly (readonly number[])[];
}

const CLASSES = 5;

/** Six digits after the point: files must not differ by the order of a sum. */
function rounded(x: number): number {
  return Math.round(x * 1e6) / 1e6;
}

/** @param pairs grades 0 to 4 of first and second read. */
export function agreementOf(pairs: readonly (readonly [number, number])[]): Agreement {
  const confusion = Array.from({ length: CLASSES }, () => Array.from({ length: CLASSES }, () => 0));
  for (const [a, b] of pairs) {
    const row = confusion[a];
    if (row?.[b] === undefined) throw new Error(`grades ${a} and ${b} are not 0 to 4`);
    row[b] += 1;
  }
  const n = pairs.length;
  if (n === 0) return { pairs: 0, raw: null, quadraticWeightedKappa: null, confusion };
  const rows = confusion.map((row) => row.reduce((s, x) => s + x, 0));
  const columns = confusion.map((_, j) => confusion.reduce((s, row) => s + (row[j] ?? 0), 0));
  let observed = 0;
  let expected = 0;
  let equal = 0;
  for (let i = 0; i < CLASSES; i += 1) {
    equal += confusion[i]?.[i] ?? 0;
    for (let j = 0; j < CLASSES; j += 1) {
      const weight = (i - j) ** 2;
      observed += weight * (confusion[i]?.[j] ?? 0);
      expected += (weight * (rows[i] ?? 0) * (columns[j] ?? 0)) / n;
    }
  }
  return { pairs: n, raw: rounded(equal / n), quadraticWeightedKappa: expected === 0 ? null : rounded(1 - observed / expected), confusion };
}
