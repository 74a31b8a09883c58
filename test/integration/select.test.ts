// Select on the real log and database: every assessed study gets one decision and a reason, rounds name what they
// took into account, and a crash between decision and publication loses or doubles nothing.
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import type { StudyAssessed } from '../../schemas/events.gen.ts';
import { runOutbox } from '../../services/runtime/outbox.ts';
import { runStage } from '../../services/runtime/stage-loop.ts';
import { type Cohort, parseCohort } from '../../services/select/cohort.ts';
import { closeRound, type RoundResult, waiting } from '../../services/select/round.ts';
import { controlServer, watchRounds } from '../../services/select/rounds.ts';
import { selectStage } from '../../services/select/stage.ts';
import { assessed, codec, eventually, type Kit, openKit, processContext, roundTrips, type StageDatabase } from './research-kit.ts';

const HOUR_MS = 3_600_000;
const TOPIC = 'ct.research.study-assessed.v1';

function cohort(over: Partial<Cohort> = {}): { cohort: Cohort; sha256: string } {
  return {
    cohort: { ...parseCohort('{format: ctstream-cohort/1, name: test, version: 1, size: 100, perCentreCap: 100, seed: s}'), ...over },
    sha256: 'c'.repeat(64),
  };
}

let kit: Kit;
let database: StageDatabase;
const running: { stop: () => void; done: Promise<void> }[] = [];

beforeAll(async () => {
  kit = await openKit('select');
  database = await kit.database('select');
});

afterEach(async () => {
  for (const r of running.splice(0)) {
    r.stop();
    await r.done;
  }
});

afterAll(async () => await kit?.end());

function consume(): void {
  const { ctx, stop } = processContext('select');
  running.push({
    stop,
    done: runStage(selectStage, { database, eraseAgainAfterMs: 1000 }, { bus: kit.bus('select'), codec, ctx, concurrency: 4, window: 64 }),
  });
}

function publishOutbox(): void {
  const { ctx, stop } = processContext('select');
  running.push({ stop, done: runOutbox(database, { bus: kit.bus('select'), codec, ctx, sourceName: 'select', pollMs: 20 }) });
}

async function appended(studies: number): Promise<void> {
  await eventually(
    `${studies} candidates`,
    async () => Number((await database.query<{ n: string }>('SELECT count(*) AS n FROM candidate'))[0]?.n) === studies,
  );
}

const codesIn = async (): Promise<Record<string, string>> =>
  Object.fromEntries(
    (await kit.events('ctstream.research.v1.StudySelected', 'ctstream.research.v1.StudyExcluded', 'ctstream.research.v1.StudySkipped')).map(
      (e) => [`${e.value.studyId}/${e.value.revision}`, e.type === 'ctstream.research.v1.StudySelected' ? 'selected' : e.value.code],
    ),
  );

