// A seeded chest CT study with a known severity and known identities, file by file.

import { RLE_LOSSLESS } from '../../dicom/transfer-syntax.ts';
import { axialSeries, topogram, WRITABLE_SYNTAXES, type Instance, type SeriesPlan } from './ct-series.ts';
import type { Defect } from './defects.ts';
import { doseReport, doseSheet } from './documents.ts';
import { drawLesions, measure, type LungTruth, type Severity } from './lesions.ts';
import type { TextEncoding } from './people.ts';
import { random } from './random.ts';
import { project } from './render.ts';
import { makeContext, plantedIdentifiers, type StudyContext } from './study-context.ts';
import { drawThorax, makeBody, type Volume } from './thorax.ts';
import { drawVessels } from './vessels.ts';

export { DEFECT_NAMES, DEFECTS, isDefect, type Defect } from './defects.ts';

export interface PhantomOptions {
  seed: number;
  /** The n-th study of the seed, from 0. */
  index: number;
  /** Drawn by the seed when not given: about as in Moscow in 2020, the severe classes more often. */
  severity?: Severity;
  defect?: Defect;
  /** Rows and columns; 512 unless given. The field of view stays 380 mm. */
  rows?: number;
  /** Slices; so many that 300 mm are covered unless given. */
  slices?: number;
  /** Distance of slices in mm; 300 mm over the slices, else 5. */
  spacingMm?: number;
  /** One of implicit LE (default), explicit LE, deflated, explicit BE, RLE. */
  transferSyntaxUid?: string;
  /** Issuer of Patient ID; also keeps the ids and UIDs of two centres apart. */
  issuer?: string;
}

export interface PhantomFile {
  /** Relative, `<series>/<number>.dcm`. */
  path: string;
  bytes: Uint8Array;
}

export type SeriesRole = 'topogram' | 'axial-soft' | 'axial-sharp' | 'dose-sheet' | 'dose-report';

export interface PhantomTruth extends LungTruth {
  severity: Severity;
  /** Every planted string that names or numbers somebody, short parts of names and original UIDs included. */
  identifiers: string[];
  /** How the identifiers stand in the bytes. */
  textEncoding: TextEncoding['name'];
  studyInstanceUid: string;
  studyDate: string;
  patientId: string;
  seriesUids: { uid: string; role: SeriesRole }[];
  defect?: Defect;
}

const FIELD_OF_VIEW_MM = 380;
/** Shares of CT-0 to CT-4. */
const SEVERITY_SHARES = [0.2, 0.36, 0.22, 0.14, 0.08] as const;

function drawSeverity(seed: number, index: number): Severity {
  let left = random(seed, 'severity', index).next();
  for (const severity of [0, 1, 2, 3] as const) {
    left -= SEVERITY_SHARES[severity];
    if (left < 0) return severity;
  }
  return 4;
}

interface Grid {
  size: number;
  slices: number;
  spacingMm: number;
}

function gridOf(o: PhantomOptions): Grid {
  const size = o.rows ?? 512;
  const spacingMm = o.spacingMm ?? (o.slices === undefined ? 5 : 300 / o.slices);
  const coverageMm = o.defect === 'short-coverage' ? 150 : 300;
  const slices = o.slices ?? Math.ceil(coverageMm / spacingMm);
  if (!Number.isInteger(size) || size < 16 || size > 1024 || !Number.isInteger(slices) || slices < 4 || slices > 2000 || !(spacingMm > 0)) {
    throw new RangeError('a phantom has 16 to 1024 rows, 4 to 2000 slices and a positive spacing');
  }
  return { size, spacingMm, slices: o.defect === 'short-coverage' ? Math.min(slices, Math.ceil(150 / spacingMm)) : slices };
}

/** The noise-free volume of a study with its labels: what the truth is counted from. */
export function phantomVolume(o: PhantomOptions): { volume: Volume; severity: Severity } {
  const { size, slices, spacingMm } = gridOf(o);
  const context = makeContext(o.seed, o.index, o.issuer, o.defect);
  const draw = random(o.seed, 'body', context.person.patientId);
  const isContrast = o.defect === 'contrast';
  const body = makeBody(draw, context.person.sex, slices * spacingMm, o.defect !== 'short-coverage', isContrast);
  const volume = drawThorax(size, slices, FIELD_OF_VIEW_MM / size, spacingMm, body);
  drawVessels(volume, body, draw);
  const severity = o.severity ?? drawSeverity(o.seed, o.index);
  drawLesions(volume, body, severity, random(o.seed, 'lesions', o.index));
  return { volume, severity };
}

