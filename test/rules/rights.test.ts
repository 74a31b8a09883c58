// Who may read what names people: of the stages only those that take it.
import { expect, test } from '@jest/globals';
import topicsFile from '../../schemas/topics.json' with { type: 'json' };
import { anonymiseAndWithdraw } from '../../services/anonymise/withdraw.ts';
import { ingestStage } from '../../services/ingest/stage.ts';

const stages: Readonly<Record<string, readonly string[]>> = { ingest: ingestStage.consumes, anonymise: anonymiseAndWithdraw.consumes };

test('of the clinical topics a stage may read those that it consumes, and no other', () => {
  const clinical = topicsFile.topics.filter((t) => t.name.startsWith('ct.clinical.'));
  for (const stage of Object.keys(topicsFile.stages)) {
    const readable = clinical.filter((t) => t.readers.includes(stage)).map((t) => t.name);
    const consumed = (stages[stage] ?? []).filter((name) => name.startsWith('ct.clinical.'));
    expect([stage, readable.toSorted()]).toEqual([stage, consumed.toSorted()]);
  }
});
