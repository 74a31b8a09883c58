// Reading and writing on synthetic files: every kind of syntax and length form, edits, refusals, limits.
import { describe, expect, test } from '@jest/globals';
import { deflateRawSync } from 'node:zlib';
import { TAG } from './dictionary.ts';
import type { Dataset, DicomFile, Element } from './model.ts';
import { DicomError, readDicom } from './read.ts';
import type { ReadLimits } from './read.ts';
import { PIXELS, sampleDataset, sampleFile, shapeOf } from './samples.ts';
import { withCharset } from './recode.ts';
import { DEFLATED_LE, EXPLICIT_BE, EXPLICIT_LE, IMPLICIT_LE, JPEG_2000_LOSSLESS } from './transfer-syntax.ts';
import { element, items, number, numbers, sequence, text, texts } from './values.ts';
import { makeFile, newDataset, withElements, writeDicom, writeDicomParts } from './write.ts';

const bytesOf = (...parts: (string | readonly number[] | Uint8Array)[]): Uint8Array =>
  Buffer.concat(parts.map((part) => (typeof part === 'string' ? Buffer.from(part, 'latin1') : Buffer.from(part))));

/** An explicit little-endian element with a short header. */
const short = (group: number, id: number, vr: string, value: string): Uint8Array =>
  bytesOf([group & 255, group >> 8, id & 255, id >> 8], vr, [value.length & 255, value.length >> 8], value);

const part10 = (syntax: string, dataset: Uint8Array): Uint8Array =>
  bytesOf(new Uint8Array(128), 'DICM', short(2, 0x10, 'UI', syntax.length % 2 === 0 ? syntax : `${syntax}\0`), dataset);

function codeOf(bytes: Uint8Array, limits?: ReadLimits): string {
  try {
    readDicom(bytes, limits);
    return 'READ';
  } catch (error) {
    if (error instanceof DicomError) return error.code;
    throw error;
  }
}

const get = (dataset: Dataset, tag: number): Element => {
  const found = dataset.elements.get(tag);
  if (found === undefined) throw new Error('the element is missing');
  return found;
};

const SYNTAXES: readonly (readonly [string, 'native' | 'encapsulated'])[] = [
  [IMPLICIT_LE, 'native'],
  [EXPLICIT_LE, 'native'],
  [EXPLICIT_BE, 'native'],
  [DEFLATED_LE, 'native'],
  [JPEG_2000_LOSSLESS, 'encapsulated'],
];

describe.each(SYNTAXES)('in syntax %s', (syntax, pixels) => {
  const bytes = writeDicom(sampleFile(syntax, pixels));
  const file = readDicom(bytes);

  test('an unedited file is written byte for byte', () => {
    expect(Buffer.compare(writeDicom(file), bytes)).toBe(0);
  });

  test('values read as they were set', () => {
    const { dataset } = file;
    expect(text(dataset, TAG.PatientName)).toBe('Иванов^Пётр');
    expect(text(dataset, TAG.PatientID)).toBeUndefined();
    expect(texts(dataset, TAG.ImageType)).toEqual(['ORIGINAL', 'PRIMARY', 'AXIAL']);
    expect(number(dataset, TAG.SliceThickness)).toBe(1.25);
    expect(number(dataset, TAG.SmallestImagePixelValue)).toBe(-1024);
    expect(numbers(dataset, TAG.FrameIncrementPointer)).toEqual([TAG.FrameTime, TAG.FrameTimeVector]);
    expect(number(dataset, TAG.RealWorldValueSlope)).toBe(0.1);
    expect(text(dataset, TAG.TextValue)).toBe('line 1\\not a delimiter');
    const [first] = items(dataset, TAG.ReferencedStudySequence);
    expect(text(first ?? dataset, TAG.CodeMeaning)).toBe('Лёгкие');
    expect(items(dataset, 0x00091002)).toHaveLength(1);
    const pixelData = get(dataset, TAG.PixelData);
    if (pixels === 'encapsulated') expect(pixelData.fragments?.map((f) => f.length)).toEqual([4, 8192, 5002]);
    else if (syntax !== EXPLICIT_BE) expect(Buffer.compare(pixelData.value, PIXELS)).toBe(0);
  });

  test('an edit changes what it names and nothing else', () => {
    const changed = withElements(file.dataset, [element(TAG.PatientName, 'PN', 'P-1', file.dataset)], [0x00091001]);
    const again = readDicom(writeDicom({ ...file, dataset: changed }));
    expect(text(again.dataset, TAG.PatientName)).toBe('P-1');
    const rest = (dataset: Dataset): unknown => shapeOf(withElements(dataset, [], [TAG.PatientName, 0x00091001]));
    expect(rest(again.dataset)).toEqual(rest(file.dataset));
    expect(text(file.dataset, TAG.PatientName)).toBe('Иванов^Пётр');
  });

  test('an edit deep inside a sequence gets its lengths right', () => {
    const edited = items(file.dataset, TAG.ReferencedStudySequence).map((item) =>
      withElements(item, [element(TAG.CodeMeaning, 'LO', 'much longer than it was before', item)]),
    );
    const dataset = withElements(file.dataset, [sequence(TAG.ReferencedStudySequence, edited)]);
    const again = readDicom(writeDicom({ ...file, dataset }));
    const read = items(again.dataset, TAG.ReferencedStudySequence);
    expect(read.map((item) => text(item, TAG.CodeMeaning))).toEqual(Array(2).fill('much longer than it was before'));
    expect(items(read[1] ?? again.dataset, TAG.PurposeOfReferenceCodeSequence)).toHaveLength(2);
    expect(number(again.dataset, TAG.Rows)).toBe(64);
  });

  test('every truncation is refused or reads as fewer elements', () => {
    for (let length = 0; length < bytes.length; length += length < 2500 ? 1 : 97) {
      const code = codeOf(bytes.subarray(0, length));
      expect(['READ', 'TRUNCATED', 'NOT_DICOM', 'BAD_ELEMENT', 'BAD_DEFLATE', 'UNSUPPORTED_SYNTAX']).toContain(code);
    }
    expect(codeOf(bytes.subarray(0, bytes.length - 40))).toBe('TRUNCATED');
  });
});