function planSeries(context: StudyContext): Record<SeriesRole, SeriesPlan> {
  const { person, scanner } = context;
  const plan = (number: number, description: string): SeriesPlan => ({
    number,
    uid: context.uid('series', number),
    description,
    startSeconds: context.startSeconds + number * 60,
  });
  const [soft, sharp] = scanner.kernels;
  return {
    topogram: plan(1, 'Topogram 0.6 T20f'),
    'axial-soft': plan(2, `Thorax ${soft.name}`),
    'axial-sharp': plan(3, person.isCyrillic ? `Лёгкие ${sharp.name} ${person.shortName}` : `Lung ${sharp.name} ${person.shortName}`),
    'dose-sheet': plan(501, 'Patient Protocol'),
    'dose-report': plan(502, 'Dose Report'),
  };
}

/**
 * The files of one study, lazily: one slice is in memory beside the volume (3 bytes a voxel). The
 * return value is the truth. The same options give the same bytes. Throws RangeError on options out of range.
 */
export function* generateStudy(o: PhantomOptions): Generator<PhantomFile, PhantomTruth> {
  const syntax = o.transferSyntaxUid ?? '1.2.840.10008.1.2';
  if (!WRITABLE_SYNTAXES.includes(syntax)) throw new RangeError(`the phantom writes ${WRITABLE_SYNTAXES.join(', ')}`);
  if (o.defect === 'embedded-overlay' && syntax === RLE_LOSSLESS) throw new RangeError('embedded overlays are not for RLE');
  const { volume, severity } = phantomVolume(o);
  const lung = measure(volume);
  const context = makeContext(o.seed, o.index, o.issuer, o.defect);
  const plans = planSeries(context);
  const sops: string[] = [];
  const file = (plan: SeriesPlan, instance: Instance): PhantomFile => {
    if (instance.sopInstanceUid !== '') sops.push(instance.sopInstanceUid);
    return { path: `${plan.number}/${String(instance.number).padStart(4, '0')}.dcm`, bytes: instance.bytes };
  };

  const coverageMm = volume.slices * volume.sliceMm;
  yield file(plans.topogram, topogram(project(volume), coverageMm, plans.topogram, context, syntax));
  for (const kernel of context.scanner.kernels) {
    const plan = plans[`axial-${kernel.role}`];
    for (const instance of axialSeries(volume, kernel, plan, context, syntax)) {
      const isCut = o.defect === 'truncated' && kernel.role === 'soft' && instance.number === Math.ceil(volume.slices / 2);
      const whole = file(plan, instance);
      yield isCut ? { ...whole, bytes: whole.bytes.slice(0, Math.floor(whole.bytes.length * 0.6)) } : whole;
    }
  }
  yield file(plans['dose-sheet'], doseSheet(plans['dose-sheet'], context, syntax));
  yield file(plans['dose-report'], doseReport(plans['dose-report'], context, syntax));
  if (o.defect === 'not-dicom') yield strayText(context);
  return truthOf(o, severity, lung, context, plans, sops);
}

/** A letter that somebody saved beside the slices. */
function strayText(context: StudyContext): PhantomFile {
  const { person } = context;
  return { path: '2/9999.dcm', bytes: new TextEncoder().encode(`Letter about ${person.name}, ${person.patientId}. Not a DICOM file.\n`) };
}

function truthOf(
  o: PhantomOptions,
  severity: Severity,
  lung: LungTruth,
  context: StudyContext,
  plans: Record<SeriesRole, SeriesPlan>,
  sops: readonly string[],
): PhantomTruth {
  const isEmpty = o.defect === 'empty-uid';
  const series = (Object.entries(plans) as [SeriesRole, SeriesPlan][]).map(([role, plan]) => ({ role, uid: isEmpty ? '' : plan.uid }));
  const uids = [...series.map((one) => one.uid).filter((uid) => uid !== ''), ...sops, context.uid('irradiation')];
  return {
    severity,
    ...lung,
    identifiers: [...new Set([...plantedIdentifiers(context), ...uids])],
    textEncoding: context.person.encoding.name,
    studyInstanceUid: isEmpty ? '' : context.studyUid,
    studyDate: context.studyDate,
    patientId: context.patientId,
    seriesUids: series,
    ...(o.defect === undefined ? {} : { defect: o.defect }),
  };
}
