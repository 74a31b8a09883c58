// Every stage is killed with SIGKILL once while studies flow: nothing is lost, nothing is doubled, all hashes match.
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { DatabaseSync } from 'node:sqlite';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { STAGE_NAMES, type StageName } from '../../deploy/local/stages.ts';
import { rootStore } from '../chaos/checks.ts';
import { readManifests, wrongHashes } from '../chaos/objects.ts';
import { sendPhantom, startPipeline, until, type Pipeline } from '../integration/pipeline.ts';
import { releasePlatform } from '../integration/support.ts';

let p: Pipeline;

beforeAll(async () => {
  p = await startPipeline({ name: 'kill', centres: 2 });
});

afterAll(async () => {
  await p.stop();
  await releasePlatform();
});

// When a stage has certainly something to do: the milestone before its own.
const WORKS_AFTER: Readonly<Partial<Record<StageName, 'available' | 'stored' | 'anonymised' | 'assessed' | 'selected'>>> = {
  ingest: 'available',
  anonymise: 'stored',
  assess: 'anonymised',
  select: 'assessed',
  'label-queue': 'selected',
};

test('each stage is killed once while it works', async () => {
  let sent = 0;
  for (const name of STAGE_NAMES) {
    const pacs = p.pacs[sent % p.pacs.length];
    if (pacs === undefined) throw new Error('no PACS');
    const before = await p.follower.account(AbortSignal.timeout(60_000));
    await sendPhantom(pacs, { seed: 11, index: sent });
    sent += 1;
    const milestone = WORKS_AFTER[name];
    if (milestone === undefined) await sleep(1500);
    else await until(p, (a) => a.reached[milestone] > before.reached[milestone]);
    await p.stages.kill(name, 'SIGKILL');
    await p.stages.start(name);
  }
  const done = await until(p, (a) => a.totals.sent === sent && a.studies.every((s) => s.code === 'AWAITING_RELEASE'), 180_000);
  expect(done.totals.unaccounted).toBe(0);
  expect(done.missing).toEqual([]);
  expect(done.reached.labelled).toBe(sent);

  const root = rootStore(p);
  const clinical = [...(await readManifests(root, 'ct-clinical')).values()].map((m) => m.manifest);
  const research = [...(await readManifests(root, 'ct-research')).values()].map((m) => m.manifest);
  expect([clinical.length, research.length]).toEqual([sent, sent]);
  expect(new Set(research.map((m) => m.study)).size).toBe(sent);
  expect(await wrongHashes(root, 'ct-clinical', clinical)).toEqual([]);
  expect(await wrongHashes(root, 'ct-research', research)).toEqual([]);
});

test('a deleted outbox row makes the account say what is missing', async () => {
  const pacs = p.pacs[0];
  if (pacs === undefined) throw new Error('no PACS');
  // The row is written while the publisher can't publish: deleted before it goes out, it is lost for good.
  await p.stages.kill('centre-gateway', 'SIGTERM');
  const db = new DatabaseSync(join(p.dir, 'gateway', 'gateway.sqlite'));
  const columns = db
    .prepare("select name from pragma_table_info('outbox')")
    .all()
    .map((r) => r['name']);
  expect(columns).toContain('sequence');
  // A study that was announced, as a crash of the disk would leave it: drawn a number, no row, no event.
  const row = db.prepare('select centre, max(sequence) as sequence from outbox where centre = ?').get(pacs.centre) as {
    centre: string;
    sequence: number;
  };
  db.close();
  expect(row.sequence).toBeGreaterThan(0);
  await sendPhantom(pacs, { seed: 11, index: 100 });
  await p.stages.start('centre-gateway', { KAFKA_BROKERS: '127.0.0.1:9' });
  await untilRow(join(p.dir, 'gateway', 'gateway.sqlite'), pacs.centre, row.sequence);
  await p.stages.kill('centre-gateway', 'SIGKILL');
  const again = new DatabaseSync(join(p.dir, 'gateway', 'gateway.sqlite'));
  again.prepare("delete from outbox where centre = ? and sequence > ? and topic like '%study-available%'").run(pacs.centre, row.sequence);
  again.close();
  await p.stages.start('centre-gateway');
  const seen = await until(p, (a) => a.missing.length > 0 || a.totals.unaccounted > 0);
  expect(seen.missing.length).toBe(1);
  expect(seen.totals.unaccounted).toBe(1);
});

async function untilRow(file: string, centre: string, after: number): Promise<void> {
  for (let i = 0; i < 300; i += 1) {
    const db = new DatabaseSync(file);
    const row = db
      .prepare("select count(*) as n from outbox where centre = ? and sequence > ? and topic like '%study-available%'")
      .get(centre, after) as { n: number };
    db.close();
    if (row.n > 0) return;
    await sleep(200);
  }
  throw new Error('the gateway did not announce the study');
}
