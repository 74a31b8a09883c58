// Branded ids. Identified (clinical) and research ids are different types, so that mixing them does not compile.

export type Brand<Name extends string> = string & { readonly __brand: Name };

/** Id of a CT centre: 1-24 of a-z, 0-9 and '-', as it stands in topic names. */
export type CentreId = Brand<'CentreId'>;
/** StudyInstanceUID as the centre gave it. Never crosses the trust boundary. */
export type StudyInstanceUid = Brand<'StudyInstanceUid'>;
export type ClinicalRevision = Brand<'ClinicalRevision'>;
/** Key of every clinical record of a study: `<centre>|<StudyInstanceUID>`. */
export type ClinicalKey = Brand<'ClinicalKey'>;

export type ResearchStudyId = Brand<'ResearchStudyId'>;
export type SubjectId = Brand<'SubjectId'>;
export type SiteId = Brand<'SiteId'>;
export type ResearchRevision = Brand<'ResearchRevision'>;
export type ResearchUid = Brand<'ResearchUid'>;

const CENTRE_ID = /^[a-z0-9](?:[a-z0-9-]{0,22}[a-z0-9])?$/;

/** @throws Error when the text can't be a centre's id (it would not fit a topic name). */
export function centreId(text: string): CentreId {
  if (!CENTRE_ID.test(text)) throw new Error(`'${text}' is no centre id: use 1-24 of a-z, 0-9 and '-'`);
  return text as CentreId;
}

// PS3.5 9.1, widened: some old scanners wrote leading zeros. Nothing else may stand in an object's name, and neither may '.' or '..'.
const UID = /^(?=.*[0-9])[0-9.]{1,64}$/;

/** Whether a text can be a DICOM UID, and part of an object's name. */
export function isUid(text: string): boolean {
  return UID.test(text);
}

export function clinicalKey(centre: CentreId, study: StudyInstanceUid): ClinicalKey {
  return `${centre}|${study}` as ClinicalKey;
}

/** Takes a clinical key apart. @throws Error when it has no '|'. */
export function parseClinicalKey(key: string): { centre: CentreId; studyInstanceUid: StudyInstanceUid } {
  const bar = key.indexOf('|');
  if (bar < 1) throw new Error('a clinical key is <centre>|<StudyInstanceUID>');
  return { centre: centreId(key.slice(0, bar)), studyInstanceUid: key.slice(bar + 1) as StudyInstanceUid };
}
