// What code strings, makers, models, versions and kernels may be: whole values of closed lists or of a narrow
// grammar, looked at before any identifier. A value that matches stays byte for byte; any other is emptied
// whole, because a hole where a word was taken out tells the word.
import { tagOf } from '../dicom/dictionary.ts';
import { fold, MANUFACTURERS } from './vocabulary.ts';

const list = (text: string): ReadonlySet<string> => new Set(text.split('|').map((term) => term.trim()));

const YES_NO = list('YES|NO');
const LETTERS = list('A|P|R|L|H|F|AL|AR|PL|PR|LA|LP|RA|RP|FL|FR|FA|FP|HL|HR|HA|HP|LF|LH|RF|RH|PF|PH|AF|AH|LPF|LPH|RPF|RPH|LAF|LAH|RAF|RAH');

/** PS3.16 Annex L, and what consoles write beside it. */
const BODY_PARTS = list(
  `ABDOMEN|ABDOMENPELVIS|ABDOMEN_PELVIS|ABDOMEN PELVIS|AORTA|ARM|BLADDER|BODY|BRAIN|BREAST|CAROTID|CHEST|CHESTABDOMEN|CHESTABDPELVIS|
CHEST_ABDOMEN|CHEST ABDOMEN|CHEST/ABD|CHEST_TO_PELVIS|COLON|CORONARYARTERY|CSPINE|CTSPINE|EXTREMITY|FACE|FOOT|HAND|HEAD|HEADNECK|HEAD_NECK|
HEAD NECK|HEART|HIP|KIDNEY|KNEE|LEG|LIVER|LSPINE|LSSPINE|LUNG|LUNGS|MEDIASTINUM|NECK|NECKCHEST|NECKCHESTABDOMEN|NECKCHESTABDPELV|PANCREAS|
PARTIALBODY|PELVIS|PHANTOM|RIB|SHOULDER|SINUS|SKULL|SPINE|SPLEEN|SSPINE|STERNUM|THORAX|THORAX_ABDOMEN|TLSPINE|TORSO|TSPINE|WHOLEBODY|
WHOLE BODY|WHOLE_BODY|CHEST/ABD/PELVIS|CHEST ABD PELVIS|CHEST_ABD_PELVIS|CHEST/ABDOMEN/PELVIS|CHEST_PELVIS|CHEST/PELVIS|CHEST-ABDOMEN|CHESTPELVIS|
ABD|ABD/PELVIS|ABDOMEN/PELVIS|ABD_PELVIS|ABDOMINAL|C-SPINE|T-SPINE|L-SPINE|C SPINE|T SPINE|L SPINE|CERVICAL SPINE|THORACIC SPINE|LUMBAR SPINE|TORAX|TRUNK|
NECK_CHEST|NECK/CHEST|NECK CHEST|NECK THORAX|HEART/CORONARY|CORONARY|AIRWAY|TRACHEA|LARYNX|CLAVICLE|SCAPULA|HUMERUS|ELBOW|WRIST|FOREARM|FEMUR|THIGH|
ANKLE|CALCANEUS|TEMPORAL|ORBIT|ORBITS|MANDIBLE|MAXILLA|JAW|TMJOINT|UTERUS|PROSTATE|RENAL|LOWER LIMB|UPPER LIMB|LOWEREXTREMITY|UPPEREXTREMITY|SACRUM|
COCCYX|BILEDUCT|GALLBLADDER|ADRENAL|SPECIAL|VASCULAR|THORACICAORTA|ABDOMINALAORTA|PULMONARYARTERY`.replaceAll('\n', ''),
);