test('a dataset moves between byte orders and VR forms', () => {
  const big = readDicom(writeDicom(sampleFile(EXPLICIT_BE)));
  const little = { ...big, meta: sampleFile(IMPLICIT_LE).meta, transferSyntaxUid: IMPLICIT_LE };
  const again = readDicom(writeDicom(little));
  expect(number(again.dataset, TAG.SmallestImagePixelValue)).toBe(-1024);
  expect(
    Buffer.compare(
      get(again.dataset, TAG.PixelData).value,
      get(readDicom(writeDicom(sampleFile(EXPLICIT_LE))).dataset, TAG.PixelData).value,
    ),
  ).toBe(0);
  const moved = withElements(newDataset(), [get(big.dataset, TAG.Rows)]);
  expect(number(moved, TAG.Rows)).toBe(64);
});

test('a copied element with a new value is never written with its old bytes', () => {
  const file = readDicom(writeDicom(sampleFile(EXPLICIT_LE)));
  const name = get(file.dataset, TAG.PatientName);
  const value = element(TAG.PatientName, 'PN', 'GONE').value;
  const dataset = { ...file.dataset, elements: new Map([...file.dataset.elements, [name.tag, { ...name, value }]]) };
  expect(text(readDicom(writeDicom({ ...file, dataset })).dataset, TAG.PatientName)).toBe('GONE');
});

