// Every readable one of the real files: byte-identical round trip, and the same reading as dicom-parser's.
// That folder is not part of the project: without it the tests are skipped and say so.
import { describe, expect, test } from '@jest/globals';
import dicomParser from 'dicom-parser';
import { existsSync, globSync, readFileSync, statSync } from 'node:fs';
import { basename } from 'node:path';
import { inflateRawSync } from 'node:zlib';
import { REAL_FILES } from '../../test/shared/real-files.ts';
import { TAG } from './dictionary.ts';
import type { Dataset, DicomFile, Element } from './model.ts';
import { DicomError, readDicom } from './read.ts';
import { shapeOf } from './samples.ts';
import { text } from './values.ts';
import { writeDicom, writeDicomParts } from './write.ts';

const isThere = existsSync(REAL_FILES);
if (!isThere) console.warn('skipped: no real CT files; set CTSTREAM_DATA');
const withData = isThere ? describe : describe.skip;

const files = isThere
  ? globSync(`${REAL_FILES}/**/*`)
      .filter((path) => statSync(path).isFile())
      .toSorted()
  : [];

function tryRead(bytes: Uint8Array): DicomFile | string {
  try {
    return readDicom(bytes);
  } catch (error) {
    if (error instanceof DicomError) return error.code;
    throw error;
  }
}

/** The same dataset without any memory of its bytes, so that the writer has to encode all of it. */
function forgotten(dataset: Dataset): Dataset {
  const strip = (one: Element): Element => ({ ...one, items: one.items?.map(forgotten) });
  return { ...dataset, elements: new Map([...dataset.elements].map(([tag, one]) => [tag, strip(one)])) };
}

withData('real files', () => {
  test('are read, or refused with a code, and the refused ones are those known', () => {
    const refused = Object.fromEntries(
      files
        .map((path) => [path, tryRead(readFileSync(path))] as const)
        .filter(([, result]) => typeof result === 'string')
        .filter(([, result]) => result !== 'NOT_DICOM')
        .map(([path, result]) => [basename(path), result]),
    );
    expect(refused).toEqual({
      'DICOMDIR-nooffset': 'TRUNCATED',
      'MR_truncated.dcm': 'TRUNCATED',
      'no-pixel-spacing.dcm': 'TRUNCATED',
      'rtplan_truncated.dcm': 'TRUNCATED',
    });
  });

  test('come back byte for byte, and mean the same when every byte is encoded anew', () => {
    let read = 0;
    for (const path of files) {
      const bytes = readFileSync(path);
      const file = tryRead(bytes);
      if (typeof file === 'string') continue;
      read++;
      expect([path, Buffer.compare(writeDicom(file), bytes)]).toEqual([path, 0]);
      const again = readDicom(writeDicom({ ...file, meta: forgotten(file.meta), dataset: forgotten(file.dataset) }));
      // Odd lengths are padded when encoded anew, so those files are compared after one more turn only.
      const third = readDicom(writeDicom({ ...again, dataset: forgotten(again.dataset) }));
      expect(shapeOf(third.dataset)).toEqual(shapeOf(again.dataset));
      expect(again.dataset.elements.size).toBe(file.dataset.elements.size);
      if (bytes.length % 2 === 0 && file.dataset.littleEndian) {
        expect([path, JSON.stringify(shapeOf(again.dataset)) === JSON.stringify(shapeOf(file.dataset))]).toEqual([path, true]);
      }
    }
    expect(read).toBeGreaterThan(400);
  });

  test('pixels are passed on as the view that was read', () => {
    const path = files.find((one) => one.includes('philips-brilliance16'));
    const bytes = readFileSync(path ?? '');
    const file = readDicom(bytes);
    const parts = writeDicomParts({ ...file, dataset: { ...file.dataset } });
    expect(parts.some((part) => part.buffer === bytes.buffer && part.length > 500_000)).toBe(true);
  });

  test('dicom-parser finds the same elements at the same places', () => {
    const compared = { files: 0, elements: 0, peerFails: 0 };
    const differences: string[] = [];
    for (const path of files) {
      const bytes = readFileSync(path);
      const file = tryRead(bytes);
      if (typeof file === 'string') continue;
      const peer = peerRead(bytes, file);
      if (peer === undefined) compared.peerFails++;
      else {
        compared.files++;
        compared.elements += compare(basename(path), file.dataset.elements, peer, differences);
      }
    }
    console.log(`compared with dicom-parser: ${JSON.stringify(compared)}`);
    expect(differences).toEqual([]);
    expect(compared.files).toBeGreaterThan(380);
  });

  test.each([
    ['chrArab.dcm', '\u0642\u0628\u0627\u0646\u064a^\u0644\u0646\u0632\u0627\u0631'],
    ['chrFren.dcm', 'Buc^J\u00e9r\u00f4me'],
    ['chrGerm.dcm', '\u00c4neas^R\u00fcdiger'],
    ['chrGreek.dcm', '\u0394\u03b9\u03bf\u03bd\u03c5\u03c3\u03b9\u03bf\u03c2'],
    ['chrH31.dcm', 'Yamada^Tarou=\u5c71\u7530^\u592a\u90ce=\u3084\u307e\u3060^\u305f\u308d\u3046'],
    ['chrH32.dcm', '\uff94\uff8f\uff80\uff9e^\uff80\uff9b\uff73=\u5c71\u7530^\u592a\u90ce=\u3084\u307e\u3060^\u305f\u308d\u3046'],
    ['chrHbrw.dcm', '\u05e9\u05e8\u05d5\u05df^\u05d3\u05d1\u05d5\u05e8\u05d4'],
    ['chrI2.dcm', 'Hong^Gildong=\u6d2a^\u5409\u6d1e=\ud64d^\uae38\ub3d9'],
    ['chrJapMulti.dcm', '\u3084\u307e\u3060^\u305f\u308d\u3046'],
    ['chrJapMultiExplicitIR6.dcm', '\u3084\u307e\u3060^\u305f\u308d\u3046'],
    ['chrKoreanMulti.dcm', '\uae40\ud76c\uc911'],
    ['chrRuss.dcm', '\u041b\u044e\u043ace\u043c\u0431yp\u0433'],
    ['chrX1.dcm', 'Wang^XiaoDong=\u738b^\u5c0f\u6771='],
    ['chrX2.dcm', 'Wang^XiaoDong=\u738b^\u5c0f\u4e1c='],
  ])('%s holds the name that pydicom reads', (name, expected) => {
    const path = files.find((one) => basename(one) === name) ?? '';
    expect(text(readDicom(readFileSync(path)).dataset, TAG.PatientName)).toBe(expected);
  });
});

