// What must not cross, and what must not be held: faults that reviewers found, and 300 synthetic identities.
import { describe, expect, test } from '@jest/globals';
import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { TAG } from '../dicom/dictionary.ts';
import { readDicom } from '../dicom/read.ts';
import { element, encapsulated, items, sequence, text } from '../dicom/values.ts';
import { withElements, writeDicom } from '../dicom/write.ts';
import type { DicomFile, Element } from '../dicom/model.ts';
import { centreId } from '../kernel/ids.ts';
import { studyClock } from './dates.ts';
import { DEFAULT_IDENTITY_RULES, patientKeyOf, subjectIdentity } from './identity.ts';
import { cleanInstance } from './instance.ts';
import type { CleanInstance } from './instance.ts';
import { compileProfile } from './profile/profile.ts';
import { conclude, newSurvey, surveyInstance } from './study-survey.ts';
import type { Conclusion } from './study-survey.ts';
import { ctBytes, item, of, pixels } from './test-support.ts';
import { verifyInstance } from './verify/verify.ts';

const profile = compileProfile();
const centre = centreId('c01');
const identity = subjectIdentity(createHash('sha256').update('b').digest());
const ivanova: readonly Element[] = [of('PatientName', 'Ivanova^Anna'), of('PatientID', '1204567')];
const RLE = '1.2.840.10008.1.2.5';
const J2K = '1.2.840.10008.1.2.4.90';

interface Run {
  code: string | undefined;
  conclusion: Conclusion;
  clean(): CleanInstance;
  file(): DicomFile;
  /** Checks of the verifier after something else was written. */
  leaked(...changes: Element[]): string[];
}

interface RunOptions {
  syntax?: string;
  removals?: number[];
  /** What the original is before it is looked at. */
  as?: (bytes: Uint8Array) => Uint8Array;
}

const run = (changes: readonly Element[], { as, ...options }: RunOptions = {}): Run => {
  const whole = ctBytes({ changes: [...ivanova, ...changes], ...options });
  const original = as === undefined ? whole : as(whole);
  const survey = newSurvey(profile, centre, DEFAULT_IDENTITY_RULES);
  const code = surveyInstance(survey, 'one', original);
  const subject = { identity, clock: studyClock(identity.shiftDays, survey.start), identifiers: survey.identifiers, profile };
  const clean = (): CleanInstance => cleanInstance(original, subject, survey.verifierIdentifiers);
  const file = (): DicomFile => readDicom(clean().bytes);
  const leaked = (...more: Element[]): string[] => {
    const was = file();
    const written = writeDicom({ ...was, dataset: withElements(was.dataset, more) });
    const expected = { identifiers: survey.verifierIdentifiers, profile, pseudonym: identity.pseudonym, shiftDays: identity.shiftDays };
    return verifyInstance(original, written, expected).map(({ check }) => check);
  };
  return { code, conclusion: conclude(survey), clean, file, leaked };
};

/** Literal runs only. */
const rle = (words: Uint8Array, behind: readonly number[] = []): Element => {
  const segment = (first: number): number[] => {
    const bytes = [...words].filter((_, i) => i % 2 === first);
    const packed: number[] = [];
    for (let at = 0; at < bytes.length; at += 128) packed.push(Math.min(128, bytes.length - at) - 1, ...bytes.slice(at, at + 128));
    return packed.length % 2 === 0 ? packed : [...packed, 0];
  };
  const [high, low] = [segment(1), segment(0)];
  const header = new Uint8Array(64);
  new Uint32Array(header.buffer).set([2, 64, 64 + high.length]);
  return encapsulated(TAG.PixelData, [new Uint8Array(0), Uint8Array.from([...header, ...high, ...low, ...behind])]);
};

describe('pixels that nobody looked at', () => {
  test('what can not be decoded is refused, what can be is judged and kept', () => {
    expect(
      run([encapsulated(TAG.PixelData, [new Uint8Array(0), Uint8Array.of(0xff, 0xd8, 1, 2)])], { syntax: '1.2.840.10008.1.2.4.51' }).code,
    ).toBe('NOT_JUDGED_PIXELS');
    expect(run([of('RescaleSlope', '0.0001')]).code).toBe('NOT_JUDGED_PIXELS');
    const kept = run([rle(pixels())], { syntax: RLE });
    expect(kept.code).toBeUndefined();
    expect(kept.clean().findings).toEqual([]);
  });

  test('bits above HighBit in RLE are an overlay, bytes behind its runs are no image', () => {
    expect(run([rle(pixels().with(1, 0x80))], { syntax: RLE }).code).toBe('EMBEDDED_OVERLAY');
    expect(run([rle(pixels(), [...Buffer.from('Ivanova ')])], { syntax: RLE }).code).toBe('NOT_JUDGED_PIXELS');
  });
});

