// Gates that one header at a time decides: kind of image, pixels, syntax, rescale. And what the headers say
// of contrast and kernel, which do not gate here: the cohort decides on them.
import type { Code } from '../kernel/codes.ts';
import type { GeometryLimits } from './limits.ts';
import { isDecodable, isLossyByHeader } from './pixels.ts';
import type { SliceHeader } from './slice-header.ts';

const CT_IMAGE = '1.2.840.10008.5.1.4.1.1.2';
const ENHANCED_CT = '1.2.840.10008.5.1.4.1.1.2.1';
const TOPOGRAM = new Set(['LOCALIZER', 'SCOUT', 'TOPOGRAM']);

function isDerived(header: SliceHeader, limits: GeometryLimits): boolean {
  const [pixels, examination] = header.imageType;
  if (pixels !== 'DERIVED' && examination !== 'SECONDARY') return false;
  if (header.fullFidelityDerivation) return false;
  return !header.imageType.some((value) => limits.derivedImageTypes.includes(value));
}

/** RescaleSlope and Intercept are Type 1 in CT (PS3.3 C.8.2.1); without them a value is no Hounsfield unit. */
function isHounsfield(header: SliceHeader): boolean {
  if (header.slope === undefined || header.slope === 0 || header.intercept === undefined) return false;
  return header.rescaleType === '' || header.rescaleType === 'HU';
}

/** An empty SOP class is intake's matter (MISSING_UID); here Modality speaks for it. */
function isCt({ sopClassUid, modality }: SliceHeader): boolean {
  return sopClassUid === CT_IMAGE || sopClassUid === ENHANCED_CT || (sopClassUid === '' && modality === 'CT');
}

function codesOf(header: SliceHeader, limits: GeometryLimits): Code[] {
  const codes: Code[] = [];
  if (!isCt(header)) return ['NOT_CT'];
  if (header.frames > 1 || header.sopClassUid === ENHANCED_CT) return ['MULTI_FRAME'];
  if (header.imageType.some((value) => TOPOGRAM.has(value))) codes.push('LOCALIZER');
  else if (isDerived(header, limits)) codes.push('DERIVED_IMAGE');
  if (!header.hasPixels) codes.push('NO_PIXELS');
  else if (!isDecodable(header.transferSyntaxUid)) codes.push('UNSUPPORTED_SYNTAX');
  if (!limits.allowLossy && isLossyByHeader(header)) codes.push('LOSSY');
  const [betweenRows = 0, betweenColumns = 0] = header.pixelSpacing ?? [];
  if (betweenRows <= 0 || betweenColumns <= 0) codes.push('NO_PIXEL_SPACING');
  if (!isHounsfield(header)) codes.push('NOT_HOUNSFIELD');
  return codes;
}

/** Every reason that any of the headers gives. */
export function headerCodes(headers: readonly SliceHeader[], limits: GeometryLimits): Code[] {
  return [...new Set(headers.flatMap((header) => codesOf(header, limits)))];
}

export type Contrast = 'none' | 'given' | 'uncertain';

const NO_AGENT = /^(|none|no|non|net|нет|без.*|0|n\/a|w\/o.*|without.*|not? (given|applied))$/i;

/** What the headers say of a contrast agent (PS3.3 C.7.6.4); contradicting signs are 'uncertain'. */
export function contrastOf(headers: readonly SliceHeader[]): Contrast {
  const named = (header: SliceHeader): boolean => !NO_AGENT.test(header.contrastAgent);
  const denied = (header: SliceHeader): boolean => header.contrastAgent !== '' && !named(header);
  const given = headers.filter((header) => named(header) || header.contrastSequence);
  if (given.length === 0) return 'none';
  const whole = given.length === headers.length && !given.some((header) => denied(header));
  return whole ? 'given' : 'uncertain';
}

export type KernelClass = 'soft' | 'sharp' | 'unknown';

const SHARP_NAMES = /^(LUNG|BONE|BONEPLUS|EDGE|DETAIL|CHST|ULTRA|SHARP|FC5\d|FC8\d|YA|YB|YC|YD|L|D|E)\b/i;
const SOFT_NAMES = /^(SOFT|STANDARD|STND|STD\+?|SMOOTH|CHEST|FC0\d|FC1\d|A|B|C|IMR|BRAIN)\b/i;
/** Siemens: B or I or Br, Bl, Bv, Hr and so on, then a number: up to 49 soft, above sharp. */
const NUMBERED = /^[A-Z][a-z]?(\d{2})[a-z]?/;

/** Class of a ConvolutionKernel (0018,1210) by the makers' names for them. */
export function kernelClass(kernel: string): KernelClass {
  const name = kernel.split('\\')[0]?.trim() ?? '';
  const numbered = NUMBERED.exec(name);
  if (numbered !== null) return Number(numbered[1]) < 50 ? 'soft' : 'sharp';
  if (SHARP_NAMES.test(name)) return 'sharp';
  return SOFT_NAMES.test(name) ? 'soft' : 'unknown';
}
