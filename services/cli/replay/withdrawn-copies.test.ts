// A replay's buckets lose what is a withdrawn subject's, as the log, the notes and the manifests there say, and nothing else.
import { expect, test } from '@jest/globals';
import { memoryStore } from '../../../test/shared/memory-store.ts';
import type { EventIn } from '../../kernel/stage.ts';
import { eraseWithdrawn } from './withdrawn-copies.ts';

const event = (type: string, value: Record<string, unknown>): EventIn =>
  ({ type: `ctstream.research.v1.${type}`, value }) as unknown as EventIn;
const withdrawn = event('SubjectWithdrawn', { subjectId: 'P1' });
const signal = new AbortController().signal;

const scene = async (target: readonly string[], source: readonly string[] = []) => {
  const stores = { source: memoryStore(), target: memoryStore(), signal };
  // A manifest of anybody's: whose is said before the key.
  for (const [store, all] of [[stores.target, target] as const, [stores.source, source] as const])
    for (const line of all) {
      const [key = '', text = ''] = line.split(' ');
      const [bucket = '', ...rest] = key.split('/');
      const body = key.endsWith('/manifest.json') ? JSON.stringify({ facts: { subjectId: text } }) : text;
      await store.put(`ct-${bucket}`, rest.join('/'), Buffer.from(body));
    }
  const left = (): string[] =>
    ['research', 'releases', 'release-candidates'].flatMap((b) => stores.target.keys(`ct-${b}`).map((key) => `${b}/${key}`));
  return { stores, left };
};

test('of ct-research go the revisions of the subject, whatever says so, and nobody else has lost anything', async () => {
  const { stores, left } = await scene([
    'research/R1/q/a/1.tar',
    'research/R1/other/manifest.json P2',
    'research/R2/q/assessment.json',
    'research/subjects/P1/R2/q',
    'research/subjects/P2/R1/other',
    'research/R3/q/manifest.json P1',
    'research/R3/q/a/1.tar',
  ]);
  const log = [event('StudyAnonymised', { subjectId: 'P1', studyId: 'R1', revision: 'q' })];
  expect(await eraseWithdrawn(stores, log)).toEqual([]);
  expect(left()).toHaveLength(7);
  expect(await eraseWithdrawn(stores, [...log, withdrawn])).toEqual([
    '5 objects of an earlier replay were erased: their subjects have withdrawn since',
  ]);
  expect(left()).toEqual(['research/R1/other/manifest.json', 'research/subjects/P2/R1/other']);
  expect(await eraseWithdrawn(stores, [...log, withdrawn])).toEqual([]);
});

test('a study that a withdrawal names goes whole, with the notes of it under any subject', async () => {
  const { stores, left } = await scene([
    'research/R1/q/manifest.json P2',
    'research/R1/q/a/1.tar',
    'research/R2/q/manifest.json P2',
    'research/subjects/P2/R1/q',
    'research/subjects/P2/R2/q',
  ]);
  await eraseWithdrawn(stores, [event('SubjectWithdrawn', { subjectId: 'P1', studies: ['R1'] })]);
  expect(left()).toEqual(['research/R2/q/manifest.json', 'research/subjects/P2/R2/q']);
});

test('a version goes when the deployment has written it anew since', async () => {
  const { stores, left } = await scene(
    [
      'releases/v1.0.0/registry.csv both',
      'releases/v1.1.0/tombstones.csv one',
      'releases/v1.2.0/registry.csv',
      'release-candidates/v1.0.0/registry.csv both',
    ],
    ['releases/v1.0.0/tombstones.csv one', 'releases/v1.1.0/tombstones.csv one', 'releases/v1.2.0/registry.csv'],
  );
  await eraseWithdrawn(stores, [withdrawn]);
  expect(left()).toEqual(['releases/v1.1.0/tombstones.csv', 'releases/v1.2.0/registry.csv']);
});
