// The contract of the object store, on the one in memory.
import { memoryStore } from '../shared/memory-store.ts';
import { storeSuite } from './store-suite.ts';

storeSuite('in memory', async () => ({ store: memoryStore(), bucket: 'b', close: async () => undefined }));
