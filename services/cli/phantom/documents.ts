// What stands beside the slices in a real study: the dose sheet as a picture, the dose report as SR.

import { EXPLICIT_LE, RLE_LOSSLESS } from '../../dicom/transfer-syntax.ts';
import { SOP_CLASS } from '../../dicom/uid.ts';
import { element } from '../../dicom/values.ts';
import { makeFile, writeDicom } from '../../dicom/write.ts';
import { makeDataset, type Attributes } from './attributes.ts';
import type { Instance, SeriesPlan } from './ct-series.ts';
import { drawText } from './font.ts';
import { sceneModules, studyModules, timeOf, type StudyContext } from './study-context.ts';

const SHEET = 512;

/** Uncompressed: RLE is for the slices. */
const plainSyntax = (syntax: string): string => (syntax === RLE_LOSSLESS ? EXPLICIT_LE : syntax);

function seriesModule(plan: SeriesPlan, context: StudyContext, modality: string): Attributes {
  return {
    Modality: modality,
    SeriesInstanceUID: context.defect === 'empty-uid' ? '' : plan.uid,
    SeriesNumber: plan.number,
    SeriesDescription: plan.description,
    SeriesDate: context.studyDate,
    SeriesTime: timeOf(plan.startSeconds),
    ContentDate: context.studyDate,
    ContentTime: timeOf(plan.startSeconds),
    InstanceNumber: 1,
  };
}

function finish(attributes: Attributes, sopClassUid: string, context: StudyContext, plan: SeriesPlan, syntax: string): Instance {
  const sopInstanceUid = context.defect === 'empty-uid' ? '' : context.uid('sop', plan.number, 1);
  const dataset = makeDataset({ ...attributes, SOPClassUID: sopClassUid, SOPInstanceUID: sopInstanceUid }, context.person.encoding);
  const file = makeFile({ transferSyntaxUid: plainSyntax(syntax), dataset, sopClassUid, sopInstanceUid });
  return { number: 1, sopInstanceUid, bytes: writeDicom(file) };
}

/** A Secondary Capture (PS3.3 A.8) with the patient's name in its pixels. */
export function doseSheet(plan: SeriesPlan, context: StudyContext, syntax: string): Instance {
  const { person, studyDate, accession } = context;
  const pixels = new Uint8Array(SHEET * SHEET);
  const lines = [
    'PATIENT PROTOCOL',
    '',
    `NAME: ${person.drawnName}`,
    `ID: ${person.patientId}  ${person.sex}`,
    `BORN: ${person.birthDate}`,
    `STUDY: ${studyDate}  ${accession}`,
    '',
    'SCAN      KV  MAS  CTDI   DLP',
    'TOPOGRAM 120',
    'THORAX   120   90  6.12 196.4',
    '',
    'TOTAL DLP 199.1',
  ];
  lines.forEach((line, n) => drawText({ pixels, columns: SHEET, rows: SHEET }, line, 16, 24 + n * 24, 2, 240));
  const attributes: Attributes = {
    ...studyModules(context, person, context.patientId),
    ...sceneModules(context, person),
    ...seriesModule(plan, context, 'CT'),
    ImageType: ['DERIVED', 'SECONDARY', 'OTHER'],
    ConversionType: 'WSD',
    BodyPartExamined: 'CHEST',
    PatientOrientation: '',
    BurnedInAnnotation: 'YES',
    SamplesPerPixel: 1,
    PhotometricInterpretation: 'MONOCHROME2',
    Rows: SHEET,
    Columns: SHEET,
    BitsAllocated: 8,
    BitsStored: 8,
    HighBit: 7,
    PixelRepresentation: 0,
    PixelData: element(0x7fe00010, 'OB', pixels),
  };
  return finish(attributes, SOP_CLASS.SecondaryCaptureImageStorage, context, plan, syntax);
}

type Concept = readonly [value: string, scheme: string, meaning: string];

const code = ([CodeValue, CodingSchemeDesignator, CodeMeaning]: Concept): Attributes => ({
  CodeValue,
  CodingSchemeDesignator,
  CodeMeaning,
});
const item = (relation: string, type: string, concept: Concept, value: Attributes): Attributes => ({
  RelationshipType: relation,
  ValueType: type,
  ConceptNameCodeSequence: [code(concept)],
  ...value,
});
const dcm = (value: string, meaning: string): Concept => [value, 'DCM', meaning];
const coded = (relation: string, concept: Concept, value: Concept): Attributes =>
  item(relation, 'CODE', concept, { ConceptCodeSequence: [code(value)] });
