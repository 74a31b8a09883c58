// A stage's database on the real PostgreSQL: effect, inbox and outbox in one transaction, sequences without a gap.
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pino from 'pino';
import { avroCodec } from '../../services/adapters/avro-codec.ts';
import { postgresDatabase } from '../../services/adapters/postgres-database.ts';
import { outgoingId } from '../../services/kernel/event-ids.ts';
import { Fault } from '../../services/kernel/fault.ts';
import type { NewEvent } from '../../services/kernel/outcome.ts';
import type { Transaction } from '../../services/ports/database.ts';
import { runOutbox } from '../../services/runtime/outbox.ts';
import { memoryBroker } from '../shared/memory-bus.ts';
import { testContext, until } from '../shared/test-context.ts';
import { releasePlatform, testPlatform, testPrefix } from './support.ts';

// Real parts on a busy machine: a limit, not an expectation.

type TestDatabase = Awaited<ReturnType<typeof postgresDatabase>>;

const codec = avroCodec();
const log = pino({ level: 'silent' });
const migrationsDir = mkdtempSync(join(tmpdir(), 'ctstream-migrations-'));
const opened: TestDatabase[] = [];
let url = '';

function excluded(study: string): NewEvent & { cause: string } {
  return {
    type: 'ctstream.research.v1.StudyExcluded',
    value: { studyId: study as never, revision: 'r' as never, cohort: 'demo', round: 1, code: 'COHORT_FULL', detail: '' },
    cause: `round-1/${study}`,
  };
}

async function open(more: Partial<Parameters<typeof postgresDatabase>[0]> = {}): Promise<TestDatabase> {
  const db = await postgresDatabase({ url, migrationsDir, codec, source: 'select', log, ...more });
  opened.push(db);
  return db;
}

async function freshUrl(): Promise<string> {
  const { postgres } = await testPlatform();
  const name = testPrefix('db').replaceAll('-', '_');
  return await postgres.createDatabase(name, { user: name, password: 'only-for-this-test' });
}

beforeAll(async () => {
  writeFileSync(
    join(migrationsDir, '0001-tasks.sql'),
    'create table tasks (id bigint generated always as identity primary key, study text not null unique);',
  );
  writeFileSync(join(migrationsDir, '0002-note.sql'), "alter table tasks add column note text not null default '';");
  url = await freshUrl();
});

afterAll(async () => {
  await Promise.all(opened.map((db) => db.close()));
  rmSync(migrationsDir, { recursive: true });
  await releasePlatform();
});

test('many processes migrate a database at once, each migration once; a changed one is refused', async () => {
  const own = await freshUrl();
  const all = await Promise.all(Array.from({ length: 6 }, () => open({ url: own })));
  expect(await all[0]?.query('select name from migrations order by name')).toEqual([{ name: '0001-tasks.sql' }, { name: '0002-note.sql' }]);
  const changed = mkdtempSync(join(tmpdir(), 'ctstream-migrations-'));
  writeFileSync(join(changed, '0001-tasks.sql'), 'create table tasks (id bigint)');
  await expect(open({ url: own, migrationsDir: changed })).rejects.toMatchObject({
    code: 'BAD_CONFIG',
    message: expect.stringContaining('0001-tasks.sql'),
  });
  rmSync(changed, { recursive: true });
});

test('effect, inbox and outbox stand or fall together, and a second delivery has no effect', async () => {
  const db = await open();
  const before = await db.highest();
  const handle = (fail: boolean): Promise<string> =>
    db.transaction(async (tx) => {
      if (!(await tx.firstSight('event-1'))) return 'seen';
      await tx.query('insert into tasks (study) values ($1)', ['s1']);
      await tx.enqueue(excluded('s1'));
      if (fail) throw new Error('in the middle');
      return 'done';
    });
  await expect(handle(true)).rejects.toThrow('in the middle');
  expect([await db.query('select 1 from tasks'), await db.depth(), await db.highest()]).toEqual([[], 0, before]);
  expect([await handle(false), await handle(false), await handle(false)]).toEqual(['done', 'seen', 'seen']);
  expect([(await db.query('select 1 from tasks')).length, await db.depth()]).toEqual([1, 1]);
  const [row] = await db.next(10);
  expect(row).toMatchObject({
    sequence: before + 1n,
    topic: 'ct.research.study-excluded.v1',
    key: 's1',
    eventId: outgoingId('select', 'round-1/s1', 'ctstream.research.v1.StudyExcluded', 0),
  });
  expect(codec.decode({ ...row!, partition: 0, offset: 0n, timestampMs: 0 })).toMatchObject({
    type: 'ctstream.research.v1.StudyExcluded',
    source: 'select',
    sequence: before + 1n,
    value: { studyId: 's1', code: 'COHORT_FULL' },
  });
  await db.markSent([before + 1n]);
});

