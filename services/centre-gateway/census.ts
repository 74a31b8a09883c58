// The census: every study that the PACS itself lists, with what the gateway makes of it. Every account starts here.
import { digestOfParts } from '../kernel/digest.ts';
import { Fault } from '../kernel/fault.ts';
import type { StudyInstanceUid } from '../kernel/ids.ts';
import type { FoundStudy } from '../ports/dicomweb.ts';
import type { CensusStudy } from '../../schemas/events.gen.ts';
import { countOf, saidCount } from './announce.ts';
import { refuseUnnamed } from './intake-store.ts';
import { lookBackFrom } from './link.ts';
import type { CentreLink } from './link.ts';
import type { State, StudyRow } from './state.ts';
import { forgetWait, isInconsistent, isToAnnounceAgain, lastListed, markTouched, noteMissed, settle, studyRow } from './studies.ts';

/** Studies of one census event: far below the broker's 1 MiB. */
const PAGE = 500;
const SEARCH_PAGE = 500;
/** Most studies that are asked for one by one when a listing lacks them. */
const LOOKED_FOR = 8;

export interface CensusDone {
  readonly centre: string;
  readonly censusId: string;
  readonly total: number;
  /** Sequence of its last page in the outbox. */
  readonly outboxSequence: number;
}

/** Lists the PACS and publishes what it lists. @throws Fault of the PACS; then nothing is published. */
export async function takeCensus(state: State, link: CentreLink, signal: AbortSignal): Promise<CensusDone> {
  const takenAtMs = state.nowMs();
  const found = await listAll(link, signal);
  await addOverlooked(state, link, found, signal);
  const unnamed = found.get('' as StudyInstanceUid) ?? [];
  found.delete('' as StudyInstanceUid);
  const uids = [...found.keys()].sort();
  const censusId = link.random.attempt();
  const outboxSequence = state.transaction(() => {
    for (const row of unnamed) refuseUnnamed(state, link.centre, row);
    const studies = uids.map((uid) => censusStudy(state, link, uid, found.get(uid) ?? []));
    const listed = new Set<string>(uids);
    forgetUnlisted(state, link, listed);
    noteMissed(state, link.centre, listed);
    studies.push(...vanishedStudies(state, link, listed));
    notePending(state, link, studies);
    studies.sort((a, b) => (a.studyInstanceUid < b.studyInstanceUid ? -1 : 1));
    const pages = Math.max(1, Math.ceil(studies.length / PAGE));
    const common = {
      centre: link.centre,
      censusId,
      takenAtMs,
      pages,
      total: studies.length,
      digest: digestOfParts(studies.map((s) => s.studyInstanceUid)),
    };
    let last = 0;
    for (let page = 1; page <= pages; page += 1) {
      const value = { ...common, page, studies: studies.slice((page - 1) * PAGE, page * PAGE) };
      last = state.enqueue(link.centre, (sequence) => ({
        type: 'ctstream.clinical.v1.Census',
        value: { ...value, outboxSequence: sequence },
      }));
    }
    state.run(
      'UPDATE centre SET census_ms = ?, census_id = ?, census_total = ? WHERE centre = ?',
      takenAtMs,
      censusId,
      uids.length,
      link.centre,
    );
    return last;
  });
  link.log('info', { centre: link.centre, censusId, total: uids.length }, 'census');
  return { centre: link.centre, censusId, total: uids.length, outboxSequence };
}

async function listAll(link: CentreLink, signal: AbortSignal): Promise<Map<StudyInstanceUid, FoundStudy[]>> {
  const found = new Map<StudyInstanceUid, FoundStudy[]>();
  for await (const row of link.web.studies({ pageSize: SEARCH_PAGE }, signal)) {
    const rows = found.get(row.studyInstanceUid);
    if (rows === undefined) found.set(row.studyInstanceUid, [row]);
    else rows.push(row);
  }
  return found;
}

/**
 * Asks for a few of the studies that the last census still had and this listing lacks: pages shift when a study is deleted
 * while they are read. Those that are there are added. @throws Fault when more are lacking than can be asked for and one of them
 * is there: the listing is cut off, and a census of it would take the rest for gone.
 */
async function addOverlooked(
  state: State,
  link: CentreLink,
  found: Map<StudyInstanceUid, readonly FoundStudy[]>,
  signal: AbortSignal,
): Promise<void> {
  const lacking = lastListed(state, link.centre).filter((uid) => !found.has(uid));
  for (const uid of lacking.slice(0, LOOKED_FOR)) {
    const rows = await link.web.study(uid, signal);
    if (rows.length === 0) continue;
    if (lacking.length > LOOKED_FOR)
      throw new Fault('PACS_ERROR', true, `QIDO-RS studies of centre ${link.centre}: the list lacks studies that the PACS has`);
    found.set(uid, rows);
  }
}

