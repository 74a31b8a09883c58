// The watch over one centre's PACS: notice, wait for quiet, announce, count. One loop per centre.
import { Fault } from '../kernel/fault.ts';
import type { StudyInstanceUid } from '../kernel/ids.ts';
import type { FoundStudy } from '../ports/dicomweb.ts';
import { announceDue, saidCount } from './announce.ts';
import { takeCensus } from './census.ts';
import type { CensusDone } from './census.ts';
import { lookBackFrom } from './link.ts';
import type { CentreLink } from './link.ts';
import { outboxDepth } from './outbox.ts';
import type { State, StudyRow } from './state.ts';
import { faultIn } from './supervise.ts';
import { bringNear, dueStudies, markStable, markTouched, setBack, studyRow } from './studies.ts';
const CHANGES_PER_PAGE = 500;
const PAGES_PER_ROUND = 20;
const STUDIES_PER_ROUND = 64;
const STUDIES_AT_A_TIME = 4;
/** Beyond the number of any change: the answer then tells the last one. */
const BEYOND = Number.MAX_SAFE_INTEGER;
const LONGEST_WAIT_MS = 30_000;
/** Between a failed census and the next, where the time between two good ones is not shorter. */
const LONGEST_CENSUS_WAIT_MS = 3_600_000;

export interface Watch {
  /** Asks for a census at the next round; resolves when it is in the outbox. @throws Fault of the PACS */
  census(): Promise<CensusDone>;
  /** Runs until the signal aborts. @throws what `faultIn` throws */
  run(signal: AbortSignal): Promise<void>;
}

interface Asked {
  resolve(done: CensusDone): void;
  reject(error: unknown): void;
}

export function watchCentre(state: State, link: CentreLink): Watch {
  const asked: Asked[] = [];
  let wake = new AbortController();
  let censusDueMs = 0;
  let censusWaitMs = 0;
  let polledMs = 0;

  /** A census that fails alone is tried again later and later, so that the rest of the watch goes on. @throws Fault when the PACS answers nothing */
  const census = async (signal: AbortSignal): Promise<void> => {
    const waiting = asked.splice(0);
    try {
      const done = await takeCensus(state, link, signal);
      censusDueMs = state.nowMs() + link.censusEveryMs;
      censusWaitMs = 0;
      noteCensus(state, link, undefined);
      for (const w of waiting) w.resolve(done);
    } catch (error) {
      for (const w of waiting) w.reject(error);
      if (signal.aborted) throw error;
      const fault = faultIn(link, error);
      await link.web.study(NO_STUDY, signal);
      censusWaitMs = Math.min(Math.max(censusWaitMs * 2, 1000), link.censusEveryMs, LONGEST_CENSUS_WAIT_MS);
      censusDueMs = state.nowMs() + censusWaitMs;
      noteCensus(state, link, fault);
    }
  };

  /**
   * Returns why a poll failed, when the PACS answers all the same: what is due by now does not wait until it lists again.
   * @throws Fault of the change feed, whose server must give the hashes too; or when the PACS answers nothing
   */
  const notice = async (signal: AbortSignal): Promise<Fault | undefined> => {
    if (link.changes !== undefined) {
      if (await followChanges(state, link, link.changes, signal)) censusDueMs = 0;
    } else if (state.nowMs() >= polledMs + link.pollMs) {
      try {
        await poll(state, link, signal);
        polledMs = state.nowMs();
      } catch (error) {
        if (signal.aborted) throw error;
        const fault = faultIn(link, error);
        await link.web.study(NO_STUDY, signal);
        return fault;
      }
    }
    return undefined;
  };

  const round = async (signal: AbortSignal): Promise<void> => {
    // Full: the cursor stands still and nothing is dropped.
    if (outboxDepth(state, link.centre) >= link.outboxLimit)
      throw new Fault('BUS_UNAVAILABLE', true, 'the outbox is full: nothing more is taken in until Kafka answers');
    // Later than they can have been set for: the clock was set back since.
    if (polledMs > state.nowMs()) polledMs = 0;
    if (censusDueMs > state.nowMs() + link.censusEveryMs) censusDueMs = 0;
    bringNear(state, link.centre, link.quiet);
    const unlisted = await notice(signal);
    const due = dueStudies(state, link.centre, STUDIES_PER_ROUND);
    for (let i = 0; i < due.length; i += STUDIES_AT_A_TIME) {
      // Each of them took its whole time: the feed goes on first, and the rest has its turn in the next round.
      if (!(await lookAt(state, link, due.slice(i, i + STUDIES_AT_A_TIME), signal))) break;
    }
    // Last: it asks for everything that the PACS has, and a PACS that won't list that may answer for each study.
    if (asked.length > 0 || state.nowMs() >= censusDueMs) await census(signal);
    // For the status page, and for the wait until the next poll.
    if (unlisted !== undefined) throw unlisted;
  };

  return {
    census: () =>
      new Promise((resolve, reject) => {
        asked.push({ resolve, reject });
        wake.abort();
      }),
    async run(signal) {
      let waitMs = 0;
      while (!signal.aborted) {
        wake = new AbortController();
        try {
          await round(signal);
          notePacs(state, link, undefined);
          waitMs = Math.min(link.pollMs, 1000);
        } catch (error) {
          if (signal.aborted) break;
          const fault = faultIn(link, error);
          for (const w of asked.splice(0)) w.reject(fault);
          notePacs(state, link, fault);
          waitMs = Math.min(Math.max(waitMs * 2, 1000), LONGEST_WAIT_MS);
        }
        await link.clock.sleep(waitMs, AbortSignal.any([signal, wake.signal]));
      }
      for (const w of asked.splice(0)) w.reject(new Fault('PACS_UNREACHABLE', true, 'the gateway is stopping'));
    },
  };
}

