// Re-identification takes two people of the role, shows once, and only within a day; by the real commands.
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { randomBytes } from 'node:crypto';
import { RESEARCH_IDS } from '../../services/anonymise/withdraw-ids.ts';
import { sha256Hex } from '../../services/kernel/digest.ts';
import type { SubjectKeys } from '../../services/ports/identity-vault.ts';
import { releasePlatform } from './support.ts';
import { emptyVault, study, subjectOf, type TestVault } from './vault-support.ts';

let under: TestVault;
let subject: SubjectKeys;
let people = '';
const tokens: Record<string, string> = {};

beforeAll(async () => {
  under = await emptyVault();
  const vault = await under.open();
  subject = await subjectOf(vault, 'A');
  await study(vault, subject, '1.2.3');
  await study(vault, await subjectOf(vault, 'B'), '9.9.9');
  await vault.close();
  const entries = ['anna:privacy', 'boris:privacy', 'clara:security'].map((text) => {
    const [name = '', role = ''] = text.split(':');
    const token = randomBytes(24).toString('hex');
    tokens[name] = under.file(`token-${name}`, `${token}\n`);
    return { name, roles: [role], tokenSha256: sha256Hex(token) };
  });
  people = under.file('people.json', JSON.stringify(entries));
});

afterAll(async () => {
  under.dispose();
  await releasePlatform();
});

const as = (who: string, ...args: string[]) =>
  under.cli(['reidentify', ...args, '--token-file', tokens[who] ?? '', '--people-file', people]);
const pseudonym = (): string => RESEARCH_IDS.subjectId(subject.secret);
const request = async (): Promise<string> => {
  const asked = await as('anna', 'request', '--pseudonym', pseudonym(), '--reason', 'a nodule, ethics 12');
  expect(asked).toMatchObject({ code: 0, stderr: '' });
  return (JSON.parse(asked.stdout) as { requestId: string }).requestId;
};

test('one asks, another approves, the first is shown the studies, once', async () => {
  const id = await request();
  expect(await as('anna', 'show', id)).toMatchObject({ code: 1, stdout: '', stderr: expect.stringContaining('nobody has approved') });
  expect(await as('anna', 'approve', id)).toMatchObject({ code: 1, stdout: '', stderr: expect.stringContaining('another person') });
  const approved = await as('boris', 'approve', id);
  expect(JSON.parse(approved.stdout)).toMatchObject({ pseudonym: pseudonym(), reason: 'a nodule, ethics 12', requestedBy: 'anna' });
  expect(await as('boris', 'show', id)).toMatchObject({ code: 1, stdout: '' });
  const seen = await as('anna', 'show', id);
  expect(JSON.parse(seen.stdout)).toMatchObject({ studies: [{ centre: 'c01', studyInstanceUid: '1.2.3' }] });
  expect(seen.stdout).not.toContain('9.9.9');
  expect(await as('anna', 'show', id)).toMatchObject({ code: 1, stdout: '', stderr: expect.stringContaining('shown already') });
  const audit = await under.query(
    "select action, detail::json ->> 'by' as by from audit where action like 'reidentify-%' and detail like $1 order by audit_id",
    [`%${id}%`],
  );
  expect(audit).toEqual([
    { action: 'reidentify-requested', by: 'anna' },
    { action: 'reidentify-approved', by: 'boris' },
    { action: 'reidentify-shown', by: 'anna' },
  ]);
});

test('a day later it is over, for the approval and for the look', async () => {
  const [waiting, approved] = [await request(), await request()];
  expect((await as('boris', 'approve', approved)).code).toBe(0);
  await under.query("update reidentifications set expires_at = now() - interval '1 second' where request_id = any ($1)", [
    [waiting, approved],
  ]);
  for (const [who, what, id] of [
    ['boris', 'approve', waiting],
    ['anna', 'show', approved],
  ] as const)
    expect(await as(who, what, id)).toMatchObject({ code: 1, stdout: '', stderr: expect.stringContaining('older than a day') });
});

test('without the role, or with a token of nobody, nothing is asked or shown', async () => {
  const wrong = await as('clara', 'request', '--pseudonym', pseudonym(), '--reason', 'curious');
  expect(wrong).toMatchObject({ code: 1, stdout: '', stderr: expect.stringContaining('ROLE_REFUSED') });
  tokens['nobody'] = under.file('token-nobody', randomBytes(24).toString('hex'));
  expect(await as('nobody', 'list')).toMatchObject({ code: 1, stdout: '', stderr: expect.stringContaining('TOKEN_REFUSED') });
});

test('the database alone does not say who was asked for', async () => {
  const rows = await under.query(
    "select r.*::text as text, encode(box, 'escape') as box from reidentifications as r union all select a.*::text, '' from audit as a",
  );
  expect(rows.length).toBeGreaterThan(3);
  for (const row of rows) for (const hidden of [pseudonym(), 'nodule']) expect(JSON.stringify(row)).not.toContain(hidden);
});
