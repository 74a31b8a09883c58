// How a withdrawal names people: the ids that the vault's secrets give, and the key behind ISSUER:ID.
import { centreId } from '../kernel/ids.ts';
import type { ClinicalRevision, ResearchStudyId, SubjectId } from '../kernel/ids.ts';
import type { PatientKey } from '../ports/identity-vault.ts';
import { patientKeyOf, researchStudyId, subjectIdentity } from './identity.ts';
import type { IdentityRules } from './identity.ts';
import { heldIdOf } from './quarantine.ts';

/** Pseudonym, research study id and held id, as the stage derives them. */
export const RESEARCH_IDS = {
  subjectId: (secret: Uint8Array): SubjectId => subjectIdentity(secret).pseudonym,
  studyId: (secret: Uint8Array): ResearchStudyId => researchStudyId(secret),
  heldId: (secret: Uint8Array, revision: ClinicalRevision): string => heldIdOf(secret, revision),
};

/** Namespaces that are written with a colon of their own: `centre:c01` for files without an issuer. */
const STATED = /^(centre|issuer):([^:]+):(.+)$/su;
const PLAIN = /^([^:]+):(.+)$/su;

/**
 * The key of `ISSUER:ID`, made as from a file that states both: issuer as in IssuerOfPatientID (0010,0021) or the centre's
 * configured namespace; `centre:<centre id>:ID` where neither is there. Undefined when it can be nobody's.
 */
export const patientKeyOfText = (text: string, rules?: IdentityRules): PatientKey | undefined => {
  const [, kind, name, id] = STATED.exec(text) ?? [undefined, 'issuer', ...(PLAIN.exec(text)?.slice(1) ?? [])];
  if (name === undefined || id === undefined) return undefined;
  const ofCentre = kind === 'centre';
  const key = patientKeyOf(
    { patientIds: [id], issuer: ofCentre ? undefined : name, others: [] },
    centreId(ofCentre ? name : 'none'),
    ofCentre || rules === undefined ? undefined : rules,
  );
  return key === 'NO_PATIENT_IDENTITY' ? undefined : key;
};
