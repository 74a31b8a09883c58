// Free TCP ports on loopback. Taken from below the range that the kernel hands to outgoing
// connections, so that a part which restarts finds its own port still free. A port is the drawer's for as long as
// it lives: between the draw and the bind of the part that gets it nobody holds it, and two platforms may start at once.
import { mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { processStart } from './processes.ts';

const LOWEST = 20_000;
const HIGHEST = 32_000;

/** `count` different ports that are free on 127.0.0.1 now, and that no living process of this user drew before. */
export async function freePorts(count: number): Promise<number[]> {
  const held: Server[] = [];
  const ports: number[] = [];
  const drawn = join(tmpdir(), `ctstream-ports-${userInfo().uid}`);
  await mkdir(drawn, { recursive: true, mode: 0o700 });
  await removeOld(drawn);
  try {
    for (let attempt = 0; ports.length < count; attempt++) {
      if (attempt > count * 50 + 1000) throw new Error(`No ${count} free ports between ${LOWEST} and ${HIGHEST} on 127.0.0.1`);
      const port = LOWEST + Math.floor(Math.random() * (HIGHEST - LOWEST));
      const server = await listen(port);
      if (server === undefined) continue;
      held.push(server);
      if (await isOurs(join(drawn, String(port)))) ports.push(port);
    }
    return ports;
  } finally {
    await Promise.all(held.map((server) => new Promise((resolve) => server.close(resolve))));
  }
}

/** Notes a port as this process's; false when another, or an earlier call, has it. */
async function isOurs(file: string): Promise<boolean> {
  try {
    await writeFile(file, `${process.pid} ${processStart(process.pid) ?? ''}`, { flag: 'wx', mode: 0o600 });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

/** Far longer than anybody takes between the look at a note and its removal. */
const OLD_MS = 60_000;

/** Notes of processes that have ended. */
async function removeOld(drawn: string): Promise<void> {
  for (const name of await readdir(drawn)) {
    const file = join(drawn, name);
    const [pid = '', ...startedAt] = (await readFile(file, 'utf8').catch(() => '')).split(' ');
    const age = Date.now() - (await stat(file).then(({ mtimeMs }) => mtimeMs, Date.now));
    if (age > OLD_MS && processStart(Number(pid)) !== startedAt.join(' ')) await rm(file, { force: true });
  }
}

function listen(port: number): Promise<Server | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(undefined));
    // Every interface: Orthanc's DICOM port cannot be bound to loopback alone.
    server.listen({ port, host: '0.0.0.0', exclusive: true }, () => resolve(server));
  });
}
