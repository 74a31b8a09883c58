// Ways to damage a DICOM file, by a seed: the same seed gives the same file. What is damaged is a whole file in
// memory; nothing here knows what becomes of it.
import { deflateRawSync, inflateRawSync } from 'node:zlib';
import type { Dataset, DicomFile } from '../../services/dicom/model.ts';
import { ReadElement } from '../../services/dicom/model.ts';
import { readDicom } from '../../services/dicom/read.ts';
import { transferSyntaxOf, TRANSFER_SYNTAXES } from '../../services/dicom/transfer-syntax.ts';
import { VRS } from '../../services/dicom/vr.ts';

/** A whole number from 0 to `below` - 1. */
export type Random = (below: number) => number;

/** Mulberry32: small, and the same everywhere. */
export const seeded = (seed: number): Random => {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return (((t ^ (t >>> 14)) >>> 0) % below) >>> 0;
  };
};

interface Place {
  start: number;
  end: number;
}

/** A file to damage: its bytes, inflated where they are deflated, and where its elements stand, nested ones too. */
export interface Victim {
  name: string;
  bytes: Uint8Array;
  places: readonly Place[];
  /** Bytes of preamble and meta, and of everything before the pixels. */
  metaEnd: number;
  headEnd: number;
  isDeflated: boolean;
  littleEndian: boolean;
  explicitVr: boolean;
}

const placesIn = (dataset: Dataset, shift: number, into: Place[]): void => {
  for (const element of dataset.elements.values()) {
    const origin = ReadElement.originOf(element);
    if (origin !== undefined) into.push({ start: origin.start + shift, end: origin.end + shift });
    for (const item of element.items ?? []) placesIn(item, shift, into);
  }
};

const PIXEL_DATA = 0x7fe00010;

export const victimOf = (name: string, bytes: Uint8Array): Victim => {
  const file: DicomFile = readDicom(bytes);
  const isDeflated = transferSyntaxOf(file.transferSyntaxUid)?.deflated === true;
  const meta: Place[] = [];
  placesIn(file.meta, 0, meta);
  const metaEnd = meta.at(-1)?.end ?? 0;
  const places = [...meta];
  placesIn(file.dataset, isDeflated ? metaEnd : 0, places);
  const open = isDeflated ? Buffer.concat([bytes.subarray(0, metaEnd), inflateRawSync(bytes.subarray(metaEnd))]) : bytes;
  const pixels = file.dataset.elements.get(PIXEL_DATA);
  const origin = pixels === undefined ? undefined : ReadElement.originOf(pixels);
  const headEnd = origin === undefined ? open.length : origin.start + (isDeflated ? metaEnd : 0) + 12;
  const { littleEndian, explicitVr } = file.dataset;
  return { name, bytes: new Uint8Array(open), places, metaEnd, headEnd, isDeflated, littleEndian, explicitVr };
};

/** As it would lie on a disc. */
const closed = (victim: Victim, bytes: Uint8Array): Uint8Array =>
  victim.isDeflated && bytes.length > victim.metaEnd
    ? Buffer.concat([bytes.subarray(0, victim.metaEnd), deflateRawSync(bytes.subarray(victim.metaEnd))])
    : bytes;

type Mutate = (victim: Victim, random: Random) => Uint8Array;

const oneOf = <T>(list: readonly T[], random: Random): T | undefined => list[random(list.length)];
const spliced = (bytes: Uint8Array, at: number, remove: number, insert: Uint8Array): Uint8Array =>
  Buffer.concat([bytes.subarray(0, at), insert, bytes.subarray(at + remove)]);
const placeOf = (victim: Victim, random: Random): Place => oneOf(victim.places, random) ?? { start: 0, end: 8 };

const flipped = (victim: Victim, random: Random, from: number, to: number): Uint8Array => {
  const bytes = victim.bytes.slice();
  for (let n = 1 + random(8); n > 0; n--) {
    const at = from + random(Math.max(1, to - from));
    bytes[at] = (bytes[at] ?? 0) ^ (1 << random(8));
  }
  return bytes;
};

const LENGTHS = [0, 1, 2, 7, 8, 0xfe, 0xffff, 0x1_0000, 0x7fff_ffff, 0x8000_0000, 0xffff_fff0, 0xffff_fffe, 0xffff_ffff];

/** Where the length of an element stands, as its own header says. */
const lengthAt = ({ bytes, explicitVr, metaEnd }: Victim, { start }: Place): { at: number; isWide: boolean } => {
  if (!explicitVr && start >= metaEnd) return { at: start + 4, isWide: true };
  const vr = String.fromCharCode(bytes[start + 4] ?? 0, bytes[start + 5] ?? 0);
  return /^(?:O[BDFLVW]|SQ|[SU]V|U[CNRT])$/.test(vr) ? { at: start + 8, isWide: true } : { at: start + 6, isWide: false };
};

