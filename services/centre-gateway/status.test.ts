import { afterEach, beforeEach, expect, test } from '@jest/globals';
import Fastify from 'fastify';
import { memoryBroker } from '../../test/shared/memory-bus.ts';
import { avroCodec } from '../adapters/avro-codec.ts';
import { Fault } from '../kernel/fault.ts';
import { centreId } from '../kernel/ids.ts';
import type { ClinicalRevision, StudyInstanceUid } from '../kernel/ids.ts';
import type { EventCodec } from '../ports/event-codec.ts';
import { gatewayRoutes } from './api.ts';
import type { CentreLink } from './link.ts';
import { reportOf } from './report.ts';
import { addCentre, openState } from './state.ts';
import type { State } from './state.ts';
import { followStatus } from './status.ts';
import { markAnnounced, markTouched, studyRow, toAnnounceAgain } from './studies.ts';

const centre = centreId('c1');
const [ONE, TWO] = ['1.2.3', '1.2.4'] as [StudyInstanceUid, StudyInstanceUid];
const codec = avroCodec();
const topic = 'ct.clinical.c1.study-status.v1';
const link = { centre, name: 'c1', quiet: { stableAfterMs: 1000, stableSaidMs: 50 }, log: () => undefined } as unknown as CentreLink;
let state: State;

beforeEach(() => {
  state = openState({ file: ':memory:', codec, nowMs: () => 1_000_000 });
  addCentre(state, centre);
  for (const uid of [ONE, TWO]) {
    markTouched(state, centre, uid, 'poll', link.quiet);
    const row = studyRow(state, centre, uid);
    if (row !== undefined) markAnnounced(state, centre, row, { revision: 'r', sequence: 1, instanceCount: 1 });
  }
});
afterEach(() => state.close());

const status = (uid: StudyInstanceUid) =>
  codec.encode(
    {
      type: 'ctstream.clinical.v1.StudyStatus',
      value: {
        centre,
        studyInstanceUid: uid,
        revision: 'r' as ClinicalRevision,
        state: 'waiting',
        code: 'STUDY_CHANGED',
        instanceCount: 0,
      },
    },
    { id: `id-${uid}`, source: 'test', timeMs: 0 },
  );

/** A codec to which the records of one study come from the future. */
type Unreadable = 'SCHEMA_AHEAD' | 'SCHEMA_ID_MISMATCH';
const behind = (uid: string, code: Unreadable): EventCodec => ({
  ...codec,
  decode: (record) => {
    if (record.key.endsWith(uid)) throw new Fault(code, true, 'unknown schema id');
    return codec.decode(record);
  },
});

test.each<Unreadable>(['SCHEMA_AHEAD', 'SCHEMA_ID_MISMATCH'])(
  'a status that is %s waits, others do not; a broken one is noted',
  async (code) => {
    const broker = memoryBroker();
    broker.createTopic(topic, 1);
    const bus = broker.bus();
    await bus.publish([status(ONE), { ...status(TWO), key: 'c1|broken', value: Buffer.from('x') }, status(TWO)]);
    const follow = async (using: EventCodec, until: () => boolean): Promise<void> => {
      const stop = new AbortController();
      const following = followStatus(state, link, bus, using, stop.signal);
      for (let n = 0; n < 1000 && !until(); n += 1) await new Promise(setImmediate);
      stop.abort();
      await following;
    };
    await follow(behind(ONE, code), () => studyRow(state, centre, TWO)?.status_code === 'STUDY_CHANGED');
    expect(studyRow(state, centre, TWO)?.status_code).toBe('STUDY_CHANGED');
    expect(studyRow(state, centre, ONE)?.status_code).toBeNull();
    expect(reportOf(state, link).unreadAnswers).toEqual({ [code]: 1, BAD_EVENT: 1 });
    // Updated and started again: what waited is there still, and its study is announced anew.
    await follow(codec, () => studyRow(state, centre, ONE)?.status_code === 'STUDY_CHANGED');
    expect(studyRow(state, centre, ONE)).toMatchObject({ status_code: 'STUDY_CHANGED', state: 'pending', revision: null });
    expect(reportOf(state, link).unreadAnswers).toEqual({ BAD_EVENT: 1 });
  },
);

test('the status page names studies only to who shows the token in the header', async () => {
  const token = 'a token that is long enough';
  const server = Fastify();
  gatewayRoutes(server, { state, centres: [{ link, watch: {} as never }], token });
  const get = async (url: string, given?: string): Promise<string> =>
    (await server.inject({ url, headers: given === undefined ? {} : { authorization: `Bearer ${given}` } })).body;
  for (const url of ['/', '/status.json']) {
    for (const body of [await get(url), await get(url, 'wrong'), await get(`${url}?token=${token}`)]) {
      expect(body).not.toContain(ONE);
      expect(body).toMatch(/[0-9a-f]{6}/);
    }
    expect(await get(url, token)).toContain(ONE);
  }
  const { centres } = JSON.parse(await get('/status.json')) as { centres: { studies: { reference: string }[] }[] };
  expect(new Set(centres[0]?.studies.map((s) => s.reference)).size).toBe(2);
  await server.close();
});

test('studies are announced again for who shows the token, on this machine', async () => {
  const token = 'a token that is long enough';
  const server = Fastify();
  gatewayRoutes(server, { state, centres: [{ link, watch: {} as never }], token });
  const ask = async (payload: object, given = token): Promise<[number, unknown]> => {
    const headers = { authorization: `Bearer ${given}` };
    const answer = await server.inject({ method: 'POST', url: '/announce-again', headers, payload });
    return [answer.statusCode, answer.json<unknown>()];
  };
  expect((await ask({ centre }, 'wrong'))[0]).toBe(403);
  expect((await ask({ centre: 'c2' }))[0]).toBe(404);
  expect((await ask({ centre, since: 'yesterday' }))[0]).toBe(400);
  expect(await ask({ centre, dryRun: true })).toEqual([200, { centre, studies: 2, dryRun: true }]);
  expect(await ask({ centre, since: '2026-04-01' })).toEqual([200, { centre, studies: 0, dryRun: false }]);
  expect(toAnnounceAgain(state, centre)).toBe(0);
  expect(await ask({ centre })).toEqual([200, { centre, studies: 2, dryRun: false }]);
  expect([toAnnounceAgain(state, centre), reportOf(state, link).toAnnounceAgain]).toEqual([2, 2]);
  await server.close();
});

test('a refusal of more files than an event can tell is refused itself', async () => {
  const token = 'a token that is long enough';
  const server = Fastify();
  gatewayRoutes(server, { state, centres: [{ link, watch: {} as never }], token });
  const ask = async (files: number): Promise<number> => {
    const refusals = [{ intakeId: '0123456789abcdef', unit: 'study', code: 'MISSING_UID', files, detail: '' }];
    const headers = { authorization: `Bearer ${token}` };
    return (await server.inject({ method: 'POST', url: '/intake-refused', headers, payload: { centre, refusals } })).statusCode;
  };
  expect([await ask(2 ** 31), await ask(2 ** 31 - 1)]).toEqual([400, 200]);
  await server.close();
});