const CODE_STRINGS: ReadonlyMap<number, ReadonlySet<string>> = new Map(
  (
    [
      ['Modality', list('CT')],
      ['PatientPosition', list('HFS|HFP|HFDR|HFDL|FFS|FFP|FFDR|FFDL|LFP|LFS|RFP|RFS|AFDR|AFDL|PFDR|PFDL')],
      ['PatientOrientation', LETTERS],
      ['Laterality', list('R|L')],
      ['ImageLaterality', list('R|L|U|B')],
      ['BodyPartExamined', BODY_PARTS],
      ['QualityControlImage', list('YES|NO|BOTH')],
      ['RecognizableVisualFeatures', YES_NO],
      ['PresentationLUTShape', list('IDENTITY|INVERSE')],
      ['PresentationIntentType', list('FOR PRESENTATION|FOR PROCESSING')],
      ['PhotometricInterpretation', list('MONOCHROME1|MONOCHROME2')],
      ['VOILUTFunction', list('LINEAR|LINEAR_EXACT|SIGMOID')],
      ['LossyImageCompression', list('00|01')],
      [
        'LossyImageCompressionMethod',
        list('ISO_10918_1|ISO_14495_1|ISO_15444_1|ISO_15444_15|ISO_18181_1|ISO_13818_2|ISO_14496_10|ISO_23008_2'),
      ],
      ['BurnedInAnnotation', YES_NO],
      ['PixelSpacingCalibrationType', list('GEOMETRY|FIDUCIAL')],
      ['RotationDirection', list('CW|CC')],
      ['FilterMaterial', list('MOLYBDENUM|ALUMINUM|COPPER|RHODIUM|NIOBIUM|EUROPIUM|LEAD|MIXED|TIN|SN|TEFLON|TITANIUM|GRAPHITE')],
      [
        'ScanOptions',
        list(
          `HELICAL MODE|HELICAL_CT|HELICAL|HELIX|SPIRAL|AXIAL MODE|AXIAL|AXIAL_CT|SEQUENTIAL|SEQUENCE|NORMAL_CT|CINE MODE|CINE|SCOUT MODE|SURVIEW|
VOLUME|VOLUME_CT|DYNAMIC|FS|PER|RG|SP|SAT1|SAT2|FC|PFF|PFP|TAG_SPI_AVE|TAGGING|CARDIAC|CARDIAC_HELICAL|CARDIAC_GATING|HELICAL_PITCH|ULTRA_FAST|
FAST|DOSE_MODULATION|HALF_SCAN|FULL_SCAN|NONE|HELICAL SCAN|HELICAL SHUTTLE|AXIAL SHUTTLE|SHUTTLE MODE|VOLUME AXIAL MODE|VOLUME SHUTTLE|SNAPSHOT|
SNAPSHOT PULSE|SNAPSHOT SEGMENT|SNAPSHOT BURST|CARDIAC MODE|CARDIAC HELICAL|SMARTPREP|SMARTSTEP|BIOPSY MODE|SMART SCORE|GSI|GSI MODE|GSI HELICAL|
CCT|CLUSTER_AXIAL|CLUSTER AXIAL|CONT_AXIAL|CONTINUOUS|DUAL_ENERGY|DUAL ENERGY|DE|DUAL|FLASH|TOPOGRAM|SCANOGRAM|SCANOSCOPY|SCANO|S&S|S&V|S&D|
DVOLUME|DVOLUME_CT|D_VOLUME_CT|HELICAL_CTA|VARIABLE HELICAL|SURESTART|STEP_AND_SHOOT|STEP AND SHOOT|TRACKER|BOLUS|PERFUSION|JOG|ECG|ECG_GATED|
ECGGATED|RETRO|PROSP|RETROSPECTIVE|PROSPECTIVE|RESP|RESP_GATED|SFOV|LARGE|MEDIUM|SMALL|TILT|NORMAL|ROUTINE|HIGH_RES|HIGH RESOLUTION|LOW_DOSE|
LOW DOSE|SS|FW|CG|PPG|EDR|STD|SEQ|INTERMITTENT`.replaceAll('\n', ''),
        ),
      ],
      ['AcquisitionType', list('SEQUENCED|SPIRAL|CONSTANT_ANGLE|STATIONARY|FREE')],
      ['ReconstructionAlgorithm', list('FILTER_BACK_PROJ|ITERATIVE')],
      ['ConvolutionKernelGroup', list('BRAIN|SOFT_TISSUE|LUNG|BONE|CONSTANT_ANGLE')],
      [
        'ExposureModulationType',
        list(
          'NONE|XYZ_EC|XY_EC|Z_EC|ANGULAR|LONGITUDINAL|ATTENUATION|ATTENUATION_BASED|FIXED|ECG|ECG_BASED|ORGAN_BASED|AUTO|ON|OFF|3D|CARE_DOSE4D|ACS|ZDOM|DDOM',
        ),
      ],
      ['ConstantVolumeFlag', YES_NO],
      ['FluoroscopyFlag', YES_NO],
      ['MultienergyCTAcquisition', YES_NO],
      ['PositionReferenceIndicator', list('SN|OM|XY|IC|XP|SM|IL|MS|TRAGUS|NASION|STERNAL NOTCH|XIPHOID|ILIAC CREST|NONE|UNKNOWN')],
      ['ContrastBolusIngredient', list('IODINE|GADOLINIUM|CARBON DIOXIDE|BARIUM')],
    ] as const
  ).map(([keyword, terms]) => [tagOf(keyword), terms]),
);

