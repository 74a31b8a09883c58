// The contract of held studies, on the keeper in memory.
import { memoryHeld } from '../shared/memory-held.ts';
import { heldSuite } from './held-suite.ts';

heldSuite('in memory', async () => ({ held: memoryHeld(), token: 't', close: async () => undefined }));
