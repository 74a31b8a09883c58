// A stage's own PostgreSQL: transactions with inbox and outbox, migrations under a lock, the outbox as a source.
import { isSpanContextValid, trace } from '@opentelemetry/api';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import pg from 'pg';
import type { PoolClient } from 'pg';
import type { Logger } from 'pino';
import { sha256Hex } from '../kernel/digest.ts';
import { outgoingId } from '../kernel/event-ids.ts';
import { Fault } from '../kernel/fault.ts';
import type { Database, QueuedEvent, Queryable, Transaction } from '../ports/database.ts';
import type { EventCodec } from '../ports/event-codec.ts';
import type { OutboxSource } from '../ports/outbox.ts';
import { checkedUrl, refusalOf } from './postgres-connection.ts';

export interface PostgresOptions {
  /** postgres://user:password@host:port/database, with `?sslmode=verify-full&sslrootcert=FILE` for TLS */
  readonly url: string;
  /** Folder of numbered .sql files (0001-name.sql), run once each in their order; without it only inbox and outbox are made. */
  readonly migrationsDir?: string;
  readonly codec: EventCodec;
  /** `ce_source` of the events of this database. */
  readonly source: string;
  readonly log: Logger;
  /** Longest statement, 30 s by default. */
  readonly statementTimeoutMs?: number;
  readonly poolSize?: number;
}

export interface OutboxTable extends OutboxSource {
  /** Highest sequence ever drawn, 0 before the first. */
  highest(): Promise<bigint>;
}

/**
 * How much longer than the server's own limit an answer is waited for: a connection that is lost without a word (a firewall forgot
 * it) ends no statement, and TCP alone waits for a quarter of an hour.
 */
const ANSWER_MARGIN_MS = 5000;

/** Any number, the same for all processes: one migrates, the others wait. */
const MIGRATION_LOCK = 7_283_411_001;

/** Tables of inbox and outbox: a restore makes them before it fills them. */
export const OWN_TABLES = `
create table if not exists migrations (name text primary key, sha256 text not null, applied_at timestamptz not null default now());
create table if not exists inbox (event_id text primary key, seen_at timestamptz not null default now());
create table if not exists outbox (
  sequence bigint primary key, event_id text not null unique, topic text not null, key text not null,
  value bytea not null, headers jsonb not null, sent_at timestamptz
);
create index if not exists outbox_unsent on outbox (sequence) where sent_at is null;
create table if not exists outbox_counter (one boolean primary key default true check (one), last bigint not null);
insert into outbox_counter (last) values (0) on conflict do nothing;
`;

/** Connects, migrates and gives the database. @throws Fault DATABASE_..., or BAD_CONFIG for a changed migration or an unsafe URL. */
export async function postgresDatabase(o: PostgresOptions): Promise<Database & OutboxTable> {
  const statementTimeoutMs = o.statementTimeoutMs ?? 30_000;
  const pool = new pg.Pool({
    connectionString: checkedUrl(o.url, 'DATABASE_URL'),
    max: o.poolSize ?? 10,
    connectionTimeoutMillis: 5000,
    statement_timeout: statementTimeoutMs,
    query_timeout: statementTimeoutMs + ANSWER_MARGIN_MS,
    idle_in_transaction_session_timeout: 60_000,
    keepAlive: true,
    // Statements of a transaction that wait for nothing of each other share a round trip (see Transaction).
    pipeline: true,
    application_name: `ctstream-${o.source}`,
  });
  // An idle connection that the server closed: the pool opens another one.
  pool.on('error', (error) => o.log.warn({ err: error }, 'a database connection was lost'));
  try {
    await migrate(pool, o.migrationsDir);
  } catch (error) {
    await pool.end();
    throw databaseFault(error);
  }
  return {
    query: async (sql, params) => await rows(pool, sql, params),
    transaction: (work, signal) => transaction(pool, o, work, signal),
    ...outboxTable(pool),
    close: () => pool.end(),
  };
}

async function rows<Row extends object>(on: pg.Pool | PoolClient, sql: string, params: readonly unknown[] = []): Promise<readonly Row[]> {
  try {
    return (await on.query<Row>(sql, [...params])).rows;
  } catch (error) {
    throw databaseFault(error);
  }
}

