import { expect, test } from '@jest/globals';
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

test('the gateway is not ready before its status page is served', async () => {
  // A registry that takes its time: the gateway is up, and far from done with starting.
  const registry = createServer(() => undefined);
  await new Promise<void>((done) => registry.listen(0, '127.0.0.1', done));
  const dir = mkdtempSync(join(tmpdir(), 'ctstream-gateway-'));
  writeFileSync(join(dir, 'centres.json'), '[]', { mode: 0o600 });
  const child = spawn(process.execPath, ['--no-warnings', join(import.meta.dirname, 'main.ts')], {
    env: {
      PATH: process.env['PATH'] ?? '',
      HTTP_PORT: '0',
      KAFKA_BROKERS: '127.0.0.1:9',
      CENTRES_FILE: join(dir, 'centres.json'),
      STATE_DIR: join(dir, 'not-made-yet'),
      SCHEMA_REGISTRY_URL: `http://127.0.0.1:${(registry.address() as AddressInfo).port}`,
    },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  try {
    let health = '';
    for await (const line of createInterface(child.stdout)) {
      health = (JSON.parse(line) as { listening?: string }).listening ?? '';
      if (health !== '') break;
    }
    const answer = await fetch(`${health}/readyz`);
    expect(answer.status).toBe(503);
    expect(await answer.json()).toMatchObject({ reasons: ['the API is not up yet'] });
  } finally {
    child.kill('SIGKILL');
    registry.closeAllConnections();
    registry.close();
    rmSync(dir, { recursive: true });
  }
}, 30_000);
