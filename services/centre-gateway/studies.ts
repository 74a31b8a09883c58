// What the gateway knows of each study: noticed, due, announced, told back. Pure SQLite, no network.
import type { CentreId, StudyInstanceUid } from '../kernel/ids.ts';
import type { State, StudyRow } from './state.ts';

export type NoticedBy = 'change-feed' | 'poll' | 'census';

export interface Quiet {
  /** A study without a change for so long is counted and announced. */
  readonly stableAfterMs: number;
  /** The same once the server itself calls the study stable. */
  readonly stableSaidMs: number;
}

/** Longest pause between two looks at a study that keeps changing under ingest's hands, or that the PACS fails on or contradicts itself on. */
const LONGEST_BACKOFF_MS = 3_600_000;
/** After so many looks in a row that find the same, a study stands still. */
const LOOKS_ALIKE = 3;

/** Something of the study came: (re)start its deadline. */
export function markTouched(state: State, centre: CentreId, uid: StudyInstanceUid, by: NoticedBy, quiet: Quiet): void {
  markAllTouched(state, centre, [uid], by, quiet);
}

/** The same of many studies: two statements, however many they are. */
export function markAllTouched(state: State, centre: CentreId, uids: readonly StudyInstanceUid[], by: NoticedBy, quiet: Quiet): void {
  const now = state.nowMs();
  state.run(
    `INSERT INTO study (centre, uid, first_seen_ms, noticed_by, deadline_ms, state) SELECT ?, value, ?, ?, ?, 'pending' FROM json_each(?) WHERE true
     ON CONFLICT (centre, uid) DO UPDATE SET deadline_ms = excluded.deadline_ms, noticed_by = excluded.noticed_by, tries = 0`,
    centre,
    now,
    by,
    now + quiet.stableAfterMs,
    JSON.stringify(uids),
  );
  forgetInconsistent(state, centre, uids);
}

/** A census finds that the centre's rule leaves these studies out: nothing of them is waited for. */
export function markAllOutOfScope(
  state: State,
  centre: CentreId,
  studies: readonly { readonly studyInstanceUid: StudyInstanceUid; readonly instanceCount: number }[],
): void {
  const pairs = studies.map((s) => [s.studyInstanceUid, s.instanceCount]);
  state.run(
    `INSERT INTO study (centre, uid, first_seen_ms, noticed_by, state, instance_count)
     SELECT ?, value ->> 0, ?, 'census', 'outOfScope', value ->> 1 FROM json_each(?) WHERE true
     ON CONFLICT (centre, uid) DO UPDATE SET state = 'outOfScope', instance_count = excluded.instance_count, deadline_ms = NULL`,
    centre,
    state.nowMs(),
    JSON.stringify(pairs),
  );
  forgetWaits(
    state,
    centre,
    studies.map((s) => s.studyInstanceUid),
  );
}

/** The server calls the study stable: that only shortens a deadline. */
export function markStable(state: State, centre: CentreId, uid: StudyInstanceUid, quiet: Quiet): void {
  state.run(
    'UPDATE study SET deadline_ms = min(deadline_ms, ?) WHERE centre = ? AND uid = ? AND deadline_ms IS NOT NULL',
    state.nowMs() + quiet.stableSaidMs,
    centre,
    uid,
  );
}

/** Deadlines that are later than any is set for are of a clock that was set back since: those studies start their quiet time anew. */
export function bringNear(state: State, centre: CentreId, quiet: Quiet): void {
  const now = state.nowMs();
  state.run(
    'UPDATE study SET deadline_ms = ? WHERE centre = ? AND deadline_ms > ?',
    now + quiet.stableAfterMs,
    centre,
    now + Math.max(LONGEST_BACKOFF_MS, quiet.stableAfterMs),
  );
}

/** Of the table `study`: somebody asked for it, or a census did not list the study since it was announced. */
const IS_AGAIN = `(EXISTS (SELECT 1 FROM announce_again a WHERE a.centre = study.centre AND a.uid = study.uid)
  OR EXISTS (SELECT 1 FROM census_missed m WHERE m.centre = study.centre AND m.uid = study.uid))`;

/**
 * Studies whose deadline is over, oldest deadline first. Those that are announced again come last, in the order in which they
 * were announced: there may be very many of them, and what is new does not wait for what was there before.
 */
