// What each stage's group consumes. Who may read a topic (schemas/topics.json) is more: release reads the rounds without a group.
import { anonymiseAndWithdraw } from '../anonymise/withdraw.ts';
import { assess } from '../assess/stage.ts';
import { ingestStage } from '../ingest/stage.ts';
import { labelQueueStage } from '../label-queue/stage.ts';
import { releaseStage } from '../release/stage.ts';
import { selectStage } from '../select/stage.ts';

/** Templates of topics by stage, in the order of a study's way. */
export const CONSUMED_TOPICS: ReadonlyMap<string, readonly string[]> = new Map(
  [ingestStage, anonymiseAndWithdraw, assess, selectStage, labelQueueStage, releaseStage].map(({ name, consumes }) => [name, consumes]),
);
