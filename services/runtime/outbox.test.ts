import { expect, jest, test } from '@jest/globals';
import { createNoopMeter, metrics } from '@opentelemetry/api';
import type { ObservableCallback } from '@opentelemetry/api';
import { getEventListeners } from 'node:events';
import { memoryBroker } from '../../test/shared/memory-bus.ts';
import { testContext } from '../../test/shared/test-context.ts';
import { Fault } from '../kernel/fault.ts';
import type { OutboxSource } from '../ports/outbox.ts';
import { runOutbox } from './outbox.ts';

test('begun fifty times while its credential is refused, it leaves one gauge, which tells what waits, and no listener', async () => {
  const callbacks = new Set<ObservableCallback>();
  const meter = createNoopMeter();
  jest.spyOn(meter, 'createObservableGauge').mockReturnValue({
    addCallback: (callback) => void callbacks.add(callback),
    removeCallback: (callback) => void callbacks.delete(callback),
  });
  const getMeter = jest.spyOn(metrics, 'getMeter').mockReturnValue(meter);
  const ctx = testContext();
  getMeter.mockRestore();
  const row = { sequence: 1n, eventId: 'e', topic: 't', key: 'k', value: new Uint8Array(), headers: {} };
  const waiting: OutboxSource = { next: async () => [row], markSent: async () => undefined, depth: async () => 7 };
  const refused = new Fault('DENIED_BY_BROKER', false, 'the broker refuses this user');
  const broker = memoryBroker();
  broker.outage = refused;
  const begin = (sourceName: string): Promise<void> => runOutbox(waiting, { bus: broker.bus(), ctx, sourceName });
  for (let n = 0; n < 50; n += 1) await expect(begin('s')).rejects.toBe(refused);
  const observed: unknown[] = [];
  for (const callback of callbacks) await callback({ observe: (...of) => void observed.push(of) });
  expect(observed).toEqual([[7, { source: 's' }]]);
  expect(getEventListeners(ctx.signal, 'abort')).toEqual([]);
  // Another source is another gauge.
  await expect(begin('t')).rejects.toBe(refused);
  expect(callbacks.size).toBe(2);
});
