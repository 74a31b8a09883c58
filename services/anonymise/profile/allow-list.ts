// Standard tags that Table E.1-1 does not name and that a de-identified CT may carry: the technical
// attributes of the CT Image IOD's modules (PS3.3 A.3). What is in neither table is removed.

// Free text among them is cleaned word by word (CLEAN), structured values are kept (KEEP) after a
// check of their form, sequences are entered (ENTER) and their items judged by the same rules.

/** General Study, Series, Equipment, Image and SOP Common: structured values. */
const GENERAL = [
  'ImageType', 'SOPClassUID', 'Modality', 'Manufacturer', 'ManufacturerModelName', 'SoftwareVersions',
  'SeriesNumber', 'AcquisitionNumber', 'InstanceNumber', 'ImagesInAcquisition', 'PatientPosition',
  'PatientOrientation', 'Laterality', 'ImageLaterality', 'BodyPartExamined', 'ImagePositionPatient',
  'ImageOrientationPatient', 'SliceLocation', 'TemporalPositionIdentifier', 'NumberOfTemporalPositions',
  'TemporalResolution', 'QualityControlImage', 'RecognizableVisualFeatures', 'PresentationLUTShape',
  'SpatialResolution', 'PresentationIntentType',
] as const;

/** Image Pixel, VOI LUT, Modality LUT, lossy compression: how to read the pixels. */
const PIXELS = [
  'SamplesPerPixel', 'PhotometricInterpretation', 'Rows', 'Columns', 'PixelSpacing', 'PixelAspectRatio',
  'BitsAllocated', 'BitsStored', 'HighBit', 'PixelRepresentation', 'PlanarConfiguration',
  'SmallestImagePixelValue', 'LargestImagePixelValue', 'SmallestPixelValueInSeries',
  'LargestPixelValueInSeries', 'PixelPaddingValue', 'PixelPaddingRangeLimit', 'WindowCenter',
  'WindowWidth', 'VOILUTFunction', 'RescaleIntercept', 'RescaleSlope', 'RescaleType',
  'LossyImageCompression', 'LossyImageCompressionRatio', 'LossyImageCompressionMethod',
  'BurnedInAnnotation', 'PixelSpacingCalibrationType', 'NumberOfFrames', 'PixelData',
] as const;

/** CT Image, CT acquisition and dose, Contrast/Bolus. */
const CT = [
  'KVP', 'SliceThickness', 'SpacingBetweenSlices', 'DataCollectionDiameter', 'ReconstructionDiameter',
  'DistanceSourceToDetector', 'DistanceSourceToPatient', 'GantryDetectorTilt', 'GantryDetectorSlew',
  'TableHeight', 'RotationDirection', 'ExposureTime', 'XRayTubeCurrent', 'Exposure', 'ExposureInuAs',
  'ExposureTimeInuS', 'XRayTubeCurrentInuA', 'ExposureTimeInms', 'XRayTubeCurrentInmA', 'ExposureInmAs',
  'FilterType', 'FilterMaterial', 'GeneratorPower', 'FocalSpots', 'ConvolutionKernel', 'ScanOptions',
  'AcquisitionType', 'TubeAngle', 'RevolutionTime', 'SingleCollimationWidth', 'TotalCollimationWidth',
  'TableSpeed', 'TableFeedPerRotation', 'SpiralPitchFactor', 'DataCollectionCenterPatient',
  'ReconstructionTargetCenterPatient', 'ReconstructionFieldOfView', 'ReconstructionPixelSpacing',
  'ReconstructionAngle', 'ReconstructionAlgorithm', 'ConvolutionKernelGroup', 'ExposureModulationType',
  'EstimatedDoseSaving', 'CTDIvol', 'WaterEquivalentDiameter', 'ConstantVolumeFlag', 'FluoroscopyFlag',
  'TablePosition', 'ScanLength', 'ScanArc', 'AngularStep',
  'CalciumScoringMassFactorPatient', 'CalciumScoringMassFactorDevice',
  'EnergyWeightingFactor', 'MultienergyCTAcquisition', 'ContrastBolusVolume', 'ContrastBolusTotalDose',
  'ContrastFlowRate', 'ContrastFlowDuration', 'ContrastBolusIngredient', 'ContrastBolusIngredientConcentration',
  'ContrastBolusAgentNumber',
  'ReferencedFrameNumber',
] as const;

const CODES = ['CodeValue', 'CodingSchemeDesignator', 'CodingSchemeVersion', 'LongCodeValue'] as const;

/** UI attributes outside Table E.1-1 that keep their value when well known and are mapped when not. */
const UIDS = ['ReferencedSOPClassUID', 'ContextUID', 'MappingResourceUID', 'CodingSchemeUID'] as const;

const CLEAN = [
  'PositionReferenceIndicator', 'WindowCenterWidthExplanation', 'CodeMeaning', 'LUTExplanation', 'ContrastBolusRoute',
] as const;

const ENTER = [
  'CTDIPhantomTypeCodeSequence', 'CTExposureSequence', 'CTAdditionalXRaySourceSequence',
  'WaterEquivalentDiameterCalculationMethodCodeSequence', 'AnatomicRegionSequence',
  'AnatomicRegionModifierSequence', 'PrimaryAnatomicStructureSequence', 'ViewCodeSequence',
  'PatientOrientationCodeSequence', 'PatientOrientationModifierCodeSequence', 'PatientGantryRelationshipCodeSequence',
  'ContrastBolusAgentSequence', 'ContrastBolusIngredientCodeSequence', 'ContrastBolusAdministrationRouteSequence',
  'ProcedureCodeSequence', 'RequestedProcedureCodeSequence', 'PerformedProtocolCodeSequence',
  'ScheduledProtocolCodeSequence', 'DerivationCodeSequence', 'PurposeOfReferenceCodeSequence',
  'ReferencedSeriesSequence', 'ReferencedSOPSequence', 'ReferencedInstanceSequence', 'RealWorldValueMappingSequence',
] as const;

export type AllowedHow = 'keep' | 'uid' | 'clean' | 'recurse';

/** Keyword -> how an attribute outside Table E.1-1 is treated. */
export const ALLOWED: ReadonlyMap<string, AllowedHow> = new Map<string, AllowedHow>([
  ...[...GENERAL, ...PIXELS, ...CT, ...CODES].map((k): [string, AllowedHow] => [k, 'keep']),
  ...UIDS.map((k): [string, AllowedHow] => [k, 'uid']),
  ...CLEAN.map((k): [string, AllowedHow] => [k, 'clean']),
  ...ENTER.map((k): [string, AllowedHow] => [k, 'recurse']),
]);

/**
 * Coding schemes whose codes are public (PS3.16 section 8). A code of a local scheme is a text of
 * the hospital's own, so its item goes.
 */
export const PUBLIC_CODING_SCHEMES: ReadonlySet<string> = new Set([
  'DCM', 'SCT', 'SRT', 'SNM3', '99SDM', 'LN', 'RADLEX', 'FMA', 'UCUM', 'UMLS', 'ICD10', 'I10', 'I9', 'MA', 'NCIt', 'RXNORM', 'UNS',
]);
