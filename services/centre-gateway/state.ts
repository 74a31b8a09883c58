// The gateway's memory: one SQLite file with the cursor, the studies and the outbox, so that what was
// noticed and what is to be published change in one transaction.
import { randomBytes } from 'node:crypto';
import { DatabaseSync } from 'node:sqlite';
import type { SQLInputValue } from 'node:sqlite';
import { eventId } from '../kernel/digest.ts';
import type { CentreId, StudyInstanceUid } from '../kernel/ids.ts';
import type { NewEvent } from '../kernel/outcome.ts';
import type { EventCodec } from '../ports/event-codec.ts';

const SCHEMA = `
CREATE TABLE IF NOT EXISTS gateway (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS centre (
  centre TEXT PRIMARY KEY,
  cursor INTEGER,
  outbox_sequence INTEGER NOT NULL DEFAULT 0,
  study_sequence INTEGER NOT NULL DEFAULT 0,
  pacs_code TEXT,
  pacs_detail TEXT,
  pacs_since_ms INTEGER,
  census_ms INTEGER,
  census_id TEXT,
  census_total INTEGER
) STRICT;
CREATE TABLE IF NOT EXISTS study (
  centre TEXT NOT NULL,
  uid TEXT NOT NULL,
  first_seen_ms INTEGER NOT NULL,
  noticed_by TEXT NOT NULL,
  deadline_ms INTEGER,
  tries INTEGER NOT NULL DEFAULT 0,
  state TEXT NOT NULL,
  revision TEXT,
  sequence INTEGER,
  instance_count INTEGER,
  status TEXT,
  status_code TEXT,
  status_ms INTEGER,
  PRIMARY KEY (centre, uid)
) STRICT;
CREATE INDEX IF NOT EXISTS study_due ON study (centre, deadline_ms) WHERE deadline_ms IS NOT NULL;
CREATE TABLE IF NOT EXISTS outbox (
  centre TEXT NOT NULL,
  sequence INTEGER NOT NULL,
  event_id TEXT NOT NULL,
  topic TEXT NOT NULL,
  key TEXT NOT NULL,
  value BLOB NOT NULL,
  headers TEXT NOT NULL,
  sent_ms INTEGER,
  PRIMARY KEY (centre, sequence)
) STRICT;
CREATE INDEX IF NOT EXISTS outbox_unsent ON outbox (centre, sequence) WHERE sent_ms IS NULL;
CREATE TABLE IF NOT EXISTS unread_status (centre TEXT NOT NULL, partition INTEGER NOT NULL, offset INTEGER NOT NULL, code TEXT NOT NULL, at_ms INTEGER NOT NULL, PRIMARY KEY (centre, partition, offset)) STRICT;
CREATE TABLE IF NOT EXISTS census_pending (centre TEXT NOT NULL, uid TEXT NOT NULL, PRIMARY KEY (centre, uid)) STRICT;
CREATE TABLE IF NOT EXISTS announce_again (centre TEXT NOT NULL, uid TEXT NOT NULL, PRIMARY KEY (centre, uid)) STRICT;
CREATE TABLE IF NOT EXISTS census_missed (centre TEXT NOT NULL, uid TEXT NOT NULL, PRIMARY KEY (centre, uid)) STRICT;
CREATE TABLE IF NOT EXISTS inconsistent (centre TEXT NOT NULL, uid TEXT NOT NULL, found TEXT NOT NULL, looks INTEGER NOT NULL, PRIMARY KEY (centre, uid)) STRICT;
CREATE TABLE IF NOT EXISTS census_failed (centre TEXT PRIMARY KEY, code TEXT NOT NULL, detail TEXT NOT NULL, since_ms INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS intake (centre TEXT NOT NULL, intake_id TEXT NOT NULL, code TEXT NOT NULL, unit TEXT NOT NULL, files INTEGER NOT NULL, at_ms INTEGER NOT NULL, PRIMARY KEY (centre, intake_id)) STRICT;
`;

export interface StateOptions {
  readonly file: string;
  readonly codec: EventCodec;
  readonly nowMs: () => number;
}

