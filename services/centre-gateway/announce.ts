// At a study's deadline: is it in scope, does it stand still, is this revision new? Then it is announced.
import { revisionOf } from '../kernel/digest.ts';
import type { ListedInstance } from '../kernel/digest.ts';
import type { ClinicalRevision } from '../kernel/ids.ts';
import type { FoundInstance, FoundStudy } from '../ports/dicomweb.ts';
import type { CentreLink } from './link.ts';
import type { State, StudyRow } from './state.ts';
import {
  isToAnnounceAgain,
  isUntouched,
  markAnnounced,
  nextStudySequence,
  noteInconsistent,
  postpone,
  setBack,
  settle,
  studyRow,
} from './studies.ts';

/** What the PACS shows of a study. */
interface Look {
  readonly list: readonly FoundInstance[];
  readonly revision: ClinicalRevision;
  /** Why that can't be announced; the study still moves, or the PACS does not agree with itself. */
  readonly differs: string | undefined;
}

/**
 * The study counted twice with a pause between. A list that is longer than the server's own number need not be whole either: the
 * number may be out of date, or always 0, and the list cut off all the same.
 */
async function lookTwice(link: CentreLink, rows: readonly FoundStudy[], row: StudyRow, signal: AbortSignal): Promise<Look> {
  const said = saidCount(rows);
  const first = said ?? (await link.web.instances(row.uid, signal)).length;
  await link.clock.sleep(link.countPauseMs, signal);
  const list = await link.web.instances(row.uid, signal);
  if (list.length !== first || list.length === 0)
    return { list, revision: revisionOf(list), differs: `it counts ${first} instances and lists ${list.length}` };
  const hashed = await withHashes(link, row, list, signal);
  const bare = hashed.filter((i) => i.hash === '').length;
  return { list, revision: revisionOf(hashed), differs: bare === 0 ? undefined : `${bare} of ${list.length} instances have no MD5` };
}

/** With the server's hash of each instance, where it gives them; empty where one is missing. */
async function withHashes(
  link: CentreLink,
  row: StudyRow,
  list: readonly FoundInstance[],
  signal: AbortSignal,
): Promise<readonly ListedInstance[]> {
  if (link.changes === undefined) return list;
  const hashes = await link.changes.hashes(row.uid, signal);
  return list.map((i) => ({
    seriesInstanceUid: i.seriesInstanceUid,
    sopInstanceUid: i.sopInstanceUid,
    hash: hashes.get(i.sopInstanceUid) ?? '',
  }));
}

/** A study that still moves waits for its quiet time; one that stands still waits for its PACS, each time longer. */
function putOff(state: State, link: CentreLink, row: StudyRow, differs: string, revision: ClinicalRevision): void {
  const { centre, quiet } = link;
  if (!noteInconsistent(state, centre, row.uid, `${differs}|${revision}`)) return postpone(state, centre, row, quiet);
  // Without the study: a log is read by more people than the status page.
  link.log('warn', { centre, code: 'PACS_INCONSISTENT', fault: differs }, 'the PACS does not agree with itself on a study');
  setBack(state, centre, row, quiet);
}

/** Looks at a due study and announces it when it is new. @throws Fault of the PACS; the study stays due. */
export async function announceDue(state: State, link: CentreLink, row: StudyRow, signal: AbortSignal): Promise<void> {
  const { centre } = link;
  const rows = await link.web.study(row.uid, signal);
  if (rows.length === 0) {
    // Ingest found it changed and its account waits for what comes next: that is nothing, and ingest will say so.
    if (row.status_code === 'STUDY_CHANGED') return announce(state, link, row, { rows, list: [], revision: revisionOf([]) });
    return settle(state, centre, row, 'unlisted', null);
  }
  if (!link.inScope(rows)) return settle(state, centre, row, 'outOfScope', countOf(rows));
  const { list, revision, differs } = await lookTwice(link, rows, row, signal);
  if (differs !== undefined) return putOff(state, link, row, differs, revision);
  // Read now: ingest may have said meanwhile that it vanished, which moves no deadline.
  if (revision === studyRow(state, centre, row.uid)?.revision && !isToAnnounceAgain(state, centre, row.uid))
    return settle(state, centre, row, 'announced', list.length);
  await announce(state, link, row, { rows, list, revision });
}

async function announce(
  state: State,
  link: CentreLink,
  row: StudyRow,
  o: { rows: readonly FoundStudy[]; list: readonly FoundInstance[]; revision: ClinicalRevision },
): Promise<void> {
  const { centre } = link;
  const { rows, list, revision } = o;
  await link.span('announce', async (traceparent) => {
    const announced = state.transaction(() => {
      // An instance that came while we counted set a new deadline: that one decides.
      if (!isUntouched(state, centre, row)) return false;
      const sequence = nextStudySequence(state, centre);
      const value = {
        centre,
        studyInstanceUid: row.uid,
        revision,
        sequence,
        instanceCount: list.length,
        seriesCount: new Set(list.map((i) => i.seriesInstanceUid)).size,
        modalities: [...new Set(rows.flatMap((r) => r.modalities))].sort(),
        noticedBy: row.noticed_by,
      };
      state.enqueue(centre, () => ({ type: 'ctstream.clinical.v1.StudyAvailable', value }), traceparent);
      markAnnounced(state, centre, row, { revision, sequence, instanceCount: list.length });
      return true;
    });
    if (announced) link.count('gateway_announced_total');
  });
}

/** The largest number that an event can tell. */
export const LARGEST_INT = 2_147_483_647;

/** Instances of a study over all its rows, 0 when the server does not say. */
export function countOf(rows: readonly FoundStudy[]): number {
  return Math.min(
    rows.reduce((sum, r) => sum + (r.instanceCount ?? 0), 0),
    LARGEST_INT,
  );
}

/** The same; undefined when the server does not say it of each row. */
export function saidCount(rows: readonly FoundStudy[]): number | undefined {
  return rows.every((r) => r.instanceCount !== undefined) ? countOf(rows) : undefined;
}
