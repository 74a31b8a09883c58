// Instances that are left behind unread, for each is in memory as a whole: what has no room there ends the process for all.
import { statSync } from 'node:fs';
import type { Code } from '../kernel/codes.ts';
import { codeOfSopClass } from './disposition.ts';

/** Largest instance that is read unless said otherwise: a slice has some megabytes, a whole scan in one object some hundred. */
export const INSTANCE_LIMIT_MB = 256;

/** Whether a file is larger than that; one that can't be looked at is not. */
export const isTooLargeFile = (path: string): boolean =>
  (statSync(path, { throwIfNoEntry: false })?.size ?? 0) > INSTANCE_LIMIT_MB * 1024 * 1024;

/** What its class would leave behind anyway has that code, whatever its size. */
export const codeOfTooLarge = (sopClassUid: string | undefined): Code =>
  (sopClassUid === undefined ? undefined : codeOfSopClass(sopClassUid)) ?? 'LIMIT_EXCEEDED';
