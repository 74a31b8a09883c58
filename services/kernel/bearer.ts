// Who may change something over a stage's own HTTP server: a process of this machine that knows the token.
import { timingSafeEqual } from 'node:crypto';
import { sha256Hex } from './digest.ts';

const LOOPBACK = new Set(['127.0.0.1', '::1', '::ffff:127.0.0.1']);

/** What of a request decides. */
export interface Caller {
  readonly ip: string;
  readonly authorization: string | undefined;
}

/** True when the header is `Bearer` with the token; never where no token is configured. */
export function knowsToken(authorization: string | undefined, token: string | undefined): boolean {
  if (token === undefined) return false;
  const given = /^Bearer (.+)$/.exec(authorization ?? '')?.[1] ?? '';
  // Digests have one length, so the comparison tells nothing of the token's.
  return timingSafeEqual(Buffer.from(sha256Hex(given)), Buffer.from(sha256Hex(token)));
}

/** True for a caller on this machine that sends the token. */
export function mayChange({ ip, authorization }: Caller, token: string | undefined): boolean {
  return LOOPBACK.has(ip) && knowsToken(authorization, token);
}
