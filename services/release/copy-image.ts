// Copies a study's volume from ct-research into the dataset, checked against its assessment and the log.
import { createHash, createHmac } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { z } from 'zod';
import { MANIFEST_LIMIT_BYTES } from '../kernel/manifest.ts';
import type { ObjectStore } from '../ports/object-store.ts';
import type { CopiedImage, Entry } from './registry.ts';
import { ReleaseError } from './release-error.ts';

const RESEARCH = 'ct-research';

/** What assess says of the volume and keeps in ct-research: neither goes into the dataset. */
const assessmentSchema = z.object({ volumeSha256: z.string().regex(/^[0-9a-f]{64}$/), volumeSalt: z.string().regex(/^[0-9a-f]{64}$/) });
type Assessment = z.output<typeof assessmentSchema>;

async function assessmentOf(store: ObjectStore, { study, member }: Entry, signal: AbortSignal | undefined): Promise<Assessment> {
  const { studyId, revision } = member.selected;
  const bytes = await store.getBytes(RESEARCH, `${studyId}/${revision}/assessment.json`, MANIFEST_LIMIT_BYTES, signal);
  if (bytes === undefined) throw new ReleaseError('VOLUME_MISSING', `${study}: its assessment is not in ${RESEARCH}`);
  try {
    return assessmentSchema.parse(JSON.parse(Buffer.from(bytes).toString('utf8')));
  } catch {
    throw new ReleaseError('GATE_FAILED', `${study}: its assessment.json does not say which volume it is of`);
  }
}

/**
 * Copies a volume byte for byte. Gates: it was selected and read as one volume, it unpacks to the bytes that were
 * assessed, and those are the ones that the log names. @throws ReleaseError VOLUME_MISSING, GATE_FAILED; Fault of the store
 */
export async function copyImage(store: ObjectStore, entry: Entry, dir: string, signal: AbortSignal | undefined): Promise<CopiedImage> {
  const { selected, labelled } = entry.member;
  if (selected.volumeDigest !== labelled.volumeDigest)
    throw new ReleaseError('GATE_FAILED', `${entry.study}: the volume that was read is not the one that was selected`);
  const assessment = await assessmentOf(store, entry, signal);
  const body = await store.get(RESEARCH, selected.volumeKey, signal === undefined ? {} : { signal });
  if (body === undefined) throw new ReleaseError('VOLUME_MISSING', `${entry.study}: its volume is not in ${RESEARCH}`);
  const path = join(dir, entry.file);
  const packed = createHash('sha256');
  await pipeline(
    Readable.from(body),
    async function* (chunks: AsyncIterable<Buffer>) {
      for await (const chunk of chunks) {
        packed.update(chunk);
        yield chunk;
      }
    },
    createWriteStream(path),
    signal === undefined ? {} : { signal },
  );
  const plain = createHash('sha256');
  const keyed = createHmac('sha256', Buffer.from(assessment.volumeSalt, 'hex'));
  await pipeline(createReadStream(path), createGunzip(), async (chunks: AsyncIterable<Buffer>) => {
    for await (const chunk of chunks) {
      plain.update(chunk);
      keyed.update(chunk);
    }
  }).catch(() => {
    throw new ReleaseError('GATE_FAILED', `${entry.study}: its volume does not unpack`);
  });
  if (plain.digest('hex') !== assessment.volumeSha256)
    throw new ReleaseError('GATE_FAILED', `${entry.study}: its bytes are not those that were assessed`);
  if (keyed.digest('hex') !== labelled.volumeDigest)
    throw new ReleaseError('GATE_FAILED', `${entry.study}: its bytes are not those that were read`);
  return { sha256: packed.digest('hex') };
}
