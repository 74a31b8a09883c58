// What assess leaves in ct-research: the volume under an attempt's name, and the assessment that names it.
import type { StudyAssessed } from '../../schemas/events.gen.ts';
import { digestOfParts } from '../kernel/digest.ts';
import type { StudyManifest } from '../kernel/manifest.ts';
import type { ObjectStore } from '../ports/object-store.ts';
import type { Crop } from './assess-series.ts';
import type { Estimate } from './estimate.ts';
import type { SpacingTier } from './geometry.ts';
import { niftiDigest, niftiGzip, niftiSha256 } from './nifti.ts';
import type { Volume } from './volume.ts';

type VolumeFields = 'volumeKey' | 'volumeDigest' | 'shape' | 'spacingMm' | 'clampedVoxels';

/** The publish point of an assessment. Holds no clock; only `attempt` and the volume's name are random. */
export interface Assessment {
  readonly format: 'ctstream-assessment/1';
  readonly attempt: string;
  /** The event, but for what only the stored bytes can tell. */
  readonly event: Omit<StudyAssessed, 'manifestKey' | 'manifestSha256'>;
  /**
   * Of the uncompressed NIfTI bytes, and the salt (hex) of the event's `volumeDigest`. They stay in ct-research:
   * whoever has the volume, in the dataset or in a PACS, could find its events by them.
   */
  readonly volumeSha256: string;
  readonly volumeSalt: string;
  /** 16 numbers, row-major: voxel to RAS+ mm. As telling as a hash, so not in the event. */
  readonly affine: readonly number[];
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

export interface StoredVolume extends Pick<Assessment, 'volumeSha256' | 'volumeSalt' | 'affine'> {
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

/**
 * Salt (hex) of a revision's `volumeDigest`: a hash of the hashes of its anonymised instances. Their bytes hold UIDs that
 * are HMACs under the vault's secrets and no event tells them, so only who may read ct-research can compute it; and a
 * replay into empty buckets finds the same (names of attempts and places in the tar do not count).
 */
export function volumeSalt({ study, revision, series }: Pick<StudyManifest, 'study' | 'revision' | 'series'>): string {
  const hashes = series.flatMap(({ instances }) => instances.map(({ sha256 }) => sha256)).sort();
  return digestOfParts(['volume-salt/1', study, revision, ...hashes]);
}

/** Writes `<study>/<revision>/<attempt>/volume.nii.gz` as a stream. Throws the store's Fault. */
export async function putVolume(
  store: ObjectStore,
  bucket: string,
  names: RevisionNames,
  attempt: string,
  volume: Volume,
  salt: string,
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
    event: { volumeKey, volumeDigest: niftiDigest(volume, salt), shape, spacingMm, clampedVoxels },
    volumeSha256: niftiSha256(volume),
    volumeSalt: salt,
    affine,
    paddedVoxels: volume.paddedVoxels,
    sizeBytes,
  };
}