describe('forms that files have', () => {
  const undefinedLength = [0xff, 0xff, 0xff, 0xff];
  const item = (...content: Uint8Array[]): Uint8Array =>
    bytesOf([0xfe, 0xff, 0, 0xe0], undefinedLength, ...content, [0xfe, 0xff, 0x0d, 0xe0, 0, 0, 0, 0]);
  const closed = bytesOf([0xfe, 0xff, 0xdd, 0xe0, 0, 0, 0, 0]);
  const inner = short(8, 0x1155, 'UI', '1.2.3\0');
  const implicitInner = bytesOf([8, 0, 0x55, 0x11, 6, 0, 0, 0], '1.2.3\0');
  const first = short(8, 0x16, 'UI', '1.2\0');

  const same = (bytes: Uint8Array): DicomFile => {
    const file = readDicom(bytes);
    expect(Buffer.compare(writeDicom(file), bytes)).toBe(0);
    return file;
  };

  test('undefined lengths stay when unedited and become defined when edited', () => {
    const bytes = part10(EXPLICIT_LE, bytesOf(first, [8, 0, 0x40, 0x11], 'SQ', [0, 0], undefinedLength, item(inner), item(inner), closed));
    const file = same(bytes);
    const [one, two] = items(file.dataset, TAG.ReferencedImageSequence);
    expect(text(two ?? file.dataset, TAG.ReferencedSOPInstanceUID)).toBe('1.2.3');
    const dataset = withElements(file.dataset, [sequence(TAG.ReferencedImageSequence, one === undefined ? [] : [one])]);
    const written = Buffer.from(writeDicom({ ...file, dataset }));
    expect(written.includes(Buffer.from(undefinedLength))).toBe(false);
    expect(items(readDicom(written).dataset, TAG.ReferencedImageSequence)).toHaveLength(1);
  });

  test('UN of undefined length is a sequence in implicit VR, and stays one when edited', () => {
    const file = same(part10(EXPLICIT_LE, bytesOf(first, [9, 0, 0x02, 0x10], 'UN', [0, 0], undefinedLength, item(implicitInner), closed)));
    const un = get(file.dataset, 0x00091002);
    expect([un.vr, un.items?.[0]?.explicitVr]).toEqual(['UN', false]);
    const edited = (un.items ?? []).map((one) => withElements(one, [element(TAG.ReferencedSOPInstanceUID, 'UI', '1.2.3.4.5', one)]));
    const again = readDicom(writeDicom({ ...file, dataset: withElements(file.dataset, [{ ...un, items: edited }]) }));
    expect(text(items(again.dataset, 0x00091002)[0] ?? file.dataset, TAG.ReferencedSOPInstanceUID)).toBe('1.2.3.4.5');
  });

  test('UN of defined length that holds a whole sequence shows its items; one that does not stays bytes', () => {
    const content = item(implicitInner);
    const file = same(part10(EXPLICIT_LE, bytesOf(first, [9, 0, 0x02, 0x10], 'UN', [0, 0, content.length, 0, 0, 0], content)));
    expect(text(items(file.dataset, 0x00091002)[0] ?? file.dataset, TAG.ReferencedSOPInstanceUID)).toBe('1.2.3');
    const blob = bytesOf([0xfe, 0xff, 0, 0xe0, 9, 0, 0, 0, 1, 2]);
    const other = same(part10(EXPLICIT_LE, bytesOf(first, [9, 0, 0x02, 0x10], 'UN', [0, 0, blob.length, 0, 0, 0], blob)));
    expect(get(other.dataset, 0x00091002).value).toHaveLength(10);
  });

  test('implicit VR under an explicit declaration, and the other way round', () => {
    const implicit = same(part10(EXPLICIT_LE, bytesOf([8, 0, 0x16, 0, 4, 0, 0, 0], '1.2\0', [8, 0, 0x18, 0, 4, 0, 0, 0], '1.3\0')));
    expect([implicit.dataset.explicitVr, text(implicit.dataset, TAG.SOPInstanceUID)]).toEqual([false, '1.3']);
    const explicit = same(part10(IMPLICIT_LE, bytesOf(first, short(8, 0x18, 'UI', '1.3\0'))));
    expect([explicit.dataset.explicitVr, text(explicit.dataset, TAG.SOPInstanceUID)]).toEqual([true, '1.3']);
    // Once edited, the file is what it declares.
    const dataset = withElements(implicit.dataset, [element(TAG.PatientID, 'LO', 'x')]);
    expect(readDicom(writeDicom({ ...implicit, dataset })).dataset.explicitVr).toBe(true);
  });

  test('implicit items in an explicit file', () => {
    const file = same(part10(EXPLICIT_LE, bytesOf(first, [8, 0, 0x40, 0x11], 'SQ', [0, 0], undefinedLength, item(implicitInner), closed)));
    expect(text(items(file.dataset, TAG.ReferencedImageSequence)[0] ?? file.dataset, TAG.ReferencedSOPInstanceUID)).toBe('1.2.3');
  });

  test('no meta and no preamble, in each byte order and VR form', () => {
    expect(same(bytesOf(first)).transferSyntaxUid).toBe(EXPLICIT_LE);
    expect(same(bytesOf([8, 0, 0x16, 0, 4, 0, 0, 0], '1.2\0')).transferSyntaxUid).toBe(IMPLICIT_LE);
    expect(same(bytesOf([0, 8, 0, 0x16], 'UI', [0, 4], '1.2\0')).transferSyntaxUid).toBe(EXPLICIT_BE);
    expect(same(bytesOf(short(2, 0x10, 'UI', `${EXPLICIT_LE}\0`), first)).preamble).toHaveLength(0);
  });

  test('wrong group lengths, odd lengths, unknown VRs and what stands behind the last element', () => {
    const wrong = bytesOf(new Uint8Array(128), 'DICM', short(2, 0, 'UL', '\x01\0\0\0'), short(2, 0x10, 'UI', `${EXPLICIT_LE}\0`));
    expect(text(same(bytesOf(wrong, first)).dataset, TAG.SOPClassUID)).toBe('1.2');
    const odd = same(part10(EXPLICIT_LE, bytesOf(first, short(0x10, 0x20, 'LO', 'abc'))));
    expect(text(odd.dataset, TAG.PatientID)).toBe('abc');
    const unknown = same(part10(EXPLICIT_LE, bytesOf(first, short(0x10, 0x20, '??', 'abcd'), short(0x10, 0x40, 'CS', 'M '))));
    expect([text(unknown.dataset, TAG.PatientID), text(unknown.dataset, TAG.PatientSex)]).toEqual(['abcd', 'M']);
    const trailing = same(bytesOf(part10(EXPLICIT_LE, first), new Uint8Array(37)));
    const edited = writeDicom({ ...trailing, dataset: withElements(trailing.dataset, [element(TAG.PatientID, 'LO', 'x ')]) });
    expect(edited).toHaveLength(132 + 28 + first.length + 10);
  });

  test('group lengths of a changed group go, those of others stay', () => {
    const file = same(
      part10(
        EXPLICIT_LE,
        bytesOf(short(8, 0, 'UL', '\x0c\0\0\0'), first, short(0x10, 0, 'UL', '\x0a\0\0\0'), short(0x10, 0x20, 'LO', 'ab')),
      ),
    );
    const changed = withElements(file.dataset, [element(TAG.PatientID, 'LO', 'longer')]);
    expect([...changed.elements.keys()]).toEqual([0x00080000, TAG.SOPClassUID, TAG.PatientID]);
  });

  test('a deflated stream is kept as it was while the dataset is unedited', () => {
    const plain = bytesOf(first, short(0x10, 0x20, 'LO', 'abcd'));
    const bytes = part10(DEFLATED_LE, bytesOf(deflateRawSync(plain, { level: 1 }), [0]));
    const file = same(bytes);
    expect(text(file.dataset, TAG.PatientID)).toBe('abcd');
    const edited = withElements(file.dataset, [element(TAG.PatientID, 'LO', 'other')]);
    expect(text(readDicom(writeDicom({ ...file, dataset: edited })).dataset, TAG.PatientID)).toBe('other');
  });
});

