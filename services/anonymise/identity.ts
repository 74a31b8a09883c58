// What a patient's secret decides: pseudonym, UIDs and date shift; what a study's secret decides:
// research ids. And when two ids mean the same patient. Pure: the vault draws the secrets.
import { createHmac, createSecretKey } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { isWellKnownUid, uidFromBytes } from '../dicom/uid.ts';
import type { CentreId, ClinicalRevision, ResearchRevision, ResearchStudyId, ResearchUid, SubjectId } from '../kernel/ids.ts';
import type { PatientKey } from '../ports/identity-vault.ts';

const SECRET_BYTES = 32;
const BASE32 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';

/** HMAC-SHA-256 of a purpose and its parts; lengths are in, so no two lists of parts give the same bytes. */
const derive = (secret: Uint8Array | KeyObject, purpose: string, ...parts: readonly string[]): Buffer => {
  const size = secret instanceof Uint8Array ? secret.length : secret.symmetricKeySize;
  if (size !== SECRET_BYTES) throw new Error(`a secret has ${SECRET_BYTES} bytes, not ${size}`);
  const hmac = createHmac('sha256', secret).update(`ctstream/${purpose}/1`);
  for (const part of parts) hmac.update(`\n${Buffer.byteLength(part)}:`).update(part);
  return hmac.digest();
};

/** RFC 4648 base32 of the first 5 bytes per 8 characters; `chars` is a multiple of 8. */
const base32 = (bytes: Uint8Array, chars: number): string => {
  let bits = 0n;
  const used = (chars / 8) * 5;
  for (const byte of bytes.subarray(0, used)) bits = (bits << 8n) | BigInt(byte);
  return Array.from({ length: chars }, (_, i) => BASE32[Number((bits >> BigInt(5 * (chars - 1 - i))) & 31n)]).join('');
};

export interface SubjectIdentity {
  /** 'S' and 16 base32 characters. */
  pseudonym: SubjectId;
  /** Days that every date of the patient moves: whole weeks, at least `minWeeks`, either direction. */
  shiftDays: number;
  /** 2.25 UID for an original one; well-known UIDs stay as they are. Memoised. */
  mapUid(uid: string): string;
}

export interface ShiftLimits {
  minWeeks: number;
  maxWeeks: number;
}

/** Two years each way at most: seasons blur, ages stay right within the de-identified file. */
export const DEFAULT_SHIFT: ShiftLimits = { minWeeks: 52, maxWeeks: 104 };

/** Pseudonym, UID map and date shift of the patient with this 32-byte secret. */
export const subjectIdentity = (secret: Uint8Array, limits: ShiftLimits = DEFAULT_SHIFT): SubjectIdentity => {
  if (limits.minWeeks < 52 || limits.maxWeeks < limits.minWeeks)
    throw new Error('the date shift needs at least 52 weeks and maxWeeks not under minWeeks');
  const known = new Map<string, string>();
  // A key made once: making it anew for each UID takes as long as the HMAC.
  const key = createSecretKey(secret);
  return {
    pseudonym: `S${base32(derive(secret, 'pseudonym'), 16)}` as SubjectId,
    shiftDays: shiftDaysOf(derive(secret, 'date-shift'), limits),
    mapUid: (uid) => {
      const found = known.get(uid);
      if (found !== undefined) return found;
      const mapped = isWellKnownUid(uid) ? uid : uidFromBytes(derive(key, 'uid', uid).subarray(0, 16));
      known.set(uid, mapped);
      return mapped;
    },
  };
};

// 48 bits over a few dozen choices: the bias is under 2^-40.
const shiftDaysOf = (bytes: Buffer, { minWeeks, maxWeeks }: ShiftLimits): number => {
  const choices = maxWeeks - minWeeks + 1;
  const weeks = minWeeks + (bytes.readUIntBE(0, 6) % choices);
  return 7 * ((bytes[6] ?? 0) & 1 ? weeks : -weeks);
};

/** 'R' and 16 base32 characters, under the study's own secret: no clinical id leads to it. */
export const researchStudyId = (studySecret: Uint8Array): ResearchStudyId =>
  `R${base32(derive(studySecret, 'study'), 16)}` as ResearchStudyId;

/** Research id of one revision of the study. 24 base32 characters. */
export const researchRevision = (studySecret: Uint8Array, revision: ClinicalRevision): ResearchRevision =>
  base32(derive(studySecret, 'revision', revision), 24) as ResearchRevision;

export const researchUid = (identity: SubjectIdentity, uid: string): ResearchUid => identity.mapUid(uid) as ResearchUid;

/** What a file says of its patient: raw, decoded values. */
export interface StatedIdentity {
  /** PatientID (0010,0020), every value. */
  patientIds: readonly string[];
  /** IssuerOfPatientID (0010,0021), or the universal id of its qualifiers. */
  issuer: string | undefined;
  /** OtherPatientIDsSequence (0010,1002). */
  others: readonly { id: string; issuer: string }[];
}

