// What expires in the buckets by itself, whatever the stages do: held studies. Originals do not: ingest frees them some days
// after their study's final outcome, and a rule by age would also take those that still wait (docs/retention.md).
import { Client } from 'minio';
import type { Platform } from './platform.ts';

/** Design, section 6. */
const QUARANTINE_DAYS = 14;
/** Days that originals stay after their study's final outcome. */
export const CLINICAL_DAYS = 30;

/** Sets the rules and reads them back. @throws when the server does not keep them: then nothing would ever expire */
export async function applyLifecycle(minio: Platform['minio'], bucketPrefix: string): Promise<void> {
  const client = new Client({ ...minio, region: 'us-east-1' });
  const bucket = `${bucketPrefix}ct-quarantine`;
  await client.setBucketLifecycle(bucket, {
    Rule: [{ ID: 'expire', Status: 'Enabled', Filter: { Prefix: '' }, Expiration: { Days: QUARANTINE_DAYS } }],
  });
  const kept = await readExpiryDays(client, bucket);
  if (kept !== QUARANTINE_DAYS)
    throw new Error(`the bucket ${bucket} is to expire after ${QUARANTINE_DAYS} days, but the server says ${kept ?? 'never'}`);
  // Earlier versions had a rule here.
  await client.removeBucketLifecycle(`${bucketPrefix}ct-clinical`);
}

/** Days after which the bucket's objects expire; undefined when they do not. */
export async function readExpiryDays(client: Client, bucket: string): Promise<number | undefined> {
  const config = await client.getBucketLifecycle(bucket);
  // The package gives a lone rule as an object, several as an array, and numbers as it finds them in the XML.
  const rules = config === null ? [] : [config.Rule].flat();
  const days = rules.find((r) => r.Status === 'Enabled')?.Expiration?.Days;
  return days === undefined ? undefined : Number(days);
}
