// What the row of a version keeps of its studies: for the next change log, and for the event.
import topicsFile from '../../schemas/topics.json' with { type: 'json' };
import type { PreviousVersion, VersionCut } from './documents.ts';
import type { Entry } from './registry.ts';

/** By the dataset's own ids. */
export function membersOf(entries: readonly Entry[]): PreviousVersion['members'] {
  return entries.map((e) => ({ study: e.study, category: e.category }));
}

const ROOM_BYTES = 65_536;

/** Most bytes of studies and cut in DatasetReleased: what its topic takes, less room for the rest and the frame. */
const TOLD_BYTES = (topicsFile.topics.find((t) => t.name === 'ct.research.dataset-released.v1')?.maxMessageBytes ?? 1_048_576) - ROOM_BYTES;

/** Whether one event can tell of a version with these studies and this cut. As JSON, which is never shorter than what is sent. */
export function canBeTold(studies: readonly string[], cut: readonly VersionCut[]): boolean {
  return Buffer.byteLength(JSON.stringify([studies, cut])) <= TOLD_BYTES;
}

export function researchIdsOf(entries: readonly Entry[]): string[] {
  return entries.map((e) => e.member.selected.studyId).sort();
}