/** No server has this study: any answer but a fault shows that the PACS answers. */
const NO_STUDY = '2.25.0' as StudyInstanceUid;

/**
 * Looks at due studies side by side. One that fails, by the PACS or by an answer nobody foresaw, is set back alone; when all of them
 * fail, a question about no study tells whether it is they or the PACS. False when all failed.
 * @throws Fault when the PACS answers nothing; the studies then keep their deadlines
 */
async function lookAt(state: State, link: CentreLink, due: readonly StudyRow[], signal: AbortSignal): Promise<boolean> {
  const looked = await Promise.allSettled(due.map((row) => announceDue(state, link, row, signal)));
  const failed: StudyRow[] = [];
  for (const [at, result] of looked.entries()) {
    if (result.status === 'fulfilled') continue;
    if (signal.aborted) throw result.reason;
    const fault = faultIn(link, result.reason);
    if (fault.code !== 'UNEXPECTED' && !fault.code.startsWith('PACS_')) throw fault;
    const row = due[at];
    if (row !== undefined) failed.push(row);
    // Without the study: a log is read by more people than the status page.
    link.log('warn', { centre: link.centre, code: fault.code, fault: fault.message }, 'a look at a study failed');
  }
  if (failed.length === due.length) await link.web.study(NO_STUDY, signal);
  for (const row of failed) setBack(state, link.centre, row, link.quiet);
  return failed.length < due.length;
}

/** Takes in what the change feed tells; true when a census is needed because the feed starts anew. */
async function followChanges(
  state: State,
  link: CentreLink,
  changes: NonNullable<CentreLink['changes']>,
  signal: AbortSignal,
): Promise<boolean> {
  const { centre } = link;
  const known = state.get<{ cursor: number | null }>('SELECT cursor FROM centre WHERE centre = ?', centre)?.cursor ?? undefined;
  if (known === undefined) {
    // The census that follows finds everything that came before this number.
    const { last } = await changes.since(BEYOND, 1, signal);
    state.run('UPDATE centre SET cursor = ? WHERE centre = ?', last, centre);
    return true;
  }
  let cursor = known;
  for (let n = 0; n < PAGES_PER_ROUND; n += 1) {
    const page = await changes.since(cursor, CHANGES_PER_PAGE, signal);
    if (page.last < cursor) {
      link.log('warn', { centre, cursor, last: page.last }, 'the change number of the PACS went backwards: its database was replaced');
      // From its start: what was imported again may be other bytes under the same UIDs, which no census sees. What is as it was is looked at and settled.
      state.run('UPDATE centre SET cursor = 0 WHERE centre = ?', centre);
      return true;
    }
    state.transaction(() => {
      for (const { kind, studies } of page.changes)
        for (const uid of studies)
          if (kind === 'stable') markStable(state, centre, uid, link.quiet);
          else if (uid !== '') markTouched(state, centre, uid, 'change-feed', link.quiet);
      state.run('UPDATE centre SET cursor = ? WHERE centre = ?', page.last, centre);
    });
    cursor = page.last;
    if (page.done) return false;
  }
  return false;
}

