// Which places are lost of which groups, what is not given up, and what an operator is told to do next.
import { expect, test } from '@jest/globals';
import type { GroupOffsets } from '../ports/group-offsets.ts';
import { lossText } from './commands/log-accept-loss.ts';
import { acceptRefusal, groupsOf, lostPlaces, nextSteps } from './lost-records.ts';

const AVAILABLE = 'ct.clinical.c07.study-available.v1';
const WITHDRAWN = 'ct.clinical.patient-withdrawn.v1';

test('a stage has its group and that of its retry topics; a gateway has one; other names have none', () => {
  expect(groupsOf('ingest')).toEqual([
    { group: 'ingest', topics: ['ct.clinical.<centre>.study-available.v1'] },
    { group: 'ingest.retry', topics: ['30s', '5m', '1h'].map((d) => `ct.clinical.ingest.retry.${d}`) },
  ]);
  expect(groupsOf('gateway-c07')).toEqual([{ group: 'gateway-c07', topics: ['ct.clinical.c07.study-status.v1'] }]);
  expect(groupsOf('ingest.retry')).toBeUndefined();
  expect(groupsOf('archiver-clinical')).toBeUndefined();
});

test('only the partitions whose place is gone are found, each in its own group', async () => {
  const offsets: Pick<GroupOffsets, 'topics' | 'ends' | 'committed'> = {
    topics: async (patterns) => (patterns.includes('ct.clinical.<centre>.study-available.v1') ? [AVAILABLE] : [...patterns]),
    ends: async (topics) => topics.flatMap((topic) => [0, 1, 2].map((partition) => ({ topic, partition, first: 5n, end: 9n }))),
    committed: async (group, topics) =>
      topics.flatMap((topic) => [
        { topic, partition: 0, offset: group === 'ingest' ? 3n : 5n },
        { topic, partition: 1, offset: 9n },
        { topic, partition: 2, offset: -1n },
      ]),
  };
  expect(await lostPlaces(offsets as GroupOffsets, groupsOf('ingest') ?? [])).toEqual([
    {
      group: 'ingest',
      topic: AVAILABLE,
      partition: 0,
      committed: 3n,
      reason: 'DELETED',
      lost: { first: 3n, last: 4n, records: 2n },
      goesOnAt: 5n,
    },
  ]);
});

test('a group that goes on while it is looked at has lost nothing', async () => {
  let done = 0n;
  const offsets: Pick<GroupOffsets, 'topics' | 'ends' | 'committed'> = {
    topics: async () => [AVAILABLE],
    ends: async () => [{ topic: AVAILABLE, partition: 0, first: 0n, end: ++done }],
    committed: async () => [{ topic: AVAILABLE, partition: 0, offset: ++done }],
  };
  expect(await lostPlaces(offsets as GroupOffsets, groupsOf('ingest') ?? [])).toEqual([]);
});

test('what can be restored is not given up, and withdrawals only when their topic is named', () => {
  expect(acceptRefusal(AVAILABLE, false)).toBeUndefined();
  expect(acceptRefusal('ct.research.study-anonymised.v1', true)).toBe('RESTORE_INSTEAD');
  expect(acceptRefusal('ct.research.assess.retry.1h', false)).toBeUndefined();
  expect(acceptRefusal(WITHDRAWN, false)).toBe('WITHDRAWALS');
  expect(acceptRefusal(WITHDRAWN, true)).toBeUndefined();
});

test('the next steps name the centres that have to announce again, or say how they are found', () => {
  const steps = (stage: string, ...topics: string[]): string => nextSteps(stage, topics).join('\n');
  expect(steps('ingest', AVAILABLE)).toContain("Centre c07: 'ctstream announce-again --centre c07'");
  expect(steps('ingest', AVAILABLE)).not.toContain('account --studies');
  expect(steps('anonymise', 'ct.clinical.study-stored.v1')).toContain('account --studies');
  expect(steps('anonymise', WITHDRAWN)).toContain('privacy role');
  expect(steps('anonymise', WITHDRAWN)).not.toContain('account --studies');
  expect(steps('gateway-c07', 'ct.clinical.c07.study-status.v1')).toContain('Start the gateway');
});

test('people read where it was, what is lost and where it goes on, and what to do about what is not accepted', () => {
  const place = { group: 'ingest', topic: AVAILABLE, partition: 0, committed: 3n, reason: 'DELETED' as const, goesOnAt: 5n };
  const whole = { ...place, lost: { first: 3n, last: 4n, records: 2n } };
  const text = lossText(
    { stage: 'ingest', dryRun: true },
    [whole],
    [{ ...whole, topic: WITHDRAWN, code: 'WITHDRAWALS' }],
    ['Start ingest.'],
  );
  expect(text).toMatch(/c07\.study-available\.v1\/0 .* 3 .* 3 to 4 .* 2 .* 5 .* deleted before it was read/);
  expect(text).toContain('Would be accepted in 1 partitions: 2 records that ingest never sees.\nStart ingest.');
  expect(text).toContain('name the topic with --topic');
  expect(lossText({ stage: 'ingest' }, [{ ...place, reason: 'RESET' }], [], [])).toMatch(/not known .* \? .*Was accepted/s);
  expect(lossText({ stage: 'ingest' }, [], [], [])).toBe('ingest has lost nothing: each of its places is in the log');
});
