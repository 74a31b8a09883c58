// What expires in the buckets by itself, whatever the stages do: held studies and the clinical zone's pixels.
import { Client } from 'minio';
import type { Platform } from './platform.ts';

/** Design, section 6. */
const QUARANTINE_DAYS = 14;
export const CLINICAL_DAYS = 30;

/** Sets the rules and reads them back. @throws when the server does not keep them: then nothing would ever expire */
export async function applyLifecycle(minio: Platform['minio'], bucketPrefix: string, clinicalDays: number): Promise<void> {
  const client = new Client({ ...minio, region: 'us-east-1' });
  const days = { 'ct-quarantine': QUARANTINE_DAYS, 'ct-clinical': clinicalDays };
  for (const [name, wanted] of Object.entries(days)) {
    const bucket = bucketPrefix + name;
    await client.setBucketLifecycle(bucket, {
      Rule: [{ ID: 'expire', Status: 'Enabled', Filter: { Prefix: '' }, Expiration: { Days: wanted } }],
    });
    const kept = await readExpiryDays(client, bucket);
    if (kept !== wanted) throw new Error(`the bucket ${bucket} is to expire after ${wanted} days, but the server says ${kept ?? 'never'}`);
  }
}

/** Days after which the bucket's objects expire; undefined when they do not. */
export async function readExpiryDays(client: Client, bucket: string): Promise<number | undefined> {
  const config = await client.getBucketLifecycle(bucket);
  // The package gives a lone rule as an object, several as an array, and numbers as it finds them in the XML.
  const rules = config === null ? [] : [config.Rule].flat();
  const days = rules.find((r) => r.Status === 'Enabled')?.Expiration?.Days;
  return days === undefined ? undefined : Number(days);
}