/** The open database with the two things that everything else is made of: transactions and the outbox. */
export interface State {
  readonly db: DatabaseSync;
  /** Random name of this database, in every record's source: sequences of a lost and remade one are told apart by it. */
  readonly generation: string;
  /** Key of the digests that are shown of UIDs and patients. Never leaves the database. */
  readonly secret: string;
  readonly nowMs: () => number;
  /** All or nothing; on disk when it returns. */
  transaction<T>(work: () => T): T;
  run(sql: string, ...params: SQLInputValue[]): number;
  all<Row extends object>(sql: string, ...params: SQLInputValue[]): Row[];
  get<Row extends object>(sql: string, ...params: SQLInputValue[]): Row | undefined;
  /** Adds an event to the centre's outbox and returns its sequence. Call inside `transaction`. */
  enqueue(centre: CentreId, make: (sequence: number) => NewEvent, traceparent?: string): number;
  close(): void;
}

export type StudyState = 'pending' | 'announced' | 'outOfScope' | 'unlisted';

export interface StudyRow {
  readonly uid: StudyInstanceUid;
  readonly noticed_by: string;
  readonly first_seen_ms: number;
  readonly deadline_ms: number | null;
  readonly tries: number;
  readonly state: StudyState;
  readonly revision: string | null;
  readonly sequence: number | null;
  readonly instance_count: number | null;
  readonly status: string | null;
  readonly status_code: string | null;
}

/** Name of a centre's outbox in `ce_source`. */
export function sourceOf(state: State, centre: string): string {
  return `centre-gateway/${centre}/${state.generation}`;
}

/** A random value that the database keeps from its first opening on. */
function madeOnce(db: DatabaseSync, name: string, fresh: Uint8Array): string {
  db.prepare('INSERT OR IGNORE INTO gateway VALUES (?, ?)').run(name, Buffer.from(fresh).toString('hex'));
  return (db.prepare('SELECT value FROM gateway WHERE name = ?').get(name) as { value: string }).value;
}

/** Opens or makes the database. Every commit is on disk before it returns (synchronous=FULL). */
export function openState(o: StateOptions): State {
  const db = new DatabaseSync(o.file);
  db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA busy_timeout = 5000;');
  db.exec(SCHEMA);
  const generation = madeOnce(db, 'generation', randomBytes(4));
  const secret = madeOnce(db, 'secret', randomBytes(32));
  const statements = new Map<string, ReturnType<DatabaseSync['prepare']>>();
  const prepare = (sql: string): ReturnType<DatabaseSync['prepare']> => {
    let statement = statements.get(sql);
    if (statement === undefined) statements.set(sql, (statement = db.prepare(sql)));
    return statement;
  };
  let open = false;
  const state: State = {
    db,
    generation,
    secret,
    nowMs: o.nowMs,
    transaction(work) {
      if (open) throw new Error('transactions do not nest');
      db.exec('BEGIN IMMEDIATE');
      open = true;
      try {
        const result = work();
        db.exec('COMMIT');
        return result;
      } catch (error) {
        db.exec('ROLLBACK');
        throw error;
      } finally {
        open = false;
      }
    },
    run: (sql, ...params) => Number(prepare(sql).run(...params).changes),
    all: <Row extends object>(sql: string, ...params: SQLInputValue[]) => prepare(sql).all(...params) as Row[],
    get: <Row extends object>(sql: string, ...params: SQLInputValue[]) => prepare(sql).get(...params) as Row | undefined,
    enqueue(centre, make, traceparent) {
      if (!open) throw new Error('an event is enqueued in the transaction of its cause');
      const row = state.get<{ outbox_sequence: number }>(
        'UPDATE centre SET outbox_sequence = outbox_sequence + 1 WHERE centre = ? RETURNING outbox_sequence',
        centre,
      );
      if (row === undefined) throw new Error(`the gateway does not serve centre ${centre}`);
      const sequence = row.outbox_sequence;
      const source = sourceOf(state, centre);
      const event = make(sequence);
      const id = eventId(`${source}/${sequence}`, event.type, 0);
      const record = o.codec.encode(event, {
        id,
        source,
        timeMs: o.nowMs(),
        sequence: BigInt(sequence),
        ...(traceparent === undefined ? {} : { traceparent }),
      });
      state.run(
        'INSERT INTO outbox (centre, sequence, event_id, topic, key, value, headers) VALUES (?, ?, ?, ?, ?, ?, ?)',
        centre,
        sequence,
        id,
        record.topic,
        record.key,
        record.value,
        JSON.stringify(record.headers),
      );
      return sequence;
    },
    close: () => db.close(),
  };
  return state;
}

/** Makes the centre known. */
export function addCentre(state: State, centre: CentreId): void {
  state.run('INSERT OR IGNORE INTO centre (centre) VALUES (?)', centre);
}
