// The gateway on the real Orthanc and Kafka: every study that a PACS has is announced, once per revision, whatever is
// killed meanwhile; and the census tells what the PACS lists.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import pino from 'pino';
import { dicomWebClient } from '../../services/adapters/dicomweb-client.ts';
import { orthancChanges } from '../../services/adapters/dicomweb-orthanc.ts';
import { kafkaBus } from '../../services/adapters/kafkajs-bus.ts';
import { feed } from '../../services/centre-gateway/feed.ts';
import { preflight } from '../../services/centre-gateway/intake.ts';
import { addCentre, openState } from '../../services/centre-gateway/state.ts';
import { watchCentre } from '../../services/centre-gateway/watch.ts';
import { systemClock, systemRandom } from '../../services/runtime/system.ts';
import { sha256Hex } from '../../services/kernel/digest.ts';
import type { CentreId, StudyInstanceUid } from '../../services/kernel/ids.ts';
import {
  availableOf,
  censusNow,
  codec,
  eventsOf,
  eventually,
  openLab,
  put,
  removeStudy,
  smallStudy,
  storedOf,
  TOPICS,
  type Lab,
} from './pacs-support.ts';
import { releasePlatform, testPlatform, testPrefix } from './support.ts';

const A = `ga${process.pid}`;
/** Watched by QIDO-RS alone, like a DICOMweb server that is no Orthanc. */
const POLLED = `gp${process.pid}`;
const WRONG = `gw${process.pid}`;
const FAST = { STABLE_AFTER_MS: '900', COUNT_PAUSE_MS: '100', CHANGES_POLL_MS: '200', QIDO_POLL_MS: '400', QIDO_LOOK_BACK_DAYS: '36500' };
let lab: Lab;

beforeAll(async () => {
  lab = await openLab({
    platform: await testPlatform(),
    centres: [A, POLLED, WRONG],
    prefix: testPrefix('gateway'),
    stages: ['centre-gateway', 'ingest'],
    env: { 'centre-gateway': FAST, ingest: { RETRY_DELAYS_MS: '1000,2000,600000' } },
    before: async (provisioned) => {
      const path = provisioned.file('gateway-centres.json');
      const centres = JSON.parse(await readFile(path, 'utf8')) as { id: string; password: string; orthanc?: unknown; scope: object }[];
      for (const centre of centres) {
        if (centre.id === POLLED) delete centre.orthanc;
        if (centre.id === WRONG) centre.password = 'not the password';
        centre.scope = { modalities: ['CT'], optOutPatientIds: ['OPTED-OUT'] };
      }
      await writeFile(path, JSON.stringify(centres), { mode: 0o600 });
    },
  });
});

afterAll(async () => {
  await (lab as Lab | undefined)?.close();
  await releasePlatform();
});

const announcementsOf = async (centre: string, study: string): Promise<Awaited<ReturnType<typeof availableOf>>> =>
  (await availableOf(lab, centre)).filter((e) => e.value.studyInstanceUid === study);

const announced = (centre: string, study: string, count = 1): Promise<Awaited<ReturnType<typeof availableOf>>> =>
  eventually(`${count} announcement(s)`, async () => {
    const found = await announcementsOf(centre, study);
    return found.length >= count ? found : undefined;
  });

type StoredEvents = Awaited<ReturnType<typeof storedOf>>;

const stored = (study: string, count: number): Promise<StoredEvents> =>
  eventually(`stored ${count} time(s)`, async () => {
    const found = (await storedOf(lab)).filter((e) => e.value.studyInstanceUid === study);
    return found.length >= count ? found : undefined;
  });

/** Told more than once, of one manifest. */
function expectOneStudy(told: StoredEvents): void {
  expect(new Set(told.map((e) => `${e.id} ${e.value.sequence} ${e.value.manifestSha256}`)).size).toBe(1);
}

interface Report {
  readonly centre: string;
  readonly sent: number;
  readonly acknowledged: number;
  readonly waiting: number;
  readonly refused: number;
  readonly outOfScope: number;
  readonly reasons: Record<string, number>;
  readonly toAnnounceAgain: number;
  readonly pacs: { readonly usable: boolean; readonly code: string | null };
  readonly census: object | null;
}

async function reportOf(centre: string): Promise<Report> {
  const response = await fetch(`${lab.stages.apiUrl('centre-gateway')}/status.json`);
  const found = ((await response.json()) as { centres: Report[] }).centres.find((c) => c.centre === centre);
  if (found === undefined) throw new Error('no report');
  return found;
}

