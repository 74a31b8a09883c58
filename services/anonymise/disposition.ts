// May an instance cross the boundary? An allow-list: only primary axial CT images do. Everything else
// of a study (topogram, dose sheet, reports, reformats, screens) is left behind and counted by code.
import { TAG } from '../dicom/dictionary.ts';
import { SOP_CLASS } from '../dicom/uid.ts';
import { number, text, texts } from '../dicom/values.ts';
import type { DicomFile } from '../dicom/model.ts';
import type { Code } from '../kernel/codes.ts';
import { isJudgeable } from './burned-in-text.ts';
import { hasBitsOutside } from './embedded-bits.ts';
import { seenPixels } from './pixels-seen.ts';
import type { SeenPixels } from './pixels-seen.ts';

export type Disposition = { kind: 'kept' } | { kind: 'dropped'; code: Code };

const REPORTS = /^1\.2\.840\.10008\.5\.1\.4\.1\.1\.(?:88|104)\./;
const CAPTURES = /^1\.2\.840\.10008\.5\.1\.4\.1\.1\.7(?:\.\d)?$/;
/** Words in ImageType (0008,0008) from its third value on that mean a computed picture. */
const COMPUTED =
  /\b(?:MPR|MIP|MINIP|MPVR|VRT|SSD|3D|REFORMATTED|RESAMPLED|PROJECTION|CSA (?:MPR|PARALLEL|BLACK|RESAMPLED)|PERFUSION|SCREEN|CURVED|OVERLAY|BATCH|DOSE_INFO|SCREENSAVE)\b/;

/** More than any slice of a CT (the finest have 2048 x 2048): looking at the pixels takes several times their memory. */
const MOST_PIXELS = 4096 * 4096;

/** Why an object of this class is left behind, whatever else is in it; undefined for a CT image. */
export const codeOfSopClass = (sopClass: string): 'SECONDARY_CAPTURE' | 'STRUCTURED_REPORT' | 'NOT_PRIMARY_AXIAL_CT' | undefined => {
  if (CAPTURES.test(sopClass)) return 'SECONDARY_CAPTURE';
  if (REPORTS.test(sopClass)) return 'STRUCTURED_REPORT';
  return sopClass === SOP_CLASS.CTImageStorage ? undefined : 'NOT_PRIMARY_AXIAL_CT';
};

const dropped = (code: Code): Disposition => ({ kind: 'dropped', code });
const KEPT: Disposition = { kind: 'kept' };

/** What becomes of one instance. Looks at the header, and at the pixels: `seen`, or 'before' when the survey did. */
export const dispositionOf = (file: DicomFile, seen: SeenPixels | 'before' | undefined = seenPixels(file)): Disposition => {
  const { dataset } = file;
  const byClass = codeOfSopClass(text(dataset, TAG.SOPClassUID) ?? '');
  if (byClass === 'SECONDARY_CAPTURE' || byClass === 'STRUCTURED_REPORT') return dropped(byClass);
  for (const tag of [TAG.SOPInstanceUID, TAG.StudyInstanceUID, TAG.SeriesInstanceUID])
    if (text(dataset, tag) === undefined) return dropped('MISSING_UID');
  if (byClass !== undefined) return dropped(byClass);
  return ofImageType(texts(dataset, TAG.ImageType).map((value) => value.trim().toUpperCase())) ?? ofPixels(file, seen);
};

// PS3.3 C.8.2.1.1.1: value 2 PRIMARY, value 3 AXIAL or LOCALIZER. DERIVED\PRIMARY\AXIAL stays: that is
// what a recompressed or blended dual-energy image says; assessing judges those.
const ofImageType = (type: readonly string[]): Disposition | undefined => {
  if (type.includes('LOCALIZER')) return dropped('LOCALIZER');
  if (type[1] === 'SECONDARY' || type.slice(2).some((value) => COMPUTED.test(value))) return dropped('DERIVED_IMAGE');
  if (type[1] !== 'PRIMARY' || type[2] !== 'AXIAL') return dropped('NOT_PRIMARY_AXIAL_CT');
  return undefined;
};

const ofPixels = (file: DicomFile, seen: SeenPixels | 'before' | undefined): Disposition => {
  const { dataset } = file;
  const pixels = dataset.elements.get(TAG.PixelData);
  if (pixels === undefined || (pixels.value.length === 0 && (pixels.fragments?.length ?? 0) < 2)) return dropped('NO_PIXELS');
  if ((number(dataset, TAG.NumberOfFrames) ?? 1) !== 1 || number(dataset, TAG.SamplesPerPixel) !== 1)
    return dropped('NOT_PRIMARY_AXIAL_CT');
  if ((number(dataset, TAG.Rows) ?? 0) * (number(dataset, TAG.Columns) ?? 0) > MOST_PIXELS) return dropped('LIMIT_EXCEEDED');
  if ((text(dataset, TAG.BurnedInAnnotation) ?? '').toUpperCase() === 'YES') return dropped('BURNED_IN_TEXT');
  if (seen === 'before') return KEPT;
  if (hasBitsOutside(dataset, seen?.scan)) return dropped('EMBEDDED_OVERLAY');
  return isJudgeable(dataset, seen) ? KEPT : dropped('NOT_JUDGED_PIXELS');
};