function peerRead(bytes: Uint8Array, file: DicomFile): dicomParser.DataSet | undefined {
  try {
    const inflater = (all: Uint8Array, from: number): Uint8Array => inflateRawSync(all.subarray(from));
    const hasMeta = file.meta.elements.size > 0 && file.preamble.length > 0;
    return dicomParser.parseDicom(bytes, { inflater, ...(hasMeta ? {} : { TransferSyntaxUID: file.transferSyntaxUid }) });
  } catch {
    return undefined;
  }
}

/**
 * Compares all elements that both see; returns their count and notes what differs. dicom-parser lists item
 * delimiters and the meta as elements, and does not look into sequences of defined length in implicit VR.
 */
function compare(where: string, ours: ReadonlyMap<number, Element>, theirs: dicomParser.DataSet, differences: string[]): number {
  const name = (tag: number): string => `x${tag.toString(16).padStart(8, '0')}`;
  const keys = [...ours.keys()].map(name).toSorted().join();
  const peerKeys = Object.keys(theirs.elements)
    .filter((key) => !/^x(?:fffe|0002)/.test(key))
    .toSorted()
    .join();
  if (keys !== peerKeys) differences.push(`${where}: elements`);
  let count = ours.size;
  for (const one of ours.values()) {
    const peer = theirs.elements[name(one.tag)];
    const at = `${where} ${name(one.tag)}`;
    if (peer === undefined) continue;
    if (peer.items !== undefined && one.items !== undefined) {
      if (peer.items.length !== one.items.length) differences.push(`${at}: items`);
      one.items.forEach((item, i) => {
        const inner = peer.items?.[i]?.dataSet;
        if (inner !== undefined) count += compare(at, item.elements, inner, differences);
      });
    } else if (one.fragments !== undefined) {
      const lengths = one.fragments
        .slice(1)
        .map((fragment) => fragment.length)
        .join();
      if (lengths !== peer.fragments?.map((fragment) => fragment.length).join()) differences.push(`${at}: fragments`);
    } else if (one.items === undefined) {
      const value = theirs.byteArray.subarray(peer.dataOffset, peer.dataOffset + peer.length);
      if (Buffer.compare(one.value, value) !== 0) differences.push(`${at}: value`);
    }
  }
  return count;
}
