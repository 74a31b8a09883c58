// What every identity vault must do; run on the file vault and on the real PostgreSQL.
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { centreId, clinicalKey } from '../../services/kernel/ids.ts';
import type { ClinicalRevision, StudyInstanceUid } from '../../services/kernel/ids.ts';
import { WITHDRAWN_TOKEN } from '../../services/ports/identity-vault.ts';
import type { IdentityVault, SubjectKeys } from '../../services/ports/identity-vault.ts';

const c01 = centreId('c01');
const c02 = centreId('c02');
const uid = (n: number): StudyInstanceUid => `1.2.643.${n}` as StudyInstanceUid;
const revision = (name: string): ClinicalRevision => name as ClinicalRevision;
const key = (patientId: string, namespace = 'centre:c01') => ({ namespace, patientId });

export interface VaultUnderTest {
  /** Opens the same vault again and again: a restart, or another process. */
  open(): Promise<IdentityVault>;
  /** Every byte that the vault stored, without its key. */
  dump(): Promise<string>;
  /** Puts the digest of a patient into the deny table, as a withdrawal does. */
  deny(subjectRow: string): Promise<void>;
}

/** The contract. `make` is called once. */
export const vaultContract = (name: string, make: () => Promise<VaultUnderTest>): void => {
  describe(`identity vault: ${name}`, () => {
    let under: VaultUnderTest;
    let vault: IdentityVault;
    let other: IdentityVault;
    beforeAll(async () => {
      under = await make();
      vault = await under.open();
      other = await under.open();
    });
    afterAll(async () => {
      await Promise.all([vault.close(), other.close()]);
    });
    const subject = async (from: IdentityVault, asked: ReturnType<typeof key>): Promise<SubjectKeys> => {
      const found = await from.subject(asked);
      if (found === 'denied') throw new Error('denied');
      return found;
    };

    test('the same key is the same subject for ever, for another process too', async () => {
      const first = await subject(vault, key('A'));
      expect(first.secret).toHaveLength(32);
      expect(await subject(vault, key('A'))).toEqual(first);
      expect(await subject(other, key('A'))).toEqual(first);
    });

    test('another id or namespace is another subject', async () => {
      const [a, b, c] = [await subject(vault, key('A')), await subject(vault, key('B')), await subject(vault, key('A', 'centre:c02'))];
      expect(new Set([a, b, c].map(({ subjectRow }) => subjectRow)).size).toBe(3);
      expect(new Set([a, b, c].map(({ secret }) => Buffer.from(secret).toString('hex'))).size).toBe(3);
    });

    test('forty first sights at once from two processes give one subject', async () => {
      const all = await Promise.all(Array.from({ length: 40 }, (_, i) => subject(i % 2 ? vault : other, key('at once'))));
      expect(new Set(all.map(({ subjectRow }) => subjectRow)).size).toBe(1);
      expect(new Set(all.map(({ secret }) => Buffer.from(secret).toString('hex'))).size).toBe(1);
    });

    test('a study keeps lineage, token and secret over revisions; revisions are numbered as they come', async () => {
      const seen = await subject(vault, key('A'));
      const first = await vault.study(seen, c01, uid(1), revision('r1'));
      const second = await other.study(seen, c01, uid(1), revision('r2'));
      expect([first.ordinal, second.ordinal]).toEqual([1, 2]);
      expect({ ...second, ordinal: 1 }).toEqual(first);
      expect((await vault.study(seen, c01, uid(1), revision('r1'))).ordinal).toBe(1);
      const elsewhere = await vault.study(seen, c02, uid(1), revision('r1'));
      expect(elsewhere.lineageId).not.toBe(first.lineageId);
      expect(elsewhere.token).not.toBe(first.token);
    });

    test('revisions asked for at once get numbers of their own', async () => {
      const seen = await subject(vault, key('C'));
      const ordinals = await Promise.all(
        Array.from({ length: 12 }, async (_, i) => (await (i % 2 ? vault : other).study(seen, c01, uid(3), revision(`r${i}`))).ordinal),
      );
      expect(ordinals.sort((a, b) => a - b)).toEqual(Array.from({ length: 12 }, (_, i) => i + 1));
    });

    test('a token is there before the patient is known, and stays when they are', async () => {
      const before = await vault.token(c01, uid(7));
      const seen = await subject(vault, key('late'));
      const study = await vault.study(seen, c01, uid(7), revision('r1'));
      expect({ token: study.token, secret: study.secret }).toEqual(before);
      expect(await other.token(c01, uid(7))).toEqual(before);
    });

    test('many tokens at once are those that one by one are given, for known, new and twice asked studies', async () => {
      const known = await vault.token(c01, uid(30));
      const asked = [uid(31), uid(30), uid(32), uid(31)];
      const all = await Promise.all(
        Array.from({ length: 8 }, (_, i) => (i % 2 ? vault : other).tokens(c01, i < 4 ? asked : asked.toReversed())),
      );
      const first = new Map(all[0]);
      expect([...first.keys()].toSorted()).toEqual([uid(30), uid(31), uid(32)]);
      expect(new Set([...first.values()].map(({ token }) => token)).size).toBe(3);
      expect(first.get(uid(30))).toEqual(known);
      for (const one of all) expect(new Map([...one].toSorted())).toEqual(new Map([...first].toSorted()));
      expect(await other.token(c01, uid(32))).toEqual(first.get(uid(32)));
      expect((await vault.tokens(c02, [uid(30)])).get(uid(30))?.token).not.toBe(known.token);
      expect((await vault.tokens(c01, [])).size).toBe(0);
    });

    test('lists every study with its clinical key', async () => {
      const listed = [];
      for await (const one of other.lineages()) listed.push(one);
      const { token } = await vault.token(c01, uid(7));
      expect(listed.find((one) => one.token === token)).toMatchObject({ centre: 'c01', studyInstanceUid: uid(7) });
      expect(listed.length).toBeGreaterThanOrEqual(4);
    });

    test('the site secret is one for all', async () => {
      expect(await vault.siteSecret()).toEqual(await other.siteSecret());
      expect(await vault.siteSecret()).toHaveLength(32);
    });

    test('the lock of a patient is shared by two studies side by side; after its release it confirms nothing', async () => {
      const { subjectRow } = await subject(vault, key('A'));
      const locks = await Promise.all([vault.subjectLock(subjectRow), other.subjectLock(subjectRow), vault.subjectLock(subjectRow)]);
      for (const lock of locks) await lock.confirm();
      for (const lock of locks) await lock.release();
      await expect(vault.subjectLock(subjectRow).then((lock) => lock.release())).resolves.toBeUndefined();
      await expect(locks[0].confirm()).rejects.toMatchObject({ code: 'VAULT_UNAVAILABLE', retryable: true });
    });

    test('a withdrawn patient is denied from then on', async () => {
      const { subjectRow } = await subject(vault, key('withdrawn'));
      await under.deny(subjectRow);
      expect(await vault.subject(key('withdrawn'))).toBe('denied');
      expect(await other.subject(key('withdrawn'))).toBe('denied');
    });

    test('a denied study has no row: it is refused, in no list, and its token is that of all denied ones', async () => {
      const seen = await subject(vault, key('denied study'));
      const { token } = await vault.study(seen, c01, uid(20), revision('r1'));
      const [gone, stays] = [clinicalKey(c01, uid(20)), clinicalKey(c01, uid(3))];
      expect(await vault.denied([gone, stays])).toEqual(new Set());
      await vault.denyStudy(c01, uid(20));
      await other.denyStudy(c01, uid(20));
      expect(await other.denied([gone, stays])).toEqual(new Set([gone]));
      await expect(vault.study(seen, c01, uid(20), revision('r2'))).rejects.toMatchObject({ code: 'VAULT_UNAVAILABLE', retryable: true });
      const [one, two] = [await vault.token(c01, uid(20)), await vault.token(c01, uid(20))];
      expect([one.token, two.token]).toEqual([WITHDRAWN_TOKEN, WITHDRAWN_TOKEN]);
      expect(one.secret).not.toEqual(two.secret);
      const page = await other.tokens(c01, [uid(3), uid(20), uid(33)]);
      expect(page.get(uid(3))).toEqual(await vault.token(c01, uid(3)));
      expect(page.get(uid(20))?.token).toBe(WITHDRAWN_TOKEN);
      expect(page.get(uid(33))).toEqual(await vault.token(c01, uid(33)));
      const listed = [];
      for await (const lineage of vault.lineages()) listed.push(lineage);
      expect(listed.filter((l) => l.token === token || l.studyInstanceUid === uid(20))).toEqual([]);
    });

    test('what is stored names nobody: no id, namespace, UID, centre or secret in clear', async () => {
      const { secret } = await subject(vault, key('IVANOV-4471190', 'issuer:POLYCLINIC-9'));
      const dump = await under.dump();
      expect(dump.length).toBeGreaterThan(500);
      for (const plain of [
        'IVANOV',
        '4471190',
        'POLYCLINIC',
        '1.2.643',
        '"c01"',
        Buffer.from(secret).toString('hex'),
        Buffer.from(secret).toString('latin1'),
      ])
        expect(dump).not.toContain(plain);
    });

    test('an aborted call does not answer', async () => {
      await expect(vault.subject(key('aborted'), AbortSignal.abort())).rejects.toThrow();
    });
  });
};