export function dueStudies(state: State, centre: CentreId, limit: number): StudyRow[] {
  return state.all<StudyRow>(
    `SELECT * FROM study WHERE centre = ? AND deadline_ms <= ? ORDER BY ${IS_AGAIN}, deadline_ms, sequence LIMIT ?`,
    centre,
    state.nowMs(),
    limit,
  );
}

export function studyRow(state: State, centre: CentreId, uid: StudyInstanceUid): StudyRow | undefined {
  return state.get<StudyRow>('SELECT * FROM study WHERE centre = ? AND uid = ?', centre, uid);
}

/** Not yet equal twice: look again after the quiet time, unless something newer set the deadline. */
export function postpone(state: State, centre: CentreId, row: StudyRow, quiet: Quiet): void {
  state.run(
    'UPDATE study SET deadline_ms = ? WHERE centre = ? AND uid = ? AND deadline_ms IS ?',
    state.nowMs() + quiet.stableAfterMs,
    centre,
    row.uid,
    row.deadline_ms,
  );
}

/** Keeps what a look found that can't be announced; true once the study stands still like that. */
export function noteInconsistent(state: State, centre: CentreId, uid: StudyInstanceUid, found: string): boolean {
  const row = state.get<{ looks: number }>(
    `INSERT INTO inconsistent (centre, uid, found, looks) VALUES (?, ?, ?, 1)
     ON CONFLICT (centre, uid) DO UPDATE SET looks = iif(found = excluded.found, looks + 1, 1), found = excluded.found RETURNING looks`,
    centre,
    uid,
    found,
  );
  return row !== undefined && row.looks >= LOOKS_ALIKE;
}

/** Of the table `study`: it waits and stands still, and what the PACS says of it does not agree. */
export const IS_INCONSISTENT = `(deadline_ms IS NOT NULL
  AND EXISTS (SELECT 1 FROM inconsistent i WHERE i.centre = study.centre AND i.uid = study.uid AND i.looks >= ${LOOKS_ALIKE}))`;

function forgetInconsistent(state: State, centre: CentreId, uids: readonly StudyInstanceUid[]): void {
  state.run('DELETE FROM inconsistent WHERE centre = ? AND uid IN (SELECT value FROM json_each(?))', centre, JSON.stringify(uids));
}

/** The PACS answers, and fails on this study or contradicts itself: each time later, so that it holds up the others less and less. */
export function setBack(state: State, centre: CentreId, row: StudyRow, quiet: Quiet): void {
  state.run(
    'UPDATE study SET tries = tries + 1, deadline_ms = ? WHERE centre = ? AND uid = ? AND deadline_ms IS ?',
    state.nowMs() + backoffMs(row.tries, quiet),
    centre,
    row.uid,
    row.deadline_ms,
  );
}

function backoffMs(tries: number, quiet: Quiet): number {
  return Math.min(quiet.stableAfterMs * 2 ** Math.min(tries, 20), LONGEST_BACKOFF_MS);
}

/** Ends the wait without an announcement. No effect when the study was touched since `row` was read. */
export function settle(
  state: State,
  centre: CentreId,
  row: Pick<StudyRow, 'uid' | 'deadline_ms'>,
  as: 'announced' | 'outOfScope' | 'unlisted',
  instanceCount: number | null,
): void {
  const isSettled = state.run(
    'UPDATE study SET deadline_ms = NULL, state = ?, instance_count = coalesce(?, instance_count) WHERE centre = ? AND uid = ? AND deadline_ms IS ?',
    as,
    instanceCount,
    centre,
    row.uid,
    row.deadline_ms,
  );
  if (isSettled > 0) forgetWait(state, centre, row.uid);
}

/** True when nothing touched the study since `row` was read. */
export function isUntouched(state: State, centre: CentreId, row: StudyRow): boolean {
  return studyRow(state, centre, row.uid)?.deadline_ms === row.deadline_ms;
}

/**
 * Next number that orders the revisions of a centre. It never falls, also when the database was lost and
 * made anew: then the clock carries it over the old numbers.
 */
export function nextStudySequence(state: State, centre: CentreId): number {
  const row = state.get<{ study_sequence: number }>(
    'UPDATE centre SET study_sequence = max(study_sequence + 1, ?) WHERE centre = ? RETURNING study_sequence',
    state.nowMs(),
    centre,
  );
  if (row === undefined) throw new Error(`the gateway does not serve centre ${centre}`);
  return row.study_sequence;
}

