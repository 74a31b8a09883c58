// The centre's own rule of what may leave it, decided at the source: the rest is counted and never pulled.
import type { FoundStudy } from '../ports/dicomweb.ts';

export interface ScopeRule {
  /** A study comes when it has one of these modalities, or when the PACS does not say which it has. */
  readonly modalities?: readonly string[] | undefined;
  /** StudyDate limits, YYYYMMDD, both included. A study without a date is outside of any limit. */
  readonly studyDateFrom?: string | undefined;
  readonly studyDateTo?: string | undefined;
  /** Regular expression on StudyDescription, case ignored. */
  readonly descriptionPattern?: string | undefined;
  /** PatientIDs that asked not to take part. */
  readonly optOutPatientIds?: readonly string[] | undefined;
}

export type InScope = (rows: readonly FoundStudy[]) => boolean;

/** The rule as a test on a study's QIDO-RS rows. @throws SyntaxError when the pattern is no regular expression. */
export function scopeRule(rule: ScopeRule | undefined): InScope {
  if (rule === undefined) return () => true;
  const pattern = rule.descriptionPattern === undefined ? undefined : new RegExp(rule.descriptionPattern, 'iu');
  const modalities = rule.modalities === undefined ? undefined : new Set(rule.modalities);
  const optOut = new Set(rule.optOutPatientIds);
  const inDates = (date: string): boolean => {
    if (rule.studyDateFrom === undefined && rule.studyDateTo === undefined) return true;
    const day = date.replaceAll(/[^0-9]/g, '');
    return day.length === 8 && day >= (rule.studyDateFrom ?? '') && day <= (rule.studyDateTo ?? '99999999');
  };
  return (rows) => {
    // Someone who opted out is in the study, under whatever row: none of it comes.
    if (rows.some((r) => optOut.has(r.patientId.trim()))) return false;
    const found = rows.flatMap((r) => r.modalities);
    if (modalities !== undefined && found.length > 0 && !found.some((m) => modalities.has(m))) return false;
    return rows.some((r) => inDates(r.studyDate) && (pattern === undefined || pattern.test(r.studyDescription)));
  };
}
