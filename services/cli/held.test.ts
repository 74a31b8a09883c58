// A decision on a hold needs its dead letter: without it, the message says what gives it a new one.
import { expect, test } from '@jest/globals';
import { memoryBroker } from '../../test/shared/memory-bus.ts';
import { memoryHeld } from '../../test/shared/memory-held.ts';
import { centreId } from '../kernel/ids.ts';
import { HEADER } from '../runtime/retry.ts';
import { decideHeld, lookAgain, nothingParked, type HeldPorts } from './held.ts';

const DEAD = 'ct.clinical.anonymise.dead';
const HOUR = 3_600_000;
const signal = new AbortController().signal;
const person = { name: 'Simulated Security Officer', roles: ['security'], tokenSha256: '' } as const;
const note = {
  heldId: 'h1',
  token: 't',
  centre: centreId('c01'),
  code: 'HELD_BY_VERIFIER',
  digest: 'd',
  checks: ['element'],
  findings: 1,
  objects: [],
  eventId: 'e1',
} as const;

test('a hold whose letter is gone is decided once it was told of again; until then the message says how', async () => {
  const broker = memoryBroker();
  for (const topic of [DEAD, 'ct.clinical.anonymise.retry.30s']) broker.createTopic(topic, 1);
  const review = memoryHeld();
  await review.hold(note);
  const bus = broker.bus();
  const ports: HeldPorts = { review, quarantine: { getBytes: async () => undefined }, bus, close: async () => undefined };
  const refuse = () =>
    decideHeld(ports, { heldId: 'h1', kind: 'refused', reason: 'a name in it', person: { ...person, roles: [...person.roles] } }, signal);
  await expect(refuse()).rejects.toMatchObject({ code: 'NOTHING_PARKED' });
  await expect(lookAgain(ports, 'h1', signal)).rejects.toMatchObject({ code: 'NOTHING_PARKED' });
  expect((await review.find('h1'))?.decision).toBeUndefined();
  const headers = { ce_id: 'e1', [HEADER.code]: note.code, [HEADER.stage]: 'anonymise' };
  await bus.publish([{ topic: DEAD, key: 'c01|1.2.3', value: new Uint8Array(), headers }]);
  expect(await refuse()).toMatchObject({ decision: 'refused' });
  expect(broker.records('ct.clinical.anonymise.retry.30s')).toHaveLength(1);
});

test('what was held just now is to be tried again; what was held long ago is told of again, or by the centre', () => {
  const held = { ...note, heldAtMs: 0 };
  expect(nothingParked(held, HOUR - 1).message).toMatch(/yet: try again in a moment$/);
  expect(nothingParked(held, 91 * 24 * HOUR).message).toMatch(/every 30 days.*'ctstream announce-again --centre c01'/);
});
