// Published manifests, and their instances read back and hashed.
import { createHash } from 'node:crypto';
import type { S3Store } from '../../services/adapters/s3-store.ts';
import type { StudyManifest } from '../../services/kernel/manifest.ts';

const LARGEST_BYTES = 1 << 30;

/** Every published study manifest of a bucket by its object name, with the SHA-256 (hex) of its bytes. */
export async function readManifests(store: S3Store, bucket: string): Promise<Map<string, { manifest: StudyManifest; sha256: string }>> {
  const found = new Map<string, { manifest: StudyManifest; sha256: string }>();
  for await (const { key } of store.list(bucket, '')) {
    if (!key.endsWith('/manifest.json')) continue;
    const bytes = (await store.getBytes(bucket, key, LARGEST_BYTES)) ?? new Uint8Array();
    const manifest = JSON.parse(Buffer.from(bytes).toString('utf8')) as StudyManifest;
    found.set(key, { manifest, sha256: createHash('sha256').update(bytes).digest('hex') });
  }
  return found;
}

/** Objects that are missing and instances whose bytes are others than their manifest says, as `<object>@<offset>`. */
export async function wrongHashes(store: S3Store, bucket: string, all: Iterable<StudyManifest>): Promise<string[]> {
  const wrong: string[] = [];
  for (const { series } of all) {
    for (const { object, instances } of series) {
      const tar = await store.getBytes(bucket, object, LARGEST_BYTES);
      if (tar === undefined) wrong.push(`${object} is missing`);
      for (const i of tar === undefined ? [] : instances) {
        const bytes = tar?.subarray(i.offset, i.offset + i.sizeBytes) ?? new Uint8Array();
        if (createHash('sha256').update(bytes).digest('hex') !== i.sha256) wrong.push(`${object}@${i.offset}`);
      }
    }
  }
  return wrong;
}
