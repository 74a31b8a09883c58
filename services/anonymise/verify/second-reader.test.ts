import { describe, expect, test } from '@jest/globals';
import { inflateRawSync } from 'node:zlib';
import dicomParser from 'dicom-parser';
import type { DataSet } from 'dicom-parser';
import fc from 'fast-check';
import { vrOf } from '../../dicom/dictionary.ts';
import { IMPLICIT_LE } from '../../dicom/transfer-syntax.ts';
import { element, sequence } from '../../dicom/values.ts';
import { ctBytes, item, of, plantedElements } from '../test-support.ts';
import { NOTHING_SEEN, PIXEL_DATA, seeFile } from './second-reader.ts';
import type { SeenFile } from './second-reader.ts';

const tagOf = (tag: string): number => Number.parseInt(tag.slice(1), 16);

/** What somebody else's reader sees: path and value of every element, pixels by their length. */
const byParser = (bytes: Uint8Array): string[] => {
  const dataSet = dicomParser.parseDicom(bytes, {
    vrCallback: (tag: string) => vrOf(tagOf(tag)),
    inflater: (array: Uint8Array, position: number) => inflateRawSync(array.subarray(position)),
  });
  const lines: string[] = [];
  walk(dataSet, '', lines);
  return lines.sort();
};

const walk = (dataSet: DataSet, prefix: string, lines: string[]): void => {
  for (const one of Object.values(dataSet.elements)) {
    if (one.tag.startsWith('xfffe')) continue;
    const path = `${prefix}(${one.tag.slice(1, 5)},${one.tag.slice(5)})`.toUpperCase();
    const isMeta = one.tag.startsWith('x0002');
    const value =
      one.items !== undefined || one.fragments !== undefined || isMeta
        ? ''
        : Buffer.from(dataSet.byteArray.subarray(one.dataOffset, one.dataOffset + one.length)).toString('latin1');
    lines.push(`${path} ${value} ${one.fragments?.length ?? ''}`);
    one.items?.forEach((part, i) => {
      if (part.dataSet !== undefined) walk(part.dataSet, `${path}[${i}]`, lines);
    });
  }
};

const linesOf = (file: SeenFile): string[] =>
  file.pieces
    .flatMap(({ elements }) => elements)
    .map(
      ({ path, tag, value, fragments }) =>
        `${path} ${tag >>> 16 === 2 || fragments !== undefined ? '' : Buffer.from(value).toString('latin1')} ${fragments?.length ?? ''}`,
    )
    .sort();

const orRefused = <T>(work: () => T): T | 'refused' => {
  try {
    return work();
  } catch {
    return 'refused';
  }
};

const nested = sequence(0x00081140, [
  item(of('ReferencedSOPInstanceUID', '1.2.3'), sequence(0x0040a730, [item(element(0x0040a160, 'UT', 'deep'))])),
]);
const privates = [element(0x00091001, 'LO', 'value'), element(0x00090010, 'LO', 'MAKER')];
const rich = (n: number): Uint8Array => ctBytes({ n, changes: [...plantedElements(), nested, ...privates] });

/** About where the test files have their headers: damage to pixels is none to the structure. */
const HEADER_BYTES = 3000;

describe('second reader', () => {
  test('sees what dicom-parser sees, or refuses, also in damaged files', () => {
    const source = rich(1);
    expect(linesOf(seeFile(source))).toEqual(byParser(source));
    let read = 0;
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(HEADER_BYTES), fc.nat(255)), { minLength: 1, maxLength: 4 }),
        fc.option(fc.nat(HEADER_BYTES), { freq: 1 }),
        (edits, cut) => {
          const damaged = source.slice(0, cut === null ? source.length : source.length - cut);
          for (const [at, byte] of edits) damaged[132 + (at % (damaged.length - 132))] = byte;
          const ours = orRefused(() => linesOf(seeFile(damaged)));
          if (ours === 'refused') return;
          read += 1;
          expect(ours).toEqual(orRefused(() => byParser(damaged)));
        },
      ),
      { numRuns: 400 },
    );
    expect(read).toBeGreaterThan(20);
  });

  test('reads the same with the file before to lean on, and tells what is new', () => {
    const [one, two] = [rich(1), rich(2)];
    const first = seeFile(one.slice(), NOTHING_SEEN);
    const second = seeFile(two, first);
    expect(linesOf(second)).toEqual(linesOf(seeFile(two)));
    expect(second.fresh.length).toBeGreaterThan(0);
    expect(second.fresh.length).toBeLessThan(12);
    expect(second.pieces.filter((piece) => !first.pieces.includes(piece))).toEqual(second.fresh);
  });

  test('a remembered file does not change when its bytes are written over', () => {
    const bytes = rich(1);
    const seen = seeFile(bytes, NOTHING_SEEN);
    const before = linesOf(seen).filter((line) => !line.startsWith('(7FE0,0010)'));
    bytes.fill(0x41);
    expect(linesOf(seen).filter((line) => !line.startsWith('(7FE0,0010)'))).toEqual(before);
  });

  test('a private value under another creator is no known piece', () => {
    const [one, two] = ['MAKER A ', 'MAKER B '].map((maker) =>
      ctBytes({ changes: [element(0x00090010, 'LO', maker), element(0x00091001, 'LO', 'value')] }),
    );
    const [first, second] = [one ?? new Uint8Array(0), two ?? new Uint8Array(0)];
    const seen = seeFile(second, seeFile(first, NOTHING_SEEN));
    expect(seen.fresh.map(({ tag }) => tag)).toEqual([0x00090010, 0x00091001, PIXEL_DATA]);
    expect(seen.fresh[1]?.elements[0]?.creator).toBe('MAKER B');
  });

  test('the same bytes in another syntax are no known piece', () => {
    // 'DS' and a length of 4, read as one number, are the length of a long value.
    const long = new Uint8Array(0x45344).fill(0x20);
    long.set([0x31, 0x2e, 0x35]);
    const explicit = ctBytes({ changes: [element(0x00180050, 'DS', '1.5 ')] });
    const implicit = ctBytes({ changes: [element(0x00180050, 'DS', long)], syntax: IMPLICIT_LE });
    expect(linesOf(seeFile(implicit, seeFile(explicit, NOTHING_SEEN)))).toEqual(linesOf(seeFile(implicit)));
  });

  test('refuses a tag that stands twice', () => {
    const bytes = ctBytes({ changes: [element(0x00081030, 'LO', 'ONE STUDY '), element(0x0008103e, 'LO', 'ONE SERIES')] });
    const at = Buffer.from(bytes).indexOf('ONE SERIES') - 8;
    bytes.set([0x08, 0x00, 0x30, 0x10], at);
    expect(() => seeFile(bytes)).toThrow('a tag twice');
  });
});
