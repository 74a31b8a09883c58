// Real CT files for tests that want them. They are no part of the project: without them those tests are skipped and say so.
import { join, resolve } from 'node:path';

/** The folder of real files, with chest/, geometry/ and edge/: CTSTREAM_DATA, else `shared/data` beside the checkout. */
export const REAL_FILES = resolve(process.env['CTSTREAM_DATA'] ?? join(import.meta.dirname, '../../../shared/data'));
