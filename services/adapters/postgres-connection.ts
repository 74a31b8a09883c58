// What the PostgreSQL adapters share: a connection URL that is as safe as it says, and what a refused connection means.
import { readFileSync } from 'node:fs';
import pg from 'pg';
import { Fault } from '../kernel/fault.ts';
import { isUntrusted } from './tls-files.ts';

/**
 * The URL, when its TLS settings are ones that check the server: `sslmode=verify-full`, with `sslrootcert=FILE` unless a
 * public authority vouches for it; or none at all. pg reads the file itself.
 * @throws Fault BAD_CONFIG for another mode, or a file that can't be read. The URL holds a password and is not told.
 */
export function checkedUrl(url: string, variable: string): string {
  const wrong = (what: string): Fault => new Fault('BAD_CONFIG', false, `${variable}: ${what}`);
  if (!URL.canParse(url)) throw wrong('is no URL; characters of the password that a URL reserves are written as %XX');
  const { searchParams } = new URL(url);
  const mode = searchParams.get('sslmode') ?? undefined;
  const rootCert = searchParams.get('sslrootcert') ?? undefined;
  // libpq's other modes encrypt and do not check whom they talk to.
  if (mode !== undefined && mode !== 'verify-full' && mode !== 'disable')
    throw wrong('of the modes of sslmode only verify-full checks the server');
  for (const name of ['ssl', 'uselibpqcompat']) if (searchParams.has(name)) throw wrong(`${name} is not taken: say sslmode=verify-full`);
  if (rootCert === undefined) return url;
  if (mode !== 'verify-full') throw wrong('sslrootcert needs sslmode=verify-full');
  try {
    if (!readFileSync(rootCert, 'utf8').includes('-----BEGIN CERTIFICATE-----'))
      throw wrong(`sslrootcert: ${rootCert} holds no certificate (PEM)`);
  } catch (error) {
    if (error instanceof Fault) throw error;
    throw wrong(`sslrootcert: ${rootCert} can't be read (${(error as NodeJS.ErrnoException).code ?? 'error'})`);
  }
  return url;
}

/** Wrong password or role, no such database, no right (PostgreSQL manual, appendix A). An expired password is 28P01 too. */
const UNAUTHORISED = new Set(['28P01', '28000', '3D000', '42501']);

/** Whether the server refused us, or we the server, and the reason without anyone's value; undefined for other errors. */
export function refusalOf(error: unknown): { readonly kind: 'UNAUTHORISED' | 'UNTRUSTED'; readonly why: string } | undefined {
  if (typeof error !== 'object' || error === null) return undefined;
  const { code, message = '' } = error as { code?: unknown; message?: string };
  if (error instanceof pg.DatabaseError) {
    if (!UNAUTHORISED.has(error.code ?? '')) return undefined;
    // The server's list of who may connect has lines for encrypted connections only.
    if (error.code === '28000' && error.message.includes('no encryption'))
      return { kind: 'UNTRUSTED', why: 'the server takes encrypted connections only' };
    return { kind: 'UNAUTHORISED', why: `SQLSTATE ${error.code}` };
  }
  if (typeof code === 'string' && isUntrusted(code)) return { kind: 'UNTRUSTED', why: code };
  if (/does not support SSL/.test(message)) return { kind: 'UNTRUSTED', why: 'the server does not speak TLS' };
  if (/client password must be/.test(message)) return { kind: 'UNAUTHORISED', why: 'the URL has no password' };
  return undefined;
}
