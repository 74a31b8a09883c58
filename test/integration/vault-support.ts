// A vault in a PostgreSQL database of its own, with files as an operator has them, and the real commands on it.
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import pg from 'pg';
import pino from 'pino';
import { createDatabase } from '../../deploy/local/postgres.ts';
import { openVaultSession, type VaultSession } from '../../services/adapters/postgres-vault-admin.ts';
import { openVaultCorrections, type VaultCorrections } from '../../services/adapters/postgres-vault-admin-correct.ts';
import { openPostgresVault } from '../../services/adapters/postgres-vault.ts';
import { openPostgresWithdrawals } from '../../services/adapters/postgres-vault-withdraw.ts';
import { openCodec } from '../../services/adapters/schema-registry.ts';
import { sha256Hex } from '../../services/kernel/digest.ts';
import { RESEARCH_IDS } from '../../services/anonymise/withdraw-ids.ts';
import type { CentreId, ClinicalRevision, StudyInstanceUid } from '../../services/kernel/ids.ts';
import type { IdentityVault, PatientKey, SubjectKeys } from '../../services/ports/identity-vault.ts';
import type { Withdrawals } from '../../services/ports/withdrawals.ts';
import type { Role } from '../../services/runtime/people-file.ts';
import { testPlatform, testPrefix } from './support.ts';

export interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface TestVault {
  readonly url: string;
  readonly key: Buffer;
  /** Folder of the operator's files. */
  readonly dir: string;
  file(name: string, text: string): string;
  open(key?: Uint8Array): Promise<IdentityVault>;
  session(): Promise<VaultSession>;
  corrections(): Promise<VaultCorrections>;
  withdrawals(): Promise<Withdrawals>;
  query(sql: string, params?: readonly unknown[]): Promise<Record<string, unknown>[]>;
  /** Runs `ctstream vault ...`; what it wrote and its exit code. */
  cli(args: readonly string[], keyFile?: string): Promise<Ran>;
  /** The same of `ctstream withdraw ...`. */
  withdraw(args: readonly string[]): Promise<Ran>;
  spawnCli(args: readonly string[]): ChildProcess;
  dispose(): void;
}

const MAIN = resolve(import.meta.dirname, '../../services/cli/main.ts');
const run = promisify(execFile);

/** An empty database under a role of its own; nothing opens it yet. */
export async function emptyVault(key: Buffer = randomBytes(32)): Promise<TestVault> {
  const platform = await testPlatform();
  const name = testPrefix('vault').replaceAll('-', '_');
  const url = await createDatabase(platform.postgres, name, { user: name, password: randomBytes(12).toString('hex') });
  const dir = mkdtempSync(join(tmpdir(), 'ctstream-vault-'));
  const file = (fileName: string, text: string): string => {
    const path = join(dir, fileName);
    writeFileSync(path, text, { mode: 0o600 });
    return path;
  };
  const urlFile = file('url', `${url}\n`);
  const ownKeyFile = file('key', `${key.toString('hex')}\n`);
  const log = pino({ level: 'silent' });
  const argv = (args: readonly string[], keyFile = ownKeyFile): string[] => [
    '--no-warnings',
    MAIN,
    ...args,
    '--url-file',
    urlFile,
    '--key-file',
    keyFile,
    '--json',
  ];
  const ctstream = async (args: readonly string[], keyFile?: string): Promise<Ran> => {
    try {
      return { code: 0, ...(await run(process.execPath, argv(args, keyFile))) };
    } catch (error) {
      const { code, stdout, stderr } = error as Ran;
      return { code, stdout, stderr };
    }
  };
  return {
    url,
    key,
    dir,
    file,
    open: (other = key) => openPostgresVault({ connectionString: url, key: other, maxConnections: 1, maxLocks: 2 }),
    session: () => openVaultSession({ connectionString: url, key, ids: RESEARCH_IDS }),
    corrections: async () =>
      openVaultCorrections({ connectionString: url, key, ids: RESEARCH_IDS, codec: await openCodec(undefined), log }),
    withdrawals: async () =>
      openPostgresWithdrawals({ connectionString: url, key, ids: RESEARCH_IDS, codec: await openCodec(undefined), log }),
    query: async (sql, params = []) => {
      const client = new pg.Client({ connectionString: url });
      await client.connect();
      try {
        return (await client.query<Record<string, unknown>>(sql, [...params])).rows;
      } finally {
        await client.end();
      }
    },
    cli: (args, keyFile) => ctstream(['vault', ...args], keyFile),
    withdraw: (args) => ctstream(['withdraw', ...args]),
    spawnCli: (args) => spawn(process.execPath, argv(['vault', ...args]), { stdio: 'ignore' }),
    dispose: () => rmSync(dir, { recursive: true, force: true }),
  };
}

/** Options of a command that names who gives it: of somebody called 'anna' with one role. */
export function anna(under: TestVault, role: Role): string[] {
  const token = randomBytes(24).toString('hex');
  const people = under.file(`people-${role}.json`, JSON.stringify([{ name: 'anna', roles: [role], tokenSha256: sha256Hex(token) }]));
  return ['--token-file', under.file(`token-${role}`, token), '--people-file', people];
}

/** Looks again and again, up to a limit. */
export async function eventually(what: string, look: () => Promise<boolean>, limitMs = 10_000): Promise<void> {
  const deadline = Date.now() + limitMs;
  while (!(await look())) {
    if (Date.now() > deadline) throw new Error(`not within ${limitMs} ms: ${what}`);
    await sleep(50);
  }
}

export const idKey = (patientId: string): PatientKey => ({ namespace: 'issuer:H', patientId });

export async function subjectOf(vault: IdentityVault, patientId: string): Promise<SubjectKeys> {
  const found = await vault.subject(idKey(patientId));
  if (found === 'denied') throw new Error('denied');
  return found;
}

export const study = (vault: IdentityVault, seen: SubjectKeys, uid: string) =>
  vault.study(seen, 'c01' as CentreId, uid as StudyInstanceUid, 'r1' as ClinicalRevision);
