// What a study meets whose patient withdrew, or withdraws while it is on its way.
import type { ClinicalKey } from '../kernel/ids.ts';
import { clinicalKey, parseClinicalKey } from '../kernel/ids.ts';
import { CLAIM_LIMIT_BYTES, centreOfClaim, claimKeyOf, claimPrefixOf } from '../kernel/study-claim.ts';
import { reject } from '../kernel/outcome.ts';
import type { Outcome } from '../kernel/outcome.ts';
import type { EventIn, Job } from '../kernel/stage.ts';
import type { IdentityVault, SubjectLock } from '../ports/identity-vault.ts';
import type { ObjectStore } from '../ports/object-store.ts';
import { CLINICAL_BUCKET } from './clinical-series.ts';

const BATCH = 1000;

/** Removes every object of the bucket whose name begins so; says how many there were. */
export async function eraseByPrefix(store: ObjectStore, bucket: string, prefix: string, signal: AbortSignal): Promise<number> {
  if (!prefix.endsWith('/')) throw new Error('a prefix to erase by ends with a slash: else it takes others along');
  let erased = 0;
  let keys: string[] = [];
  const flush = async (): Promise<void> => {
    if (keys.length > 0) await store.remove(bucket, keys, signal);
    erased += keys.length;
    keys = [];
  };
  for await (const { key } of store.list(bucket, prefix, signal)) {
    keys.push(key);
    if (keys.length === BATCH) await flush();
  }
  await flush();
  return erased;
}

/** Removes the originals of a study from ct-clinical, and the centre's claim to it: it names the study. */
export async function eraseOriginals(store: ObjectStore, study: ClinicalKey, signal: AbortSignal): Promise<number> {
  const { centre, studyInstanceUid } = parseClinicalKey(study);
  const erased = await eraseByPrefix(store, CLINICAL_BUCKET, `${centre}/${studyInstanceUid}/`, signal);
  const claim = await store.getBytes(CLINICAL_BUCKET, claimKeyOf(studyInstanceUid), CLAIM_LIMIT_BYTES, signal);
  // Without a claim, marks may be left of an erasure that was cut short; with another centre's, all of it is that centre's.
  if (claim !== undefined && centreOfClaim(claim) !== centre) return erased;
  return erased + (await eraseByPrefix(store, CLINICAL_BUCKET, claimPrefixOf(studyInstanceUid), signal));
}

/**
 * Refuses a withdrawn patient's study for ever and removes its originals. First the vault, then the objects: when the
 * event comes again, the vault answers and the objects are not missed.
 */
export async function refuseWithdrawn(
  { centre, studyInstanceUid }: EventIn<'ctstream.clinical.v1.StudyStored'>['value'],
  ports: { readonly vault: IdentityVault; readonly store: ObjectStore },
  signal: AbortSignal,
): Promise<Outcome> {
  await ports.vault.denyStudy(centre, studyInstanceUid, signal);
  await eraseOriginals(ports.store, clinicalKey(centre, studyInstanceUid), signal);
  return reject('PATIENT_WITHDRAWN', 'the vault denies this patient; the originals were removed');
}

/** Works under the patient's lock and holds it until the event is in the log; without a job, until the work ends. */
export async function holdUntilSettled<T>(
  lock: SubjectLock,
  job: Pick<Job, 'untilSettled'> | undefined,
  work: () => Promise<T>,
): Promise<T> {
  job?.untilSettled(() => lock.release());
  try {
    return await work();
  } finally {
    if (job === undefined) await lock.release();
  }
}
