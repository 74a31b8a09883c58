// Whether a group that goes on while it is looked at is taken for one that has lost its place.
import { expect, test } from '@jest/globals';
import type { KafkaParts } from './kafka-offsets.ts';
import { refuseBeforeJoin, startingPoints } from './kafkajs-truncation.ts';

/** The log gets a record before each question, and the group's other member has done it by then. */
function busyGroup(): KafkaParts {
  let done = 0;
  const next = async (): Promise<string> => await Promise.resolve(String(++done));
  const admin = {
    fetchTopicOffsets: async () => [{ partition: 0, low: '0', high: await next() }],
    fetchOffsets: async () => [{ topic: 't', partitions: [{ partition: 0, offset: await next() }] }],
  };
  return {
    options: { prefix: '' },
    about: async (_topics: unknown, ask: (a: typeof admin) => Promise<unknown>) => await ask(admin),
  } as unknown as KafkaParts;
}

test('a group that commits while its place is compared with the log has lost nothing', async () => {
  await refuseBeforeJoin(busyGroup(), 'g', ['t']);
  expect(await startingPoints(busyGroup(), 'g', [{ topic: 't', partition: 0 }])).toEqual([
    { point: { topic: 't', partition: 0, offset: 1n }, committed: true },
  ]);
});
