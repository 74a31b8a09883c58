// Decides the recorded rounds again (services/select/replay.ts) and compares what is told. Nothing is put into a bucket.
import { outgoingId } from '../../kernel/event-ids.ts';
import { compareEvents } from '../../runtime/replay-compare.ts';
import { eventsIn, recordedLog } from '../../runtime/replay.ts';
import type { CohortFile } from '../../select/cohort.ts';
import { replayRounds } from '../../select/replay.ts';
import { selectStage } from '../../select/stage.ts';
import type { ReplayContext, ReplayReport } from './context.ts';
import { eraseWithdrawn } from './withdrawn-copies.ts';

/** @throws Fault BAD_CONFIG when a round was made with a cohort file that is not given */
export async function replaySelect(
  ctx: Pick<ReplayContext, 'bus' | 'codec' | 'source' | 'target' | 'signal'>,
  cohorts: readonly CohortFile[],
): Promise<ReplayReport> {
  const log = await recordedLog(ctx.bus, ctx.codec, { told: selectStage.produces, taken: selectStage.consumes }, ctx.signal);
  const erasedCopies = await eraseWithdrawn(ctx, log.events);
  const own = log.events.filter((e) => e.source === selectStage.name);
  const rounds = eventsIn({ events: own }, 'ctstream.research.v1.SelectionRoundClosed');
  const decisions = eventsIn(
    { events: own },
    'ctstream.research.v1.StudySelected',
    'ctstream.research.v1.StudyExcluded',
    'ctstream.research.v1.StudySkipped',
  );
  const erased = eventsIn({ events: own }, 'ctstream.research.v1.StudyRejected').filter((e) => e.value.code === 'PATIENT_WITHDRAWN');
  const { told, undecided } = replayRounds(
    { assessed: eventsIn(log, 'ctstream.research.v1.StudyAssessed'), rounds, decisions, erased },
    cohorts,
  );
  const events = told.map((event) => {
    const id = outgoingId(selectStage.name, event.cause, event.type, 0);
    const record = ctx.codec.encode(event, { id, source: selectStage.name, timeMs: 0 });
    return ctx.codec.decode({ ...record, partition: 0, offset: 0n, timestampMs: 0 });
  });
  return {
    stage: selectStage.name,
    handled: rounds.length,
    events: events.length,
    objects: 0,
    differences: compareEvents([...decisions, ...rounds], events),
    faults: [],
    notes: [
      ...erasedCopies,
      ...(undecided === 0 ? [] : [`${undecided} studies below a cut were never decided: holes of the cut, or withdrawn before they came`]),
    ],
  };
}