test('writers side by side draw sequences without a gap, none is seen before a lower one, one event is queued once', async () => {
  const one = await open();
  const two = await open();
  const start = await one.highest();
  const seen: bigint[] = [];
  let writing = true;
  const reader = (async () => {
    while (writing || (await two.depth()) > 0) {
      const rows = await two.next(7);
      for (const row of rows) seen.push(row.sequence);
      await two.markSent(rows.map((r) => r.sequence));
    }
  })();
  const write = (study: string, fail: boolean): Promise<void> =>
    (Math.random() < 0.5 ? one : two).transaction(async (tx) => {
      await tx.enqueue(excluded(study));
      if (fail) throw new Error('rolled back');
    });
  // Every event is written twice at once; a third of the transactions fails.
  const work = Array.from({ length: 60 }, (_, i) => [write(`w${i}`, i % 3 === 0), write(`w${i}`, i % 3 === 0)]).flat();
  const results = await Promise.allSettled(work);
  writing = false;
  await reader;
  expect(results.filter((r) => r.status === 'rejected')).toHaveLength(40);
  expect(seen).toEqual(Array.from({ length: 40 }, (_, i) => start + BigInt(i) + 1n));
});

test('events that are queued together have one sequence after the other, without those that are queued already', async () => {
  const db = await open({ url: await freshUrl() });
  await db.transaction((tx) => tx.enqueue(excluded('b')));
  await db.transaction((tx) => tx.enqueue([excluded('a'), excluded('b'), excluded('c'), excluded('a')]));
  await db.transaction((tx) => tx.enqueue([excluded('c'), excluded('d')]));
  await db.transaction((tx) => tx.enqueue([]));
  expect((await db.next(10)).map((r) => `${r.sequence} ${r.key}`)).toEqual(['1 b', '2 a', '3 c', '4 d']);
  expect(await db.highest()).toBe(4n);
});

test('an event that is told again goes out once more with its id and number, but not what an erasure has blanked', async () => {
  const db = await open({ url: await freshUrl() });
  await db.transaction((tx) => tx.enqueue([excluded('a'), excluded('b'), excluded('c')]));
  const told = await db.next(10);
  await db.markSent(told.map((r) => r.sequence));
  await db.transaction((tx) => tx.forget(['b']));
  const again = ['a', 'b', 'd'].map((study) => ({ ...excluded(study), again: true }));
  await db.transaction((tx) => tx.enqueue([...again, excluded('c')]));
  expect((await db.next(10)).map((r) => [r.sequence, r.key])).toEqual([
    [1n, 'a'],
    [4n, 'd'],
  ]);
  expect((await db.next(1))[0]).toEqual(told[0]);
});

test('of statements that are called together one that fails undoes them all, and the connection goes on', async () => {
  const db = await open({ poolSize: 1 });
  const add = (tx: Transaction, study: string): Promise<unknown> => tx.query('insert into tasks (study) values ($1)', [study]);
  const failing = db.transaction((tx) => Promise.all([add(tx, 'together'), tx.query('select 1 / 0'), add(tx, 'behind')]));
  await expect(failing).rejects.toMatchObject({ code: '22012' });
  expect(await db.query("select 1 from tasks where study in ('together', 'behind')")).toEqual([]);
});

