// A patient withdraws by the command that people type, with studies released, waiting for a stage, and waiting in a retry
// topic: no bucket and no table keeps anything of theirs, later studies are refused, and the account stays whole.
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { execFile } from 'node:child_process';
import { symlink } from 'node:fs/promises';
import { resolve } from 'node:path';
import { promisify } from 'node:util';
import pg from 'pg';
import { BUCKETS } from '../../deploy/local/policies.ts';
import { STAGE_NAMES, type StageName } from '../../deploy/local/stages.ts';
import { s3Store, type S3Store } from '../../services/adapters/s3-store.ts';
import { researchStudyId } from '../../services/anonymise/identity.ts';
import { platformDir, writeDeployment } from '../../services/cli/deployment.ts';
import type { Defect } from '../../services/cli/phantom/defects.ts';
import type { PhantomTruth } from '../../services/cli/phantom/generate.ts';
import type { ReceiptShown } from '../../services/cli/withdraw-receipt.ts';
import type { EventIn } from '../../services/kernel/stage.ts';
import { sendPhantom, startPipeline, until, type Pipeline } from './pipeline.ts';
import { releasePlatform } from './support.ts';

/** A seed whose first five studies are one patient's, the sixth another's. */
const SEED = 273;
const OTHER = 5;

const erasing = { ERASE_AGAIN_AFTER_MS: '3000', RETRY_DELAYS_MS: '500,500,500' };
let p: Pipeline;
let root: S3Store;

beforeAll(async () => {
  p = await startPipeline({
    name: 'withdraw',
    centres: 1,
    env: {
      // Long enough for a study to wait in a retry topic while its patient withdraws.
      anonymise: { ...erasing, RETRY_DELAYS_MS: '4000,500,500' },
      assess: erasing,
      select: erasing,
      'label-queue': erasing,
      release: erasing,
    },
  });
  const { minio } = p.platform;
  root = s3Store({
    endpoint: `http://${minio.endPoint}:${minio.port}`,
    accessKey: minio.accessKey,
    secretKey: minio.secretKey,
    bucketPrefix: p.provisioned.bucketPrefix,
  });
  // What the commands look for.
  await symlink(p.platform.dir, platformDir(p.dir));
  const urls = (of: (name: StageName) => string): Record<string, string> => Object.fromEntries(STAGE_NAMES.map((name) => [name, of(name)]));
  await writeDeployment(p.dir, {
    centres: p.provisioned.centres,
    prefix: p.provisioned.prefix,
    readers: p.provisioned.readers.length,
    urls: urls(p.stages.url),
    apiUrls: urls(p.stages.apiUrl),
  });
});

afterAll(async () => {
  await p.stop();
  await releasePlatform();
});

const send = (index: number, more: { defect?: Defect } = {}): Promise<PhantomTruth> => {
  const [pacs] = p.pacs;
  if (pacs === undefined) throw new Error('no PACS');
  return sendPhantom(pacs, { seed: SEED, index, ...more });
};

const keyOf = (truth: PhantomTruth): string => `${p.provisioned.centres[0]}|${truth.studyInstanceUid}`;
const codeOf = (a: { studies: readonly { key: string; code: string }[] }, truth: PhantomTruth): string | undefined =>
  a.studies.find((s) => s.key === keyOf(truth))?.code;

/** A `ctstream` command, as JSON. */
const ctstream = async (...args: string[]): Promise<unknown> => {
  const main = resolve(import.meta.dirname, '../../services/cli/main.ts');
  const { stdout, stderr } = await promisify(execFile)(process.execPath, ['--no-warnings', main, ...args, '--dir', p.dir, '--json'], {
    timeout: 120_000,
  });
  said.push(stdout, stderr);
  return JSON.parse(stdout);
};
const said: string[] = [];
const tokenOf = (role: 'privacy' | 'security'): string[] => [
  '--token-file',
  p.provisioned.people.find(({ roles }) => roles.includes(role))?.tokenFile ?? '',
];
const withdraw = (...args: string[]): Promise<unknown> => ctstream('withdraw', ...args, '--yes', ...tokenOf('privacy'));

const release = async (version: string): Promise<void> => {
  const post = async (path: string, body: object): Promise<void> => {
    const response = await fetch(`${p.stages.apiUrl('release')}${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${p.provisioned.releaseToken}` },
      body: JSON.stringify(body),
    });
    if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
  };
  await post('/releases', { version, waitForStudies: 2 });
  await post(`/releases/${version}/approve`, { approvers: ['Simulated One', 'Simulated Two'], simulated: true });
};