export function markAnnounced(
  state: State,
  centre: CentreId,
  row: StudyRow,
  o: { revision: string; sequence: number; instanceCount: number },
): void {
  state.run(
    "UPDATE study SET deadline_ms = NULL, state = 'announced', revision = ?, sequence = ?, instance_count = ?, status = NULL, status_code = NULL, status_ms = NULL WHERE centre = ? AND uid = ?",
    o.revision,
    o.sequence,
    o.instanceCount,
    centre,
    row.uid,
  );
  forgetWait(state, centre, row.uid);
  state.run('DELETE FROM census_missed WHERE centre = ? AND uid = ?', centre, row.uid);
}

/** What a census needs to know of a study, and no more: there may be very many of them. */
export interface NotedStudy extends Pick<StudyRow, 'uid' | 'deadline_ms' | 'state' | 'instance_count'> {
  readonly has_revision: 0 | 1;
  /** It was announced at some time. */
  readonly has_sequence: 0 | 1;
  /** Ingest said last that it found it changed. */
  readonly is_changed: 0 | 1;
}

/** What is noted of all studies of a centre. */
export interface Noted {
  readonly studies: ReadonlyMap<StudyInstanceUid, NotedStudy>;
  /** Somebody asked that they are announced again. */
  readonly asked: ReadonlySet<StudyInstanceUid>;
  /** Announced, and a census did not list them since. */
  readonly missed: ReadonlySet<StudyInstanceUid>;
  /** The PACS did not agree with itself on them, and: they stood still all the same. */
  readonly inconsistent: ReadonlyMap<StudyInstanceUid, boolean>;
  /** The last census listed them as pending. */
  readonly pending: ReadonlySet<StudyInstanceUid>;
}

/** Reads all of it at once: statements for each study of a large PACS would hold up every centre of the process for seconds. */
export function notedOf(state: State, centre: CentreId): Noted {
  const uidsIn = (table: 'announce_again' | 'census_missed' | 'census_pending'): Set<StudyInstanceUid> =>
    new Set(state.all<{ uid: StudyInstanceUid }>(`SELECT uid FROM ${table} WHERE centre = ?`, centre).map(({ uid }) => uid));
  const studies = state.all<NotedStudy>(
    `SELECT uid, deadline_ms, state, instance_count, revision IS NOT NULL AS has_revision, sequence IS NOT NULL AS has_sequence,
       status_code IS 'STUDY_CHANGED' AS is_changed FROM study WHERE centre = ?`,
    centre,
  );
  const inconsistent = state.all<{ uid: StudyInstanceUid; looks: number }>('SELECT uid, looks FROM inconsistent WHERE centre = ?', centre);
  return {
    studies: new Map(studies.map((s) => [s.uid, s])),
    asked: uidsIn('announce_again'),
    missed: uidsIn('census_missed'),
    inconsistent: new Map(inconsistent.map(({ uid, looks }) => [uid, looks >= LOOKS_ALIKE])),
    pending: uidsIn('census_pending'),
  };
}

/**
 * Keeps that a census does not list these announced studies. One that comes back is announced again although its revision is known:
 * the log may have forgotten the announcement of before by then, and shows a study that came after that census.
 */
export function noteMissed(state: State, centre: CentreId, uids: readonly StudyInstanceUid[]): void {
  state.run('INSERT INTO census_missed (centre, uid) SELECT ?, value FROM json_each(?)', centre, JSON.stringify(uids));
}

/** Keeps which studies a census calls pending, for the next one. */
export function notePending(state: State, centre: CentreId, before: ReadonlySet<string>, pending: ReadonlySet<string>): void {
  const added = [...pending].filter((uid) => !before.has(uid));
  const ended = [...before].filter((uid) => !pending.has(uid));
  state.run('INSERT INTO census_pending (centre, uid) SELECT ?, value FROM json_each(?)', centre, JSON.stringify(added));
  state.run('DELETE FROM census_pending WHERE centre = ? AND uid IN (SELECT value FROM json_each(?))', centre, JSON.stringify(ended));
}

