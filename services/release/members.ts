// What the row of a version keeps of its studies: for the next change log, and for the event.
import type { PreviousVersion } from './documents.ts';
import type { Entry } from './registry.ts';

/** By the dataset's own ids. */
export function membersOf(entries: readonly Entry[]): PreviousVersion['members'] {
  return entries.map((e) => ({ study: e.study, category: e.category }));
}

export function researchIdsOf(entries: readonly Entry[]): string[] {
  return entries.map((e) => e.member.selected.studyId).sort();
}
