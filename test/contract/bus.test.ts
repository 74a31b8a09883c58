// The contract of the event bus, on the one in memory.
import { memoryBroker } from '../shared/memory-bus.ts';
import { busSuite } from './bus-suite.ts';

busSuite('in memory', async () => {
  const broker = memoryBroker();
  return {
    bus: () => broker.bus(),
    createTopic: async (name, partitions) => broker.createTopic(name, partitions),
    close: async () => undefined,
  };
});