/** Studies that wait, or were announced and that the last census listed; the newest first, since a PACS forgets its oldest. */
export function lastListed(state: State, centre: CentreId): StudyInstanceUid[] {
  return state
    .all<StudyRow>(
      `SELECT uid FROM study WHERE centre = ? AND (state = 'pending' OR revision IS NOT NULL)
       AND uid NOT IN (SELECT uid FROM census_missed WHERE centre = ?) ORDER BY first_seen_ms DESC`,
      centre,
      centre,
    )
    .map(({ uid }) => uid);
}

/** Known revisions of the centre whose last announcement is not older (a study's number is the time of it, or later). */
const ANNOUNCED_SINCE = 'FROM study WHERE centre = ? AND revision IS NOT NULL AND sequence >= ?';

/** How many studies `announceAgain` would mark. */
export function announcedSince(state: State, centre: CentreId, sinceMs: number): number {
  return state.get<{ n: number }>(`SELECT count(*) AS n ${ANNOUNCED_SINCE}`, centre, sinceMs)?.n ?? 0;
}

/**
 * Marks studies that were announced: each is looked at, and announced under a new number although its revision is known.
 * Asked twice, it is announced once. Returns how many there are.
 */
export function announceAgain(state: State, centre: CentreId, sinceMs: number): number {
  return state.transaction(() => {
    state.run(`INSERT OR IGNORE INTO announce_again (centre, uid) SELECT centre, uid ${ANNOUNCED_SINCE}`, centre, sinceMs);
    state.run(
      'UPDATE study SET deadline_ms = ? WHERE centre = ? AND deadline_ms IS NULL AND uid IN (SELECT uid FROM announce_again WHERE centre = ?)',
      state.nowMs(),
      centre,
      centre,
    );
    return announcedSince(state, centre, sinceMs);
  });
}

/**
 * Whether a known revision of the study is announced all the same. After somebody asked for it: until the study is announced, or
 * the look at it found that there is nothing to announce. After a census without it: until it is announced.
 */
export function isToAnnounceAgain(state: State, centre: CentreId, uid: StudyInstanceUid): boolean {
  return state.get(`SELECT 1 FROM study WHERE centre = ? AND uid = ? AND ${IS_AGAIN}`, centre, uid) !== undefined;
}

/** How many studies that somebody asked for still wait. */
export function toAnnounceAgain(state: State, centre: CentreId): number {
  return state.get<{ n: number }>('SELECT count(*) AS n FROM announce_again WHERE centre = ?', centre)?.n ?? 0;
}

/** What it waited for is over: that somebody asked for it, and that the PACS did not agree with itself. */
function forgetWait(state: State, centre: CentreId, uid: StudyInstanceUid): void {
  forgetWaits(state, centre, [uid]);
}

function forgetWaits(state: State, centre: CentreId, uids: readonly StudyInstanceUid[]): void {
  state.run('DELETE FROM announce_again WHERE centre = ? AND uid IN (SELECT value FROM json_each(?))', centre, JSON.stringify(uids));
  forgetInconsistent(state, centre, uids);
}

export interface Told {
  readonly studyInstanceUid: StudyInstanceUid;
  readonly revision: string;
  readonly state: string;
  readonly code: string | null;
}

/**
 * What ingest said of a study. After STUDY_CHANGED the study is looked at and announced again whatever its
 * revision then is, each time later than before; after STUDY_VANISHED, once the PACS shows it again.
 */
export function applyStatus(state: State, centre: CentreId, told: Told, quiet: Quiet): void {
  state.transaction(() => {
    const row = studyRow(state, centre, told.studyInstanceUid);
    if (row === undefined || row.revision !== told.revision) return;
    const now = state.nowMs();
    state.run(
      'UPDATE study SET status = ?, status_code = ?, status_ms = ? WHERE centre = ? AND uid = ?',
      told.state,
      told.code,
      now,
      centre,
      row.uid,
    );
    if (told.code === 'STUDY_CHANGED') {
      state.run(
        "UPDATE study SET state = 'pending', revision = NULL, tries = tries + 1, deadline_ms = max(coalesce(deadline_ms, 0), ?) WHERE centre = ? AND uid = ?",
        now + backoffMs(row.tries, quiet),
        centre,
        row.uid,
      );
    } else if (told.code === 'STUDY_VANISHED') {
      state.run("UPDATE study SET state = 'unlisted', revision = NULL WHERE centre = ? AND uid = ?", centre, row.uid);
    }
  });
}