/** The study's line, after what the listing says of it was noted: new, changed, out of scope. */
function censusStudy(state: State, link: CentreLink, uid: StudyInstanceUid, rows: readonly FoundStudy[]): CensusStudy {
  const instanceCount = countOf(rows);
  if (!link.inScope(rows)) {
    noteOutOfScope(state, link, uid, instanceCount);
    return { studyInstanceUid: uid, instanceCount, state: 'outOfScope', code: 'OUT_OF_SCOPE' };
  }
  const known = studyRow(state, link.centre, uid);
  const isAgain = isToAnnounceAgain(state, link.centre, uid);
  if (known === undefined || needsLook(state, link, known, rows, isAgain)) markTouched(state, link.centre, uid, 'census', link.quiet);
  const now = studyRow(state, link.centre, uid);
  // The log may have lost or forgotten the announcement: until the next one the study waits.
  if (now?.revision !== null && now?.revision !== undefined && !isAgain)
    return { studyInstanceUid: uid, instanceCount, state: 'announced', code: null };
  const code = isInconsistent(state, link.centre, uid)
    ? 'PACS_INCONSISTENT'
    : now?.deadline_ms === null
      ? 'NOT_ANNOUNCED'
      : 'NOT_YET_STABLE';
  return { studyInstanceUid: uid, instanceCount, state: 'pending', code };
}

/**
 * A study that waits already keeps its deadline; one that was announced is looked at when its count differs, and when the last look
 * found it gone or out of scope: what came of it meanwhile was settled with that look. Where nothing tells that it grew, neither a
 * count nor a change feed, one of the days that polls look at is looked at each time.
 */
function needsLook(state: State, link: CentreLink, known: StudyRow, rows: readonly FoundStudy[], isAgain: boolean): boolean {
  if (known.deadline_ms !== null) return false;
  if (known.revision === null || known.state !== 'announced' || isAgain) return true;
  const count = saidCount(rows);
  if (count !== undefined) return count !== known.instance_count;
  return link.changes === undefined && rows.some((r) => r.studyDate >= lookBackFrom(link, state.nowMs()));
}

function noteOutOfScope(state: State, link: CentreLink, uid: StudyInstanceUid, instanceCount: number): void {
  state.run(
    `INSERT INTO study (centre, uid, first_seen_ms, noticed_by, state, instance_count) VALUES (?, ?, ?, 'census', 'outOfScope', ?)
     ON CONFLICT (centre, uid) DO UPDATE SET state = 'outOfScope', instance_count = excluded.instance_count, deadline_ms = NULL`,
    link.centre,
    uid,
    state.nowMs(),
    instanceCount,
  );
  forgetWait(state, link.centre, uid);
}

/**
 * Studies that an earlier census listed as pending and that are gone before they were announced: told once more, as
 * nothing that comes, or their account would wait for ever.
 */
function vanishedStudies(state: State, link: CentreLink, listed: ReadonlySet<string>): CensusStudy[] {
  return state
    .all<{ uid: StudyInstanceUid }>('SELECT uid FROM census_pending WHERE centre = ?', link.centre)
    .filter(({ uid }) => !listed.has(uid) && studyRow(state, link.centre, uid)?.sequence == null)
    .map(({ uid }) => ({ studyInstanceUid: uid, instanceCount: 0, state: 'outOfScope', code: 'STUDY_VANISHED' }));
}

/** Keeps the studies that this census calls pending, for the next one. */
function notePending(state: State, link: CentreLink, studies: readonly CensusStudy[]): void {
  state.run('DELETE FROM census_pending WHERE centre = ?', link.centre);
  for (const s of studies)
    if (s.state === 'pending') state.run('INSERT INTO census_pending (centre, uid) VALUES (?, ?)', link.centre, s.studyInstanceUid);
}

/**
 * Studies that are not in the PACS any more have nothing to wait for; of one that ingest found changed it is still to be told, and
 * one with a deadline is looked for then: a listing may miss what is there.
 */
function forgetUnlisted(state: State, link: CentreLink, listed: ReadonlySet<string>): void {
  for (const row of state.all<StudyRow>(
    "SELECT * FROM study WHERE centre = ? AND state IN ('pending', 'outOfScope') AND deadline_ms IS NULL AND status_code IS NOT 'STUDY_CHANGED'",
    link.centre,
  )) {
    if (!listed.has(row.uid)) settle(state, link.centre, row, 'unlisted', null);
  }
}
