// Rebuilds what assess made, from ct-research's images and the log: the attempts' names stand in the recorded events.
import { DEFAULT_LIMITS } from '../../assess/limits.ts';
import { assess, type AssessPorts } from '../../assess/stage.ts';
import type { EventIn } from '../../kernel/stage.ts';
import { compareEvents, compareObjects } from '../../runtime/replay-compare.ts';
import { eventsIn, outcomeIds, recordedLog, replayEvents, replayStore } from '../../runtime/replay.ts';
import { systemClock, systemRandom } from '../../runtime/system.ts';
import { type ReplayContext, type ReplayReport, withdrawnIn } from './context.ts';
import { eraseWithdrawn } from './withdrawn-copies.ts';

type Anonymised = EventIn<'ctstream.research.v1.StudyAnonymised'>;
type Handled = Anonymised | EventIn<'ctstream.research.v1.SubjectWithdrawn'>;

const BUCKET = 'ct-research';
const isInput = (bucket: string, key: string): boolean => bucket === BUCKET && (key.endsWith('/manifest.json') || key.endsWith('.tar'));
const revisionKey = (v: { readonly studyId: string; readonly revision: string }): string => `${v.studyId}/${v.revision}`;

/**
 * Input and what it told, in the order in which it can be told again: an older revision that came late goes last. What was
 * under way when the log was cut told nothing yet, and is left out.
 */
export async function replayAssess(
  ctx: Pick<ReplayContext, 'bus' | 'codec' | 'source' | 'target' | 'signal' | 'progress'>,
  concurrency = 2,
): Promise<ReplayReport> {
  const told = [...assess.produces, 'ct.research.study-rejected.v1', 'ct.research.study-skipped.v1'];
  const topics = { told, taken: assess.consumes };
  const log = await recordedLog(ctx.bus, ctx.codec, topics, ctx.signal);
  const erased = await eraseWithdrawn(ctx, log.events);
  const withdrawn = withdrawnIn(log.events);
  const recorded = log.events.filter((e) => e.source === assess.name && !withdrawn.concerns(e));
  const skips = eventsIn({ events: recorded }, 'ctstream.research.v1.StudySkipped');
  const late = new Set(skips.filter((e) => e.value.code === 'SUPERSEDED').map((e) => revisionKey(e.value)));
  const published = eventsIn({ events: recorded }, 'ctstream.research.v1.StudyAssessed');
  const attempts = new Map(published.map((e) => [revisionKey(e.value), e.value.volumeKey.split('/')[2] ?? '']));
  const named = new Set(published.map((e) => e.value.manifestKey));
  const ids = new Set(recorded.map((e) => e.id));
  const all = eventsIn(log, 'ctstream.research.v1.StudyAnonymised').filter(
    ({ value: v }) => !withdrawn.subjects.has(v.subjectId) && !withdrawn.named.has(v.studyId),
  );
  const studies = all.filter((e) => outcomeIds(assess, e).some((id) => ids.has(id)));
  const isLate = (e: Anonymised): boolean => late.has(revisionKey(e.value));
  const events: Handled[] = [...studies.filter((e) => !isLate(e)), ...studies.filter(isLate)];

  const store = replayStore({ source: ctx.source, target: ctx.target, isInput });
  const portsOf = async (event: Handled): Promise<AssessPorts> => {
    const attempt = 'revision' in event.value ? attempts.get(revisionKey(event.value)) : undefined;
    const random = attempt === undefined ? systemRandom : { attempt: () => attempt };
    return { store, random, clock: systemClock, limits: DEFAULT_LIMITS, eraseAgainAfterMs: 0 };
  };
  const run = await replayEvents(assess, events, portsOf, { codec: ctx.codec, signal: ctx.signal, concurrency, progress: ctx.progress });
  const isMade = (key: string): boolean =>
    !key.startsWith('withdrawn/') && (key.startsWith('subjects/') || /\/(assessment\.json|volume\.nii\.gz)$/.test(key));
  const objects = await compareObjects({
    source: ctx.source,
    target: ctx.target,
    bucket: BUCKET,
    wanted: isMade,
    needed: (key) => named.has(key),
    signal: ctx.signal,
  });
  return {
    stage: assess.name,
    handled: run.handled,
    events: run.told.length,
    objects: objects.compared,
    differences: [...compareEvents(recorded, run.told), ...objects.differences],
    faults: run.faults,
    notes: [
      ...erased,
      ...(withdrawn.subjects.size === 0 ? [] : [`${withdrawn.subjects.size} withdrawn subjects are left out`]),
      ...(studies.length === all.length ? [] : [`${all.length - studies.length} revisions had no outcome when the log was cut`]),
    ],
  };
}