describe('an original that is no whole Part 10 file', () => {
  const metaEnd = (bytes: Uint8Array): number => 144 + new DataView(bytes.buffer, bytes.byteOffset).getUint32(140, true);
  test.each<[string, RunOptions]>([
    ['without preamble', { as: (bytes) => bytes.slice(132) }],
    ['without file meta, explicit', { as: (bytes) => bytes.slice(metaEnd(bytes)) }],
    ['without file meta, implicit', { syntax: '1.2.840.10008.1.2', as: (bytes) => bytes.slice(metaEnd(bytes)) }],
  ])('%s is cleaned as the whole one, and what is left in it is found', (_what, options) => {
    const planted = of('StudyDescription', 'Thorax Ivanova');
    const [one, whole] = [run([planted], options), run([planted], options.syntax === undefined ? {} : { syntax: options.syntax })];
    expect(one.clean().findings).toEqual([]);
    expect(Buffer.from(one.clean().bytes)).toEqual(Buffer.from(whole.clean().bytes));
    expect(text(one.file().dataset, TAG.StudyDescription)).toBe('Thorax');
    expect(one.leaked(planted)).toContain('element');
  });
});

describe('values of closed lists', () => {
  test.each<[string, Element]>([
    ['a maker with a place', of('Manufacturer', 'Siemens Botkin hospital')],
    ['a model with a name', of('ManufacturerModelName', 'Petrova CT GKB52')],
    ['a code string', of('BodyPartExamined', 'SIDOROV')],
    ['a version', of('SoftwareVersions', 'GKB52')],
    ['a kernel', of('ConvolutionKernel', 'GKB52')],
  ])('%s that is none is emptied whole, and found when written', (_what, leak) => {
    const one = run([leak]);
    expect(one.clean()).toMatchObject({ emptied: 1, findings: [] });
    expect(one.file().dataset.elements.get(leak.tag)?.value).toHaveLength(0);
    expect(one.leaked(leak)).toContain('element');
  });

  test('known ones stay byte for byte, also when a patient has such a number', () => {
    const known = [
      of('Manufacturer', 'GE MEDICAL SYSTEMS'),
      of('ManufacturerModelName', 'LightSpeed16'),
      of('SoftwareVersions', 'syngo CT 2006G'),
      of('ConvolutionKernel', ['Br38f', '3']),
      of('BodyPartExamined', 'CHEST'),
    ];
    const one = run([...known, of('PatientID', '16')]);
    expect(one.clean().findings).toEqual([]);
    for (const { tag, value } of known) expect(one.file().dataset.elements.get(tag)?.value).toEqual(value);
    for (const model of [
      'Brilliance16',
      'Sensation 10',
      'SOMATOM Definition AS',
      'Ingenuity CT',
      'Supria',
      'Thorax 64 Slice',
      'Biograph40_mCT 4R',
      'Aquilion ONE',
      'Aquilion CXL',
      'Emotion 16 (2007)',
      'NeuViz 64 In',
      'Gemini TF TOF 64',
      'CT/e',
      'RHAPSODE',
      'TSX-101A',
    ])
      expect([model, text(run([of('ManufacturerModelName', model)]).file().dataset, TAG.ManufacturerModelName)]).toEqual([model, model]);
  });

  test.each<[keyword: 'SoftwareVersions' | 'ConvolutionKernel', values: readonly string[]]>([
    ['SoftwareVersions', ['05', 'qin.3', 'coh.2.2', 'revo_ct_22bc.50', 'dm14hd.101', 'VA48A', '07MW18.4', 'V4.51ER014', '2.6.2']],
    ['ConvolutionKernel', ['B70s', 'FC18-H', 'BONEPLUS', 'YA', 'EB', 'XCB', 'T20s']],
  ])('%s as makers write them stay', (keyword, values) => {
    for (const value of values) {
      const one = run([of(keyword, value)]);
      expect([value, text(one.file().dataset, TAG[keyword]), one.clean().findings]).toEqual([value, value, []]);
    }
  });

  test('a character set is a defined term or is not written', () => {
    const one = run([element(TAG.SpecificCharacterSet, 'CS', 'GKB52_PETROV')]);
    expect(one.file().dataset.elements.has(TAG.SpecificCharacterSet)).toBe(false);
    expect(one.leaked(element(TAG.SpecificCharacterSet, 'CS', 'GKB52_PETROV'))).toContain('element');
    expect(run([of('SpecificCharacterSet', 'ISO_IR 100'), of('PatientID', '100')]).clean().findings).toEqual([]);
  });

  test('a patient named in an item goes, and holds nothing; a name that stays there is found', () => {
    const named = (name: string, id: string): Element =>
      sequence(TAG.ReferencedStudySequence, [item(of('ReferencedSOPInstanceUID', '1.2.3'), of('PatientName', name), of('PatientID', id))]);
    for (const source of [named('Zvyagintsev^Oleg', '4471190'), named('', '')]) {
      const one = run([source]);
      expect(one.clean().findings).toEqual([]);
      expect(Buffer.from(one.clean().bytes).includes('Zvyagintsev')).toBe(false);
    }
    expect(run([named('Zvyagintsev^Oleg', '4471190')]).leaked(named('Zvyagintsev^Oleg', '4471190'))).toContain('element');
  });

  test('a local code goes with its item whatever its sequence is called', () => {
    const local = sequence(TAG.AnatomicRegionSequence, [
      item(of('CodeValue', 'RIS0012345'), of('CodingSchemeDesignator', '99GKB52'), of('CodeMeaning', 'Chest')),
    ]);
    const one = run([local]);
    expect(items(one.file().dataset, TAG.AnatomicRegionSequence)).toEqual([]);
    expect(one.leaked(local)).toContain('element');
  });

  test('a number that is the id of the patient is emptied or removed, and found', () => {
    const one = run([of('SeriesNumber', '1204567'), of('AcquisitionNumber', '01204567'), of('TableHeight', '1204567.5')]);
    const { dataset } = one.file();
    expect([dataset.elements.get(TAG.SeriesNumber)?.value.length, dataset.elements.get(TAG.AcquisitionNumber)?.value.length]).toEqual([
      0, 0,
    ]);
    expect(dataset.elements.has(TAG.TableHeight)).toBe(false);
    expect(one.leaked(of('SeriesNumber', '1204567'))).toContain('element');
  });
});

