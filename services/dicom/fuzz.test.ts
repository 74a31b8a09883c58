// Random datasets survive write, read, write; damaged files end in a DicomError and never in anything else.
import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { Dataset, Element, Vr } from './model.ts';
import { DicomError, readDicom } from './read.ts';
import { sampleFile, shapeOf } from './samples.ts';
import { DEFLATED_LE, EXPLICIT_BE, EXPLICIT_LE, IMPLICIT_LE, JPEG_2000_LOSSLESS } from './transfer-syntax.ts';
import { element, encapsulated, sequence, texts } from './values.ts';
import { isLocalisedVr } from './vr.ts';
import { makeFile, newDataset, withElements, writeDicom } from './write.ts';

const SYNTAXES = [IMPLICIT_LE, EXPLICIT_LE, EXPLICIT_BE, DEFLATED_LE, JPEG_2000_LOSSLESS] as const;
const UTF8 = newDataset({ charset: ['ISO_IR 192'] });

// Private tags: in implicit VR they read as UN, so only bytes and structure are compared there.
const tags = fc.integer({ min: 0x1000, max: 0xffff }).map((id) => 0x00290000 + id);
const texty = fc.string({ unit: 'grapheme', maxLength: 20 }).map((s) => s.replaceAll('\\', '/'));

const leaf = (tag: number): fc.Arbitrary<Element> =>
  fc.oneof(
    fc.tuple(fc.constantFrom<Vr>('LO', 'SH', 'PN', 'ST', 'LT', 'UT', 'UC'), texty).map(([vr, value]) => element(tag, vr, value, UTF8)),
    fc
      .tuple(fc.constantFrom<Vr>('OB', 'UN', 'OW', 'OF', 'OD', 'UV'), fc.uint8Array({ maxLength: 64 }))
      .map(([vr, value]) => element(tag, vr, value)),
    fc.array(fc.integer({ min: 0, max: 65535 }), { maxLength: 5 }).map((value) => element(tag, 'US', value)),
    fc.array(fc.double({ noNaN: true }), { maxLength: 3 }).map((value) => element(tag, 'FD', value)),
    fc.array(fc.uint8Array({ maxLength: 40 }), { minLength: 1, maxLength: 4 }).map((fragments) => encapsulated(tag, fragments)),
  );

const { dataset } = fc.letrec<{ dataset: Dataset; one: Element }>((tie) => ({
  one: tags.chain((tag) =>
    fc.oneof(
      { maxDepth: 4, depthIdentifier: 'nest' },
      leaf(tag),
      fc.array(tie('dataset'), { maxLength: 3, depthIdentifier: 'nest' }).map((inner) => sequence(tag, inner)),
    ),
  ),
  dataset: fc.array(tie('one'), { maxLength: 8, depthIdentifier: 'nest' }).map((all) => withElements(UTF8, all)),
}));

const hasFragments = (one: Dataset): boolean =>
  [...one.elements.values()].some((e) => e.fragments !== undefined || e.items?.some(hasFragments));

const allTexts = (one: Dataset): string[] =>
  [...one.elements.values()].flatMap((e) =>
    e.items !== undefined ? e.items.flatMap(allTexts) : isLocalisedVr(e.vr) ? texts(one, e.tag) : [],
  );

test('random datasets survive write, read and write', () => {
  fc.assert(
    fc.property(dataset, fc.constantFrom(...SYNTAXES), (inner, syntax) => {
      const top = withElements(inner, [element(0x00080005, 'CS', 'ISO_IR 192'), element(0x00080018, 'UI', '1.2.3')]);
      fc.pre(syntax !== IMPLICIT_LE || !hasFragments(top));
      const bytes = writeDicom(makeFile({ transferSyntaxUid: syntax, dataset: top, sopClassUid: '1.2', sopInstanceUid: '1.2.3' }));
      const read = readDicom(bytes);
      expect(Buffer.compare(writeDicom(read), bytes)).toBe(0);
      const tagsOf = (one: Dataset): unknown => [...one.elements.values()].map((e) => [e.tag, e.items?.map(tagsOf)]);
      const isImplicit = syntax === IMPLICIT_LE;
      if (!isImplicit) {
        expect(tagsOf(read.dataset)).toEqual(tagsOf(top));
        expect(allTexts(read.dataset)).toEqual(allTexts(top));
      }
      // Without the memory of its bytes every element is encoded anew, to the same bytes.
      const forget = (one: Dataset): Dataset => ({
        ...one,
        elements: new Map([...one.elements].map(([tag, e]) => [tag, { ...e, items: e.items?.map(forget) }])),
      });
      const again = writeDicom({ ...read, dataset: forget(read.dataset) });
      expect(shapeOf(readDicom(again).dataset)).toEqual(shapeOf(read.dataset));
    }),
    { numRuns: 400 },
  );
});

const SAMPLES = SYNTAXES.map((syntax) => writeDicom(sampleFile(syntax, syntax === JPEG_2000_LOSSLESS ? 'encapsulated' : 'native')));

/** Reads and, when that goes, writes back; anything but a DicomError fails. */
function survives(bytes: Uint8Array): void {
  try {
    const file = readDicom(bytes, { maxElements: 20_000, maxInflatedBytes: 1 << 20 });
    expect(Buffer.compare(writeDicom(file), bytes)).toBe(0);
    for (const tag of file.dataset.elements.keys()) texts(file.dataset, tag);
  } catch (error) {
    if (!(error instanceof DicomError)) throw error;
  }
}

test('flipped bytes, wild lengths and truncations end in a DicomError or a file that is written as it was', () => {
  const damage = fc.array(fc.tuple(fc.nat(2200), fc.constantFrom(0, 1, 0x7f, 0xfe, 0xff, 0xe0, 0x51, 0x53)), {
    minLength: 1,
    maxLength: 6,
  });
  fc.assert(
    fc.property(fc.constantFrom(...SAMPLES), damage, fc.option(fc.nat(2600)), (sample, flips, cut) => {
      const bytes = sample.slice(0, cut ?? sample.length);
      for (const [at, value] of flips) if (at < bytes.length) bytes[at] = value;
      survives(bytes);
    }),
    { numRuns: 3000 },
  );
});

test('bytes of no kind at all behind a prefix end in a DicomError or are written as they were', () => {
  const words = fc.array(
    fc.constantFrom(
      [0xfe, 0xff, 0, 0xe0],
      [0xfe, 0xff, 0xdd, 0xe0],
      [8, 0, 0x16, 0],
      [255, 255, 255, 255],
      [0, 0, 0, 0],
      [0x53, 0x51, 0, 0],
      [0x55, 0x4e, 0, 0],
      [4, 0, 0, 0],
    ),
    { maxLength: 60 },
  );
  fc.assert(
    fc.property(
      fc.oneof(
        fc.uint8Array({ maxLength: 200 }),
        words.map((all) => Uint8Array.from(all.flat())),
      ),
      fc.constantFrom(...SAMPLES),
      (tail, sample) => {
        survives(Buffer.concat([sample.subarray(0, 132 + 60), tail]));
        survives(tail);
        survives(Buffer.concat([new Uint8Array(128), Buffer.from('DICM'), tail]));
      },
    ),
    { numRuns: 2000 },
  );
});
