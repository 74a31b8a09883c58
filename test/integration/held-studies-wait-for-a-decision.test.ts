// A study with text in its pixels waits until a person of the security role has looked and decided: released it
// goes on, refused it is rejected; nobody else sees what is held, and what was held is gone afterwards. A merge of
// patients forgets neither decision.
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inflateSync } from 'node:zlib';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { readFileSync } from 'node:fs';
import pg from 'pg';
import pino from 'pino';
import { storeUser } from '../../deploy/local/provision.ts';
import { STORE_USERS } from '../../deploy/local/policies.ts';
import { s3Store, type S3Store } from '../../services/adapters/s3-store.ts';
import { patientKeyOfText, RESEARCH_IDS } from '../../services/anonymise/withdraw-ids.ts';
import { localAccess } from '../../services/cli/deployment.ts';
import { decideHeld, heldPorts, lookAgain, showHeld, type HeldPorts } from '../../services/cli/held.ts';
import { reanonymise } from '../../services/cli/vault-reanonymise.ts';
import { centreId, type StudyInstanceUid } from '../../services/kernel/ids.ts';
import type { PatientKey } from '../../services/ports/identity-vault.ts';
import { personOf, readPeopleFile, readTokenFile, type Person } from '../../services/runtime/people-file.ts';
import { openPostgresHeld } from '../../services/adapters/postgres-held.ts';
import { openVaultCorrections } from '../../services/adapters/postgres-vault-admin-correct.ts';
import { openPostgresVault } from '../../services/adapters/postgres-vault.ts';
import { heldSuite } from '../contract/held-suite.ts';
import { SMALL, sendPhantom, startPipeline, until, type Pipeline } from './pipeline.ts';
import { recordsOf } from './privacy/corpus.ts';
import { releasePlatform } from './support.ts';
import { eventually } from './vault-support.ts';

let p: Pipeline;
let ports: HeldPorts;
let person: Person;
let dir: string;
let identifiers: readonly string[] = [];
const patientIds = new Set<string>();
const signal = AbortSignal.timeout(600_000);
const TIMEOUT_MS = 120_000;

const storeOf = (user: string): S3Store =>
  s3Store({
    endpoint: `http://${p.platform.minio.endPoint}:${p.platform.minio.port}`,
    accessKey: storeUser(p.provisioned.prefix, user),
    secretKey: p.provisioned.secretOf(user),
    bucketPrefix: p.provisioned.bucketPrefix,
  });
const inQuarantine = async (): Promise<string[]> => {
  const keys: string[] = [];
  for await (const { key } of storeOf('security').list('ct-quarantine', '')) keys.push(key);
  return keys;
};
const audit = async (): Promise<{ action: string; detail: string }[]> => {
  const client = new pg.Client({ connectionString: p.provisioned.databases.vault });
  await client.connect();
  try {
    return (await client.query<{ action: string; detail: string }>('select action, detail from audit order by audit_id')).rows;
  } finally {
    await client.end();
  }
};

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'ctstream-held-it-'));
  p = await startPipeline({ name: 'held', centres: 1, readers: false, only: ['centre-gateway', 'ingest', 'anonymise'] });
  const [pacs] = p.pacs;
  if (pacs === undefined) throw new Error('no PACS');
  for (const index of [1, 2]) {
    const truth = await sendPhantom(pacs, { seed: 31, index, defect: 'burned-in-text-undeclared' });
    patientIds.add(truth.patientId);
    identifiers = [...identifiers, truth.studyInstanceUid, ...truth.identifiers.filter((word) => word.length >= 5)];
  }
  ports = await heldPorts(localAccess(p.platform, p.provisioned));
  const { tokenFile } = p.provisioned.people.find(({ roles }) => roles.includes('security')) ?? { tokenFile: '' };
  person = personOf(readPeopleFile(p.provisioned.file('people.json')), readTokenFile(tokenFile), 'security');
});

afterAll(async () => {
  await ports?.close();
  await p?.stop();
  await rm(dir, { recursive: true, force: true });
  await releasePlatform();
});

