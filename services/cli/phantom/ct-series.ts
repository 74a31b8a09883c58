// Axial CT series and the topogram as CT Image instances (PS3.3 A.3), one file at a time.

import { DEFLATED_LE, EXPLICIT_LE, RLE_LOSSLESS } from '../../dicom/transfer-syntax.ts';
import { SOP_CLASS } from '../../dicom/uid.ts';
import { element, encapsulated } from '../../dicom/values.ts';
import { makeFile, writeDicom } from '../../dicom/write.ts';
import { makeDataset, type Attributes } from './attributes.ts';
import { drawText } from './font.ts';
import { makeRenderer, type Kernel, type Projection } from './render.ts';
import { encodeRle16 } from './rle.ts';
import { privateModule, sceneModules, studyModules, timeOf, type StudyContext } from './study-context.ts';
import type { Volume } from './thorax.ts';

const PIXEL_DATA = 0x7fe00010;
const PADDING = -2000;
const INTERCEPT = -1024;

/** One instance as a file; its UID is told so that the truth can name it. */
export interface Instance {
  number: number;
  sopInstanceUid: string;
  bytes: Uint8Array;
}

export interface SeriesPlan {
  number: number;
  uid: string;
  description: string;
  startSeconds: number;
}

interface Slice {
  /** Index into the volume, bottom first. */
  k: number;
  positionMm: [number, number, number];
  copy: number;
}

const RADIANS = Math.PI / 180;

function orientation(context: StudyContext): number[] {
  const degrees = context.defect === 'tilt' ? 7 : context.defect === 'oblique' ? 15 : 0;
  if (degrees === 0) return [1, 0, 0, 0, 1, 0];
  return [1, 0, 0, 0, Number(Math.cos(degrees * RADIANS).toFixed(6)), -Number(Math.sin(degrees * RADIANS).toFixed(6))];
}

/** Which slices the series has and where they lie, in the order of their instance numbers. */
function planSlices(v: Volume, context: StudyContext): Slice[] {
  const half = ((v.size - 1) / 2) * v.pixelMm;
  const middle = Math.floor(v.slices / 2);
  const step = Number((context.index % 2 === 0 ? -180 : -1200).toFixed(1));
  const slices: Slice[] = [];
  for (let k = 0; k < v.slices; k++) {
    if (context.defect === 'gap' && k === middle) continue;
    const along = k * v.sliceMm + (context.defect === 'variable-spacing' && k > middle ? (k - middle) * v.sliceMm * 0.5 : 0);
    // Oblique slices follow their own normal; tilted ones are moved by the table, along z only.
    const lean = context.defect === 'oblique' ? 15 * RADIANS : 0;
    const positionMm: [number, number, number] = [-half, -half + along * Math.sin(lean), step + along * Math.cos(lean)];
    slices.push({ k, positionMm, copy: 0 });
    if (context.defect === 'duplicate-slice' && k === middle) slices.push({ k, positionMm, copy: 1 });
  }
  // Scanners number from the head down or from the feet up.
  return context.index % 3 === 0 ? slices : slices.reverse();
}

/** The axial series of one kernel. */
export function* axialSeries(v: Volume, kernel: Kernel, plan: SeriesPlan, context: StudyContext, syntax: string): Generator<Instance> {
  const render = makeRenderer(v, kernel, `${context.seed}/${context.index}/noise`);
  const slices = planSlices(v, context);
  for (const [n, slice] of slices.entries()) {
    const number = n + 1;
    const stored = toStored(render(slice.k), v.size, context);
    const isSecondHalf = context.defect === 'mixed-patients' && n >= slices.length / 2;
    const specific = axialAttributes(v, kernel, slice, context, number);
    yield makeInstance({ plan, context, number, stored, rows: v.size, columns: v.size, specific, syntax, isSecondHalf });
  }
}

function axialAttributes(v: Volume, kernel: Kernel, slice: Slice, context: StudyContext, number: number): Attributes {
  const z = Number(slice.positionMm[2].toFixed(4));
  return {
    ImageType: ['ORIGINAL', 'PRIMARY', 'AXIAL'],
    AcquisitionNumber: 2,
    SliceThickness: v.sliceMm,
    SpacingBetweenSlices: v.sliceMm,
    ConvolutionKernel: kernel.name,
    GantryDetectorTilt: context.defect === 'tilt' ? 7 : 0,
    TableHeight: 142.5,
    SliceLocation: z,
    ImagePositionPatient: slice.positionMm.map((mm) => Number(mm.toFixed(6))),
    ImageOrientationPatient: orientation(context),
    PixelSpacing: [v.pixelMm, v.pixelMm],
    WindowCenter: kernel.role === 'soft' ? 40 : -600,
    WindowWidth: kernel.role === 'soft' ? 400 : 1500,
    XRayTubeCurrent: 180 + (number % 7) * 5,
    ...contrastAttributes(context),
    ...(context.defect === 'lossy'
      ? { LossyImageCompression: '01', LossyImageCompressionRatio: 10, LossyImageCompressionMethod: 'ISO_10918_1' }
      : {}),
    ...(context.defect === 'burned-in-text' ? { BurnedInAnnotation: 'YES' } : {}),
  };
}