describe('times', () => {
  const NO_TIMES = [TAG.StudyTime, TAG.SeriesTime, TAG.AcquisitionTime];
  test('without StudyTime the acquisition date and time is the start', () => {
    const { dataset } = run([of('AcquisitionDateTime', '20200417091533')], { removals: NO_TIMES }).file();
    expect(text(dataset, TAG.AcquisitionDateTime)?.slice(8)).toBe('120000');
  });

  test('a time that can not be read, and one of unknown offset, does not stay', () => {
    const one = run([of('StudyTime', '9h15')], { removals: NO_TIMES.slice(1) });
    expect(one.file().dataset.elements.get(TAG.StudyTime)?.value).toHaveLength(0);
    expect(one.clean().findings).toEqual([]);
    expect(one.leaked(of('StudyTime', '091500'))).toContain('date');
  });

  test('midnight is no time when others are told; one time moved otherwise is found', () => {
    const one = run([of('StudyTime', '000000'), of('SeriesTime', '091500'), of('AcquisitionTime', '091630')]);
    expect(text(one.file().dataset, TAG.SeriesTime)).toBe('120000');
    expect(one.leaked(of('AcquisitionTime', '091630'))).toContain('date');
  });

  test('dates of the device are left out', () => {
    const { dataset } = run([of('DateOfLastCalibration', '20200101'), of('DateOfInstallation', '20150301')]).file();
    expect([TAG.DateOfLastCalibration, TAG.DateOfInstallation].map((tag) => dataset.elements.has(tag))).toEqual([false, false]);
  });
});

describe('who it is', () => {
  test('a stated issuer and the configured namespace are one', () => {
    const rules = { ...DEFAULT_IDENTITY_RULES, namespaceOfCentre: () => 'GKB52' };
    const key = (issuer?: string) => patientKeyOf({ patientIds: ['7'], issuer, others: [] }, centre, rules);
    expect(key('GKB52')).toEqual(key());
  });

  test('a file without issuer takes that of its study', () => {
    const survey = newSurvey(profile, centre, DEFAULT_IDENTITY_RULES);
    surveyInstance(survey, 'a', ctBytes({ changes: [...ivanova, of('IssuerOfPatientID', 'OMS')] }));
    surveyInstance(survey, 'b', ctBytes({ n: 2, changes: [...ivanova] }));
    expect(conclude(survey)).toMatchObject({ kind: 'accepted', key: { namespace: 'issuer:OMS', patientId: '1204567' } });
  });
});

