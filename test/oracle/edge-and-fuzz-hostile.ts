// Files that are made to cost much: each is small for what it claims, or holds far more of one thing than any real one.
import { ctFile, of, plantedElements } from '../../services/anonymise/test-support.ts';
import { TAG } from '../../services/dicom/dictionary.ts';
import type { Dataset, Element } from '../../services/dicom/model.ts';
import { DEFLATED_LE, EXPLICIT_LE, IMPLICIT_LE, JPEG_LS_LOSSLESS, RLE_LOSSLESS } from '../../services/dicom/transfer-syntax.ts';
import { element, encapsulated, sequence } from '../../services/dicom/values.ts';
import { newDataset, withElements, writeDicom } from '../../services/dicom/write.ts';

const le16 = (value: number): number[] => [value & 0xff, (value >>> 8) & 0xff];
const le32 = (value: number): number[] => [...le16(value & 0xffff), ...le16(value >>> 16)];
const tagBytes = (tag: number): number[] => [...le16(tag >>> 16), ...le16(tag & 0xffff)];
const code = (vr: string): number[] => [vr.charCodeAt(0), vr.charCodeAt(1), 0, 0];
/** Explicit VR header of the long form. */
const header = (tag: number, vr: string, length: number): number[] => [...tagBytes(tag), ...code(vr), ...le32(length)];
const itemHeader = (length: number): number[] => [...tagBytes(0xfffee000), ...le32(length)];
const OPEN = 0xffffffff;
const MB = 1 << 20;

const image = (changes: readonly Element[] = [], syntax = EXPLICIT_LE): Uint8Array =>
  writeDicom(ctFile({ changes: [...plantedElements(), ...changes], syntax }));

/** The image with raw bytes put in before the patient's name. */
const withRaw = (raw: Uint8Array): Uint8Array => {
  const file = image();
  const at = Buffer.from(file).indexOf(Uint8Array.from(tagBytes(TAG.PatientName)));
  return Buffer.concat([file.subarray(0, at), raw, file.subarray(at)]);
};

const repeat = (bytes: readonly number[], times: number): Uint8Array => Buffer.alloc(bytes.length * times, Uint8Array.from(bytes));
const item = (...elements: Element[]): Dataset => withElements(newDataset(), elements);

const deepItems = (depth: number): Element => {
  let inner = sequence(TAG.ReferencedImageSequence, []);
  for (let i = 0; i < depth; i++) inner = sequence(TAG.ReferencedImageSequence, [item(inner)]);
  return inner;
};

/** A value that looks like a sequence up to its last bytes, within another such one, and so on. */
const wrongGuesses = (depth: number, size: number): Uint8Array => {
  let value: Uint8Array = new Uint8Array(size);
  const tail = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8);
  for (let i = 0; i < depth; i++) {
    const inner = Buffer.concat([Uint8Array.from([...tagBytes(0x00091000 + i), ...le32(value.length)]), value]);
    value = Buffer.concat([Uint8Array.from(itemHeader(inner.length)), inner, tail]);
  }
  return value;
};

const privateBlocks = (): Element[] =>
  Array.from({ length: 0xf0 }, (_, block) => [
    element(0x00290010 + block, 'LO', 'SIEMENS CSA HEADER'),
    ...Array.from({ length: 0x100 }, (_one, i) => element(0x00291000 + block * 0x100 + i, 'LO', `v${i}`)),
  ]).flat();

/** Private elements of one group after the other. */
const manyElements = (count: number): Element[] =>
  Array.from({ length: count }, (_, i) =>
    element((9 + 2 * (i >>> 14)) * 0x10000 + 0x1000 + (i & 0x3fff), 'UN', Uint8Array.of(i & 0xff, 1)),
  );

/** The image encapsulated, with this offset table and these fragments behind a stream that is none. */
const fragmented = (table: Uint8Array, fragments: readonly Uint8Array[], syntax: string = JPEG_LS_LOSSLESS): Uint8Array =>
  image([encapsulated(TAG.PixelData, [table, ...fragments])], syntax);

/** One image of a single RLE segment that unpacks to far more than the image. */
const rleBomb = (): Uint8Array => {
  const frame = Buffer.alloc(64 + 4 * MB);
  frame.writeUInt32LE(1, 0);
  frame.writeUInt32LE(64, 4);
  for (let at = 64; at < frame.length; at += 2) frame[at] = 0x81;
  return fragmented(new Uint8Array(0), [frame], RLE_LOSSLESS);
};

const longName = (size: number, unit: string): Element => of('PatientName', unit.repeat(size / unit.length), ['ISO_IR 192']);

