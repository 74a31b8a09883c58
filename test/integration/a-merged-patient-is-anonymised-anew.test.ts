// Two ids turn out to be one person: after `vault merge` on a running pipeline both studies stand in research under one
// pseudonym, and nothing is left there of the one that is nobody's any more.
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { execFile } from 'node:child_process';
import { symlink, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import type { StageName } from '../../deploy/local/stages.ts';
import type { Correction } from '../../services/adapters/postgres-vault-admin-correct.ts';
import type { Reanonymised } from '../../services/cli/vault-reanonymise.ts';
import { platformDir, writeDeployment } from '../../services/cli/deployment.ts';
import type { EventIn } from '../../services/kernel/stage.ts';
import { sendPhantom, startPipeline, until, type Pipeline } from './pipeline.ts';
import { recordsOf, rootStore } from './privacy/corpus.ts';
import { knownStudies } from './privacy/known-studies.ts';
import { releasePlatform } from './support.ts';
import { eventually } from './vault-support.ts';

const STAGES: readonly StageName[] = ['centre-gateway', 'ingest', 'anonymise'];
const erasing = { ERASE_AGAIN_AFTER_MS: '3000', RETRY_DELAYS_MS: '500,500,500' };
let p: Pipeline;

beforeAll(async () => {
  p = await startPipeline({ name: 'merge', centres: 2, readers: false, only: STAGES, env: { anonymise: erasing } });
  // What the commands look for.
  await symlink(p.platform.dir, platformDir(p.dir));
  const urls = Object.fromEntries(STAGES.map((name) => [name, p.stages.url(name)]));
  await writeDeployment(p.dir, { centres: p.provisioned.centres, prefix: p.provisioned.prefix, readers: 0, urls, apiUrls: {} });
});

afterAll(async () => {
  await p?.stop();
  await releasePlatform();
});

const anonymised = async (): Promise<EventIn<'ctstream.research.v1.StudyAnonymised'>['value'][]> =>
  (await recordsOf(p, 'ct.research.study-anonymised.v1')).flatMap((record) => {
    const event = p.ports.codec.decode(record);
    return event.type === 'ctstream.research.v1.StudyAnonymised' ? [event.value] : [];
  });

const objects = async (bucket: string): Promise<string[]> => {
  const keys: string[] = [];
  for await (const { key } of rootStore(p).list(bucket, '')) keys.push(key);
  return keys;
};

test('both studies stand under one pseudonym, and the account stays whole', async () => {
  for (const [at, index] of [
    [0, 1],
    [1, 3],
  ] as const) {
    const pacs = p.pacs[at];
    if (pacs === undefined) throw new Error('no PACS');
    await sendPhantom(pacs, { seed: 17, index });
  }
  await until(p, (a) => a.reached.anonymised === 2);
  const before = await anonymised();
  expect(new Set(before.map((e) => e.subjectId)).size).toBe(2);
  const originals = await objects('ct-clinical');

  const files = await Promise.all(
    p.pacs.map(async (pacs, i) => {
      const [study] = await knownStudies(pacs);
      const path = join(p.dir, `patient-${i}`);
      await writeFile(path, `${study?.issuer}:${study?.patientId}\n`, { mode: 0o600 });
      return `@${path}`;
    }),
  );
  const main = resolve(import.meta.dirname, '../../services/cli/main.ts');
  const tokenFile = p.provisioned.people.find(({ roles }) => roles.includes('privacy'))?.tokenFile ?? '';
  const args = ['--no-warnings', main, 'vault', 'merge', ...files, '--token-file', tokenFile, '--yes', '--json', '--dir', p.dir];
  const done = JSON.parse((await promisify(execFile)(process.execPath, args)).stdout) as Correction & Reanonymised;
  expect(done).toMatchObject({ kind: 'merge', gone: [] });
  expect(done.asked).toHaveLength(1);
  const [old] = before.filter((e) => e.subjectId === done.retired);
  const [kept] = before.filter((e) => e.subjectId !== done.retired);
  expect(done.studies.map((s) => s.researchStudy)).toEqual([old?.studyId]);

  await eventually('the study is anonymised anew', async () => (await anonymised()).length === 3, 90_000);
  const after = await anonymised();
  const found = after.filter((e) => !before.some((b) => b.studyId === e.studyId));
  expect(found).toHaveLength(1);
  expect(found[0]?.subjectId).toBe(kept?.subjectId);
  // Erased in research, and told by its pseudonym alone; the originals stay.
  const told = async (): Promise<string[]> => (await recordsOf(p, 'ct.research.subject-withdrawn.v1')).map((r) => r.key);
  await eventually('research is told', async () => (await told()).length > 0, 60_000);
  expect(await told()).toEqual([done.retired]);
  const research = await objects('ct-research');
  expect(research.filter((key) => key.startsWith(`${old?.studyId}/`))).toEqual([]);
  for (const studyId of [kept?.studyId, found[0]?.studyId])
    expect(research).toContainEqual(expect.stringMatching(new RegExp(`^${studyId}/.*manifest.json$`)));
  expect(await objects('ct-clinical')).toEqual(originals);
  const account = await until(p, (a) => a.reached.anonymised === 2);
  expect(account.totals).toMatchObject({ sent: 2, unaccounted: 0, withdrawn: 0, rejected: 0 });
});
