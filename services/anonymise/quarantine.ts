// What is held of a study: its findings as places and counts, never values, and their digest, to which a
// person's decision is bound. Written to ct-quarantine, which only the security role reads.
import { createHash, createHmac } from 'node:crypto';
import type { Hash } from 'node:crypto';
import { digestOfParts } from '../kernel/digest.ts';
import type { ObjectStore } from '../ports/object-store.ts';
import type { HeldCode } from '../ports/held-decisions.ts';
import type { Box } from './quarantine-png.ts';
import type { SlicePicture } from './quarantine-text.ts';
import type { Check, Finding } from './verify/verify.ts';

export const QUARANTINE_BUCKET = 'ct-quarantine';

/** What a held study is called by everyone: stable for a revision under one secret, and no one without the vault can compute it. */
export const heldIdOf = (studySecret: Uint8Array, revision: string): string =>
  `h${createHmac('sha256', studySecret).update(`ctstream/held/1\n${revision}`).digest('hex').slice(0, 16)}`;

/** One check at one place of the header, or text in one series. */
export interface HeldFinding {
  readonly check: Check | 'text';
  /** Tag path, part of the file, or `series N`. */
  readonly where: string;
  /** Instances that have it. */
  readonly count: number;
}

/** The findings of one study as they come up. */
export interface StudyFindings {
  /** Of the verifier about one instance; `name` tells it from all others of the study. */
  add(name: string, findings: readonly Finding[]): void;
  /** Of the detector about a series; `slices` of it are kept. */
  addText(series: number, slices: number, pictures: readonly SlicePicture[]): void;
  /** True when something was found: nothing of the study may be published unless a person released just this. */
  isHeld(): boolean;
  list(): readonly HeldFinding[];
  pictures(): readonly SlicePicture[];
  code(): HeldCode;
  /** Equal for equal findings in the same instances of the same revision, whatever the order. */
  digest(): string;
}

interface Gathered {
  check: Check | 'text';
  where: string;
  count: number;
  /** Of what has it. */
  hash: Hash;
}

export const studyFindings = (revision: string): StudyFindings => {
  const all = new Map<string, Gathered>();
  const pictures: SlicePicture[] = [];
  const note = (check: Gathered['check'], where: string, by: string, count: number): void => {
    const key = `${check} ${where}`;
    const one = all.get(key) ?? { check, where, count: 0, hash: createHash('sha256') };
    one.count += count;
    one.hash.update(`${by}\n`);
    all.set(key, one);
  };
  const sorted = (): Gathered[] => [...all.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, one]) => one);
  return {
    add: (name, findings) => {
      // A place may be found twice by one check; the instance counts once.
      for (const key of new Set(findings.map(({ check, where }) => `${check} ${where}`))) {
        const one = findings.find(({ check, where }) => `${check} ${where}` === key);
        if (one !== undefined) note(one.check, one.where, name, 1);
      }
    },
    addText: (series, slices, taken) => {
      note('text', `series ${series}`, JSON.stringify(taken.map(({ slice, boxes }) => [slice, boxes])), slices);
      pictures.push(...taken);
    },
    isHeld: () => all.size > 0,
    list: () => sorted().map(({ check, where, count }) => ({ check, where, count })),
    pictures: () => pictures,
    code: () => ([...all.values()].some(({ check }) => check === 'text') ? 'HELD_BURNED_IN_TEXT' : 'HELD_BY_VERIFIER'),
    digest: () =>
      digestOfParts([
        'held-findings/1',
        revision,
        ...sorted().flatMap(({ check, where, count, hash }) => [check, where, String(count), hash.copy().digest('hex')]),
      ]),
  };
};

/** `findings.json` in the quarantine. */
export interface QuarantineNote {
  readonly format: 'ctstream-held/1';
  readonly heldId: string;
  readonly centre: string;
  readonly code: HeldCode;
  readonly digest: string;
  readonly findings: readonly HeldFinding[];
  readonly pictures: readonly {
    readonly object: string;
    readonly series: number;
    readonly slice: number;
    readonly boxes: readonly Box[];
  }[];
}

/**
 * Writes pictures and note under `<heldId>/<digest>/`, the note last: where it stands, all is there.
 * Returns the names of the objects.
 */
export const quarantine = async (
  store: ObjectStore,
  held: { heldId: string; centre: string },
  findings: StudyFindings,
  signal: AbortSignal,
): Promise<string[]> => {
  const prefix = `${held.heldId}/${findings.digest().slice(0, 16)}`;
  const pictures: QuarantineNote['pictures'][number][] = [];
  for (const { series, slice, boxes, png } of findings.pictures()) {
    const object = `${prefix}/series-${series}-slice-${String(slice).padStart(4, '0')}.png`;
    await store.put(QUARANTINE_BUCKET, object, png, { contentType: 'image/png', signal });
    pictures.push({ object, series, slice, boxes });
  }
  const note: QuarantineNote = {
    format: 'ctstream-held/1',
    heldId: held.heldId,
    centre: held.centre,
    code: findings.code(),
    digest: findings.digest(),
    findings: findings.list(),
    pictures,
  };
  const object = `${prefix}/findings.json`;
  await store.put(QUARANTINE_BUCKET, object, Buffer.from(`${JSON.stringify(note, null, 1)}\n`), {
    contentType: 'application/json',
    signal,
  });
  return [object, ...pictures.map((one) => one.object)];
};