/** Each by the name that the table shows. */
export const HOSTILE: Readonly<Record<string, () => Uint8Array>> = {
  'a file of 1 KB that claims a value of 4 GB': () => withRaw(Uint8Array.from(header(0x00091001, 'OB', 0xfffffff0))).subarray(0, 1024),
  'an item of 4 GB': () => withRaw(Uint8Array.from([...header(0x00081250, 'SQ', OPEN), ...itemHeader(0xfffffff0)])),
  'a fragment of 4 GB': () => {
    const file = Buffer.from(fragmented(new Uint8Array(0), [new Uint8Array(64)]));
    file.writeUInt32LE(0xfffffff0, file.indexOf(Uint8Array.from(itemHeader(64))) + 4);
    return file;
  },
  'items nested 1,000 deep': () => image([deepItems(1000)]),
  'items of undefined length nested 50,000 deep': () => withRaw(repeat([...header(0x00081250, 'SQ', OPEN), ...itemHeader(OPEN)], 50_000)),
  'UN nested 50,000 deep': () => withRaw(repeat([...header(0x00091001, 'UN', OPEN), ...itemHeader(OPEN)], 50_000)),
  'UN that is a sequence but for its end, 60 deep, 4 MB': () =>
    image([element(0x00090010, 'LO', 'X'), element(0x00091001, 'UN', wrongGuesses(60, 4 * MB))]),
  '2,000 values that look like sequences': () =>
    image(Array.from({ length: 2000 }, (_, i) => element(0x00091000 + i, 'UN', wrongGuesses(40, 1024)))),
  'a sequence of 1,000,000 empty items': () =>
    withRaw(Buffer.concat([Uint8Array.from(header(0x00081250, 'SQ', 8_000_000)), repeat(itemHeader(0), 1_000_000)])),
  'a sequence of 200,000 empty items': () =>
    withRaw(Buffer.concat([Uint8Array.from(header(0x00081250, 'SQ', 1_600_000)), repeat(itemHeader(0), 200_000)])),
  'a private sequence of 200,000 empty items': () =>
    withRaw(
      Buffer.concat([
        Uint8Array.from(header(0x00091140, 'SQ', OPEN)),
        repeat(itemHeader(0), 200_000),
        Uint8Array.from([...tagBytes(0xfffee0dd), ...le32(0)]),
      ]),
    ),
  '200,000 elements': () => image(manyElements(200_000)),
  '600,000 elements': () => image(manyElements(600_000)),
  '240 private blocks of 256 elements': () => image(privateBlocks()),
  '60,000 private creators and values in implicit VR': () => image(privateBlocks(), IMPLICIT_LE),
  '200,000 empty fragments': () =>
    fragmented(
      new Uint8Array(0),
      Array.from({ length: 200_000 }, () => new Uint8Array(0)),
    ),
  'an offset table that lies': () =>
    fragmented(Uint8Array.from([...le32(0), ...le32(0xfffffff0), ...le32(4)]), [new Uint8Array(64), new Uint8Array(64)]),
  'an offset table of 4 MB': () => fragmented(new Uint8Array(4 * MB), [new Uint8Array(64)]),
  'an RLE frame that unpacks to 250 MB': rleBomb,
  'a deflated file that inflates to 100 MB': () => image([element(0xfffcfffc, 'OB', new Uint8Array(100 * MB))], DEFLATED_LE),
  'a deflated file within itself': () => {
    const inner = image([], DEFLATED_LE);
    return image([element(0xfffcfffc, 'OB', inner)], DEFLATED_LE);
  },
  '1,000 character sets': () =>
    image([
      element(
        TAG.SpecificCharacterSet,
        'CS',
        Array.from({ length: 1000 }, () => 'ISO 2022 IR 100'),
      ),
    ]),
  '1,000 character sets and 20,000 texts in them': () =>
    image([
      element(
        TAG.SpecificCharacterSet,
        'CS',
        Array.from({ length: 1000 }, () => 'ISO 2022 IR 144'),
      ),
      sequence(
        TAG.RequestAttributesSequence,
        Array.from({ length: 20_000 }, () =>
          item(element(TAG.ScheduledProcedureStepDescription, 'LO', Uint8Array.of(0xbf, 0xe0, 0xd8, 0xd2))),
        ),
      ),
    ]),
  'a name of 10 MB': () => image([longName(10 * MB, 'Zvyagintsev ')], IMPLICIT_LE),
  'a name of 10 MB in Cyrillic': () => image([of('SpecificCharacterSet', 'ISO_IR 192'), longName(10 * MB, 'Звягинцев ')], IMPLICIT_LE),
  'a name of 10 MB of escapes': () =>
    image(
      [
        element(TAG.SpecificCharacterSet, 'CS', ['', 'ISO 2022 IR 87']),
        element(TAG.PatientName, 'PN', repeat([0x1b, 0x24, 0x42, 0x30, 0x21], 2 * MB)),
      ],
      IMPLICIT_LE,
    ),
  'a name of 5,000,000 components': () => image([longName(10 * MB, 'a\\')], IMPLICIT_LE),
  'a long text of 64 KB of digits': () => image([of('AdditionalPatientHistory', '7'.repeat(65_534))], IMPLICIT_LE),
  'a hundred descriptions of 64 KB of digits': () =>
    image(
      [
        sequence(
          TAG.RequestAttributesSequence,
          Array.from({ length: 100 }, (_, i) => item(of('ScheduledProcedureStepDescription', String(i).repeat(65_530).slice(0, 65_530)))),
        ),
      ],
      IMPLICIT_LE,
    ),
  'a hundred names of 64 KB in Cyrillic': () =>
    image(
      [
        of('SpecificCharacterSet', 'ISO_IR 192'),
        sequence(
          TAG.RequestAttributesSequence,
          Array.from({ length: 100 }, (_, i) =>
            item(element(TAG.ScheduledPerformingPhysicianName, 'PN', Buffer.from(`${i} ${'Звягинцев '.repeat(3449)}`))),
          ),
        ),
      ],
      IMPLICIT_LE,
    ),
  'a comment of 10 MB of spaces': () => image([of('ImageComments', ' '.repeat(10 * MB))], IMPLICIT_LE),
  'a description of 10 MB of clinical words': () =>
    image([of('SeriesDescription', 'chest lung '.repeat(MB).slice(0, 10 * MB))], IMPLICIT_LE),
  'a description of one word of 10 MB': () => image([of('SeriesDescription', 'x'.repeat(10 * MB))], IMPLICIT_LE),
  'a description of 10 MB of digits': () => image([of('SeriesDescription', '7'.repeat(10 * MB))], IMPLICIT_LE),
  'a decimal of 10 MB': () => image([element(TAG.KVP, 'DS', Buffer.alloc(10 * MB, '1'))], IMPLICIT_LE),
  'a decimal of 10 MB that is none': () =>
    image(
      [
        element(TAG.KVP, 'DS', Buffer.alloc(10 * MB, '1')),
        element(TAG.SliceThickness, 'DS', Buffer.concat([Buffer.alloc(10 * MB, '1'), Buffer.from('x ')])),
      ],
      IMPLICIT_LE,
    ),
  'a decimal of 10 MB of spaces': () =>
    image(
      [element(TAG.SliceThickness, 'DS', Buffer.concat([Buffer.from('1'), Buffer.alloc(10 * MB, ' '), Buffer.from('1')]))],
      IMPLICIT_LE,
    ),
  'a hundred descriptions of 64 KB without a space': () =>
    image(
      [
        sequence(
          TAG.RequestAttributesSequence,
          Array.from({ length: 100 }, (_, i) => item(of('ScheduledProcedureStepDescription', `${i}-a:${'x1.'.repeat(21_800)}`))),
        ),
      ],
      IMPLICIT_LE,
    ),
  '5,000,000 decimals': () => image([element(TAG.KVP, 'DS', Buffer.alloc(10 * MB, '1\\'))], IMPLICIT_LE),
  'a date of 10 MB': () => image([element(TAG.StudyDate, 'DA', Buffer.alloc(10 * MB, '20200412\\'))], IMPLICIT_LE),
  '1,000,000 UIDs in one element': () => image([element(TAG.FrameOfReferenceUID, 'UI', Buffer.alloc(8 * MB, '1.2.3.4\\'))], IMPLICIT_LE),
  'an image of 65,535 by 65,535 that has 512 bytes': () => image([of('Rows', 65_535), of('Columns', 65_535)]),
  'a compressed image that claims 65,535 by 65,535': () =>
    fragmented(new Uint8Array(0), [
      Uint8Array.from([
        0xff, 0xd8, 0xff, 0xf7, 0, 11, 16, 0xff, 0xff, 0xff, 0xff, 1, 1, 0x11, 0, 0xff, 0xda, 0, 8, 1, 1, 0, 0, 0, 0, 0, 0xff, 0xd9,
      ]),
    ]).slice(),
  '60,000 codes': () =>
    image([
      sequence(
        TAG.ProcedureCodeSequence,
        Array.from({ length: 60_000 }, () =>
          item(of('CodeValue', '24627-2'), of('CodingSchemeDesignator', 'LN'), of('CodeMeaning', 'Chest CT')),
        ),
      ),
    ]),
  '100,000 references': () =>
    image([
      sequence(
        TAG.ReferencedImageSequence,
        Array.from({ length: 100_000 }, (_, i) =>
          item(of('ReferencedSOPClassUID', '1.2.840.10008.5.1.4.1.1.2'), of('ReferencedSOPInstanceUID', `1.2.3.${i}`)),
        ),
      ),
    ]),
};