describe('rounds over the real log', () => {
  test('each study that came gets one decision, and nothing is published twice when the outbox was killed', async () => {
    const events = Array.from({ length: 8 }, (_, n) => assessed(n, { site: 'site-1' as StudyAssessed['site'] }));
    await kit.publish('assess', events);
    // Kafka may hold an event twice.
    await kit.publish('assess', events.slice(0, 3));
    consume();
    await appended(8);
    await eventually(
      'the doubled records too',
      async () => Number((await database.query<{ n: string }>('SELECT count(*) AS n FROM seen'))[0]?.n) === 11,
    );

    // The process dies after the transaction, before anything is published.
    const round = (await closeRound(database, cohort({ size: 5 }), HOUR_MS)) as RoundResult;
    expect([round.round, round.considered, round.selected, round.excluded]).toEqual([1, 8, 5, 3]);
    expect(await kit.events('ctstream.research.v1.SelectionRoundClosed')).toEqual([]);
    const depth = await database.depth();
    expect(depth).toBe(9);

    // Killed between publication and mark: the next one publishes the batch again, with the same ids.
    const rows = await database.next(100);
    await kit
      .bus('select')
      .publish(
        rows.map((r) => ({ topic: r.topic, key: r.key, value: r.value, headers: { ...r.headers, ce_sequence: String(r.sequence) } })),
      );
    publishOutbox();
    await eventually('an empty outbox', async () => (await database.depth()) === 0);
    const published = await kit.events(
      'ctstream.research.v1.StudySelected',
      'ctstream.research.v1.StudyExcluded',
      'ctstream.research.v1.SelectionRoundClosed',
    );
    expect(published).toHaveLength(18);
    expect(new Set(published.map((e) => e.id)).size).toBe(9);
    const codes = Object.values(await codesIn());
    expect(codes.filter((c) => c === 'selected')).toHaveLength(5);
    expect(codes.filter((c) => c === 'COHORT_FULL')).toHaveLength(3);
  });

  test('the cut is the end of what was appended, and the round names it with the digest of the cohort file', async () => {
    const [closed] = await kit.events('ctstream.research.v1.SelectionRoundClosed');
    const ends = await kit.bus('account').ends([TOPIC]);
    expect(closed?.value.cut.toSorted((a, b) => a.partition - b.partition)).toEqual(
      ends
        .filter((e) => e.end > 0n)
        .map((e) => ({ topic: TOPIC, partition: e.partition, endOffset: Number(e.end) }))
        .toSorted((a, b) => a.partition - b.partition),
    );
    expect(closed?.value.cohortSha256).toBe('c'.repeat(64));
  });

  test('an empty round is not closed', async () => {
    expect(await closeRound(database, cohort({ size: 5 }), HOUR_MS)).toBeUndefined();
  });

  test('a study that comes when the cohort is full is excluded at the next round; a new revision of a decided one is skipped; of an undecided one the newest counts', async () => {
    await kit.publish('assess', [assessed(0, { ordinal: 2 }), assessed(20), assessed(20, { ordinal: 2 })]);
    consume();
    publishOutbox();
    await appended(11);
    const round = await closeRound(database, cohort({ size: 5 }), HOUR_MS);
    expect([round?.round, round?.considered, round?.selected, round?.excluded]).toEqual([2, 3, 0, 1]);
    await eventually('an empty outbox', async () => (await database.depth()) === 0);
    expect(await codesIn()).toMatchObject({
      'study-0/revision-0-2': 'ALREADY_DECIDED',
      'study-20/revision-20-2': 'COHORT_FULL',
      'study-20/revision-20-1': 'SUPERSEDED',
    });
  });

  test('another cohort decides the same studies anew', async () => {
    const round = await closeRound(database, cohort({ name: 'other', size: 100 }), HOUR_MS);
    expect(round?.selected).toBe(9);
  });
});

