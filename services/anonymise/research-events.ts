// What is told of an anonymised study: a pure function of its manifest, so every attempt tells the same.
// Nothing in the manifest or the event comes from a clinical id, a clock or a real date.
import type { Code } from '../kernel/codes.ts';
import type { ResearchRevision, ResearchStudyId, SiteId, SubjectId } from '../kernel/ids.ts';
import type { Published, StudyManifest } from '../kernel/manifest.ts';
import type { NewEvent } from '../kernel/outcome.ts';
import type { StudyFacts } from './study-survey.ts';

export const RESEARCH_BUCKET = 'ct-research';

export interface ResearchFacts extends Record<string, unknown>, StudyFacts {
  subjectId: SubjectId;
  site: SiteId;
  ordinal: number;
  dropped: readonly { code: Code; count: number }[];
  /** Attributes of all instances whose value was none of their closed list, so that they were emptied. */
  emptied: number;
}

export type ResearchManifest = StudyManifest & { readonly facts: ResearchFacts };

export const researchManifestKey = (study: ResearchStudyId, revision: ResearchRevision): string => `${study}/${revision}/manifest.json`;

/** StudyAnonymised; its cause is the manifest's hash, so no clinical id is its ancestor. */
export const anonymisedEvent = ({ manifest, sha256 }: Published<ResearchManifest>): NewEvent => {
  const { subjectId, site, ordinal, dropped, ageBand, sex, manufacturer } = manifest.facts;
  const [studyId, revision] = [manifest.study as ResearchStudyId, manifest.revision as ResearchRevision];
  const instances = manifest.series.flatMap((series) => series.instances);
  return {
    type: 'ctstream.research.v1.StudyAnonymised',
    cause: sha256,
    value: {
      studyId,
      subjectId,
      site,
      revision,
      ordinal,
      manifestKey: researchManifestKey(studyId, revision),
      manifestSha256: sha256,
      instanceCount: instances.length,
      dropped,
      // Whole megabytes, as in the clinical archive: the exact sum would join the study to a file listing.
      sizeBytes: Math.round(instances.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0) / 1e6) * 1e6,
      ageBand,
      sex,
      manufacturer,
    },
  };
};
