// What is asked again while a group has no coordinator, for how long, and what is said then; with the errors of both clients.
import { expect, test } from '@jest/globals';
import { MultipleErrors, ProtocolError } from '@platformatic/kafka';
import kafkajs from 'kafkajs';
import { createRequire } from 'node:module';
import { askGroup } from './group-patience.ts';
import { groupFault } from './kafka-offsets.ts';

const { createErrorFromCode } = createRequire(import.meta.url)('kafkajs/src/protocol/error.js') as {
  createErrorFromCode(code: number): Error;
};
const LOADING = 14;
const NOT_AVAILABLE = 15;
const NOT_COORDINATOR = 16;
const GROUP_REFUSED = 30;

const ofKafkajs = (code: number): Error => createErrorFromCode(code);
/** As its admin client gives them after tries of its own. */
const ofPlatformatic = (code: number): Error =>
  new MultipleErrors('Listing consumer group offsets failed.', [
    new MultipleErrors('offsetFetch failed 6 times.', [new ProtocolError(code, null, { path: '/groups/0' })]),
  ]);
const notFound = Reflect.construct(kafkajs.KafkaJSGroupCoordinatorNotFound, ['Failed to find group coordinator']) as Error;
const TIMES = { tryingMs: 60, pauseMs: 5 };

/** A question that gets these answers one after the other, the last for ever. */
function asked(...answers: readonly (Error | string)[]): { ask: () => Promise<string>; tries: () => number } {
  let tries = 0;
  return {
    tries: () => tries,
    ask: async () => {
      const answer = answers[Math.min(tries++, answers.length - 1)];
      if (answer instanceof Error) throw answer;
      return await Promise.resolve(answer ?? '');
    },
  };
}

const clients = [
  ['kafkajs', ofKafkajs],
  ['platformatic', ofPlatformatic],
] as const;

for (const [client, errorOf] of clients) {
  test(`${client}: a broker that has just started is asked again until it has read its groups`, async () => {
    const question = asked(errorOf(NOT_AVAILABLE), errorOf(LOADING), errorOf(NOT_COORDINATOR), 'answer');
    expect(await askGroup('asking', question.ask, undefined, TIMES)).toBe('answer');
    expect(question.tries()).toBe(4);
  });

  test(`${client}: a group that stays without a coordinator has a code of its own, after a limit`, async () => {
    const question = asked(errorOf(LOADING));
    const begun = performance.now();
    const asking = askGroup('asking for the offsets of g', question.ask, undefined, TIMES);
    await expect(asking).rejects.toMatchObject({ code: 'BUS_NO_COORDINATOR', retryable: true });
    await expect(asking).rejects.toThrow(/^BUS_NO_COORDINATOR: asking for the offsets of g: [A-Z]+_LOAD_IN_PROGRESS$/);
    expect(question.tries()).toBeGreaterThan(2);
    // Twice as long each time: never as many as there are first pauses.
    expect(question.tries()).toBeLessThan(TIMES.tryingMs / TIMES.pauseMs / 2);
    expect(performance.now() - begun).toBeLessThan(5000);
  });

  test(`${client}: what is refused, or is no matter of a group, is not asked again`, async () => {
    for (const [error, code] of [
      [errorOf(GROUP_REFUSED), 'DENIED_BY_BROKER'],
      [errorOf(3), 'BUS_UNAVAILABLE'],
    ] as const) {
      const question = asked(error);
      await expect(askGroup('asking', question.ask, undefined, TIMES)).rejects.toMatchObject({ code });
      expect(question.tries()).toBe(1);
    }
  });
}

test("kafkajs' 'coordinator not found' is asked again, but not where the broker has refused the group", async () => {
  const faultOf = (denied?: string) => (error: unknown, what: string) => groupFault({ denied: () => denied }, error, what);
  const passes = asked(notFound, 'answer');
  expect(await askGroup('asking', passes.ask, faultOf(), TIMES)).toBe('answer');
  const refused = asked(notFound);
  const asking = askGroup('asking', refused.ask, faultOf('Not authorized to access group'), TIMES);
  await expect(asking).rejects.toMatchObject({ code: 'DENIED_BY_BROKER', retryable: false });
  expect(refused.tries()).toBe(1);
});