function contrastAttributes(context: StudyContext): Attributes {
  if (context.defect === 'contrast') return { ContrastBolusAgent: 'IOHEXOL 350', ContrastBolusRoute: 'IV', ContrastBolusVolume: 90 };
  if (context.defect !== 'contrast-uncertain') return {};
  const code = { CodeValue: 'C-B0322', CodingSchemeDesignator: 'SRT', CodeMeaning: 'Iohexol' };
  return { ContrastBolusAgent: 'NONE', ContrastBolusAgentSequence: [code] };
}

/** HU to stored values, with the defects that live in the pixels. */
function toStored(hu: Int16Array, size: number, context: StudyContext): Int16Array {
  const stored = new Int16Array(hu.length);
  for (let i = 0; i < hu.length; i++) stored[i] = hu[i]! - INTERCEPT;
  if (context.defect === 'padding') padOutside(stored, size);
  if (context.defect === 'embedded-overlay') {
    const box = Math.max(2, size >> 4);
    for (let r = box; r < 2 * box; r++) for (let c = box; c < 2 * box; c++) stored[r * size + c]! |= 0x1000;
  }
  if (context.defect === 'burned-in-text' || context.defect === 'burned-in-text-undeclared') {
    const canvas = { pixels: stored, columns: size, rows: size };
    const scale = Math.max(1, Math.floor(size / 256));
    drawText(canvas, context.person.drawnName, 4 * scale, 4 * scale, scale, 3000);
    drawText(canvas, `ID ${context.person.patientId} ${context.person.birthDate}`, 4 * scale, 14 * scale, scale, 3000);
  }
  return stored;
}

function padOutside(stored: Int16Array, size: number): void {
  const centre = (size - 1) / 2;
  for (let r = 0; r < size; r++) {
    for (let c = 0; c < size; c++) {
      if ((r - centre) ** 2 + (c - centre) ** 2 > (size / 2) ** 2) stored[r * size + c] = PADDING;
    }
  }
}

/** The topogram: a localizer that no volume may contain. */
export function topogram(projection: Projection, coverageMm: number, plan: SeriesPlan, context: StudyContext, syntax: string): Instance {
  const { rows, columns, spacingMm } = projection;
  const stored = Int16Array.from(projection.hu, (hu) => Math.min(4095, Math.max(0, hu - INTERCEPT)));
  const specific: Attributes = {
    ImageType: ['ORIGINAL', 'PRIMARY', 'LOCALIZER'],
    AcquisitionNumber: 1,
    SliceThickness: 0.6,
    ConvolutionKernel: 'T20f',
    ImagePositionPatient: [
      Number(((-(columns - 1) / 2) * spacingMm[1]).toFixed(6)),
      0,
      (context.index % 2 === 0 ? -180 : -1200) + coverageMm,
    ],
    ImageOrientationPatient: [1, 0, 0, 0, 0, -1],
    PixelSpacing: spacingMm,
    WindowCenter: 300,
    WindowWidth: 1200,
    XRayTubeCurrent: 50,
  };
  return makeInstance({ plan, context, number: 1, stored, rows, columns, specific, syntax, isSecondHalf: false });
}

interface InstanceParts {
  plan: SeriesPlan;
  context: StudyContext;
  number: number;
  stored: Int16Array;
  rows: number;
  columns: number;
  specific: Attributes;
  syntax: string;
  /** Names the stranger instead of the patient. */
  isSecondHalf: boolean;
}