describe('codestreams', () => {
  test('a J2K stream in a JP2 box is refused', () => {
    const boxed = encapsulated(TAG.PixelData, [new Uint8Array(0), Buffer.from('\0\0\0\fjP  \r\n\x87\nIvanova ', 'latin1')]);
    expect(() => run([boxed], { syntax: J2K }).clean()).toThrow('BAD_PIXELS');
  });
});

const NAMES = ['Mar', 'Ann', 'Li', 'Ли', 'Ivanova^Anna', 'Chest^Kim', 'Петров^Пётр', 'Ng^Li', 'Standard^Ada', 'Gray^Al'];
const IDS = ['100', '120', '128', '16', '64', '2', '144', '192', '1204567', 'A-77120'];
const MACHINES: readonly (readonly [maker: string, model: string, version: string, kernel: string])[] = [
  ['SIEMENS', 'Sensation 16', 'VA40A', 'B70f'],
  ['Ctstream Phantom', 'Thorax 128', 'TH128 1.0', 'FC52'],
  ['Philips', 'Brilliance 64', '2.3.5', 'L'],
];

describe('300 synthetic identities', () => {
  test('none is held, and a name or id planted into the result is found', () => {
    const held: string[] = [];
    const missed: string[] = [];
    for (const name of NAMES)
      for (const id of IDS)
        for (const [maker, model, version, kernel] of MACHINES) {
          const one = run([
            of('SpecificCharacterSet', 'ISO_IR 192'),
            element(TAG.PatientName, 'PN', name, { littleEndian: true, charset: ['ISO_IR 192'] }),
            of('PatientID', id),
            of('Manufacturer', maker),
            of('ManufacturerModelName', model),
            of('SoftwareVersions', version),
            of('ConvolutionKernel', kernel),
            of('BodyPartExamined', 'CHEST'),
            of('StudyDescription', `Chest 1.0 mm ${id}`),
            of('SeriesDescription', `Lung 128 ${kernel}`),
          ]);
          const who = `${name} ${id} ${model}`;
          if (one.code !== undefined || one.clean().findings.length > 0) held.push(`${who} ${JSON.stringify(one.clean().findings)}`);
          const leak = element(TAG.StudyDescription, 'LO', name.split('^')[0] ?? '', { littleEndian: true, charset: ['ISO_IR 192'] });
          if (one.leaked(leak).length === 0) missed.push(who);
        }
    expect(held).toEqual([]);
    expect(missed).toEqual([]);
  });
});

describe('identities with the letters and numbers of kernels, levels and amounts', () => {
  const parts = [
    'fc',
    'FC07',
    'Hr',
    'Bl',
    'YA',
    'Th',
    'L5',
    '3D',
    'CO',
    'RADS',
    'ICD',
    '07',
    '40',
    '120',
    '370',
    'pneumo',
    'c',
    '6',
    'Chest',
    '625',
    '0625',
    '125',
    'mm',
  ];
  const texts = [
    'Thorax FC07',
    'Chest 1.0 Hr40f',
    'Bl57 YA',
    'Th12 L5 3D',
    'CO-RADS 5, ICD-10 J18.9',
    '120 kV 40 mAs',
    'pneumonia',
    'LUNG 0.625 mm',
    'Chest 1,125mm',
    'Lung 1.25mm 120.5 ml',
  ];
  const PLACES = [
    'IssuerOfPatientID',
    'StationName',
    'InstitutionName',
    'AccessionNumber',
    'StudyID',
    'PatientName',
    'ReferringPhysicianName',
  ] as const;

  test('no study is held for what a description says: what would hold it went from there', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...PLACES),
        fc.array(fc.constantFrom(...parts), { minLength: 1, maxLength: 3 }),
        fc.constantFrom('', '-', ' ', '_'),
        fc.constantFrom(...texts),
        fc.constantFrom(...texts),
        (place, words, between, description, protocol) => {
          const one = run([of(place, words.join(between)), of('SeriesDescription', description), of('ProtocolName', protocol)]);
          expect(one.clean().findings).toEqual([]);
        },
      ),
      { numRuns: 1000, examples: ['625', '0625'].map((id) => ['StudyID', [id], '', 'LUNG 0.625 mm', 'pneumonia']) },
    );
  });

  test('the kernel of a place with its letters goes, that of another stays', () => {
    const one = run([of('StationName', 'FC-12'), of('SeriesDescription', 'Lung FC07'), of('ProtocolName', 'Lung Hr40')]);
    expect([text(one.file().dataset, TAG.SeriesDescription), text(one.file().dataset, TAG.ProtocolName)]).toEqual(['Lung', 'Lung Hr40']);
    expect(one.leaked(of('SeriesDescription', 'Lung FC07'))).toContain('element');
  });
});
