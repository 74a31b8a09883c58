// Which centre's copy of a study counts: what lies under `_claims/<StudyInstanceUID>/` in ct-clinical. The first centre to
// create the claim has the study, all others have copies. Beside it one mark per content that it has stored: marks outlive
// the originals, so that a copy can still be compared. Pure: names and bytes only.
import { canonicalJson } from './manifest.ts';

/** No centre's id begins with an underscore, so no study's own prefix can be this. */
export function claimPrefixOf(studyInstanceUid: string): string {
  return `_claims/${studyInstanceUid}/`;
}

export function claimKeyOf(studyInstanceUid: string): string {
  return `${claimPrefixOf(studyInstanceUid)}claim.json`;
}

/** Mark of a stored content; `contentDigest` as in the manifest's facts. */
export function contentKeyOf(studyInstanceUid: string, contentDigest: string): string {
  return `${claimPrefixOf(studyInstanceUid)}content/${contentDigest}.json`;
}

export interface StudyClaim {
  readonly format: 'ctstream-claim/1';
  readonly study: string;
  /** Whose copy counts. */
  readonly centre: string;
}

export const CLAIM_LIMIT_BYTES = 4096;

export function claimBytes(study: string, centre: string): Uint8Array {
  return canonicalJson({ format: 'ctstream-claim/1', study, centre } satisfies StudyClaim);
}

/** Centre that has the study. @throws Error when the bytes are no claim */
export function centreOfClaim(bytes: Uint8Array): string {
  const claim = JSON.parse(Buffer.from(bytes).toString('utf8')) as Partial<StudyClaim>;
  if (claim.format !== 'ctstream-claim/1' || typeof claim.centre !== 'string') throw new Error('the claim of a study can not be read');
  return claim.centre;
}