const measured = (concept: Concept, value: number, unit: string): Attributes =>
  item('CONTAINS', 'NUM', concept, {
    MeasuredValueSequence: [{ NumericValue: value, MeasurementUnitsCodeSequence: [code([unit, 'UCUM', unit])] }],
  });
const container = (concept: Concept, content: readonly Attributes[]): Attributes =>
  item('CONTAINS', 'CONTAINER', concept, { ContinuityOfContent: 'SEPARATE', ContentSequence: content });

/** The content tree, after TID 10011 CT Radiation Dose: accumulated dose, then one acquisition. */
function doseContent(context: StudyContext): Attributes[] {
  const { person, hospital, studyUid } = context;
  const remark = person.isCyrillic ? `Доза пациента ${person.shortName} в норме` : `Dose of ${person.shortName} as usual`;
  return [
    {
      ...coded('HAS CONCEPT MOD', dcm('121058', 'Procedure reported'), ['77477000', 'SCT', 'Computed Tomography X-Ray']),
      ContentSequence: [coded('HAS CONCEPT MOD', ['363703001', 'SCT', 'Has Intent'], ['261004008', 'SCT', 'Diagnostic Intent'])],
    },
    coded('HAS OBS CONTEXT', dcm('121005', 'Observer Type'), dcm('121006', 'Person')),
    item('HAS OBS CONTEXT', 'PNAME', dcm('121008', 'Person Observer Name'), { PersonName: hospital.operator }),
    item('HAS OBS CONTEXT', 'PNAME', dcm('121029', 'Subject Name'), { PersonName: person.name }),
    {
      ...coded('HAS OBS CONTEXT', dcm('113705', 'Scope of Accumulation'), dcm('113014', 'Study')),
      ContentSequence: [item('HAS PROPERTIES', 'UIDREF', dcm('110180', 'Study Instance UID'), { UID: studyUid })],
    },
    container(dcm('113811', 'CT Accumulated Dose Data'), [
      measured(dcm('113812', 'Total Number of Irradiation Events'), 1, '{events}'),
      measured(dcm('113813', 'CT Dose Length Product Total'), 199.1, 'mGy.cm'),
    ]),
    container(dcm('113819', 'CT Acquisition'), [
      item('CONTAINS', 'TEXT', dcm('125203', 'Acquisition Protocol'), { TextValue: `Thorax ${person.shortName}` }),
      coded('CONTAINS', dcm('123014', 'Target Region'), ['51185008', 'SCT', 'Chest']),
      coded('CONTAINS', dcm('113820', 'CT Acquisition Type'), ['116152004', 'SCT', 'Spiral Acquisition']),
      item('CONTAINS', 'UIDREF', dcm('113769', 'Irradiation Event UID'), { UID: context.uid('irradiation') }),
    ]),
    item('CONTAINS', 'TEXT', dcm('121106', 'Comment'), { TextValue: remark }),
    coded('CONTAINS', dcm('113854', 'Source of Dose Information'), dcm('113856', 'Automated Data Collection')),
  ];
}

/** An X-Ray Radiation Dose SR (PS3.3 A.35.8) with names in its header and its tree. */
export function doseReport(plan: SeriesPlan, context: StudyContext, syntax: string): Instance {
  const scene = sceneModules(context, context.person);
  const attributes: Attributes = {
    ...studyModules(context, context.person, context.patientId),
    ...scene,
    ...seriesModule(plan, context, 'SR'),
    ReferencedPerformedProcedureStepSequence: [],
    PerformedProcedureCodeSequence: [],
    CompletionFlag: 'COMPLETE',
    VerificationFlag: 'UNVERIFIED',
    ValueType: 'CONTAINER',
    ConceptNameCodeSequence: [code(dcm('113701', 'X-Ray Radiation Dose Report'))],
    ContinuityOfContent: 'SEPARATE',
    ContentTemplateSequence: [{ MappingResource: 'DCMR', TemplateIdentifier: '10011' }],
    ContentSequence: doseContent(context),
  };
  return finish(attributes, SOP_CLASS.XRayRadiationDoseSRStorage, context, plan, syntax);
}