describe('refusals', () => {
  const first = short(8, 0x16, 'UI', '1.2\0');

  test('each has its code', () => {
    expect(codeOf(bytesOf('hello, this is no DICOM at all'))).toBe('NOT_DICOM');
    expect(codeOf(new Uint8Array(0))).toBe('NOT_DICOM');
    expect(codeOf(part10('1.2.3.4', first))).toBe('UNSUPPORTED_SYNTAX');
    expect(codeOf(part10(EXPLICIT_LE, bytesOf(first, first)))).toBe('DUPLICATE_ELEMENT');
    expect(codeOf(part10(EXPLICIT_LE, bytesOf(first, [0xfe, 0xff, 0x0d, 0xe0, 0, 0, 0, 0])))).toBe('BAD_ELEMENT');
    expect(codeOf(part10(EXPLICIT_LE, short(8, 0x16, 'UI', '1.2\0').subarray(0, 10)))).toBe('TRUNCATED');
    expect(codeOf(part10(DEFLATED_LE, bytesOf([0xff, 0xff, 0xff, 0xff])))).toBe('BAD_DEFLATE');
  });

  test('messages name the tag and never a value', () => {
    expect(() => readDicom(part10(EXPLICIT_LE, bytesOf(short(0x10, 0x10, 'PN', 'Ivanov'), short(0x10, 0x10, 'PN', 'Ivanov'))))).toThrow(
      'DUPLICATE_ELEMENT: the tag stands twice in its dataset at (0010,0010), byte 174',
    );
  });

  test('a file that names another syntax than it is written in', () => {
    const file = sampleFile(EXPLICIT_LE);
    expect(() => writeDicom({ ...file, transferSyntaxUid: IMPLICIT_LE })).toThrow('INCONSISTENT_META');
    expect(() => makeFile({ transferSyntaxUid: '1.2', dataset: file.dataset, sopClassUid: '1', sopInstanceUid: '2' })).toThrow(
      'UNSUPPORTED_SYNTAX',
    );
  });

  test('nesting bombs, floods of items and elements, and deflate bombs stop at their limit', () => {
    const opens = [8, 0, 0x40, 0x11, 0x53, 0x51, 0, 0, 255, 255, 255, 255, 0xfe, 0xff, 0, 0xe0, 255, 255, 255, 255];
    const nested = bytesOf(first, ...Array.from({ length: 50_000 }, () => opens));
    expect(codeOf(part10(EXPLICIT_LE, nested))).toBe('LIMIT_EXCEEDED');
    const emptyItems = Buffer.concat(Array.from({ length: 600_000 }, () => Buffer.from([0xfe, 0xff, 0, 0xe0, 0, 0, 0, 0])));
    const flood = bytesOf(
      first,
      [8, 0, 0x40, 0x11, 0x53, 0x51, 0, 0],
      new Uint8Array(Uint32Array.of(emptyItems.length).buffer),
      emptyItems,
    );
    expect(codeOf(part10(EXPLICIT_LE, flood))).toBe('LIMIT_EXCEEDED');
    expect(codeOf(part10(EXPLICIT_LE, flood), { maxElements: 700_000 })).toBe('READ');
    const bomb = deflateRawSync(bytesOf(first, new Uint8Array(4_000_000)));
    expect(codeOf(part10(DEFLATED_LE, bomb), { maxInflatedBytes: 1_000_000 })).toBe('LIMIT_EXCEEDED');
    // Wrong guesses at sequences in UN values cost more of the budget than they save.
    const decoy = bytesOf([9, 0], [0, 0x10], 'UN', [0, 0, 12, 0, 0, 0], [0xfe, 0xff, 0, 0xe0, 4, 0, 0, 0, 1, 2, 3, 4]);
    const decoys = Array.from({ length: 30_000 }, (_, i) => {
      const one = Buffer.from(decoy);
      one.writeUInt16LE(0x1000 + i, 2);
      return one;
    });
    expect(codeOf(part10(EXPLICIT_LE, bytesOf(first, ...decoys)))).toBe('LIMIT_EXCEEDED');
  });
});