const withLength: Mutate = (victim, random) => {
  const bytes = victim.bytes.slice();
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let n = 1 + random(3); n > 0; n--) {
    const { at, isWide } = lengthAt(victim, placeOf(victim, random));
    const old = at + 4 > bytes.length ? 0 : isWide ? view.getUint32(at, victim.littleEndian) : view.getUint16(at, victim.littleEndian);
    const length = random(3) === 0 ? old + (random(9) - 4) : (oneOf(LENGTHS, random) ?? 0);
    if (at + 4 > bytes.length) continue;
    if (isWide) view.setUint32(at, length >>> 0, victim.littleEndian);
    else view.setUint16(at, length & 0xffff, victim.littleEndian);
  }
  return bytes;
};

const withVr: Mutate = (victim, random) => {
  const bytes = victim.bytes.slice();
  for (let n = 1 + random(4); n > 0; n--) {
    const { start } = placeOf(victim, random);
    const vr = random(5) === 0 ? String.fromCharCode(random(256), random(256)) : (oneOf(VRS, random) ?? 'UN');
    bytes[start + 4] = vr.charCodeAt(0);
    bytes[start + 5] = vr.charCodeAt(1);
  }
  return bytes;
};

const withTag: Mutate = (victim, random) => {
  const bytes = victim.bytes.slice();
  for (let n = 1 + random(3); n > 0; n--) {
    const { start } = placeOf(victim, random);
    const other = placeOf(victim, random);
    if (random(2) === 0) bytes.copyWithin(start, other.start, other.start + 4);
    else bytes[start + random(4)] = random(256);
  }
  return bytes;
};

const repeated: Mutate = (victim, random) => {
  const { start, end } = placeOf(victim, random);
  const copy = victim.bytes.slice(start, Math.min(end, start + 4096));
  return spliced(victim.bytes, placeOf(victim, random).start, 0, random(2) === 0 ? copy : Buffer.concat([copy, copy]));
};

const removed: Mutate = (victim, random) => {
  const { start, end } = placeOf(victim, random);
  return spliced(victim.bytes, start, random(3) === 0 ? random(end - start + 1) : end - start, new Uint8Array(0));
};

const MARKERS = [
  [0xfe, 0xff, 0x00, 0xe0],
  [0xfe, 0xff, 0x0d, 0xe0],
  [0xfe, 0xff, 0xdd, 0xe0],
];

const withDelimiter: Mutate = (victim, random) => {
  const marker = oneOf(MARKERS, random) ?? [];
  const length = oneOf([0, 0, 8, 0xffffffff, 0x100], random) ?? 0;
  const bytes = new Uint8Array(8);
  bytes.set(victim.littleEndian ? marker : [marker[1] ?? 0, marker[0] ?? 0, marker[3] ?? 0, marker[2] ?? 0]);
  new DataView(bytes.buffer).setUint32(4, length, victim.littleEndian);
  const { start, end } = placeOf(victim, random);
  return spliced(victim.bytes, random(2) === 0 ? start : Math.min(end, victim.bytes.length), random(4) === 0 ? 8 : 0, bytes);
};

const truncated: Mutate = (victim, random) => {
  const at = random(3) === 0 ? random(victim.bytes.length) : random(victim.headEnd);
  return victim.bytes.slice(0, at);
};

const withSyntax: Mutate = (victim, random) => {
  const at = Buffer.from(victim.bytes.subarray(0, victim.metaEnd)).indexOf(Uint8Array.of(2, 0, 0x10, 0, 0x55, 0x49));
  if (at < 0) return victim.bytes.slice();
  const uid = oneOf(TRANSFER_SYNTAXES, random)?.uid ?? '1.2';
  const padded = uid.length % 2 === 0 ? uid : `${uid}\0`;
  const length = victim.bytes[at + 6] ?? 0;
  return spliced(victim.bytes, at + 6, 2 + length, Buffer.concat([Uint8Array.of(padded.length, 0), Buffer.from(padded, 'latin1')]));
};

const garbled: Mutate = (victim, random) => {
  const bytes = victim.bytes.slice();
  const at = random(victim.headEnd);
  const size = 1 + random(64);
  for (let i = at; i < Math.min(at + size, bytes.length); i++) bytes[i] = random(3) === 0 ? 0xff : random(256);
  return bytes;
};

const shifted: Mutate = (victim, random) => {
  const at = random(victim.headEnd);
  const insert = Uint8Array.from({ length: random(2) === 0 ? 0 : 1 + random(16) }, () => random(256));
  return spliced(victim.bytes, at, random(17), insert);
};

/** By the name that the table shows. */
export const MUTATIONS: Readonly<Record<string, Mutate>> = {
  'bits flipped in the header': (victim, random) => flipped(victim, random, 0, victim.headEnd),
  'bits flipped in the pixels': (victim, random) => flipped(victim, random, victim.headEnd, victim.bytes.length),
  'bytes overwritten': garbled,
  'bytes put in or taken out': shifted,
  'cut short': truncated,
  'lengths changed': withLength,
  'VRs changed': withVr,
  'tags changed': withTag,
  'elements repeated': repeated,
  'elements taken out': removed,
  'delimiters put in': withDelimiter,
  'another transfer syntax named': withSyntax,
};

/** One damaged file. */
export const mutated = (kind: string, victim: Victim, seed: number): Uint8Array => {
  const random = seeded(seed);
  const mutate = MUTATIONS[kind];
  if (mutate === undefined) throw new Error(`no mutation '${kind}'`);
  return closed(victim, mutate(victim, random));
};
