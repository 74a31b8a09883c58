// 47 centres go on while others hang, drip, refuse or flood, on the real ingest, Kafka, MinIO and Orthanc. Shown by
// order: no test looks at a time. The bad ones' PACSs are servers of ours, since no real one misbehaves when asked.
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { writeFile } from 'node:fs/promises';
import { startStages, type RunningStages } from '../../deploy/local/stages.ts';
import { freePorts } from '../../deploy/local/ports.ts';
import { revisionOf } from '../../services/kernel/digest.ts';
import type { CentreId, StudyInstanceUid } from '../../services/kernel/ids.ts';
import { startSmallPacs, type SmallPacs } from '../shared/small-pacs.ts';
import { codec, eventually, openLab, put, smallStudy, storedOf, type Lab } from './pacs-support.ts';
import { releasePlatform, testPlatform, testPrefix } from './support.ts';

const GOOD = Array.from({ length: 47 }, (_, i) => `good-${i + 1}`);
const FLOOD = 'flood';
const BAD = ['hung', 'slow', 'dead'] as const;
/** Real PACSs; the good centres share them: each centre has topics, a line and a breaker of its own all the same. */
const ORTHANCS = [`fa${process.pid}`, `fb${process.pid}`];
// More connections to each bad centre than the process has places.
const CONNECTIONS = 8;
const PLACES = 2;

let lab: Lab;
let ingest: RunningStages;
let hung: SmallPacs;
let slow: SmallPacs;
let deadUrl: string;

interface Study {
  readonly centre: string;
  readonly study: string;
  readonly instances: readonly { seriesInstanceUid: string; sopInstanceUid: string; bytes: Uint8Array }[];
}

function newStudy(centre: string, slices = 1): Study {
  const { study, files } = smallStudy({ slices });
  const series = `${study}.1`;
  return {
    centre,
    study,
    instances: files.map((bytes, i) => ({ seriesInstanceUid: series, sopInstanceUid: `${series}.${i + 1}`, bytes })),
  };
}

const orthancOf = (centre: string): string => ORTHANCS[GOOD.indexOf(centre) % ORTHANCS.length] ?? ORTHANCS[0] ?? '';

async function putAll(studies: readonly Study[]): Promise<void> {
  await Promise.all(
    ORTHANCS.map(async (pacs) => {
      const files = studies.filter((s) => orthancOf(s.centre) === pacs).flatMap((s) => s.instances.map((i) => i.bytes));
      if (files.length > 0) await put(lab.orthanc(pacs), files);
    }),
  );
}

async function announce(studies: readonly Study[]): Promise<void> {
  await lab.bus.publish(
    studies.map(({ centre, study, instances }) => {
      const value = {
        centre: centre as CentreId,
        studyInstanceUid: study as StudyInstanceUid,
        revision: revisionOf(instances),
        sequence: 1,
        instanceCount: instances.length,
        seriesCount: 1,
        modalities: ['CT'],
        noticedBy: 'census',
      };
      return codec.encode({ type: 'ctstream.clinical.v1.StudyAvailable', value }, { id: `announced-${study}`, source: 'test', timeMs: 1 });
    }),
  );
}

/** Centres of the stored studies, in the order of time. */
async function storedInOrder(): Promise<{ centre: string; study: string }[]> {
  const events = (await storedOf(lab)).sort((a, b) => a.timeMs - b.timeMs);
  return events.map((e) => ({ centre: e.value.centre, study: e.value.studyInstanceUid }));
}

const allStored = (studies: readonly Study[]): Promise<{ centre: string; study: string }[]> =>
  eventually(
    `${studies.length} stored studies`,
    async () => {
      const stored = await storedInOrder();
      const uids = new Set(stored.map((s) => s.study));
      return studies.every((s) => uids.has(s.study)) ? stored : undefined;
    },
    90_000,
  );

/** A gauge of ingest. */
async function gauge(name: string, labels: string): Promise<number> {
  const text = await (await fetch(`${ingest.url('ingest')}/metrics`)).text();
  return Number(new RegExp(`^${name}\\{${labels}\\} (\\S+)`, 'm').exec(text)?.[1] ?? Number.NaN);
}