describe('announcing', () => {
  test('a study is announced once when it has come to rest, and once more for each late slice', async () => {
    // Before its first census the gateway has no place in the change feed yet: what is there then is the census's find.
    await eventually('the census at its start', async () => ((await reportOf(A)).census === null ? undefined : true));
    const study = smallStudy({ slices: 4 });
    for (const file of study.files.slice(0, 3)) {
      await put(lab.orthanc(A), [file]);
      // Shorter than the quiet time, so these three are one revision.
      await sleep(400);
    }
    const [first] = await announced(A, study.study);
    expect(first?.value).toMatchObject({ centre: A, instanceCount: 3, seriesCount: 1, modalities: ['CT'], noticedBy: 'change-feed' });
    expect(first?.key).toBe(`${A}|${study.study}`);
    expect(first?.sequence).toBeGreaterThan(0n);
    await put(lab.orthanc(A), study.files.slice(3));
    const both = await announced(A, study.study, 2);
    expect(both.map((e) => e.value.instanceCount)).toEqual([3, 4]);
    expect(both[1]?.value.sequence).toBeGreaterThan(both[0]?.value.sequence ?? Infinity);
    // The same file again changes nothing that counts.
    await put(lab.orthanc(A), study.files.slice(3));
    await sleep(2500);
    expect(await announcementsOf(A, study.study)).toHaveLength(2);
  });

  test('a PACS without a change feed is found by QIDO-RS', async () => {
    const study = smallStudy({ slices: 2 });
    await put(lab.orthanc(POLLED), study.files);
    const [first] = await announced(POLLED, study.study);
    expect(first?.value).toMatchObject({ instanceCount: 2, noticedBy: 'poll' });
    await put(lab.orthanc(POLLED), smallStudy({ study: study.study, slices: 1, first: 3 }).files);
    expect((await announced(POLLED, study.study, 2))[1]?.value.instanceCount).toBe(3);
  });

  test("what the centre's rule leaves out is counted and never announced", async () => {
    const ultrasound = smallStudy({ modality: 'US', slices: 1 });
    const optedOut = smallStudy({ patientId: 'OPTED-OUT', slices: 1 });
    await put(lab.orthanc(A), [...ultrasound.files, ...optedOut.files]);
    const { status } = await censusNow(lab);
    // One of the three centres has a wrong password, and the answer says so.
    expect(status).toBe(503);
    await sleep(2500);
    await censusNow(lab);
    const listed = (await eventsOf(lab, 'ctstream.clinical.v1.Census', TOPICS.census(A))).at(-1)?.value.studies ?? [];
    for (const study of [ultrasound.study, optedOut.study]) {
      expect(listed.find((s) => s.studyInstanceUid === study)).toMatchObject({ state: 'outOfScope', code: 'OUT_OF_SCOPE' });
      expect(await announcementsOf(A, study)).toEqual([]);
    }
    expect((await reportOf(A)).outOfScope).toBe(2);
  });

  test('a study that is announced again is told again with the same event id, and stored once', async () => {
    const study = smallStudy({ slices: 2 });
    await put(lab.orthanc(A), study.files);
    await stored(study.study, 1);
    const response = await fetch(`${lab.stages.apiUrl('centre-gateway')}/announce-again`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${lab.provisioned.gatewayToken}` },
      body: JSON.stringify({ centre: A }),
    });
    expect(response.status).toBe(200);
    const [first, second] = await announced(A, study.study, 2);
    expect([second?.value.revision, second?.value.instanceCount]).toEqual([first?.value.revision, first?.value.instanceCount]);
    expect(second?.value.sequence).toBeGreaterThan(first?.value.sequence ?? Infinity);
    expectOneStudy(await stored(study.study, 2));
    await eventually('nothing waits any more', async () => {
      const { toAnnounceAgain, waiting } = await reportOf(A);
      return toAnnounceAgain === 0 && waiting === 0 ? true : undefined;
    });
    expect(await announcementsOf(A, study.study)).toHaveLength(2);
  });

  test('a study that a census did not list, and that is back unchanged, is announced once more and stored once', async () => {
    const study = smallStudy({ slices: 2 });
    await put(lab.orthanc(A), study.files);
    await stored(study.study, 1);
    await removeStudy(lab.orthanc(A), study.study);
    await censusNow(lab);
    await put(lab.orthanc(A), study.files);
    const [first, second] = await announced(A, study.study, 2);
    expect(second?.value.revision).toBe(first?.value.revision);
    expect(second?.value.sequence).toBeGreaterThan(first?.value.sequence ?? Infinity);
    expectOneStudy(await stored(study.study, 2));
    await censusNow(lab);
    const line = (await eventsOf(lab, 'ctstream.clinical.v1.Census', TOPICS.census(A)))
      .at(-1)
      ?.value.studies.find((s) => s.studyInstanceUid === study.study);
    expect(line?.state).toBe('announced');
    expect(await announcementsOf(A, study.study)).toHaveLength(2);
  });

  test('a study that vanished before the pull and comes back is announced again and stored', async () => {
    await lab.stages.kill('ingest', 'SIGTERM');
    const study = smallStudy({ slices: 2 });
    await put(lab.orthanc(A), study.files);
    await announced(A, study.study);
    await removeStudy(lab.orthanc(A), study.study);
    await lab.stages.start('ingest');
    await eventually('the refusal on the status page', async () =>
      ((await reportOf(A)).reasons['STUDY_VANISHED'] ?? 0) > 0 ? true : undefined,
    );
    await put(lab.orthanc(A), study.files);
    await eventually('stored', async () => (await storedOf(lab)).find((e) => e.value.studyInstanceUid === study.study));
    await eventually('no refusal on the status page any more', async () =>
      (await reportOf(A)).reasons['STUDY_VANISHED'] === undefined ? true : undefined,
    );
  });
});

describe('killed', () => {
  test('the gateway with SIGKILL while studies come: each is announced, with one event id a revision', async () => {
    const studies = Array.from({ length: 10 }, (_, n) => smallStudy({ slices: 3, seed: n }));
    for (const s of studies.slice(0, 5)) await put(lab.orthanc(A), s.files);
    await eventually('the first announcement', async () =>
      (await announcementsOf(A, studies[0]?.study ?? '')).length > 0 ? true : undefined,
    );
    await lab.stages.kill('centre-gateway', 'SIGKILL');
    for (const s of studies.slice(5)) await put(lab.orthanc(A), s.files);
    await lab.stages.start('centre-gateway');
    for (const s of studies) {
      const events = await announced(A, s.study);
      expect(new Set(events.map((e) => e.id)).size).toBe(1);
      expect(events[0]?.value.instanceCount).toBe(3);
    }
  });

  test('Orthanc with SIGKILL between the last slice and stability: the study is announced all the same', async () => {
    const study = smallStudy({ slices: 3 });
    await put(lab.orthanc(A), study.files);
    await lab.platform.restartOrthanc(A, 'SIGKILL');
    const [event] = await announced(A, study.study);
    expect(event?.value.instanceCount).toBe(3);
    await eventually('stored', async () => (await storedOf(lab)).find((e) => e.value.studyInstanceUid === study.study));
  });

  test("both at once, and the gateway's database lost: the census at its start finds every study", async () => {
    const study = smallStudy({ slices: 2 });
    await put(lab.orthanc(A), study.files);
    await Promise.all([lab.stages.kill('centre-gateway', 'SIGKILL'), lab.platform.restartOrthanc(A, 'SIGKILL')]);
    const before = (await availableOf(lab, A)).reduce((max, e) => Math.max(max, e.value.sequence), 0);
    await lab.stages.start('centre-gateway', { STATE_DIR: join(lab.dir, 'another-gateway') });
    const events = await announced(A, study.study);
    const event = events.at(-1);
    expect(event?.value).toMatchObject({ instanceCount: 2, noticedBy: 'census' });
    // Numbers go on above the old ones, so that nothing looks superseded.
    expect(event?.value.sequence).toBeGreaterThan(before);
  });
});

describe('a PACS that was replaced', () => {
  test('its change numbers go backwards: a census is taken at once and the watch goes on from there', async () => {
    const id = `gx${process.pid}`;
    await lab.platform.addOrthanc(id);
    const pacs = lab.orthanc(id);
    const centre = 'gx' as CentreId;
    const state = openState({ file: ':memory:', codec, nowMs: () => Date.now() });
    addCentre(state, centre);
    const stop = new AbortController();
    const watch = watchCentre(state, {
      centre,
      name: 'gx',
      web: dicomWebClient({ ...pacs }),
      changes: orthancChanges({ ...pacs, orthancUrl: pacs.baseUrl }),
      inScope: () => true,
      quiet: { stableAfterMs: 300, stableSaidMs: 50 },
      countPauseMs: 10,
      pollMs: 100,
      lookBackDays: 1,
      // None by time within this test: the second census can only be the backwards number's.
      censusEveryMs: 3_600_000,
      outboxLimit: 100,
      clock: systemClock,
      random: systemRandom,
      span: (_name, work) => work(''),
      count: () => undefined,
      log: () => undefined,
    });
    const running = watch.run(stop.signal);
    const rows = (topic: string): { key: string }[] =>
      state.all<{ key: string }>('SELECT key FROM outbox WHERE topic = ?', `ct.clinical.gx.${topic}.v1`);
    const count = (topic: string, n: number): Promise<true> =>
      eventually(`${n} ${topic}`, async () => (rows(topic).length >= n ? true : undefined));
    await count('census', 1);
    // As if the database before had got to change 5000.
    state.run('UPDATE centre SET cursor = 5000');
    await count('census', 2);
    expect(state.get<{ cursor: number }>('SELECT cursor FROM centre')?.cursor).toBeLessThan(5000);
    const study = smallStudy({ slices: 1 });
    await put(pacs, study.files);
    await count('study-available', 1);
    expect(rows('study-available').map((r) => r.key)).toEqual([`gx|${study.study}`]);
    stop.abort();
    await running;
    state.close();
  });
});

describe('telling', () => {
  test('a wrong password is on the status page with its code, and the other centres go on', async () => {
    const wrong = await eventually('the code', async () => {
      const report = await reportOf(WRONG);
      return report.pacs.code === null ? undefined : report;
    });
    expect(wrong.pacs).toMatchObject({ usable: false, code: 'PACS_UNAUTHORISED' });
    const { body } = await censusNow(lab);
    expect(body.centres.find((c) => c.centre === WRONG)).toMatchObject({ published: false, code: 'PACS_UNAUTHORISED' });
    expect(body.centres.find((c) => c.centre === A)).toMatchObject({ published: true });
    const page = await (await fetch(`${lab.stages.apiUrl('centre-gateway')}/`)).text();
    expect(page).toContain('PACS_UNAUTHORISED');
    expect(page).not.toContain('Planted');
    expect(page).not.toContain('PLANTED');
  });

  test('sent = acknowledged + waiting + refused, and acknowledgements come from ingest', async () => {
    const study = smallStudy({ slices: 1 });
    await put(lab.orthanc(A), study.files);
    await announced(A, study.study);
    const report = await eventually('nothing waits', async () => {
      const now = await reportOf(A);
      return now.waiting === 0 ? now : undefined;
    });
    expect(report.sent).toBe(report.acknowledged + report.waiting + report.refused);
    expect(report.acknowledged).toBeGreaterThan(0);
  });

  test('a refusal at intake is published once, and only with the token', async () => {
    async function* files(): AsyncGenerator<{ path: string; bytes: Uint8Array }> {
      yield { path: 'x/readme.txt', bytes: Buffer.from('no DICOM at all') };
    }
    const refusals = (await preflight(files())).refused;
    const send = (token: string): Promise<Response> =>
      fetch(`${lab.stages.apiUrl('centre-gateway')}/intake-refused`, {
        method: 'POST',
        headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
        body: JSON.stringify({ centre: A, refusals }),
      });
    expect((await send('wrong')).status).toBe(403);
    expect(await (await send(lab.provisioned.gatewayToken)).json()).toEqual({ accepted: 1 });
    expect(await (await send(lab.provisioned.gatewayToken)).json()).toEqual({ accepted: 0 });
    const events = await eventually('the event', async () => {
      const found = await eventsOf(lab, 'ctstream.clinical.v1.IntakeRefused', TOPICS.refused(A));
      return found.length > 0 ? found : undefined;
    });
    expect(events.map((e) => e.value)).toEqual([
      {
        centre: A,
        intakeId: sha256Hex(`intake\nfile\nx/readme.txt\n${sha256Hex('no DICOM at all')}`).slice(0, 32),
        unit: 'file',
        code: 'NOT_DICOM',
        files: 1,
        detail: expect.stringContaining('NOT_DICOM'),
      },
    ]);
  });

  test('outbox sequences are contiguous per source and the census names the highest', async () => {
    await censusNow(lab);
    const topics = [TOPICS.available(A), TOPICS.census(A), TOPICS.refused(A)];
    const bySource = new Map<string, Set<bigint>>();
    for await (const record of lab.bus.read(await lab.bus.ends(topics))) {
      const event = codec.decode(record);
      if (event.sequence === undefined) throw new Error('a source stamps its sequence');
      bySource.set(event.source, (bySource.get(event.source) ?? new Set()).add(event.sequence));
    }
    // Two gateways' lives: the database was lost once.
    expect(bySource.size).toBe(2);
    for (const numbers of bySource.values())
      expect([...numbers].sort((a, b) => Number(a - b))).toEqual(Array.from({ length: numbers.size }, (_, n) => BigInt(n + 1)));
    const last = (await eventsOf(lab, 'ctstream.clinical.v1.Census', TOPICS.census(A))).at(-1);
    expect(BigInt(last?.value.outboxSequence ?? 0)).toBe(last?.sequence);
  });

  test('a full outbox stops the cursor and says so; nothing is dropped', async () => {
    await lab.stages.kill('centre-gateway', 'SIGTERM');
    const dir = join(lab.dir, 'gateway-full');
    const limited = { STATE_DIR: dir, OUTBOX_LIMIT: '2' };
    await lab.stages.start('centre-gateway', { ...limited, KAFKA_BROKERS: '127.0.0.1:9' });
    await eventually('the reason on the status page', async () => ((await reportOf(A)).pacs.code === 'BUS_UNAVAILABLE' ? true : undefined));
    const studies = Array.from({ length: 5 }, () => smallStudy({ slices: 1 }));
    for (const s of studies) await put(lab.orthanc(A), s.files);
    await lab.stages.kill('centre-gateway', 'SIGKILL');
    await lab.stages.start('centre-gateway', limited);
    for (const s of studies) await announced(A, s.study);
  });

  test('without Kafka the outbox keeps what was noticed; a row deleted from it leaves a gap that the census shows', async () => {
    await lab.stages.kill('centre-gateway', 'SIGTERM');
    const dir = join(lab.dir, 'gateway-without-kafka');
    await lab.stages.start('centre-gateway', { STATE_DIR: dir, KAFKA_BROKERS: '127.0.0.1:9' });
    const [kept, deleted] = [smallStudy({ slices: 1 }), smallStudy({ slices: 2 })];
    await put(lab.orthanc(A), [...kept.files, ...deleted.files]);
    const file = join(dir, 'gateway.sqlite');
    const unsent = (study: string): number => {
      const db = new DatabaseSync(file);
      const row = db.prepare('SELECT count(*) AS n FROM outbox WHERE sent_ms IS NULL AND key = ?').get(`${A}|${study}`) as { n: number };
      db.close();
      return row.n;
    };
    await eventually('both in the outbox', async () => (unsent(kept.study) === 1 && unsent(deleted.study) === 1 ? true : undefined));
    await lab.stages.kill('centre-gateway', 'SIGKILL');
    const db = new DatabaseSync(file);
    expect(db.prepare('DELETE FROM outbox WHERE key = ?').run(`${A}|${deleted.study}`).changes).toBe(1);
    db.close();
    await lab.stages.start('centre-gateway', { STATE_DIR: dir });
    await announced(A, kept.study);
    await censusNow(lab);
    const census = (await eventsOf(lab, 'ctstream.clinical.v1.Census', TOPICS.census(A))).filter((e) => e.value.total > 0).at(-1);
    expect(census?.value.studies.find((s) => s.studyInstanceUid === deleted.study)?.state).toBe('announced');
    expect(await announcementsOf(A, deleted.study)).toEqual([]);
    const seen = new Set<bigint>();
    for await (const record of lab.bus.read(await lab.bus.ends([TOPICS.available(A), TOPICS.census(A), TOPICS.refused(A)]))) {
      const event = codec.decode(record);
      if (event.source === census?.source && event.sequence !== undefined && event.sequence <= BigInt(census.value.outboxSequence))
        seen.add(event.sequence);
    }
    expect(seen.size).toBe((census?.value.outboxSequence ?? 0) - 1);
  });
});

describe('the broker', () => {
  test("a centre's credential can neither write nor read another centre's topics", async () => {
    const own = kafkaBus({
      brokers: lab.platform.kafka.brokers,
      username: `gateway-${A}`,
      password: lab.provisioned.secretOf(`gateway-${A}`),
      prefix: lab.provisioned.prefix,
      clientId: 'intruder',
      log: pino({ level: 'silent' }),
    });
    const record = { key: 'k', value: Buffer.from('x'), headers: {} };
    await expect(own.publish([{ ...record, topic: TOPICS.available(POLLED) }])).rejects.toMatchObject({ code: 'DENIED_BY_BROKER' });
    await expect(own.publish([{ ...record, topic: TOPICS.status(A) }])).rejects.toMatchObject({ code: 'DENIED_BY_BROKER' });
    await expect(own.ends([TOPICS.status(POLLED)])).rejects.toMatchObject({ code: 'DENIED_BY_BROKER' });
    expect((await own.ends([TOPICS.status(A)])).length).toBeGreaterThan(0);
    await own.close();
  });
});

describe('the PACS port', () => {
  let signal: AbortSignal;
  beforeEach(() => {
    signal = AbortSignal.timeout(60_000);
  });

  test('studies are paged to the end, and hashes are the MD5 of the files', async () => {
    const pacs = lab.orthanc(POLLED);
    const studies = Array.from({ length: 5 }, () => smallStudy({ slices: 1 }));
    for (const s of studies) await put(pacs, s.files);
    const web = dicomWebClient({ ...pacs });
    const found: string[] = [];
    for await (const s of web.studies({ pageSize: 2 }, signal)) found.push(s.studyInstanceUid);
    expect(found).toEqual(expect.arrayContaining(studies.map((s) => s.study)));
    expect(new Set(found).size).toBe(found.length);
    const one = studies[0];
    const hashes = await orthancChanges({ ...pacs, orthancUrl: pacs.baseUrl }).hashes(one?.study as StudyInstanceUid, signal);
    const { createHash } = await import('node:crypto');
    expect([...hashes.values()]).toEqual([
      createHash('md5')
        .update(one?.files[0] ?? '')
        .digest('hex'),
    ]);
  });

  test('failures have codes: no connection, wrong password, wrong address; a study that is not there is empty', async () => {
    const pacs = lab.orthanc(A);
    const study = '1.2.3' as StudyInstanceUid;
    const web = (change: object) => dicomWebClient({ ...pacs, ...change });
    await expect(web({ password: 'x' }).study(study, signal)).rejects.toMatchObject({ code: 'PACS_UNAUTHORISED', retryable: true });
    await expect(web({ password: 'x' }).retrieveSeries(study, '1.2.3.1', signal)).rejects.toMatchObject({
      code: 'PACS_UNAUTHORISED',
      retryable: true,
    });
    await expect(web({ dicomWebUrl: 'http://127.0.0.1:9/dicom-web' }).study(study, signal)).rejects.toMatchObject({
      code: 'PACS_UNREACHABLE',
      retryable: true,
    });
    await expect(web({ dicomWebUrl: `${pacs.baseUrl}/elsewhere` }).study(study, signal)).rejects.toMatchObject({ code: 'PACS_ERROR' });
    expect(await web({}).study(study, signal)).toEqual([]);
    expect(await web({}).instances(study, signal)).toEqual([]);
    expect(await web({}).retrieveSeries(study, '1.2.3.1', signal)).toBeUndefined();
  });

  test('STOW-RS and POST /instances store the same; a refusal names its HTTP code', async () => {
    const pacs = lab.orthanc(POLLED);
    const study = smallStudy({ slices: 1 });
    const files = [
      { path: 'good', bytes: async () => study.files[0] ?? new Uint8Array() },
      { path: 'bad', bytes: async () => Buffer.from('not DICOM') },
    ];
    const login = { dicomWebUrl: pacs.dicomWebUrl, username: pacs.username, password: pacs.password };
    const byStow = await feed(files, login, { signal, concurrency: 1 });
    expect(byStow.map((r) => [r.path, r.stored])).toEqual([
      ['good', true],
      ['bad', false],
    ]);
    const byRest = await feed(files, { ...login, orthancUrl: pacs.baseUrl }, { signal, concurrency: 1 });
    expect(byRest.map((r) => [r.path, r.stored, r.httpCode])).toEqual([
      ['good', true, 200],
      ['bad', false, 400],
    ]);
    expect(await dicomWebClient({ ...pacs }).instances(study.study as StudyInstanceUid, signal)).toHaveLength(1);
  });
});