/**
 * A server without a change feed: studies of the last days whose count is new. Older ones are the census's. What a listing tells
 * before it fails is taken in. @throws Fault
 */
async function poll(state: State, link: CentreLink, signal: AbortSignal): Promise<void> {
  const found = new Map<FoundStudy['studyInstanceUid'], FoundStudy[]>();
  try {
    for await (const row of link.web.studies({ pageSize: CHANGES_PER_PAGE, studyDateFrom: lookBackFrom(link, state.nowMs()) }, signal)) {
      if (row.studyInstanceUid !== '') found.set(row.studyInstanceUid, [...(found.get(row.studyInstanceUid) ?? []), row]);
    }
  } finally {
    state.transaction(() => {
      for (const [uid, rows] of found) if (link.inScope(rows)) notePolled(state, link, uid, rows);
    });
  }
}

function notePolled(state: State, link: CentreLink, uid: StudyInstanceUid, rows: readonly FoundStudy[]): void {
  const known = studyRow(state, link.centre, uid);
  const count = saidCount(rows);
  // Without a count a poll can't tell what is new of a study: that is the census's.
  const isNew = count !== undefined && known?.instance_count !== count;
  if (known !== undefined && !isNew && !isForgotten(known)) return;
  markTouched(state, link.centre, uid, 'poll', link.quiet);
  if (count !== undefined) state.run('UPDATE study SET instance_count = ? WHERE centre = ? AND uid = ?', count, link.centre, uid);
}

/** It was gone when it was last looked for: its count from before tells nothing. */
function isForgotten(known: StudyRow): boolean {
  return known.state === 'unlisted' && known.deadline_ms === null;
}

/** What the status page says of a census that fails while the PACS answers; counted each time, logged when it changes. */
function noteCensus(state: State, link: CentreLink, fault: Fault | undefined): void {
  const { centre } = link;
  const before = state.get<{ code: string }>('SELECT code FROM census_failed WHERE centre = ?', centre)?.code;
  if (fault === undefined) {
    state.run('DELETE FROM census_failed WHERE centre = ?', centre);
  } else {
    link.count('gateway_census_failed_total');
    state.run(
      `INSERT INTO census_failed (centre, code, detail, since_ms) VALUES (?, ?, ?, ?)
       ON CONFLICT (centre) DO UPDATE SET code = excluded.code, detail = excluded.detail`,
      centre,
      fault.code,
      fault.message,
      state.nowMs(),
    );
  }
  if (before === fault?.code) return;
  if (fault === undefined) link.log('info', { centre }, 'the PACS can be counted again');
  else link.log('warn', { centre, code: fault.code, fault: fault.message }, 'the PACS answers, and a census of it fails');
}

/** What the status page says of the PACS; logged when it changes. */
function notePacs(state: State, link: CentreLink, fault: Fault | undefined): void {
  const before = state.get<{ pacs_code: string | null }>('SELECT pacs_code FROM centre WHERE centre = ?', link.centre)?.pacs_code ?? null;
  const code = fault?.code ?? null;
  if (before === code) return;
  state.run(
    'UPDATE centre SET pacs_code = ?, pacs_detail = ?, pacs_since_ms = ? WHERE centre = ?',
    code,
    fault?.message ?? null,
    state.nowMs(),
    link.centre,
  );
  link.log(
    code === null ? 'info' : 'warn',
    { centre: link.centre, code, fault: fault?.message },
    code === null ? 'the PACS answers' : 'the PACS is not usable',
  );
}
