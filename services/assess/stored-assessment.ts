// What assess leaves in ct-research: the volume under an attempt's name, and the assessment that names it.
import type { StudyAssessed } from '../../schemas/events.gen.ts';
import type { ObjectStore } from '../ports/object-store.ts';
import type { Crop } from './assess-series.ts';
import type { Estimate } from './estimate.ts';
import type { SpacingTier } from './geometry.ts';
import { niftiGzip, niftiSha256 } from './nifti.ts';
import type { Volume } from './volume.ts';

type VolumeFields = 'volumeKey' | 'volumeSha256' | 'shape' | 'spacingMm' | 'affine' | 'clampedVoxels';

/** The publish point of an assessment. Holds no clock; only `attempt` and the volume's name are random. */
export interface Assessment {
  readonly format: 'ctstream-assessment/1';
  readonly attempt: string;
  /** The event, but for what only the stored bytes can tell. */
  readonly event: Omit<StudyAssessed, 'manifestKey' | 'manifestSha256'>;
  /** Research series UIDs: of the volume, and of the series that the estimate was made on. */
  readonly volumeSeries: string;
  readonly estimateSeries: string;
  readonly crop: Crop;
  readonly tier: SpacingTier;
  readonly coverageMm: number;
  readonly paddedVoxels: number;
  /** Of volume.nii.gz. */
  readonly volumeSizeBytes: number;
  readonly estimate: Estimate;
}

export interface StoredVolume {
  readonly event: Pick<StudyAssessed, VolumeFields>;
  readonly paddedVoxels: number;
  readonly sizeBytes: number;
}

interface RevisionNames {
  readonly studyId: string;
  readonly revision: string;
}

/** Object name of a revision's assessment; anonymise's own manifest.json lies beside it. */
export function assessmentKey({ studyId, revision }: RevisionNames): string {
  return `${studyId}/${revision}/assessment.json`;
}

/** Writes `<study>/<revision>/<attempt>/volume.nii.gz` as a stream. Throws the store's Fault. */
export async function putVolume(
  store: ObjectStore,
  bucket: string,
  names: RevisionNames,
  attempt: string,
  volume: Volume,
  signal: AbortSignal,
): Promise<StoredVolume> {
  const volumeKey = `${names.studyId}/${names.revision}/${attempt}/volume.nii.gz`;
  let sizeBytes = 0;
  const counted = async function* (): AsyncGenerator<Uint8Array> {
    for await (const chunk of niftiGzip(volume)) {
      sizeBytes += chunk.length;
      yield chunk;
    }
  };
  await store.put(bucket, volumeKey, counted(), { contentType: 'application/gzip', signal });
  const { shape, spacingMm, affine, clampedVoxels } = volume;
  return {
    event: { volumeKey, volumeSha256: niftiSha256(volume), shape, spacingMm, affine, clampedVoxels },
    paddedVoxels: volume.paddedVoxels,
    sizeBytes,
  };
}
