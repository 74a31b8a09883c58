// The life of a process, seen from outside: health, metrics, signals, exit codes, and a collector that is away.
import { afterEach, describe, expect, jest, test } from '@jest/globals';
import { spawn, type ChildProcess } from 'node:child_process';
import { createServer, type Server } from 'node:http';
import { join } from 'node:path';
import { until } from '../../test/shared/test-context.ts';

jest.setTimeout(60_000);

const script = join(import.meta.dirname, '../../test/shared/tiny-process.ts');
const children: ChildProcess[] = [];

interface Tiny {
  readonly child: ChildProcess;
  out(): string;
  err(): string;
  exit: Promise<number | null>;
}

function start(env: Record<string, string>): Tiny {
  const child = spawn(process.execPath, ['--no-warnings', script], { env: { PATH: process.env['PATH'] ?? '', ...env } });
  children.push(child);
  let out = '';
  let err = '';
  child.stdout.on('data', (d: Buffer) => (out += d.toString()));
  child.stderr.on('data', (d: Buffer) => (err += d.toString()));
  return { child, out: () => out, err: () => err, exit: new Promise((resolve) => child.on('close', resolve)) };
}

async function urlOf(tiny: Tiny): Promise<string> {
  await until('it listens', () => tiny.out().includes('"listening"'), 40_000);
  return /"listening":"([^"]+)"/.exec(tiny.out())?.[1] ?? '';
}

afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
});

test('healthz, readyz, metrics; SIGTERM ends it with 0 after closing', async () => {
  const tiny = start({ DO: 'wait' });
  const url = await urlOf(tiny);
  await until('it is ready', async () => (await fetch(`${url}/readyz`)).status === 200);
  expect(await (await fetch(`${url}/healthz`)).json()).toEqual({ status: 'ok' });
  const metrics = await (await fetch(`${url}/metrics`)).text();
  expect(metrics).toMatch(/^ctstream_tiny_total\{colour="red"\} 2/m);
  tiny.child.kill('SIGTERM');
  expect(await tiny.exit).toBe(0);
  expect(tiny.err()).toContain('closed');
  const line = tiny
    .out()
    .split('\n')
    .find((l) => l.includes('in a span'));
  expect(JSON.parse(line ?? '{}')).toMatchObject({
    name: 'tiny',
    traceId: expect.stringMatching(/^[0-9a-f]{32}$/),
    studyInstanceUid: '[never logged]',
    nested: { patientId: '[never logged]' },
  });
});

test('before its first check it is starting, not ready', async () => {
  const tiny = start({ DO: 'starting' });
  const answer = await fetch(`${await urlOf(tiny)}/readyz`);
  expect(answer.status).toBe(503);
  expect(await answer.json()).toEqual({ status: 'waiting', reasons: ['starting'] });
  tiny.child.kill('SIGTERM');
  expect(await tiny.exit).toBe(0);
});

describe('exit codes', () => {
  test.each([
    ['fail', 1, /^Error: see the log/m],
    ['fault', 1, /LOG_TRUNCATED: t\/0/],
    ['config', 78, /A: wrong\n {2}B: wrong too/],
    ['reject', 1, /^$/, 'a promise was rejected that nobody waits for'],
    ['throw', 1, /^$/, 'an error was thrown that nobody caught'],
  ])('%s', async (what, code, says, logged = '') => {
    const tiny = start({ DO: what });
    expect(await tiny.exit).toBe(code);
    expect(tiny.err()).toMatch(says);
    expect(tiny.out()).toContain(logged);
    expect(tiny.out() + tiny.err()).not.toContain('Ivanov');
  });

  test('an environment that is unusable: 78, all problems at once', async () => {
    const tiny = start({ HTTP_PORT: 'x', LOG_LEVEL: 'loud' });
    expect(await tiny.exit).toBe(78);
    for (const name of ['HTTP_PORT', 'LOG_LEVEL', 'DO']) expect(tiny.err()).toContain(name);
  });

  test('a second signal ends a process that does not close', async () => {
    const tiny = start({ DO: 'hang' });
    const url = await urlOf(tiny);
    await until('it is ready', async () => (await fetch(`${url}/readyz`)).status === 200);
    tiny.child.kill('SIGTERM');
    await until('it stops', () => tiny.out().includes('stopping'));
    await new Promise((resolve) => setTimeout(resolve, 1200));
    tiny.child.kill('SIGTERM');
    expect(await tiny.exit).toBe(130);
  });
});

test('a signal that comes twice at once, from the terminal and from the parent, is one: it closes and ends with 0', async () => {
  const tiny = start({ DO: 'linger' });
  const url = await urlOf(tiny);
  await until('it is ready', async () => (await fetch(`${url}/readyz`)).status === 200);
  tiny.child.kill('SIGINT');
  await until('it stops', () => tiny.out().includes('stopping'));
  tiny.child.kill('SIGTERM');
  expect(await tiny.exit).toBe(0);
  expect(tiny.err()).toContain('closed');
});

describe('spans', () => {
  const listen = async (server: Server): Promise<string> => {
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    return `http://127.0.0.1:${typeof address === 'object' ? (address?.port ?? 0) : 0}`;
  };

  test.each(['OTEL_EXPORTER_OTLP_ENDPOINT', 'ZIPKIN_URL'])('a collector that is away (%s) does not end the process', async (name) => {
    const gone = createServer();
    const url = await listen(gone);
    await new Promise((resolve) => gone.close(resolve));
    const tiny = start({ DO: 'wait', [name]: name === 'ZIPKIN_URL' ? `${url}/api/v2/spans` : url });
    await urlOf(tiny);
    await until('it notices', () => tiny.out().includes('spans are dropped'), 30_000);
    tiny.child.kill('SIGTERM');
    expect(await tiny.exit).toBe(0);
  });

  test('go to the collector that is given, and nowhere without one', async () => {
    const bodies: string[] = [];
    const server = createServer((request, response) => {
      let body = '';
      request.on('data', (d: Buffer) => (body += d.toString()));
      request.on('end', () => {
        bodies.push(body);
        response.writeHead(202).end();
      });
    });
    const tiny = start({ DO: 'wait', ZIPKIN_URL: `${await listen(server)}/api/v2/spans` });
    await urlOf(tiny);
    tiny.child.kill('SIGTERM');
    await tiny.exit;
    server.closeAllConnections();
    server.close();
    expect(bodies.join()).toContain('"name":"work"');
    expect(bodies.join()).toContain('"serviceName":"tiny"');
  });
});
