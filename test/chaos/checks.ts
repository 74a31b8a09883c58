// The invariants that must hold once everything is up again and has come to rest.
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import pg from 'pg';
import { s3Store, type S3Store } from '../../services/adapters/s3-store.ts';
import { manifestKeyOf } from '../../services/ingest/events.ts';
import { createViews, mirrorLog, runQuery } from '../../services/event-log/query.ts';
import { openDuckDb } from '../../services/event-log/parquet.ts';
import type { CentreId, StudyInstanceUid } from '../../services/kernel/ids.ts';
import type { EventIn } from '../../services/kernel/stage.ts';
import type { Pipeline } from '../integration/pipeline.ts';
import { doubledEvents, missingEvents, ofType, readLog, type WholeLog } from './log.ts';
import { readManifests, wrongHashes } from './objects.ts';
import type { SentStudy } from './sender.ts';

export interface Findings {
  /** What was sent or announced and is nowhere. */
  readonly lost: string[];
  /** What there may be one of, and there are two. */
  readonly doubled: string[];
  readonly hashMismatches: string[];
  readonly deadLetters: string[];
  /** Revisions published in ct-clinical and in ct-research. */
  readonly manifests: { readonly clinical: number; readonly research: number };
  /** Records of the event topics, and how many of them are repetitions of an event that is there already. */
  readonly records: number;
  readonly repeated: number;
}

/** The object store with all rights: no service may read both zones. */
export function rootStore(p: Pipeline): S3Store {
  const { minio } = p.platform;
  return s3Store({
    endpoint: `http://${minio.endPoint}:${minio.port}`,
    accessKey: minio.accessKey,
    secretKey: minio.secretKey,
    bucketPrefix: p.provisioned.bucketPrefix,
  });
}

type Manifests = Awaited<ReturnType<typeof readManifests>>;

/** Each sent study's newest revision in ct-clinical has the very files that were sent. */
function lostFiles(sent: readonly SentStudy[], log: WholeLog, clinical: Manifests): string[] {
  const available = ofType(log.events, 'ctstream.clinical.v1.StudyAvailable');
  return sent.flatMap(({ index, centre, studyInstanceUid, files }) => {
    const ours = available.filter((e) => e.value.centre === centre && e.value.studyInstanceUid === studyInstanceUid);
    const newest = ours.toSorted((a, b) => b.value.sequence - a.value.sequence)[0];
    if (newest === undefined) return [`study ${index} of ${centre} was never announced`];
    const key = manifestKeyOf(centre as CentreId, studyInstanceUid as StudyInstanceUid, newest.value.revision);
    const stored = clinical.get(key)?.manifest.series.flatMap((s) => s.instances.map((i) => i.sha256));
    if (stored === undefined) return [`study ${index} of ${centre}: its newest revision has no manifest`];
    const missing = [...files].filter((hash) => !stored.includes(hash)).length;
    return missing === 0 ? [] : [`study ${index} of ${centre}: ${missing} of ${files.size} files are not in its newest revision`];
  });
}

interface Published {
  readonly manifestKey: string;
  readonly manifestSha256: string;
}

/** Every published manifest has its one event, and every event its manifest. */
function unmatched(what: string, told: readonly Published[], manifests: Manifests): string[] {
  const byKey = new Map(told.map((e) => [e.manifestKey, e.manifestSha256]));
  return [
    ...[...manifests].filter(([key, m]) => byKey.get(key) !== m.sha256).map(([key]) => `${what}: no event of the manifest ${key}`),
    ...[...byKey.keys()].filter((key) => !manifests.has(key)).map((key) => `${what}: no manifest ${key} of the event`),
  ];
}

async function doubledTasks(p: Pipeline): Promise<string[]> {
  const client = new pg.Client({ connectionString: p.provisioned.databases.label_queue });
  await client.connect();
  try {
    const { rows } = await client.query<{ name: string }>(
      `select study_id || ' ' || revision || ' ' || kind as name from task group by study_id, revision, kind having count(*) > 1
       union all select 'a reading of ' || task_id from reading group by task_id having count(*) > 1`,
    );
    return rows.map((r) => `two task rows: ${r.name}`);
  } finally {
    await client.end();
  }
}

const countBy = (names: Iterable<string>): Map<string, number> => {
  const counts = new Map<string, number>();
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1);
  return counts;
};

/** The archive has each record once, and each event once in the view `events`. */
async function archiveFaults(p: Pipeline, events: readonly EventIn[]): Promise<{ lost: string[]; doubled: string[] }> {
  const dir = join(p.dir, 'event-log');
  await mkdir(dir, { recursive: true });
  await mirrorLog(p.ports.store, dir);
  const db = await openDuckDb();
  try {
    await createViews(db, dir);
    const count = async (sql: string): Promise<Map<string, number>> =>
      new Map((await runQuery(db, sql)).rows.map((r) => [String(r['name']), Number(r['n'])]));
    const twice = await count(
      'select topic || chr(32) || partition || chr(32) || record_offset as name, count(*) as n from records group by 1 having count(*) > 1',
    );
    const rows = await count('select event_type as name, count(*) as n from events group by 1');
    const distinct = new Map(events.map((e) => [e.id, e.type]));
    const compared = [...countBy(distinct.values())].map(([type, wanted]) => ({ type, wanted, found: rows.get(type) ?? 0 }));
    const tell = (c: { type: string; wanted: number; found: number }): string =>
      `${c.type}: ${c.found} rows in events, ${c.wanted} in Kafka`;
    return {
      lost: compared.filter((c) => c.found < c.wanted).map(tell),
      doubled: [...[...twice.keys()].map((name) => `archived twice: ${name}`), ...compared.filter((c) => c.found > c.wanted).map(tell)],
    };
  } finally {
    db.closeSync();
  }
}

/** Reads everything back and says what is wrong. Nothing may be running towards a new state. */
export async function findFaults(p: Pipeline, sent: readonly SentStudy[]): Promise<Findings> {
  const store = rootStore(p);
  const log = await readLog(p.ports);
  const [clinical, research] = [await readManifests(store, 'ct-clinical'), await readManifests(store, 'ct-research')];
  const archive = await archiveFaults(p, log.events);
  const stored = ofType(log.events, 'ctstream.clinical.v1.StudyStored').map((e) => e.value);
  const anonymised = ofType(log.events, 'ctstream.research.v1.StudyAnonymised').map((e) => e.value);
  return {
    lost: [
      ...lostFiles(sent, log, clinical),
      ...missingEvents(log),
      ...unmatched('ct-clinical', stored, clinical),
      ...unmatched('ct-research', anonymised, research),
      ...archive.lost,
    ],
    doubled: [...doubledEvents(log.events), ...(await doubledTasks(p)), ...archive.doubled],
    hashMismatches: [
      ...(await wrongHashes(
        store,
        'ct-clinical',
        [...clinical.values()].map((m) => m.manifest),
      )),
      ...(await wrongHashes(
        store,
        'ct-research',
        [...research.values()].map((m) => m.manifest),
      )),
    ],
    deadLetters: [...countBy(log.dead)].map(([what, n]) => `${n} dead letters: ${what}`),
    manifests: { clinical: clinical.size, research: research.size },
    records: log.events.length,
    repeated: log.events.length - new Set(log.events.map((e) => e.id)).size,
  };
}