test(
  'both are held, and listed without anything that names the patient',
  async () => {
    const account = await until(p, (a) => a.reasons['HELD_BURNED_IN_TEXT'] === 2);
    expect(account.totals).toMatchObject({ sent: 2, waiting: 2, unaccounted: 0 });
    const list = await ports.review.list();
    expect(list.map(({ code, checks, centre }) => ({ code, checks, centre }))).toEqual(
      [1, 2].map(() => ({ code: 'HELD_BURNED_IN_TEXT', checks: ['text'], centre: p.provisioned.centres[0] })),
    );
    const told = JSON.stringify([list, await inQuarantine(), await audit()]).toLowerCase();
    for (const word of identifiers) expect(told).not.toContain(word.toLowerCase());
  },
  TIMEOUT_MS,
);

test(
  'the server refuses ct-quarantine to every other role',
  async () => {
    const [key] = await inQuarantine();
    expect(key).toMatch(/^h[0-9a-f]{16}\//);
    for (const user of STORE_USERS.filter((name) => name !== 'security'))
      await expect(storeOf(user).getBytes('ct-quarantine', key ?? '', 1 << 20)).rejects.toThrow(/ct-quarantine/);
    expect(await storeOf('security').getBytes('ct-quarantine', key ?? '', 1 << 24)).toBeDefined();
  },
  TIMEOUT_MS,
);

test(
  'nothing is released that the person was not shown, or by somebody without the role',
  async () => {
    const heldId = (await ports.review.list())[0]?.heldId ?? '';
    const o = { heldId, kind: 'released', reason: 'no name in it', person } as const;
    await expect(decideHeld(ports, o, signal)).rejects.toMatchObject({ code: 'NOT_LOOKED_AT' });
    await expect(decideHeld(ports, { ...o, reason: 'patient 12345678' }, signal)).rejects.toMatchObject({ code: 'BAD_REASON' });
    await expect(decideHeld(ports, { ...o, heldId: 'h0000000000000000' }, signal)).rejects.toMatchObject({ code: 'NOT_HELD' });
    const others = join(dir, 'people.json');
    await writeFile(others, JSON.stringify([{ ...person, roles: ['privacy'] }]), { mode: 0o600 });
    expect(() => personOf(readPeopleFile(others), 'a token of nobody', 'security')).toThrow(/TOKEN_REFUSED/);
    expect((await ports.review.list()).filter(({ decision }) => decision !== undefined)).toEqual([]);
  },
  TIMEOUT_MS,
);

test(
  'looked at anew, without a decision, it is held under the same id with the same findings',
  async () => {
    const before = (await ports.review.list())[0];
    await lookAgain(ports, before?.heldId ?? '', signal);
    const deadLetters = async (): Promise<number> =>
      (await p.ports.bus.ends(['ct.clinical.anonymise.dead'])).reduce((sum, { first, end }) => sum + Number(end - first), 0);
    for (let i = 0; i < 300 && (await deadLetters()) < 3; i++) await new Promise((r) => setTimeout(r, 100));
    expect(await deadLetters()).toBe(3);
    const after = await ports.review.find(before?.heldId ?? '');
    expect(after).toEqual({ ...before, eventId: before?.eventId });
  },
  TIMEOUT_MS,
);

test(
  'shown to the officer with a picture that anyone can open; released, one goes on, refused, the other is rejected',
  async () => {
    const [first, second] = await ports.review.list();
    const shown = await showHeld(ports, first?.heldId ?? '', person, join(dir, 'look'));
    expect(shown.note.findings).toEqual([1, 2].map((n) => ({ check: 'text', where: `series ${n}`, count: SMALL.slices })));
    expect(shown.note.pictures[0]?.boxes.length).toBeGreaterThan(0);
    const [path] = shown.pictures;
    const png = await readFile(path ?? '');
    expect(png.subarray(1, 4).toString()).toBe('PNG');
    expect([png.readUInt32BE(16), png.readUInt32BE(20)]).toEqual([SMALL.rows, SMALL.rows]);
    const at = png.indexOf('IDAT');
    expect(inflateSync(png.subarray(at + 4, at + 4 + png.readUInt32BE(at - 4))).includes(255)).toBe(true);
    expect((await stat(path ?? '')).mode & 0o077).toBe(0);
    const decide = (heldId: string | undefined, kind: 'released' | 'refused'): Promise<unknown> =>
      decideHeld(ports, { heldId: heldId ?? '', kind, reason: 'decided by a test', person }, signal);
    await decide(first?.heldId, 'released');
    await decide(second?.heldId, 'refused');
    const account = await until(p, (a) => a.reached.anonymised === 1 && a.totals.rejected === 1);
    expect(account.reasons).toMatchObject({ BURNED_IN_TEXT: 1 });
    expect(account.totals.unaccounted).toBe(0);
    expect(await ports.review.list()).toEqual([]);
    expect(await inQuarantine()).toEqual([]);
  },
  TIMEOUT_MS,
);

test(
  'the audit says who did what, when and why',
  async () => {
    const lines = (await audit()).filter(({ action }) => action.startsWith('held-'));
    expect(lines.map(({ action }) => action).sort()).toEqual(['held-ended', 'held-ended', 'held-refused', 'held-released', 'held-shown']);
    const details = lines.map(({ detail }) => JSON.parse(detail) as { by?: string; reason?: string });
    expect(details.filter(({ by }) => by === person.name)).toHaveLength(3);
    expect(details.filter(({ reason }) => reason === 'decided by a test')).toHaveLength(2);
  },
  TIMEOUT_MS,
);

const vaultKey = (): Buffer => Buffer.from(readFileSync(p.provisioned.file('vault-key'), 'utf8').trim(), 'hex');

test(
  'after a merge the refused study is rejected again, the released one goes on, and nobody is asked anew',
  async () => {
    const told = async (topic: string): Promise<number> => (await recordsOf(p, topic)).length;
    const [anonymised, rejected] = ['ct.research.study-anonymised.v1', 'ct.clinical.study-rejected.v1'];
    expect([await told(anonymised), await told(rejected)]).toEqual([1, 1]);
    const keyOf = (patientId: string): PatientKey => {
      const key = patientKeyOfText(`iss-${p.provisioned.centres[0]}:${patientId}`);
      if (key === undefined) throw new Error('the id is of nobody');
      return key;
    };
    const at = { connectionString: p.provisioned.databases.vault, key: vaultKey() };
    const vault = await openPostgresVault(at);
    const other = keyOf('another-id');
    await vault.subject(other);
    await vault.close();
    const { codec, bus } = p.ports;
    const corrections = await openVaultCorrections({ ...at, ids: RESEARCH_IDS, codec, log: pino({ level: 'silent' }) });
    try {
      for (const id of patientIds) await corrections.merge({ key: other }, { key: keyOf(id) }, 'tester');
      const done = await reanonymise({ corrections, codec, reads: bus, writes: ports.bus }, signal);
      expect(done).toMatchObject({ gone: [], asked: [{}, {}] });
    } finally {
      await corrections.close();
    }
    await eventually('both have an outcome again', async () => (await told(anonymised)) + (await told(rejected)) === 4, 60_000);
    expect([await told(anonymised), await told(rejected)]).toEqual([2, 2]);
    expect(await ports.review.list()).toEqual([]);
    expect(await inQuarantine()).toEqual([]);
  },
  TIMEOUT_MS,
);

heldSuite('in the vault', async () => {
  const { provisioned } = p;
  const key = vaultKey();
  const vault = await openPostgresVault({ connectionString: provisioned.vaultAs['archiver-clinical'], key });
  const { token } = await vault.token(centreId('c01'), '1.2.3.4' as StudyInstanceUid);
  await vault.close();
  const held = openPostgresHeld(provisioned.databases.vault);
  return { held, token, close: () => held.close() };
});