const IMAGE_TYPE = tagOf('ImageType');
/** Words of ImageType's further values, which the standard leaves to the makers. */
const IMAGE_TYPE_WORDS = list(
  `|AXIAL|HELIX|HELICAL|CT_SOM5|CT_SOM7|CT_SOM8|CT_SOM10|SPI|SEQ|MON|TOP|DUAL|VOLUME|ADD|NORMAL|NORM|STANDARD|AVERAGE|AVG|CT|M|ND|DC|CENTER|SOURCE|VMI|KEV|
LOW|HIGH|DE|DS|MIX|STD|SNRG|DET_A|DET_B|DET_AB|FLASH|CARE|CSA|TT|BOLUS|REFORMATTED|LOCALIZER|MIXED|SAMPLED|NONE|RECON|ORIGINAL|PRIMARY|ECG|GATED|PHASE|CARD|CARDIAC|LUNG|HU|IMAR|MAR|FBP|ITERATIVE|SAFIRE|ADMIRE|ASIR|QUANTITY`.replaceAll(
    '\n',
    '',
  ),
);
const isImageType = (values: readonly string[]): boolean =>
  /^(?:ORIGINAL|DERIVED)$/.test(values[0] ?? '') &&
  /^(?:PRIMARY|SECONDARY)$/.test(values[1] ?? '') &&
  values.slice(2).every((value) => value.split(' ').every((word) => IMAGE_TYPE_WORDS.has(word) || /^\d{1,2}$/.test(word)));

/** The three values that every kept image has (PS3.3 C.8.2.1.1.1): what is written for an ImageType with others. */
export const isOpenImageType = (tag: number, value: string): boolean =>
  tag === IMAGE_TYPE && isImageType(valuesOf(value).slice(0, 3)) && !isImageType(valuesOf(value));

const MAKER_WORDS = list(
  'ge|g|e|mec|nms|dicom|systems|europe|china|japan|america|usa|shanghai|beijing|shenyang|wuhan|digital|imaging|laboratories',
);
const isMaker = (value: string): boolean => {
  const words = fold(value).match(/[\p{L}\p{N}]+/gu) ?? [];
  return /^[\w .,&/()-]*$/.test(value) && words.length <= 8 && words.every((word) => MANUFACTURERS.has(word) || MAKER_WORDS.has(word));
};

