// Which centre's copy of a study counts: what lies under `_claims/<StudyInstanceUID>/` in ct-clinical. The first centre to
// create the claim has the study, all others have copies. Beside it one mark per content that it has stored: marks outlive
// the originals, so that a copy can still be compared; and one per announcement that led to nothing new, so that an older one
// that comes later is known to be older. Pure: names and bytes only.
import { canonicalJson } from './manifest.ts';

/** No centre's id begins with an underscore, so no study's own prefix can be this. */
export function claimPrefixOf(studyInstanceUid: string): string {
  return `_claims/${studyInstanceUid}/`;
}

export function claimKeyOf(studyInstanceUid: string): string {
  return `${claimPrefixOf(studyInstanceUid)}claim.json`;
}

export function contentPrefixOf(studyInstanceUid: string): string {
  return `${claimPrefixOf(studyInstanceUid)}content/`;
}

/** Mark of a stored content; `contentDigest` as in the manifest's facts. */
export function contentKeyOf(studyInstanceUid: string, contentDigest: string): string {
  return `${contentPrefixOf(studyInstanceUid)}${contentDigest}.json`;
}

export function againPrefixOf(studyInstanceUid: string, centre: string): string {
  return `${claimPrefixOf(studyInstanceUid)}again/${centre}/`;
}

/** Mark of an announcement of what was stored already, so that it has no manifest of its own number. */
export function againKeyOf(studyInstanceUid: string, centre: string, sequence: number): string {
  return `${againPrefixOf(studyInstanceUid, centre)}${sequence}.json`;
}

/** Number of the announcement that such a mark is of. */
export function sequenceOfAgain(key: string): number {
  return Number(/([0-9]+)\.json$/.exec(key)?.[1] ?? 0);
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
