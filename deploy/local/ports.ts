// Free TCP ports on loopback. Taken from below the range that the kernel hands to outgoing
// connections, so that a part which restarts finds its own port still free.
import { createServer, type Server } from 'node:net';

const LOWEST = 20_000;
const HIGHEST = 32_000;

/** `count` different ports that are free on 127.0.0.1 now; all are held until the last is found. */
export async function freePorts(count: number): Promise<number[]> {
  const held: Server[] = [];
  const ports: number[] = [];
  try {
    for (let attempt = 0; ports.length < count; attempt++) {
      if (attempt > count * 50 + 1000) throw new Error(`No ${count} free ports between ${LOWEST} and ${HIGHEST} on 127.0.0.1`);
      const port = LOWEST + Math.floor(Math.random() * (HIGHEST - LOWEST));
      const server = await listen(port);
      if (server === undefined) continue;
      held.push(server);
      ports.push(port);
    }
    return ports;
  } finally {
    await Promise.all(held.map((server) => new Promise((resolve) => server.close(resolve))));
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
