// The dataset's own ids and splits: HMACs under release's secret, stable across versions. Nobody without
// the secret can link them to research ids, not even with the whole log.
import { createHmac } from 'node:crypto';

export type Split = 'train' | 'val' | 'test';
export const SPLITS: readonly Split[] = ['train', 'val', 'test'];

export interface OwnIds {
  study(researchStudyId: string): string;
  subject(subjectId: string): string;
  centre(site: string): string;
  /** Pseudonym of a reader within the dataset. */
  reader(pseudonym: string): string;
  /** 70 % train, 10 % val, 20 % test by hash of the subject: a later version never moves one. */
  split(subjectId: string): Split;
}

/** @param secret at least 32 bytes, release's alone. */
export function ownIds(secret: Uint8Array): OwnIds {
  if (secret.byteLength < 32) throw new Error('the release secret must have at least 32 bytes');
  const mac = (kind: string, id: string): Buffer => createHmac('sha256', secret).update(`${kind}|${id}`).digest();
  const named =
    (kind: string, digits: number) =>
    (id: string): string =>
      `${kind}-${mac(kind, id).toString('hex').slice(0, digits)}`;
  return {
    study: named('study', 12),
    subject: named('subject', 12),
    centre: named('centre', 8),
    reader: named('reader', 8),
    split: (subjectId) => {
      const u = mac('split', subjectId).readUInt32BE(0) / 2 ** 32;
      return u < 0.7 ? 'train' : u < 0.8 ? 'val' : 'test';
    },
  };
}