export interface IdentityRules {
  /** What stands for the issuer when a file names none: the centre's own. */
  namespaceOfCentre(centre: CentreId): string;
  /** Issuers whose ids hold for the whole city; such an id wins over the centre's. */
  cityIssuers: ReadonlyMap<string, CityIssuer>;
}

export interface CityIssuer {
  namespace: string;
  /** Normalises an id; undefined when its form or check digit is wrong: then it is not used. */
  normalise(id: string): string | undefined;
}

export const DEFAULT_IDENTITY_RULES: IdentityRules = {
  namespaceOfCentre: (centre) => `centre:${centre}`,
  cityIssuers: new Map(),
};

/** Ids that scanners and clerks write for 'nobody': compared without case, spaces and punctuation. */
const PLACEHOLDERS = new Set([
  '',
  'UNKNOWN',
  'UNK',
  'UNKN',
  'TEST',
  'TESTPATIENT',
  'NONE',
  'NULL',
  'NA',
  'NAN',
  'NO',
  'NOID',
  'ANON',
  'ANONYMOUS',
  'ANONYMIZED',
  'ANONYMISED',
  'EMPTY',
  'DEFAULT',
  'PATIENT',
  'EMERGENCY',
  'QA',
  'PHANTOM',
  'SERVICE',
  'TEMP',
  'UNDEFINED',
  'НЕИЗВЕСТНО',
  'НЕИЗВЕСТНЫЙ',
  'НЕИЗВЕСТЕН',
  'НЕТ',
  'ТЕСТ',
  'ПУСТО',
  'АНОНИМ',
]);

const isPlaceholder = (id: string): boolean => {
  const bare = id.toUpperCase().replace(/[^\p{L}\p{N}]/gu, '');
  // 0, 000, 99999999, xxxx: one character over and over says nothing of anyone.
  return PLACEHOLDERS.has(bare) || (/^(.)\1*$/u.test(bare) && (bare.length > 3 || /^[0X]+$/.test(bare))) || /^(TEST|ТЕСТ)\d*$/.test(bare);
};

/**
 * The key under which the vault knows the patient, or 'NO_PATIENT_IDENTITY'. Issuer and id must both
 * agree for two files to be the same patient; a missing issuer is the centre's namespace, so bare ids
 * are never compared across centres. Case and inner spaces of an id are kept: '12a' may not be '12A'.
 */
export const patientKeyOf = (
  stated: StatedIdentity,
  centre: CentreId,
  rules: IdentityRules = DEFAULT_IDENTITY_RULES,
): PatientKey | 'NO_PATIENT_IDENTITY' => {
  if (stated.patientIds.length !== 1) return 'NO_PATIENT_IDENTITY';
  const patientId = (stated.patientIds[0] ?? '').trim().normalize('NFC');
  if (isPlaceholder(patientId)) return 'NO_PATIENT_IDENTITY';
  for (const other of [...stated.others, { id: patientId, issuer: stated.issuer ?? '' }]) {
    const city = rules.cityIssuers.get(other.issuer.trim());
    const id = city?.normalise(other.id.trim());
    if (city && id !== undefined && id !== '') return { namespace: city.namespace, patientId: id };
  }
  const issuer = stated.issuer?.trim().normalize('NFC');
  return { namespace: issuer ? `issuer:${issuer}` : namespaceForm(rules.namespaceOfCentre(centre)), patientId };
};

// A configured namespace and the same issuer in a file are one thing; 'centre:c01' is no issuer's name.
const namespaceForm = (namespace: string): string =>
  /^(?:centre|issuer):/.test(namespace) ? namespace : `issuer:${namespace.trim().normalize('NFC')}`;

/**
 * What one file of a study says, filled up by the others: a dose sheet often states the id and nothing
 * else. Issuer and other ids come from files with the same id, when those agree.
 */
export const filledUp = (stated: StatedIdentity, study: readonly StatedIdentity[]): StatedIdentity => {
  const same = study.filter(({ patientIds }) => JSON.stringify(patientIds) === JSON.stringify(stated.patientIds));
  const only = <T>(values: readonly T[]): T | undefined =>
    new Set(values.map((value) => JSON.stringify(value))).size === 1 ? values[0] : undefined;
  const issuers = same.flatMap(({ issuer }) => (issuer?.trim() ? [issuer.trim()] : []));
  return {
    ...stated,
    issuer: stated.issuer?.trim() ? stated.issuer : only(issuers),
    others: stated.others.length > 0 ? stated.others : (only(same.flatMap(({ others }) => (others.length > 0 ? [others] : []))) ?? []),
  };
};
