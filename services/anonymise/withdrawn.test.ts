// A study meets the withdrawal of its patient at every point of its way through anonymise.
import { afterAll, beforeEach, describe, expect, test } from '@jest/globals';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { memoryHeld } from '../../test/shared/memory-held.ts';
import { openSqliteVault } from '../adapters/sqlite-vault.ts';
import { withdrawFromSqliteVault } from '../adapters/sqlite-vault-withdraw.ts';
import { Fault } from '../kernel/fault.ts';
import type { Job } from '../kernel/stage.ts';
import { claimBytes, claimKeyOf, contentKeyOf } from '../kernel/study-claim.ts';
import type { IdentityVault, PatientKey, SubjectLock } from '../ports/identity-vault.ts';
import { DEFAULT_IDENTITY_RULES } from './identity.ts';
import { compileProfile } from './profile/profile.ts';
import { studyShelf } from './shelf.ts';
import { anonymiseStage } from './stage.ts';
import { CENTRE, storedStudy } from './stage-test-support.ts';
import { ctBytes, memoryStore, of, sopUidOf, STUDY_UID } from './test-support.ts';

const folder = mkdtempSync(join(tmpdir(), 'ctstream-withdrawn-test-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const signal = new AbortController().signal;
const files = (): Uint8Array[] => [1, 2].map((n) => ctBytes({ n, changes: [of('SOPInstanceUID', sopUidOf(n))] }));
const profile = compileProfile();
let store: ReturnType<typeof memoryStore>;
let vaultFile: string;
let runs = 0;

beforeEach(() => {
  asked = undefined;
  store = memoryStore();
  vaultFile = join(folder, `v${++runs}.db`);
});

/** The patient of the files, as the vault is asked for them. */
let asked: PatientKey | undefined;
const handle = async (change: (vault: IdentityVault) => IdentityVault = (v) => v, job?: Job, study = files()) => {
  const event = await storedStudy(store, study);
  return handleEvent(event, change, job);
};
const handleEvent = async (
  event: Awaited<ReturnType<typeof storedStudy>>,
  change: (vault: IdentityVault) => IdentityVault = (v) => v,
  job?: Job,
) => {
  const real = openSqliteVault(vaultFile);
  const vault: IdentityVault = { ...real, subject: (key, s) => ((asked = key), real.subject(key, s)) };
  const ports = { store, vault: change(vault), held: memoryHeld(), random: { attempt: () => 'a' }, profile, rules: DEFAULT_IDENTITY_RULES };
  try {
    return await anonymiseStage.handle(
      event,
      { ...ports, spoolFolder: folder, shelf: studyShelf(0), instanceLimitBytes: 1 << 24 },
      signal,
      job,
    );
  } finally {
    await real.close();
  }
};
const names = (bucket: string): string[] => [...store.objects.keys()].filter((name) => name.startsWith(`${bucket}/`));
const withdraw = () => {
  if (asked === undefined) throw new Error('no patient');
  return withdrawFromSqliteVault(vaultFile, asked);
};

describe('a study whose patient withdrew', () => {
  test('before it came: it is refused, and its originals go', async () => {
    await handle();
    withdraw();
    store = memoryStore();
    expect(await handle()).toMatchObject({ kind: 'reject', code: 'PATIENT_WITHDRAWN' });
    expect([...names('ct-clinical'), ...names('ct-research')]).toEqual([]);
  });

  test.each([
    ["its centre's claim to the study goes too", CENTRE, 0],
    ["another centre's claim to the study stays", 'c99', 2],
  ])('%s', async (_name, owner, left) => {
    const event = await storedStudy(store, files());
    await handleEvent(event);
    withdraw();
    await store.put('ct-clinical', claimKeyOf(STUDY_UID), claimBytes(STUDY_UID, owner));
    await store.put('ct-clinical', contentKeyOf(STUDY_UID, 'd'.repeat(64)), claimBytes(STUDY_UID, owner));
    expect(await handleEvent(event)).toMatchObject({ code: 'PATIENT_WITHDRAWN' });
    expect(names('ct-clinical')).toHaveLength(left);
  });

  test('while it waited to be tried again: its originals are gone, and it is refused, not missed', async () => {
    const event = await storedStudy(store, files());
    await handleEvent(event);
    withdraw();
    store.objects.clear();
    expect(await handleEvent(event)).toMatchObject({ kind: 'reject', code: 'PATIENT_WITHDRAWN' });
  });

  test('after it was refused for what it is: the withdrawal knows it, under the lock, and it is refused as theirs', async () => {
    const refused = [ctBytes({ changes: [of('BurnedInAnnotation', 'YES')] })];
    let locks = 0;
    const counted = (vault: IdentityVault): IdentityVault => ({ ...vault, subjectLock: (row) => (locks++, vault.subjectLock(row)) });
    expect(await handle(counted, undefined, refused)).toMatchObject({ kind: 'reject', code: 'BURNED_IN_TEXT' });
    expect(locks).toBe(1);
    expect(withdraw()).toEqual({ studies: 1 });
    expect(await handle(undefined, undefined, refused)).toMatchObject({ kind: 'reject', code: 'PATIENT_WITHDRAWN' });
    expect(names('ct-clinical')).toEqual([]);
  });

  test('between look-up and lock: it is tried again, and then refused', async () => {
    await handle();
    const withdrawnMeanwhile = handle((vault) => ({
      ...vault,
      subjectLock: () => {
        withdraw();
        return Promise.reject(new Fault('VAULT_UNAVAILABLE', true, 'the row went away'));
      },
    }));
    await expect(withdrawnMeanwhile).rejects.toMatchObject({ code: 'VAULT_UNAVAILABLE', retryable: true });
    expect(await handle()).toMatchObject({ kind: 'reject', code: 'PATIENT_WITHDRAWN' });
  });

  test('when its lock is lost in the middle: nothing is published', async () => {
    const lost: SubjectLock = {
      confirm: () => Promise.reject(new Fault('VAULT_UNAVAILABLE', true, 'lost')),
      release: () => Promise.resolve(),
    };
    await expect(handle((vault) => ({ ...vault, subjectLock: () => Promise.resolve(lost) }))).rejects.toMatchObject({
      code: 'VAULT_UNAVAILABLE',
    });
    expect(names('ct-research').filter((name) => name.endsWith('manifest.json'))).toEqual([]);
    expect(readdirSync(folder).filter((name) => !name.startsWith('v'))).toEqual([]);
  });

  test('the lock is given to the job and outlives the work', async () => {
    const held: (() => Promise<void>)[] = [];
    let isReleased = false;
    const lock: SubjectLock = { confirm: () => Promise.resolve(), release: () => Promise.resolve(void (isReleased = true)) };
    await handle((vault) => ({ ...vault, subjectLock: () => Promise.resolve(lock) }), {
      isRetry: false,
      untilSettled: (release) => void held.push(release),
      begin: () => undefined,
    });
    expect([held.length, isReleased]).toEqual([1, false]);
    await held[0]?.();
    expect(isReleased).toBe(true);
  });
});
