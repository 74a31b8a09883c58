// Assesses a study: judges every series by its headers, takes the best one that passes as the volume, and the
// softest for the estimate. One volume in memory at a time: the chosen one is handed over before the next is built.
import { isCode, type Code } from '../kernel/codes.ts';
import { DicomError } from '../dicom/dicom-error.ts';
import {
  assessEligible,
  judgeSource,
  rankSeries,
  softest,
  type EligibleSeries,
  type JudgedSeries,
  type SeriesAssessment,
  type SeriesSource,
} from './assess-series.ts';
import type { Estimate } from './estimate.ts';
import { DEFAULT_LIMITS, type AssessLimits } from './limits.ts';

export interface SeriesToAssess {
  readonly source: SeriesSource;
  readonly modality: string;
  readonly instances: number;
}

export interface SeriesVerdict {
  readonly series: string;
  readonly eligible: boolean;
  readonly codes: readonly Code[];
  readonly slices: number;
}

type Chosen = Extract<SeriesAssessment, { eligible: true }>;

export type StudyAssessment<Stored> =
  | {
      readonly eligible: true;
      readonly verdicts: readonly SeriesVerdict[];
      readonly chosen: Omit<Chosen, 'volume' | 'estimate'>;
      /** What `keep` made of the volume. */
      readonly stored: Stored;
      readonly estimate: Estimate;
      /** The series that the estimate was made on. */
      readonly estimateSeries: string;
    }
  | { readonly eligible: false; readonly verdicts: readonly SeriesVerdict[]; readonly code: Code };

type Unread = { readonly eligible: false; readonly codes: readonly Code[] };

/** A series that can't be read is refused with the reader's code; the others are still judged. */
async function orRefused<T>(work: () => Promise<T>): Promise<T | Unread> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof DicomError)) throw error;
    return { eligible: false, codes: [isCode(error.code) ? error.code : 'BAD_ELEMENT'] };
  }
}

/** The code of the study: that of its largest CT series; NO_ELIGIBLE_SERIES where it has none. */
export function studyCode(verdicts: readonly SeriesVerdict[]): Code {
  const ct = verdicts.filter(({ eligible, codes }) => !eligible && !codes.includes('NOT_CT') && !codes.includes('LOCALIZER'));
  const largest = ct.reduce<SeriesVerdict | undefined>((a, b) => (a === undefined || b.slices > a.slices ? b : a), undefined);
  return largest?.codes[0] ?? 'NO_ELIGIBLE_SERIES';
}

type Kept<Stored> = Omit<Extract<StudyAssessment<Stored>, { eligible: true }>, 'verdicts'>;

/** Assesses one series and hands its volume over; a function of its own, so that the volume is free when it returns. */
async function tryCandidate<Stored>(
  candidate: EligibleSeries,
  keep: (chosen: Chosen) => Promise<Stored>,
  limits: AssessLimits,
  signal?: AbortSignal,
): Promise<Kept<Stored> | Unread> {
  const result = await orRefused(() => assessEligible(candidate, limits, signal));
  if (!result.eligible) return result;
  const stored = await keep(result);
  const { volume: _volume, estimate, ...chosen } = result;
  return { eligible: true, chosen, stored, estimate, estimateSeries: candidate.source.series };
}

/** The estimate on the softest kernel where that is another series than the chosen one and passes too. */
async function withSoftEstimate<Stored>(
  kept: Kept<Stored>,
  untried: readonly EligibleSeries[],
  limits: AssessLimits,
  signal?: AbortSignal,
): Promise<Kept<Stored>> {
  const soft = softest([kept.chosen.series, ...untried]);
  if (soft === undefined || soft === kept.chosen.series) return kept;
  const other = await orRefused(() => assessEligible(soft, limits, signal));
  return other.eligible ? { ...kept, estimate: other.estimate, estimateSeries: soft.source.series } : kept;
}

/**
 * Judges the study. `keep` gets the chosen volume once, before the memory is used for anything else.
 * Throws what `keep` and the sources throw, except DicomError, which refuses a series.
 */
export async function assessStudy<Stored>(
  series: readonly SeriesToAssess[],
  keep: (chosen: Chosen) => Promise<Stored>,
  limits: AssessLimits = DEFAULT_LIMITS,
  signal?: AbortSignal,
): Promise<StudyAssessment<Stored>> {
  const verdicts = new Map<string, SeriesVerdict>();
  const eligible: EligibleSeries[] = [];
  const note = (name: string, slices: number, codes: readonly Code[]): void =>
    void verdicts.set(name, { series: name, eligible: codes.length === 0, codes, slices });
  for (const { source, modality, instances } of series) {
    signal?.throwIfAborted();
    const judged: JudgedSeries | Unread =
      modality === 'CT' ? await orRefused(() => judgeSource(source, limits)) : { eligible: false, codes: ['NOT_CT'] };
    note(source.series, instances, judged.eligible ? [] : judged.codes);
    if (judged.eligible) eligible.push(judged);
  }
  const ranked = rankSeries(eligible);
  for (const [at, candidate] of ranked.entries()) {
    const kept = await tryCandidate(candidate, keep, limits, signal);
    if (!kept.eligible) {
      note(candidate.source.series, candidate.slices, kept.codes);
      continue;
    }
    return { ...(await withSoftEstimate(kept, ranked.slice(at + 1), limits, signal)), verdicts: [...verdicts.values()] };
  }
  return { eligible: false, verdicts: [...verdicts.values()], code: studyCode([...verdicts.values()]) };
}