describe('character sets of datasets', () => {
  test('an item in another character set than its surroundings says so in the file', () => {
    const cyrillic = newDataset({ charset: ['ISO_IR 144'] });
    const item = withElements(cyrillic, [element(TAG.CodeMeaning, 'LO', 'Лёгкие', cyrillic)]);
    const dataset = withElements(newDataset({ charset: ['ISO_IR 192'] }), [sequence(TAG.ReferencedStudySequence, [item])]);
    const file = makeFile({ transferSyntaxUid: EXPLICIT_LE, dataset, sopClassUid: '1.2', sopInstanceUid: '1.3' });
    const [read] = items(readDicom(writeDicom(file)).dataset, TAG.ReferencedStudySequence);
    expect([read?.charset, text(read ?? dataset, TAG.CodeMeaning)]).toEqual([['ISO_IR 144'], 'Лёгкие']);
  });

  test('withCharset recodes all text, in items too, and the file says the new set once', () => {
    const utf8 = sampleDataset();
    const recoded = withCharset(utf8, ['ISO_IR 144']);
    const file = makeFile({ transferSyntaxUid: EXPLICIT_LE, dataset: recoded, sopClassUid: '1.2', sopInstanceUid: '1.3' });
    const { dataset } = readDicom(writeDicom(file));
    const [item] = items(dataset, TAG.ReferencedStudySequence);
    expect([text(dataset, TAG.PatientName), text(item ?? dataset, TAG.CodeMeaning)]).toEqual(['Иванов^Пётр', 'Лёгкие']);
    expect([dataset.charset, item?.elements.has(TAG.SpecificCharacterSet)]).toEqual([['ISO_IR 144'], false]);
    expect(get(dataset, TAG.PatientName).value).toHaveLength(12);
    expect(() => withCharset(utf8, ['ISO_IR 100'])).toThrow('UNENCODABLE_TEXT: text that can not be recoded at (0008,0104)');
  });
});

test('values that outgrow a short header are written as UN', () => {
  const many = element(
    TAG.SliceLocation,
    'DS',
    Array.from({ length: 20_000 }, () => '1234'),
  );
  const file = makeFile({
    transferSyntaxUid: EXPLICIT_LE,
    dataset: withElements(newDataset(), [many]),
    sopClassUid: '1.2',
    sopInstanceUid: '1.3',
  });
  const { dataset } = readDicom(writeDicom(file));
  expect(get(dataset, TAG.SliceLocation).vr).toBe('UN');
  expect(numbers(dataset, TAG.SliceLocation)).toHaveLength(20_000);
});

test('fresh file meta has the right group length', () => {
  const bytes = Buffer.from(writeDicom(sampleFile(EXPLICIT_LE)));
  const { meta } = readDicom(bytes);
  const end = 144 + (number(meta, TAG.FileMetaInformationGroupLength) ?? 0);
  expect(bytes.readUInt16LE(end)).toBe(8);
  const parts = writeDicomParts(sampleFile(EXPLICIT_LE));
  expect(parts.reduce((sum, part) => sum + part.length, 0)).toBe(bytes.length);
});