const objectsOf = async (bucket: string): Promise<string[]> => {
  const names: string[] = [];
  for await (const { key } of root.list(bucket, '')) names.push(key);
  return names;
};

/** `bucket/name` of each object whose name or bytes hold one of the words. The event log is not rewritten, so it is left out. */
const objectsWith = async (words: readonly string[]): Promise<string[]> => {
  const found: string[] = [];
  for (const bucket of BUCKETS.filter((b) => b !== 'ct-event-log')) {
    for (const name of await objectsOf(bucket)) {
      const bytes = Buffer.from((await root.getBytes(bucket, name, 1 << 30)) ?? []).toString('latin1');
      if (words.some((word) => name.includes(word) || bytes.includes(word))) found.push(`${bucket}/${name}`);
    }
  }
  return found;
};

/** `database.table` of each row that holds one of the words, in any column; of an outbox with the topic. */
const rowsWith = async (words: readonly string[]): Promise<string[]> => {
  const found: string[] = [];
  for (const [database, connectionString] of Object.entries(p.provisioned.databases)) {
    const client = new pg.Client({ connectionString });
    await client.connect();
    const tables = await client.query<{ name: string }>(
      "select table_name as name from information_schema.tables where table_schema = 'public' and table_type = 'BASE TABLE'",
    );
    for (const { name } of tables.rows) {
      for (const row of (await client.query(`select * from "${name}"`)).rows as Record<string, unknown>[]) {
        const text = Object.values(row)
          .map((v) => (Buffer.isBuffer(v) ? v.toString('latin1') : JSON.stringify(v)))
          .join('\n');
        const topic = name === 'outbox' ? ` ${String(row['topic'])}` : '';
        if (words.some((word) => text.includes(word))) found.push(`${database}.${name}${topic}`);
      }
    }
    await client.end();
  }
  return [...new Set(found)].sort();
};

const inVault = async (sql: string): Promise<void> => {
  const client = new pg.Client({ connectionString: p.provisioned.databases.vault });
  await client.connect();
  await client.query(sql);
  await client.end();
};

const eventsOf = async (topic: string): Promise<EventIn[]> => {
  const events: EventIn[] = [];
  for await (const record of p.ports.bus.read(await p.ports.bus.ends([topic]))) events.push(p.ports.codec.decode(record));
  return events;
};

/** Research id of each linked study, by its UID. */
const links = async (): Promise<Map<string, string>> => {
  const found = new Map<string, string>();
  for await (const l of p.ports.vault.lineages()) found.set(l.studyInstanceUid, researchStudyId(l.secret));
  return found;
};

const subjectOf = async (studyId: string | undefined): Promise<string> => {
  const event = (await eventsOf('ct.research.study-anonymised.v1')).find((e) => 'studyId' in e.value && e.value.studyId === studyId);
  if (event?.type !== 'ctstream.research.v1.StudyAnonymised') throw new Error('not anonymised');
  return event.value.subjectId;
};

