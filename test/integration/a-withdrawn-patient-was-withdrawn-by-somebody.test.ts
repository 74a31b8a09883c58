// Who has no role withdraws nobody; who has it stands in the audit, finds a patient by a city-wide id, and may have the
// denials exported at once. By the real command.
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { ReceiptShown } from '../../services/cli/withdraw-receipt.ts';
import { releasePlatform } from './support.ts';
import { anna, emptyVault, idKey, study, subjectOf, type TestVault } from './vault-support.ts';

const SNILS = { namespace: 'city:snils', patientId: '11223344595' };
let under: TestVault;

beforeAll(async () => {
  under = await emptyVault();
});

afterAll(async () => {
  under.dispose();
  await releasePlatform();
});

const withdrawals = (): Promise<Record<string, unknown>[]> =>
  under.query("select action, detail::json ->> 'by' as by from audit where action in ('withdrawn', 'denied') order by audit_id");

test('without token, role or people file nobody is withdrawn', async () => {
  const vault = await under.open();
  const before = await subjectOf(vault, 'STAYS');
  const asked = ['--patient', 'H:STAYS', '--yes'];
  expect(await under.withdraw(asked)).toMatchObject({ code: 2, stdout: '' });
  expect(await under.withdraw([...asked, ...anna(under, 'security')])).toMatchObject({ code: 1, stdout: '' });
  const [, token = ''] = anna(under, 'privacy');
  for (const people of [[], ['--people-file', join(under.dir, 'none.json')]]) {
    const alone = await under.withdraw([...asked, '--token-file', token, ...people]);
    expect(alone).toMatchObject({ code: 78, stdout: '', stderr: expect.stringContaining('tokenSha256') });
  }
  expect(await subjectOf(vault, 'STAYS')).toEqual(before);
  expect(await withdrawals()).toEqual([]);
  await vault.close();
});

test('a city-wide id is known as the anonymiser knows it; the audit says who; the denials are a file; a receipt needs no token', async () => {
  const vault = await under.open();
  const person = await vault.subject(SNILS);
  if (person === 'denied') throw new Error('denied');
  await study(vault, person, '1.2.3');
  await subjectOf(vault, 'OTHER');
  const by = anna(under, 'privacy');
  const issuers = under.file('issuers.json', JSON.stringify([{ issuer: 'SFR', namespace: 'snils', digits: 11, check: 'snils' }]));
  const denials = join(under.dir, 'denials.bak');
  const done = await under.withdraw(['--patient', 'SFR:112-233-445 95', '--yes', '--city-issuers', issuers, '--denials', denials, ...by]);
  expect(done.code).toBe(0);
  const shown = JSON.parse(done.stdout) as ReceiptShown;
  expect(shown.state).toBe('erasing');
  expect(await vault.subject(SNILS)).toBe('denied');
  expect(existsSync(denials)).toBe(true);
  expect(await withdrawals()).toEqual([{ action: 'withdrawn', by: 'anna' }]);
  const receipt = await under.withdraw(['receipt', shown.requestId ?? '']);
  expect(JSON.parse(receipt.stdout)).toEqual(shown);

  // A file that is there is not written over, and nothing is withdrawn for it.
  expect(await under.withdraw(['--patient', 'H:OTHER', '--yes', '--denials', denials, ...by])).toMatchObject({ code: 2 });
  // The withdrawal stands, though its export failed.
  const nowhere = await under.withdraw(['--patient', 'H:OTHER', '--yes', '--denials', join(under.dir, 'no', 'folder'), ...by]);
  expect(nowhere).toMatchObject({ code: 1, stderr: expect.stringContaining('is in force') });
  expect(JSON.parse(nowhere.stdout)).toMatchObject({ state: 'erasing' });
  expect(await vault.subject(idKey('OTHER'))).toBe('denied');
  expect(await under.withdraw(['--patient', 'H:NEVER-SEEN', '--yes', ...by])).toMatchObject({ code: 0 });
  expect((await withdrawals()).at(-1)).toEqual({ action: 'denied', by: 'anna' });
  await vault.close();
});

test('a folder vault is not asked for what it can not know', async () => {
  const asked = ['--vault', join(under.dir, 'v.db'), '--patient', 'H:1', '--yes'];
  expect(await under.withdraw([...asked, '--city-issuers', 'issuers.json'])).toMatchObject({ code: 2, stdout: '' });
  expect(await under.withdraw([...asked, '--denials', 'denials.bak'])).toMatchObject({ code: 2, stdout: '' });
});