/** SQLSTATE classes that say that the server, not the statement, is the matter; and conflicts that another try settles. */
const AWAY = /^(08|53|57|58|25P03|40)/;

/** Network errors and a server in trouble become faults; mistakes in SQL stay what they are. Messages may quote values, so only the code is told. */
function databaseFault(error: unknown): unknown {
  if (error instanceof Fault || typeof error !== 'object' || error === null) return error;
  const refusal = refusalOf(error);
  if (refusal !== undefined) return new Fault(`DATABASE_${refusal.kind}`, true, refusal.why, { cause: error });
  const { code, message = '' } = error as { code?: unknown; message?: string };
  if (error instanceof pg.DatabaseError)
    return AWAY.test(error.code ?? '') ? new Fault('DATABASE_UNAVAILABLE', true, `SQLSTATE ${error.code}`, { cause: error }) : error;
  const network = typeof code === 'string' && /^E[A-Z]+$/.test(code);
  if (network || /terminated|timeout|not queryable|Connection/.test(message))
    return new Fault('DATABASE_UNAVAILABLE', true, network ? code : 'the connection was lost', { cause: error });
  return error;
}

/** Given up by pg's `query_timeout`; it has no code. */
function isUnanswered(error: unknown): boolean {
  const cause = error instanceof Fault ? error.cause : error;
  return cause instanceof Error && cause.message === 'Query read timeout';
}

async function migrate(pool: pg.Pool, dir: string | undefined): Promise<void> {
  const files = (dir === undefined ? [] : readdirSync(dir)).filter((name) => /^\d+.*\.sql$/.test(name)).sort();
  const client = await pool.connect();
  const onError = (): void => undefined;
  client.on('error', onError);
  try {
    await client.query('begin');
    await client.query('select pg_advisory_xact_lock($1)', [MIGRATION_LOCK]);
    await client.query(OWN_TABLES);
    const done = new Map(
      (await client.query<{ name: string; sha256: string }>('select name, sha256 from migrations')).rows.map((r) => [r.name, r.sha256]),
    );
    for (const name of files) {
      const text = readFileSync(join(dir ?? '', name), 'utf8');
      const sha256 = sha256Hex(text);
      const before = done.get(name);
      if (before === sha256) continue;
      if (before !== undefined)
        throw new Fault('BAD_CONFIG', false, `migration ${name} was applied with other text: add a new file instead`);
      await client.query(text);
      await client.query('insert into migrations (name, sha256) values ($1, $2)', [name, sha256]);
    }
    await client.query('commit');
  } catch (error) {
    await client.query('rollback').catch(() => undefined);
    throw error;
  } finally {
    client.off('error', onError);
    client.release();
  }
}

async function transaction<T>(pool: pg.Pool, o: PostgresOptions, work: (tx: Transaction) => Promise<T>, signal?: AbortSignal): Promise<T> {
  signal?.throwIfAborted();
  const client = await pool.connect().catch((error: unknown) => Promise.reject(databaseFault(error)));
  let broken = false;
  // Also for a connection that dies between two statements, which nobody awaits.
  const onError = (): void => {
    broken = true;
  };
  client.on('error', onError);
  // A statement that waits for a lock only ends with its connection: the server rolls back.
  const onAbort = (): void => {
    broken = true;
    (client as unknown as { connection: { stream: { destroy(): void } } }).connection.stream.destroy();
  };
  signal?.addEventListener('abort', onAbort, { once: true });
  try {
    await rows(client, 'begin');
    const result = await work(transactionOn(client, o));
    await rows(client, 'commit');
    return result;
  } catch (error) {
    // What stands behind a statement without an answer gets none either.
    broken ||= isUnanswered(error);
    if (!broken) await client.query('rollback').catch(onError);
    throw signal?.aborted === true ? signal.reason : databaseFault(error);
  } finally {
    signal?.removeEventListener('abort', onAbort);
    client.removeListener('error', onError);
    client.release(broken);
  }
}