test('released, queued and retrying studies of a withdrawn patient all go; nothing links; later ones are refused', async () => {
  const other = await send(OTHER);
  const released = await send(0);
  await until(p, (a) => [other, released].every((t) => codeOf(a, t) === 'AWAITING_RELEASE'), 180_000);
  await release('v1.0.0');
  await until(p, (a) => a.totals.released === 2);

  // One is refused for what it is: its originals stay in ct-clinical.
  const refused = await send(4, { defect: 'burned-in-text' });
  await until(p, (a) => codeOf(a, refused) === 'BURNED_IN_TEXT');
  // One waits for assess.
  await p.stages.kill('assess', 'SIGTERM');
  const queued = await send(1);
  await until(p, (a) => a.studies.some((s) => s.key === keyOf(queued) && s.reached === 'anonymised'));
  // One waits in a retry topic of anonymise: its manifest is away for a while.
  await p.stages.kill('anonymise', 'SIGTERM');
  const retrying = await send(2);
  await until(p, (a) => a.studies.some((s) => s.key === keyOf(retrying) && s.reached === 'stored'));
  const manifest = (await objectsOf('ct-clinical')).find(
    (n) => n.includes(`/${retrying.studyInstanceUid}/`) && n.endsWith('/manifest.json'),
  );
  if (manifest === undefined) throw new Error('no manifest');
  const bytes = (await root.getBytes('ct-clinical', manifest, 1 << 26)) ?? new Uint8Array();
  await root.remove('ct-clinical', [manifest]);
  await p.stages.start('anonymise');
  await until(p, (a) => codeOf(a, retrying) === 'MANIFEST_MISSING');
  await root.put('ct-clinical', manifest, bytes);

  const linked = await links();
  const ids = [released, queued].map((t) => linked.get(t.studyInstanceUid) ?? '');
  const subjectId = await subjectOf(ids[0]);
  expect(await subjectOf(ids[1])).toBe(subjectId);
  const words = [subjectId, ...ids, ...[released, refused, queued, retrying].map((t) => t.studyInstanceUid)];
  expect((await objectsWith(words)).length).toBeGreaterThan(0);
  expect(await rowsWith(words)).toEqual(expect.arrayContaining(['label_queue.study', 'release.fact', 'select.candidate']));
  const images = (await objectsOf('ct-releases')).filter((n) => n.endsWith('.nii.gz'));

  const patient = `iss-${p.provisioned.centres[0]}:${released.patientId}`;
  await expect(ctstream('withdraw', '--patient', patient, '--yes', ...tokenOf('security'))).rejects.toMatchObject({ code: 1 });
  await p.stages.kill('anonymise', 'SIGTERM');
  const shown = (await withdraw('--patient', patient)) as ReceiptShown;
  expect(shown).toMatchObject({ state: 'erasing', refusal: 'in force' });
  const during = await p.follower.account(AbortSignal.timeout(60_000));
  expect(during.totals.unaccounted).toBe(0);
  // Assess has not reported: asked again, it is the same request.
  expect(await withdraw('--patient', patient)).toMatchObject({ requestId: shown.requestId, state: 'erasing' });
  // As after the loss of a log that had the withdrawal: anonymise tells it again when it starts.
  await inVault('update outbox set sent_at = now()');
  await p.stages.start('anonymise');
  await p.stages.start('assess', erasing);
  const complete = (await withdraw('--pseudonym', subjectId, '--wait')) as ReceiptShown;
  expect(complete).toMatchObject({ requestId: shown.requestId, state: 'complete' });
  expect(complete.stages.every((s) => s.state === 'done')).toBe(true);
  expect(complete.stages.find((s) => s.stage === 'anonymise')?.objects).toBeGreaterThan(0);

  // A later study, and the one that was waiting to be tried again.
  const later = await send(3);
  const theirs = [released, refused, queued, retrying, later];
  const after = await until(p, (a) => theirs.every((t) => codeOf(a, t) === 'PATIENT_WITHDRAWN') && codeOf(a, other) === 'RELEASED');
  expect(after.totals).toMatchObject({ sent: 6, released: 1, withdrawn: 5, waiting: 0, unaccounted: 0 });
  const verdicts = (await eventsOf('ct.clinical.study-rejected.v1')).map((e) =>
    'code' in e.value && 'studyInstanceUid' in e.value ? e.value : undefined,
  );
  for (const t of theirs)
    expect(verdicts.filter((v) => v?.studyInstanceUid === t.studyInstanceUid && v.code === 'PATIENT_WITHDRAWN').length).toBeGreaterThan(0);

  // Only what refuses, the pseudonym and the studies that research stages must not take again, and what was told of it.
  expect((await objectsWith([...words, later.studyInstanceUid])).sort()).toEqual(
    [subjectId, ...ids.map((id) => `studies/${id}`)].map((of) => `ct-research/withdrawn/${of}`).sort(),
  );
  const marks = await rowsWith([...words, later.studyInstanceUid]);
  expect(
    marks.filter(
      (table) => !/^(?:select|label_queue|release)\.(?:withdrawn|withdrawn_study|outbox ct\.research\.erasure-done\.v1)$/.test(table),
    ),
  ).toEqual([]);
  expect([...(await links()).keys()]).toEqual([other.studyInstanceUid]);
  expect((await objectsOf('ct-releases')).filter((n) => n.endsWith('.nii.gz'))).toHaveLength(images.length / 2);

  expect((await eventsOf('ct.research.subject-withdrawn.v1')).map((e) => [e.value, e.key])).toEqual([
    [{ subjectId, studies: expect.arrayContaining(ids) }, subjectId],
  ]);
  // By what is written, nobody is named: not in the receipt, not in a log.
  for (const name of [released.patientId, subjectId, released.studyInstanceUid]) expect(said.join('\n')).not.toContain(name);

  expect(await ctstream('withdraw', 'receipt', complete.requestId ?? '')).toEqual(complete);
  expect(await withdraw('--patient', patient)).toMatchObject({ requestId: null, state: 'denied' });
  expect(p.exits).toEqual([]);
});
