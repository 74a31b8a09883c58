// Digests and the ids that are made of them.
import { createHash, createHmac } from 'node:crypto';
import type { CentreId, ClinicalRevision, SiteId } from './ids.ts';

export function sha256Hex(...parts: readonly (string | Uint8Array)[]): string {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest('hex');
}

/** A census has a part for each study of a PACS: an update of the hash for each of them is slow. */
const PARTS_AT_A_TIME = 1000;

/** SHA-256 of the parts with their lengths, so that no two lists of parts give the same bytes. */
export function digestOfParts(parts: readonly string[]): string {
  const hash = createHash('sha256');
  for (let at = 0; at < parts.length; at += PARTS_AT_A_TIME) {
    const some = parts.slice(at, at + PARTS_AT_A_TIME);
    hash.update(some.map((part) => `${Buffer.byteLength(part)}:${part}`).join(''));
  }
  return hash.digest('hex');
}

/** `ce_id` of an event: a pure function of its cause, so that every attempt publishes the same id. */
export function eventId(causeId: string, type: string, ordinal: number): string {
  return digestOfParts(['event', causeId, type, String(ordinal)]).slice(0, 32);
}

export interface ListedInstance {
  readonly seriesInstanceUid: string;
  readonly sopInstanceUid: string;
  /** Hash of the instance where the server gives it, so that a correction with equal counts is seen. */
  readonly hash?: string;
}

/** Revision of a study: digest of its sorted instance list. The order of the list does not matter. */
export function revisionOf(instances: readonly ListedInstance[]): ClinicalRevision {
  const lines = instances.map((i) => `${i.seriesInstanceUid}/${i.sopInstanceUid}/${i.hash ?? ''}`).sort();
  return digestOfParts(['revision', ...lines]).slice(0, 32) as ClinicalRevision;
}

/** Revision under which ingest stores one that came back after another (A, B, A): a pure function of the announcement. */
export function returnedRevision(revision: string, sequence: number): ClinicalRevision {
  return digestOfParts(['returned', revision, String(sequence)]).slice(0, 32) as ClinicalRevision;
}

/** Pseudonym of a centre under the vault's site secret: the same to the anonymiser and to the archiver. */
export function siteId(siteSecret: Uint8Array, centre: CentreId): SiteId {
  return `C${createHmac('sha256', siteSecret).update(`site|${centre}`).digest('hex').slice(0, 10)}` as SiteId;
}