const MODEL_WORDS = new Set(
  `somatom definition sensation emotion perspective force drive edge go up now all top sim open pro scope spirit confidence cite volume zoom plus smile
balance esprit biograph mct vision horizon truepoint truev symbia naeotom alpha peak prime flash as x s t duo
lightspeed brightspeed revolution evo hd gsi frontier act maxima apex ascend optima discovery vct ultra qx i rt xtra select hispeed ct nxi fx dx naviray
prospeed zx ai lx elite st ste rx ls mi iq fxi rhapsode synergy pace
cxl cardiac tof in geminigxl insitumct e tsx
brilliance ict ingenuity core flex tf pet iqon spectral mx mx8000 idt access incisive gemini gxl big bore precedence cx slice elite tetra
aquilion one rxl lb lightning sp start exceed genesis vision nature multi asteion super alexion advance activion xvision xpress gx
scenaria supria eclos presto radix pronto view grande optica
neuviz glory extra essence ace classic epoch dual uct umi omega astound atlas orion
expert photon ctdi scenaria64 lightning64 scintcare anatom precision cereto ceretom bodytom nl3000 insitum thorax phantom ctstream synthetic syngo emi mobile`.split(
    /\s+/,
  ),
);
/** Numbers of models: rows, bores, types. Three digits at most, so that no id of more fits. */
const MODEL_NUMBER =
  /^(?:ct|tsx|sct|uct|umi|pct|mct|biograph|brilliance|lightspeed|brightspeed|neuviz|somatom|aquilion|activion|alexion|optima|sensation|emotion|supria|scenaria|anatom)?-?\d{1,3}[a-z]?\+?$/;
/** Emotion 16 (2007). */
const MODEL_YEAR = /^20[012]\d$/;
/** Siemens' numbers of Biograph, which stand alone too. */
const BIOGRAPHS: ReadonlySet<string> = new Set('1023 1024 1048 1062 1080 1093 1094 1104 1123 1512'.split(' '));
/** Numbers of four digits, and what else has no form, that stand beside a word of the maker's. */
const MODEL_TYPES: ReadonlySet<string> = new Set('5000 5100 5300 7500 6000 8000 3500 mx8000 rt16 rt4 ct850'.split(' '));
const isModel = (value: string): boolean => {
  const words = fold(value)
    .split(/[ /_.,()-]+/)
    .filter((word) => word !== '');
  const numbers = words.filter((word) => /\d/.test(word) && !MODEL_WORDS.has(word));
  const known = words.filter(
    (word) => MODEL_WORDS.has(word.replace(/\+$/, '')) || MANUFACTURERS.has(word) || /^biograph\d{1,3}$/.test(word),
  );
  return (
    numbers.length <= 2 &&
    words.every(
      (word) =>
        known.includes(word) ||
        MODEL_TYPES.has(word) ||
        BIOGRAPHS.has(word) ||
        MODEL_NUMBER.test(word) ||
        /^\dr$/.test(word) ||
        MODEL_YEAR.test(word),
    ) &&
    // Another number alone is a model of nobody.
    (BIOGRAPHS.has(value) ||
      known.length > 0 ||
      words.some((word) => /^[a-z]{2,}-?\d/.test(word)) ||
      words.length === 0 ||
      /^tsx-\d/i.test(value))
  );
};

