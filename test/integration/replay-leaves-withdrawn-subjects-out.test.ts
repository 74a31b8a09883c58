// After a withdrawal nothing of the patient is made again or left of what was made before, and everybody else's manifests,
// decisions and files are made as they were. Then the copy is removed.
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { BUCKETS } from '../../deploy/local/policies.ts';
import { s3Store } from '../../services/adapters/s3-store.ts';
import { sendPhantom, startPipeline, until, type Pipeline } from './pipeline.ts';
import { attachable, ctstream, release, replay } from './replay-support.ts';
import { releasePlatform } from './support.ts';

/** A seed whose first five studies are one patient's, the sixth another's. */
const SEED = 273;
const INTO = 'replay-';
const erasing = { ERASE_AGAIN_AFTER_MS: '2000', RETRY_DELAYS_MS: '500,500,500' };
let p: Pipeline;

beforeAll(async () => {
  p = await startPipeline({
    name: 'replay-w',
    centres: 1,
    env: { anonymise: erasing, assess: erasing, select: erasing, 'label-queue': erasing, release: erasing },
  });
  await attachable(p);
});

afterAll(async () => {
  await p.stop();
  await releasePlatform();
});

test('everybody else is made again as they were', async () => {
  const [pacs] = p.pacs;
  if (pacs === undefined) throw new Error('no PACS');
  const send = sendPhantom.bind(undefined, pacs);
  const [theirs] = await Promise.all([
    send({ seed: SEED, index: 0 }),
    send({ seed: SEED, index: 5 }),
    send({ seed: SEED, index: 4, defect: 'short-coverage' }),
  ]);
  await until(p, (a) => a.reached.labelled === 2 && a.totals.rejected === 1);
  await release(p, 'v1.0.0', 2);
  await until(p, (a) => a.totals.released === 2);
  const { minio } = p.platform;
  const target = s3Store({
    endpoint: `http://${minio.endPoint}:${minio.port}`,
    accessKey: minio.accessKey,
    secretKey: minio.secretKey,
    bucketPrefix: INTO + p.provisioned.bucketPrefix,
  });
  // An earlier version put pictures of held studies there.
  await target.ensureBuckets(['ct-quarantine']);
  await target.put('ct-quarantine', 'h1/findings.json', Buffer.from('{}'));
  // A replay before the withdrawal has made copies of theirs.
  for (const stage of ['anonymise', 'assess', 'release']) expect((await replay(p, stage, INTO)).code).toBe(0);
  const token = p.provisioned.people.find(({ roles }) => roles.includes('privacy'))?.tokenFile ?? '';
  const patient = `iss-${pacs.centre}:${theirs.patientId}`;
  const receipt = await ctstream<{ state: string }>(p, 'withdraw', '--patient', patient, '--yes', '--wait', '--token-file', token);
  expect(receipt.document.state).toBe('complete');
  // A round that knew of the withdrawal.
  await send({ seed: SEED + 1, index: 0 });
  await until(p, (a) => a.reached.labelled === 2 && a.totals.withdrawn === 2);

  for (const stage of ['anonymise', 'assess', 'select', 'release']) {
    const { code, report } = await replay(p, stage, INTO);
    expect([stage, code, report.differences, report.faults]).toEqual([stage, 0, [], []]);
    expect(report.events).toBeGreaterThan(0);
  }
  const made: string[] = [];
  for (const bucket of ['ct-research', 'ct-releases']) for await (const { key } of target.list(bucket, '')) made.push(key);
  expect(made.filter((key) => key.endsWith('/manifest.json'))).toHaveLength(2);
  expect(made.filter((key) => /images\/.*\.nii\.gz$/.test(key))).toHaveLength(1);
  expect(made).toContain('v1.0.0/tombstones.csv');

  // The deployment's own buckets are no copy, whatever they are called.
  const copy = ['replay', 'remove', '--into', INTO, '--yes'];
  await target.ensureBuckets(['ct-event-log']);
  await expect(ctstream(p, ...copy)).rejects.toThrow(/a deployment's own buckets/);
  await expect(ctstream(p, 'replay', 'assess', '--into', INTO)).rejects.toThrow(/a deployment's own buckets/);
  await target.removeBucket('ct-event-log');
  const { document } = await ctstream<{ buckets: string[]; objects: number }>(p, ...copy);
  expect(document.buckets).toHaveLength(3);
  expect(document.objects).toBeGreaterThanOrEqual(made.length);
  expect(await target.bucketsOf(BUCKETS)).toEqual([]);
  expect((await ctstream<{ buckets: string[] }>(p, ...copy)).document.buckets).toEqual([]);
});