beforeAll(async () => {
  const all = [...GOOD, FLOOD, ...BAD];
  lab = await openLab({ platform: await testPlatform(), centres: all, pacs: ORTHANCS, prefix: testPrefix('fair'), stages: [] });
  hung = await startSmallPacs({ manner: 'hangs' });
  slow = await startSmallPacs({ manner: 'drips' });
  deadUrl = `http://127.0.0.1:${(await freePorts(1))[0]}/dicom-web`;
  const urls: Record<string, string> = { hung: hung.dicomWebUrl, slow: slow.dicomWebUrl, dead: deadUrl };
  const entries = all.map((id) => {
    const { dicomWebUrl, username, password } = lab.orthanc(orthancOf(id));
    return { id, dicomWebUrl: urls[id] ?? dicomWebUrl, username, password, namespace: `issuer-${id}` };
  });
  await writeFile(lab.provisioned.file('centres.json'), JSON.stringify(entries), { mode: 0o600 });
});

afterAll(async () => {
  await (ingest as RunningStages | undefined)?.stop();
  await (lab as Lab | undefined)?.close();
  for (const pacs of [hung, slow] as (SmallPacs | undefined)[]) await pacs?.close();
  const platform = await testPlatform();
  await Promise.all(ORTHANCS.map((centre) => platform.stopOrthanc(centre, 'SIGKILL')));
  await releasePlatform();
});

describe('in order', () => {
  test('a centre that announces a hundred studies first does not keep 47 others waiting for them', async () => {
    const flood = Array.from({ length: 100 }, () => newStudy(FLOOD));
    const others = GOOD.map((centre) => newStudy(centre));
    await putAll([...flood, ...others]);
    // All is announced before ingest starts: the flood stands first in every line there is.
    await announce(flood);
    await announce(others);
    ingest = await startStages({
      platform: lab.platform,
      provisioned: lab.provisioned,
      dir: lab.dir,
      only: ['ingest'],
      env: {
        ingest: {
          CONCURRENCY: String(PLACES),
          PACS_CONNECTIONS: String(CONNECTIONS),
          // Longer than the test: nothing hung is let go.
          PACS_TIMEOUT_MS: '600000',
          PACS_BREAKER_MS: '1000',
          RETRY_DELAYS_MS: '1000,1000,1000',
          KAFKA_SESSION_TIMEOUT_MS: '6000',
        },
      },
    });
    const stored = await allStored([...flood, ...others]);
    const last = stored.findLastIndex((s) => s.centre !== FLOOD);
    expect(stored.slice(0, last).filter((s) => s.centre === FLOOD).length).toBeLessThan(50);
    expect(stored.length).toBe(147);
  });

  test('47 centres finish while a hung, a dripping and a dead PACS hold all they can, and nothing of those is lost', async () => {
    const bad = BAD.flatMap((centre) => Array.from({ length: 3 * CONNECTIONS }, () => newStudy(centre)));
    for (const { centre, study, instances } of bad) {
      if (centre === 'hung') hung.studies.set(study, instances);
      if (centre === 'slow') slow.studies.set(study, instances);
    }
    await announce(bad);
    await eventually('every connection to the hung PACS held', async () => (hung.open() === CONNECTIONS ? true : undefined));
    await eventually('every connection to the slow PACS held', async () => (slow.open() >= CONNECTIONS ? true : undefined));
    await eventually('the breaker of the dead one', async () => ((await gauge('ingest_breaker', 'centre="dead"')) > 0 ? true : undefined));
    const good = GOOD.flatMap((centre) => [newStudy(centre, 2), newStudy(centre, 2)]);
    await putAll(good);
    await announce(good);
    const stored = await allStored(good);
    // Held the whole time, and nothing came of them.
    expect([hung.open(), hung.ended()]).toEqual([CONNECTIONS, 0]);
    expect(slow.open()).toBe(CONNECTIONS);
    expect(stored.filter((s) => BAD.some((b) => b === s.centre))).toEqual([]);
    expect(await gauge('ingest_pulls', 'centre="hung",place="without"')).toBe(CONNECTIONS);
    expect(await gauge('ingest_waiting', 'centre="hung",for="connection"')).toBe(2 * CONNECTIONS);

    const dead = await startSmallPacs({ port: Number(new URL(deadUrl).port) });
    for (const { centre, study, instances } of bad) if (centre === 'dead') dead.studies.set(study, instances);
    for (const pacs of [hung, slow]) {
      pacs.manner = 'well';
      pacs.breakAll();
    }
    await allStored(bad);
    await dead.close();
  });
});
