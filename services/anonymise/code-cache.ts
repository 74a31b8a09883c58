// Compiled code from run to run: reading and compiling the modules anew takes a quarter of a second of each
// thread. In the packages' folder, where nobody else writes; where it can't be written nothing changes.
import { enableCompileCache } from 'node:module';
import { fileURLToPath } from 'node:url';

const FOLDER = fileURLToPath(new URL('../../node_modules/.cache/ctstream/code', import.meta.url));

/** For what is imported from now on in this thread: call it first, then import by import(). */
export const enableCodeCache = (): void => void enableCompileCache(FOLDER);