describe('rounds on the database', () => {
  const event = (n: number, offset: number, partition = 7): Parameters<typeof selectStage.handle>[0] => ({
    ...assessed(n),
    id: `event-${n}`,
    source: 'assess',
    timeMs: 0,
    topic: TOPIC,
    partition,
    offset: BigInt(offset),
    key: `study-${n}`,
  });
  const handle = async (n: number, offset: number, partition?: number): Promise<void> =>
    void (await selectStage.handle(event(n, offset, partition), { database, eraseAgainAfterMs: 1000 }, AbortSignal.timeout(30_000)));

  test('a record that has not come holds up what lies behind it, then the cut passes over it and names it', async () => {
    await handle(100, 0);
    await handle(102, 2);
    const first = await closeRound(database, cohort(), HOUR_MS);
    expect(first?.cut.find((c) => c.partition === 7)?.endOffset).toBe(1);
    expect(await closeRound(database, cohort(), HOUR_MS)).toBeUndefined();
    expect((await waiting(database, 'test')).studies).toBe(1);
    const second = await closeRound(database, cohort(), 0);
    expect(second?.cut.find((c) => c.partition === 7)?.endOffset).toBe(3);
    expect(second?.holes).toEqual([[TOPIC, 7, 1, 1]]);
    // It comes late, from a retry: below the cut, and still a candidate of the next round.
    await handle(101, 1);
    expect((await closeRound(database, cohort(), HOUR_MS))?.considered).toBe(1);
  });

  test('what waits behind a hole closes no round of what arrives meanwhile', async () => {
    const closed: RoundResult[] = [];
    // One look, and whatever rounds it closed.
    const look = async (): Promise<RoundResult[]> => {
      const stop = new AbortController();
      const sleep = (): Promise<void> => Promise.resolve(stop.abort());
      const fail = (error: unknown): never => {
        throw error;
      };
      await watchRounds(
        {
          database,
          cohort: cohort(),
          rules: { everyStudies: 4, everyMs: HOUR_MS, holeWaitMs: 3 * HOUR_MS },
          closed: (r) => closed.push(r),
          failed: fail,
        },
        { nowMs: () => 0, sleep },
        stop.signal,
      );
      return closed.splice(0);
    };
    const waited = async (studies: string[], hours: number): Promise<unknown> =>
      await database.query(`UPDATE candidate SET seen_at = seen_at - $2 * interval '1 hour' WHERE study_id = ANY ($1)`, [studies, hours]);

    // Offset 1 of partition 41 has not come. By time: what is behind it has waited too long, and cannot be decided.
    await handle(300, 0, 41);
    await handle(302, 2, 41);
    await waited(['study-302'], 2);
    expect(await look()).toEqual([]);
    for (let n = 310; n < 312; n += 1) {
      await handle(n, n - 310, 42);
      expect(await look()).toEqual([]);
    }
    // By number: four wait behind the hole.
    for (let n = 303; n < 306; n += 1) await handle(n, n - 300, 41);
    expect(await look()).toEqual([]);
    await handle(312, 2, 42);
    expect((await look()).map((r) => r.considered)).toEqual([4]);

    // By time: one that can be decided has waited long enough, and takes the others along.
    for (let n = 313; n < 316; n += 1) {
      await handle(n, n - 310, 42);
      expect(await look()).toEqual([]);
    }
    await waited(['study-313'], 1);
    // Unless a round was closed just now, as when holes close one after another.
    expect(await look()).toEqual([]);
    await database.query(`UPDATE round SET closed_at = closed_at - interval '2 hours'`);
    expect((await look()).map((r) => r.considered)).toEqual([3]);

    // The hole closes: what waited behind it is decided at once, with what filled the hole, when there is enough of it.
    await handle(301, 1, 41);
    expect((await look()).map((r) => [r.considered, r.holes])).toEqual([[5, []]]);

    // Another does not close: the round that passes over it names it, whatever waits.
    await handle(322, 7, 41);
    await handle(331, 7, 42);
    await handle(332, 8, 42);
    await waited(['study-331'], 2);
    expect(await look()).toEqual([]);
    await database.query(`UPDATE seen SET seen_at = seen_at - interval '4 hours' WHERE partition = 41`);
    expect((await look()).map((r) => [r.considered, r.holes])).toEqual([[1, [[TOPIC, 41, 6, 6]]]]);
    expect((await closeRound(database, cohort(), 0))?.considered).toBe(2);
  });

  test('two processes that close at once close one round', async () => {
    await handle(103, 3);
    const rounds = await Promise.all([closeRound(database, cohort(), HOUR_MS), closeRound(database, cohort(), HOUR_MS)]);
    expect(rounds.filter((r) => r !== undefined)).toHaveLength(1);
  });

  test('a study waits for the database a few times only, and a round as often for many studies as for one', async () => {
    // A partition that every offset has come of.
    const append = (n: number): Promise<unknown> =>
      selectStage.handle(event(n, n - 200, 6), { database, eraseAgainAfterMs: 1000 }, AbortSignal.timeout(30_000));
    expect(await roundTrips(() => append(200))).toBeLessThanOrEqual(4);
    let round: RoundResult | undefined;
    const close = async (): Promise<unknown> => (round = await closeRound(database, cohort(), HOUR_MS));
    expect(await roundTrips(close)).toBeLessThanOrEqual(10);
    for (let n = 201; n < 221; n += 1) await append(n);
    expect(await roundTrips(close)).toBeLessThanOrEqual(10);
    expect(round?.considered).toBe(20);
    const outbox = await database.next(1000);
    expect(outbox.map((r) => r.sequence)).toEqual(outbox.map((_, i) => (outbox[0]?.sequence ?? 0n) + BigInt(i)));
  });

  test('POST /rounds closes one and says what it decided; a web page may not', async () => {
    await handle(104, 4);
    const server = controlServer({
      database,
      cohort: cohort(),
      rules: { everyStudies: 100, everyMs: HOUR_MS, holeWaitMs: HOUR_MS },
      token: 'the-token-of-operators',
      closed: () => undefined,
      failed: () => undefined,
    });
    const headers = { authorization: 'Bearer the-token-of-operators' };
    expect(
      (await server.inject({ method: 'POST', url: '/rounds', headers: { ...headers, origin: 'https://example.org' } })).statusCode,
    ).toBe(403);
    const closed = (await server.inject({ method: 'POST', url: '/rounds', headers })).json<{ closed: boolean; selected: number }>();
    expect(closed).toMatchObject({ closed: true, selected: 1 });
    expect((await server.inject({ method: 'POST', url: '/rounds', headers })).json()).toEqual({ closed: false });
    expect((await server.inject({ method: 'GET', url: '/rounds.json' })).json()).toMatchObject({ cohort: 'test', waiting: { studies: 0 } });
    await server.close();
  });
});
