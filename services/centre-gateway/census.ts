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
import type { State } from './state.ts';
import { lastListed, markAllOutOfScope, markAllTouched, notedOf, noteMissed, notePending, settle } from './studies.ts';
import type { Noted, NotedStudy } from './studies.ts';

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
    const noted = notedOf(state, link.centre);
    const nowMs = state.nowMs();
    const lines = uids.map((uid) => lineOf(link, noted, uid, found.get(uid) ?? [], nowMs));
    noteListed(state, link, lines);
    const isListed = (uid: StudyInstanceUid): boolean => found.has(uid);
    noteUnlisted(state, link, noted, isListed);
    const studies = [...lines.map((line) => line.study), ...vanishedStudies(noted, isListed)];
    studies.sort((a, b) => (a.studyInstanceUid < b.studyInstanceUid ? -1 : 1));
    notePending(state, link.centre, noted.pending, new Set(studies.filter((s) => s.state === 'pending').map((s) => s.studyInstanceUid)));
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

interface Line {
  readonly study: CensusStudy;
  /** What the listing says of it is to be noted: it is new, changed, or out of scope since. */
  readonly isNew: boolean;
}

/** The study's line in the census. */
function lineOf(link: CentreLink, noted: Noted, uid: StudyInstanceUid, rows: readonly FoundStudy[], nowMs: number): Line {
  const instanceCount = countOf(rows);
  const known = noted.studies.get(uid);
  if (!link.inScope(rows)) {
    const isKnown = known?.state === 'outOfScope' && known.deadline_ms === null && known.instance_count === instanceCount;
    const isAwaited = noted.asked.has(uid) || noted.inconsistent.has(uid);
    return { study: { studyInstanceUid: uid, instanceCount, state: 'outOfScope', code: 'OUT_OF_SCOPE' }, isNew: !isKnown || isAwaited };
  }
  const isAgain = noted.asked.has(uid) || noted.missed.has(uid);
  const isNew = known === undefined || needsLook(link, known, rows, isAgain, nowMs);
  // The log may have lost or forgotten the announcement: until the next one the study waits.
  if (known?.has_revision === 1 && !isAgain)
    return { study: { studyInstanceUid: uid, instanceCount, state: 'announced', code: null }, isNew };
  const code = !isNew && noted.inconsistent.get(uid) === true ? 'PACS_INCONSISTENT' : 'NOT_YET_STABLE';
  return { study: { studyInstanceUid: uid, instanceCount, state: 'pending', code }, isNew };
}

/**
 * A study that waits already keeps its deadline; one that was announced is looked at when its count differs, and when the last look
 * found it gone or out of scope: what came of it meanwhile was settled with that look. Where nothing tells that it grew, neither a
 * count nor a change feed, one of the days that polls look at is looked at each time.
 */
function needsLook(link: CentreLink, known: NotedStudy, rows: readonly FoundStudy[], isAgain: boolean, nowMs: number): boolean {
  if (known.deadline_ms !== null) return false;
  if (known.has_revision === 0 || known.state !== 'announced' || isAgain) return true;
  const count = saidCount(rows);
  if (count !== undefined) return count !== known.instance_count;
  return link.changes === undefined && rows.some((r) => r.studyDate >= lookBackFrom(link, nowMs));
}

/** Writes what is new: the most of a large PACS is as it was. */
function noteListed(state: State, link: CentreLink, lines: readonly Line[]): void {
  const isNew = lines.filter((line) => line.isNew).map((line) => line.study);
  const toLookAt = isNew.filter((s) => s.state !== 'outOfScope').map((s) => s.studyInstanceUid);
  markAllTouched(state, link.centre, toLookAt, 'census', link.quiet);
  markAllOutOfScope(
    state,
    link.centre,
    isNew.filter((s) => s.state === 'outOfScope'),
  );
}

/**
 * Studies that are not in the PACS any more have nothing to wait for; of one that ingest found changed it is still to be told, and
 * one with a deadline is looked for then: a listing may miss what is there. Those that were announced are kept as missed.
 */
function noteUnlisted(state: State, link: CentreLink, noted: Noted, isListed: (uid: StudyInstanceUid) => boolean): void {
  const unlisted = noted.studies
    .values()
    .filter(({ uid }) => !isListed(uid))
    .toArray();
  for (const row of unlisted) {
    const isAwaited = row.state === 'pending' || row.state === 'outOfScope';
    if (isAwaited && row.deadline_ms === null && row.is_changed === 0) settle(state, link.centre, row, 'unlisted', null);
  }
  const missed = unlisted.filter(({ uid, has_revision }) => has_revision === 1 && !noted.missed.has(uid));
  noteMissed(
    state,
    link.centre,
    missed.map(({ uid }) => uid),
  );
}

/**
 * Studies that an earlier census listed as pending and that are gone before they were announced: told once more, as
 * nothing that comes, or their account would wait for ever.
 */
function vanishedStudies(noted: Noted, isListed: (uid: StudyInstanceUid) => boolean): CensusStudy[] {
  return [...noted.pending]
    .filter((uid) => !isListed(uid) && noted.studies.get(uid)?.has_sequence !== 1)
    .map((uid) => ({ studyInstanceUid: uid, instanceCount: 0, state: 'outOfScope', code: 'STUDY_VANISHED' }));
}
