// Certificates of the local platform's own, when it is to speak TLS: an authority that exists for this platform alone, and
// one certificate for 127.0.0.1 that it vouches for. Made by openssl, which Debian's Java brings along.
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { runCommand } from './install.ts';

export interface Certificates {
  /** Who vouches, for the clients. */
  readonly caFile: string;
  readonly certFile: string;
  /** PKCS #8. */
  readonly keyFile: string;
}

const EC_KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];

const openssl = (args: readonly string[]): Promise<string> => runCommand('TLS (openssl)', 'openssl', [...args]);

/** Makes authority, key and certificate in the folder, valid for `days` from now. */
export async function makeCertificates(folder: string, days = 30): Promise<Certificates> {
  await mkdir(folder, { recursive: true, mode: 0o755 });
  const at = (name: string): string => join(folder, name);
  await openssl([
    'req',
    '-x509',
    ...EC_KEY,
    '-keyout',
    at('ca.key'),
    '-out',
    at('ca.pem'),
    '-days',
    String(days),
    '-subj',
    '/CN=ctstream local platform',
  ]);
  await openssl(['req', '-new', ...EC_KEY, '-keyout', at('server.key'), '-out', at('server.csr'), '-subj', '/CN=localhost']);
  await writeFile(at('server.ext'), 'subjectAltName=IP:127.0.0.1,DNS:localhost\n');
  const signing = ['-CA', at('ca.pem'), '-CAkey', at('ca.key'), '-CAcreateserial', '-extfile', at('server.ext'), '-days', String(days)];
  await openssl(['x509', '-req', '-in', at('server.csr'), ...signing, '-out', at('server.pem')]);
  return { caFile: at('ca.pem'), certFile: at('server.pem'), keyFile: at('server.key') };
}

/** Key and certificates in one file, as Kafka takes them. */
export async function pemStore(certificates: Certificates, path: string): Promise<string> {
  const parts = await Promise.all([certificates.keyFile, certificates.certFile, certificates.caFile].map((file) => readFile(file, 'utf8')));
  await writeFile(path, parts.join(''), { mode: 0o600 });
  return path;
}