/** Versions as Siemens, GE, Philips, Canon, Neusoft and United Imaging write them: a point, or the maker's letters. */
const VERSION = new RegExp(
  [
    String.raw`v?\d{1,3}(?:\.\d{1,5}){1,4}[a-z]?`,
    String.raw`v\d{1,2}\.\d{2}[a-z]{2}\d{3}`,
    String.raw`v[abcdegrx]\d{2}[a-z](?:[_ -]?(?:sp|su|hf)\d{1,2}[a-z]?)?`,
    String.raw`syngo ct (?:vb|va|20)\d{2}[a-z](?:[_ -]?(?:sp|su|hf)\d{1,2})?`,
    String.raw`(?:gmp|qin|hp|sles|revo|lightspeed|dm|wtr|kl|mcq|ct)_(?:vct|hde|ct|evo|apex)(?:[_.]\d{1,3}[a-z]?){1,4}`,
    String.raw`\d{2}(?:mw|bw|hw|lw)\d{2}\.\d{1,2}(?:_[a-z]_[a-z]\d{1,2})?`,
    String.raw`lightspeedapps\d{1,3}[a-z]?\.\d{1,2}(?:[._][a-z]?\d{1,2}[a-z]?){0,4}(?:\.\d[a-z]\d?)?`,
    String.raw`(?:revo|evo|apex|optima)_ct_\d{2}[a-z]{2}\.\d{1,3}`,
    String.raw`coreload\.\d{1,3}`,
    String.raw`\d{1,2}`,
    String.raw`r\d{1,3}\.\d{1,3}(?:\.\d{1,5}){0,3}`,
    String.raw`th\d{1,3} \d{1,2}(?:\.\d{1,2}){1,2}`,
    String.raw`ndp \d{1,2}(?:\.\d{1,3}){1,3}`,
    String.raw`(?:qin|coh|wtp)(?:\.\d{1,2}){1,2}`,
    String.raw`dm\d{2}hd\.\d{1,3}`,
    'lightspeedverrel',
    'ct va1 dummy',
  ]
    .join('|')
    .replace(/^(.*)$/s, '^(?:$1)$$'),
  'i',
);
/** A version that is a day as people write it: 12.04.2020, 2020.04.12. */
const DAY =
  /^v?(?:(?:0?[1-9]|[12]\d|3[01])\.(?:0?[1-9]|[12]\d|3[01])\.(?:19|20)\d\d|(?:19|20)\d\d\.(?:0?[1-9]|1[0-2])\.(?:0?[1-9]|[12]\d|3[01]))$/i;
const KERNEL = new RegExp(
  [
    // Siemens: B30f, Br40d, I70f; their iteration is a second value.
    String.raw`(?:b|br|bl|bv|bf|h|hr|hf|hv|hc|hn|hp|i|j|t|u|ub|ur|qr|qi|sa|d|c|s|a)\d{2}[fshdlmv]?`,
    String.raw`\d{1,2}`,
    // Canon and Neusoft.
    String.raw`fc\d{2}(?:-h)?|fl\d{2}|f\d{2}`,
    // Philips.
    String.raw`[abcdefl]|y[a-d]|e[abc]|x?c[abcd]|ub|ua|ia|sb|la|ld|lc|da|db|dc|i?r[abc]|lung ?enhanced|l[0-9]|imr[123]|sharp plus|s[abc]|brain routine|body (?:routine|soft tissue|sharp ?plus)`,
    // GE, and words of others.
    String.raw`(?:soft|standard|std|std\+|detail|lung|bone|boneplus|bone plus|edge|edge plus|chest|chst|ultra|smooth|sharp|medium|body|brain|head|abdomen|hd ?(?:standard|lung|bone|soft|edge|detail|boneplus|ultra)|[rxk]-(?:standard|soft|detail|lung|bone|edge|chest)|lung[_ ][abc]|(?:body|standard)[_ ][abc]|(?:b|h|l|c)_(?:soft|sharp|very_sharp|vsharp|standard|lung|bone|smooth)(?:_[a-d])?)\d?`,
  ]
    .join('|')
    .replace(/^(.*)$/s, '^(?:$1)$$'),
  'i',
);
const FILTER =
  /^(?:|\d|none|flat|wedge(?:_\d)?|butterfly|[sml]|small|medium|large|body|head|(?:small |medium |large |body |head )?(?:bowtie )?fil(?:ter)?|wedge_\d)$/i;