function transactionOn(client: PoolClient, o: PostgresOptions): Transaction {
  const query: Queryable['query'] = async (sql, params) => await rows(client, sql, params);
  return {
    query,
    firstSight: async (eventId) =>
      (await query('insert into inbox (event_id) values ($1) on conflict do nothing returning event_id', [eventId])).length > 0,
    enqueue: (events) => enqueue(query, o, [events].flat()),
    forget: async (keys) => {
      const [blanked, unsent] = await Promise.all([
        query("update outbox set key = '', value = '', headers = '{}' where key = any($1::text[]) and sent_at is not null returning 1", [
          keys,
        ]),
        query('select 1 from outbox where key = any($1::text[]) and sent_at is null', [keys]),
      ]);
      return { blanked: blanked.length, unsent: unsent.length };
    },
  };
}

async function enqueue(query: Queryable['query'], o: PostgresOptions, events: readonly QueuedEvent[]): Promise<void> {
  if (events.length === 0) return;
  const named = new Map(events.map((event) => [outgoingId(o.source, event.cause, event.type, event.ordinal ?? 0), event]));
  // The counter's row lock serialises the writers until their commit: sequences have no gap, and a reader never sees a
  // higher one before a lower one. What those before us wrote is seen by a second statement only, once the lock is ours.
  const [[counter], written] = await Promise.all([
    query<{ last: string }>('select last from outbox_counter for update'),
    query<{ event_id: string }>('select event_id from outbox where event_id = any($1::text[])', [[...named.keys()]]),
  ]);
  if (counter === undefined) throw new Error('outbox_counter has no row');
  // Enqueued before (a person pressed twice, a command ran again): the row that stands is the event.
  const again = written.filter(({ event_id }) => named.get(event_id)?.again === true).map(({ event_id }) => event_id);
  for (const { event_id } of written) named.delete(event_id);
  const rowsToAdd = [...named].map(([id, event], i) => {
    const sequence = BigInt(counter.last) + BigInt(i + 1);
    const record = o.codec.encode(event, { id, source: o.source, timeMs: Date.now(), sequence, ...activeTrace() });
    return [String(sequence), id, record.topic, record.key, Buffer.from(record.value), JSON.stringify(record.headers)];
  });
  await Promise.all([
    query('update outbox_counter set last = last + $1', [rowsToAdd.length]),
    // What an erasure has blanked stays untold.
    ...(again.length === 0 ? [] : [query("update outbox set sent_at = null where event_id = any($1::text[]) and value <> ''", [again])]),
    ...rowsToAdd.map((row) =>
      query('insert into outbox (sequence, event_id, topic, key, value, headers) values ($1, $2, $3, $4, $5, $6)', row),
    ),
  ]);
}

/** The event belongs to the trace of the job that writes it. */
function activeTrace(): { traceparent?: string } {
  const span = trace.getActiveSpan()?.spanContext();
  return span === undefined || !isSpanContextValid(span)
    ? {}
    : { traceparent: `00-${span.traceId}-${span.spanId}-0${span.traceFlags & 1}` };
}

interface OutboxColumns {
  sequence: string;
  event_id: string;
  topic: string;
  key: string;
  value: Buffer;
  headers: Record<string, string>;
}

function outboxTable(pool: pg.Pool): OutboxTable {
  return {
    next: async (limit) => {
      const found = await rows<OutboxColumns>(
        pool,
        'select sequence, event_id, topic, key, value, headers from outbox where sent_at is null order by sequence limit $1',
        [limit],
      );
      return found.map((r) => ({
        sequence: BigInt(r.sequence),
        eventId: r.event_id,
        topic: r.topic,
        key: r.key,
        value: r.value,
        headers: r.headers,
      }));
    },
    markSent: async (sequences) => {
      await rows(pool, 'update outbox set sent_at = now() where sequence = any($1::bigint[]) and sent_at is null', [sequences.map(String)]);
    },
    depth: async () => Number((await rows<{ n: string }>(pool, 'select count(*) as n from outbox where sent_at is null'))[0]?.n ?? 0),
    highest: async () => BigInt((await rows<{ last: string }>(pool, 'select last from outbox_counter'))[0]?.last ?? 0),
  };
}
