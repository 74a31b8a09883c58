// Publishing over @platformatic/kafka when a broker is gone, with a producer that keeps to the leaders that it once found, as the
// library's does without tries of its own: a cluster of one broker has no other.
import { expect, test } from '@jest/globals';
import { publisher } from './bus-publisher.ts';
import { sendWith } from './platformatic-bus.ts';

test('when a broker is gone the next try asks the new leader', async () => {
  let leader = 1;
  let known: number | undefined;
  const sent: string[] = [];
  const producer = {
    send: async ({ messages }: { messages: readonly { topic: string }[] }) => {
      known ??= leader;
      await Promise.resolve();
      if (known !== leader) throw Object.assign(new Error('no connection'), { code: 'PLT_KFK_NETWORK' });
      sent.push(...messages.map((m) => m.topic));
    },
    clearMetadata: () => {
      known = undefined;
    },
  };
  const send = sendWith(producer, 'x.');
  const { publish } = publisher(
    { send, existing: async (topics) => topics, close: async () => undefined },
    { tryingMs: 200, pauseMs: 1, lookMs: 1 },
  );
  const record = { topic: 't', key: 'k', value: new Uint8Array(), headers: {} };
  await publish([record]);
  leader = 2;
  await publish([record]);
  expect(sent).toEqual(['x.t', 'x.t']);
});