const GRAMMARS: ReadonlyMap<number, (value: string) => boolean> = new Map([
  [tagOf('Manufacturer'), isMaker],
  [tagOf('ManufacturerModelName'), isModel],
  [tagOf('SoftwareVersions'), (value: string) => VERSION.test(value) && !DAY.test(value)],
  [tagOf('ConvolutionKernel'), (value: string) => KERNEL.test(value)],
  [tagOf('FilterType'), (value: string) => FILTER.test(value)],
  // Phases of a dynamic or gated acquisition count from 1; a stack is one acquisition.
  [tagOf('StackID'), (value: string) => /^\d{1,3}$/.test(value)],
  [tagOf('RescaleType'), (value: string) => /^(?:HU|US|OD|HU_MOD|MGML|PCT|Z_EFF|ED|EDW)$/.test(value)],
  [tagOf('CodingSchemeVersion'), (value: string) => /^(?:\d{8}|\d{4}|\d{1,2}(?:\.\d{1,2})?[A-Za-z]?)$/.test(value)],
]);

const valuesOf = (value: string): string[] => value.split('\\').map((one) => one.replaceAll('\0', '').trim());

/** Whether a tag's values are closed: every CS of the profile, and the texts above. */
export const isClosedTag = (tag: number): boolean => tag === IMAGE_TYPE || CODE_STRINGS.has(tag) || GRAMMARS.has(tag);

/** Whether every value is of the tag's closed list or grammar; empty values are. False for a tag that has none. */
export const isClosedValue = (tag: number, value: string): boolean => {
  const values = valuesOf(value);
  if (tag === IMAGE_TYPE) return isImageType(values);
  const terms = CODE_STRINGS.get(tag);
  if (terms !== undefined) return values.length <= 8 && values.every((one) => one === '' || terms.has(one.toUpperCase()));
  const isOne = GRAMMARS.get(tag);
  return isOne !== undefined && values.length <= 4 && values.every((one) => one === '' || isOne(one));
};

/** PS3.3 C.12.1.1.2, Tables C.12-2 to C.12-5. */
const CHARSETS = list(
  `ISO_IR 100|ISO_IR 101|ISO_IR 109|ISO_IR 110|ISO_IR 144|ISO_IR 127|ISO_IR 126|ISO_IR 138|ISO_IR 148|ISO_IR 203|ISO_IR 13|ISO_IR 166|
ISO 2022 IR 6|ISO 2022 IR 100|ISO 2022 IR 101|ISO 2022 IR 109|ISO 2022 IR 110|ISO 2022 IR 144|ISO 2022 IR 127|ISO 2022 IR 126|ISO 2022 IR 138|
ISO 2022 IR 148|ISO 2022 IR 203|ISO 2022 IR 13|ISO 2022 IR 166|ISO 2022 IR 87|ISO 2022 IR 159|ISO 2022 IR 149|ISO 2022 IR 58|ISO_IR 192|GB18030|GBK`.replaceAll(
    '\n',
    '',
  ),
);

/** Whether all terms of Specific Character Set are defined ones; the first of several may be empty. */
export const areDefinedCharsets = (terms: readonly string[]): boolean =>
  terms.length <= 9 && terms.every((term, i) => CHARSETS.has(term) || (term === '' && i === 0 && terms.length > 1));

const MAKERS = [
  'SIEMENS',
  'GE',
  'Philips',
  'Toshiba',
  'Canon',
  'Hitachi',
  'Neusoft',
  'United Imaging',
  'Shimadzu',
  'Fujifilm',
  'Samsung',
  'Neurologica',
  'Elscint',
  'Picker',
  'Marconi',
  'Anke',
  'Sinovision',
  'Medtronic',
  'Carestream',
  'Ctstream Phantom',
] as const;

/** The maker as an event may say it: one of MAKERS, 'other', or 'unknown' when nothing is said. */
export const makerOf = (manufacturer: string): string => {
  const words = ` ${(fold(manufacturer).match(/[a-z]+/g) ?? []).join(' ')} `;
  if (words.trim() === '') return 'unknown';
  if (/ uih /.test(words)) return 'United Imaging';
  if (/ g e /.test(words)) return 'GE';
  return MAKERS.find((maker) => words.includes(` ${maker.toLowerCase()} `)) ?? 'other';
};
