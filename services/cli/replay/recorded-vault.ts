// The vault as a replay sees it: the same rows give the same ids, and nothing is drawn, moved or denied.
import type { ClinicalKey, ClinicalRevision, ResearchRevision, ResearchStudyId } from '../../kernel/ids.ts';
import { clinicalKey } from '../../kernel/ids.ts';
import { researchRevision, researchStudyId } from '../../anonymise/identity.ts';
import { Fault } from '../../kernel/fault.ts';
import type { IdentityVault, Lineage } from '../../ports/identity-vault.ts';

export interface RecordedVault {
  readonly vault: IdentityVault;
  /** Research names of a stored revision; undefined for a study that the vault does not know: nobody has looked at it yet. */
  names(
    study: ClinicalKey,
    revision: ClinicalRevision,
  ): { readonly studyId: ResearchStudyId; readonly revision: ResearchRevision } | undefined;
}

/** @param ordinalOf number of a published revision, as its event tells */
export async function recordedVault(
  real: IdentityVault,
  ordinalOf: (studyId: ResearchStudyId, revision: ResearchRevision) => number | undefined,
  signal: AbortSignal,
): Promise<RecordedVault> {
  const rows = new Map<ClinicalKey, Lineage>();
  for await (const row of real.lineages(signal)) rows.set(clinicalKey(row.centre, row.studyInstanceUid), row);
  const rowOf = (study: ClinicalKey): Lineage => {
    const row = rows.get(study);
    if (row === undefined) throw new Fault('VAULT_UNAVAILABLE', false, 'the vault does not know the study, and a replay draws no ids');
    return row;
  };
  const names: RecordedVault['names'] = (study, revision) => {
    const row = rows.get(study);
    if (row === undefined) return undefined;
    return { studyId: researchStudyId(row.secret), revision: researchRevision(row.secret, revision) };
  };
  const vault: IdentityVault = {
    ...real,
    // A study that is in the vault has drawn its patient's row before.
    subject: (key, signal) => real.subject(key, signal),
    study: async (_seen, centre, study, revision) => {
      const key = clinicalKey(centre, study);
      const { lineageId, token, secret } = rowOf(key);
      const ordinal = ordinalOf(researchStudyId(secret), researchRevision(secret, revision)) ?? 0;
      return { lineageId, token, secret, ordinal };
    },
    token: async (centre, study) => rowOf(clinicalKey(centre, study)),
    tokens: async (centre, studies) => new Map(studies.map((study) => [study, rowOf(clinicalKey(centre, study))])),
    denyStudy: async () => undefined,
    close: async () => undefined,
  };
  return { vault, names };
}