test('the outbox is published in order, at least once, with the same ids; a crash before the mark sends again', async () => {
  const db = await open({ url: await freshUrl() });
  const broker = memoryBroker();
  broker.createTopic('ct.research.study-excluded.v1', 4);
  for (let i = 0; i < 25; i++) await db.transaction((tx) => tx.enqueue({ ...excluded(`p${i % 5}`), cause: `round-${i}` }));
  const crashed = testContext();
  const dying = { next: (n: number) => db.next(n), depth: () => db.depth(), markSent: () => Promise.reject(new Error('killed')) };
  await expect(runOutbox(dying, { bus: broker.bus(), ctx: crashed, sourceName: 'select' })).rejects.toThrow('killed');
  const ctx = testContext();
  const running = runOutbox(db, { bus: broker.bus(), ctx, sourceName: 'select', pollMs: 10 });
  await until('all rows are sent', async () => (await db.depth()) === 0);
  broker.outage = new Fault('BUS_UNAVAILABLE', true, 'away');
  await db.transaction((tx) => tx.enqueue({ ...excluded('p0'), cause: 'round-25' }));
  await until('the outbox says that it waits', () => ctx.lines().some((l) => l.includes('the outbox waits')));
  broker.outage = undefined;
  await until('it is sent after all', async () => (await db.depth()) === 0);
  ctx.stop();
  await running;
  const records = broker.records('ct.research.study-excluded.v1');
  expect(records).toHaveLength(25 + 26);
  expect(new Set(records.map((r) => r.headers['ce_id'])).size).toBe(26);
  const idOf = new Map(records.map((r) => [r.headers['ce_sequence'], r.headers['ce_id']]));
  expect(new Set(idOf.keys())).toEqual(new Set(Array.from({ length: 26 }, (_, i) => String(i + 1))));
  expect(new Set(records.map((r) => `${r.headers['ce_sequence']} ${r.headers['ce_id']}`)).size).toBe(26);
  for (let p = 0; p < 5; p++) {
    const sequences = records.filter((r) => r.key === `p${p}`).map((r) => Number(r.headers['ce_sequence']));
    const second = sequences.slice(5);
    expect(second).toEqual(second.toSorted((a, b) => a - b));
  }
});

interface Proxy {
  readonly url: string;
  /** Breaks every connection. */
  cut(): void;
  /** From now on nothing comes through, and nobody is told. */
  silence(): void;
  close(): void;
}

async function proxied(): Promise<Proxy> {
  const target = new URL(url);
  const sockets = new Set<Socket>();
  const proxy = createServer((socket) => {
    const up = connect(Number(target.port), target.hostname);
    for (const s of [socket, up]) {
      sockets.add(s);
      s.on('error', () => undefined);
    }
    socket.pipe(up).pipe(socket);
  });
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  const address = proxy.address();
  const through = new URL(url);
  through.port = String(typeof address === 'object' ? address?.port : 0);
  return {
    url: through.href,
    cut: () => {
      for (const s of sockets) s.destroy();
    },
    silence: () => {
      for (const s of sockets) s.unpipe().pause();
    },
    close: () => proxy.close(),
  };
}

const away = { code: 'DATABASE_UNAVAILABLE', retryable: true };

test('a server that is away, or goes away in a transaction, is DATABASE_UNAVAILABLE; the next call works again', async () => {
  const proxy = await proxied();
  const db = await open({ url: proxy.url });
  await expect(
    db.transaction(async (tx) => {
      await tx.query('select 1');
      proxy.cut();
      await tx.query('select 2');
    }),
  ).rejects.toMatchObject(away);
  expect(await db.query('select 3 as n')).toEqual([{ n: 3 }]);
  proxy.cut();
  proxy.close();
  await expect(db.query('select 4')).rejects.toMatchObject(away);
  await expect(postgresDatabase({ url: proxy.url, migrationsDir, codec, source: 'select', log })).rejects.toMatchObject(away);
});

test('a connection that is lost without a word ends its statement and its transaction, and the next call has another one', async () => {
  const proxy = await proxied();
  const db = await open({ url: proxy.url, statementTimeoutMs: 100 });
  const transaction = db.transaction(async (tx) => {
    await tx.query('select 1');
    proxy.silence();
    await tx.query('select 2');
  });
  await expect(transaction).rejects.toMatchObject(away);
  expect(await db.query('select 3 as n')).toEqual([{ n: 3 }]);
  proxy.silence();
  await expect(db.query('select 4')).rejects.toMatchObject(away);
  proxy.cut();
  proxy.close();
});

test('an abort ends a transaction that waits for a lock, with nothing done and the connection not used again', async () => {
  const db = await open();
  const abort = new AbortController();
  await db.transaction(async (holder) => {
    await holder.query('lock table tasks in access exclusive mode');
    const waiting = db.transaction(async (tx) => {
      await tx.query("insert into tasks (study) values ('never')");
    }, abort.signal);
    setTimeout(() => abort.abort(new Error('enough')), 50);
    await expect(waiting).rejects.toThrow('enough');
  });
  expect(await db.query("select 1 from tasks where study = 'never'")).toEqual([]);
  await expect(db.transaction(async () => 'x', AbortSignal.abort(new Error('before')))).rejects.toThrow('before');
});

test('a statement that is too long is ended by the server; a mistake in SQL is no fault', async () => {
  const db = await open({ statementTimeoutMs: 100 });
  await expect(db.query('select pg_sleep(5)')).rejects.toMatchObject({ code: 'DATABASE_UNAVAILABLE' });
  await expect(db.query('select * from no_such_table')).rejects.toMatchObject({ code: '42P01' });
});