function makeInstance(parts: InstanceParts): Instance {
  const { plan, context, number, syntax } = parts;
  const person = parts.isSecondHalf ? context.stranger : context.person;
  const patientId = parts.isSecondHalf ? context.stranger.patientId : context.patientId;
  const isEmpty = context.defect === 'empty-uid';
  const sopInstanceUid = isEmpty ? '' : context.uid('sop', plan.number, number);
  const isAxial = plan.number > 1;
  const attributes: Attributes = {
    ...studyModules(context, person, patientId),
    ...sceneModules(context, person),
    ...privateModule(context, person),
    SOPClassUID: SOP_CLASS.CTImageStorage,
    SOPInstanceUID: sopInstanceUid,
    Modality: 'CT',
    SeriesInstanceUID: isEmpty ? '' : plan.uid,
    SeriesNumber: plan.number,
    SeriesDescription: plan.description,
    SeriesDate: context.studyDate,
    SeriesTime: timeOf(plan.startSeconds),
    AcquisitionDate: context.studyDate,
    AcquisitionTime: timeOf(plan.startSeconds + number / 4),
    ContentDate: context.studyDate,
    ContentTime: timeOf(plan.startSeconds + number / 4),
    ProtocolName: `${isAxial ? 'Thorax' : 'Topogram'} ${person.shortName}`,
    BodyPartExamined: 'CHEST',
    PatientPosition: 'HFS',
    FrameOfReferenceUID: context.frameUid,
    PositionReferenceIndicator: '',
    InstanceNumber: number,
    KVP: 120,
    ExposureTime: 500,
    Exposure: 90,
    FilterType: 'BODY',
    DataCollectionDiameter: 500,
    ReconstructionDiameter: 380,
    ...parts.specific,
    ...pixelModule(parts, isAxial),
  };
  const dataset = makeDataset(attributes, context.person.encoding);
  const file = makeFile({
    transferSyntaxUid: pixelsFit(syntax, isAxial && context.defect === 'no-pixels'),
    dataset,
    sopClassUid: SOP_CLASS.CTImageStorage,
    sopInstanceUid,
  });
  return { number, sopInstanceUid, bytes: writeDicom(file) };
}

/** A file without pixels can't be encapsulated. */
function pixelsFit(syntax: string, hasNone: boolean): string {
  return hasNone && syntax === RLE_LOSSLESS ? EXPLICIT_LE : syntax;
}

function pixelModule(parts: InstanceParts, isAxial: boolean): Attributes {
  const { context, stored } = parts;
  // Padding is negative, so it needs signed pixels; an embedded overlay needs unused bits.
  const isSigned = context.defect === 'padding' || (context.scanner.pixelRepresentation === 1 && context.defect !== 'embedded-overlay');
  const bits = isSigned ? 16 : 12;
  const description: Attributes = {
    SamplesPerPixel: 1,
    PhotometricInterpretation: 'MONOCHROME2',
    Rows: parts.rows,
    Columns: parts.columns,
    BitsAllocated: 16,
    BitsStored: bits,
    HighBit: bits - 1,
    PixelRepresentation: isSigned ? 1 : 0,
    RescaleIntercept: INTERCEPT,
    RescaleSlope: 1,
    ...(isAxial ? { RescaleType: 'HU' } : {}),
    ...(isAxial && context.defect === 'padding' ? { PixelPaddingValue: element(0x00280120, 'SS', PADDING) } : {}),
    ...(isAxial && context.defect === 'embedded-overlay' ? embeddedOverlay(parts) : {}),
  };
  if (isAxial && context.defect === 'no-pixels') return description;
  const bytes = new Uint8Array(stored.buffer, stored.byteOffset, stored.byteLength);
  const pixels =
    parts.syntax === RLE_LOSSLESS
      ? encapsulated(PIXEL_DATA, [new Uint8Array(0), encodeRle16(bytes, parts.columns)])
      : { tag: PIXEL_DATA, vr: 'OW' as const, value: bytes };
  return { ...description, PixelData: pixels };
}

/** The retired form (PS3.3 2004 C.9.2): overlay bits above High Bit, no Overlay Data. */
function embeddedOverlay(parts: InstanceParts): Attributes {
  return {
    OverlayRows: element(0x60000010, 'US', parts.rows),
    OverlayColumns: element(0x60000011, 'US', parts.columns),
    OverlayType: element(0x60000040, 'CS', 'G'),
    OverlayOrigin: element(0x60000050, 'SS', [1, 1]),
    OverlayBitsAllocated: element(0x60000100, 'US', 16),
    OverlayBitPosition: element(0x60000102, 'US', 12),
  };
}

/** The transfer syntaxes that the phantom can write. */
export const WRITABLE_SYNTAXES: readonly string[] = ['1.2.840.10008.1.2', EXPLICIT_LE, DEFLATED_LE, '1.2.840.10008.1.2.2', RLE_LOSSLESS];
