// Ingest's events. Those of a stored study are a pure function of its manifest, so every attempt tells the same.
import type { EventIn } from '../kernel/stage.ts';
import type { Code } from '../kernel/codes.ts';
import { digestOfParts } from '../kernel/digest.ts';
import type { CentreId, ClinicalRevision, StudyInstanceUid } from '../kernel/ids.ts';
import type { ManifestSeries, Published, StudyManifest } from '../kernel/manifest.ts';
import type { NewEvent } from '../kernel/outcome.ts';

export type Available = EventIn<'ctstream.clinical.v1.StudyAvailable'>;

/** What ingest puts into a manifest beside the instances. */
export interface IngestFacts extends Record<string, unknown> {
  readonly centre: string;
  readonly sequence: number;
  readonly contentDigest: string;
  readonly instanceCount: number;
  readonly sizeBytes: number;
  /** 'content': the announced hashes are those of the files that came; 'list': the server gives no hashes. */
  readonly verified: 'content' | 'list';
  /** Instances in another syntax than the server says it stores (TRANSCODED_BY_SOURCE). */
  readonly transcodedBySource: number;
  /** Instances that came twice with the same bytes and are kept once. */
  readonly duplicates: number;
  /** Revision as it was announced, when the study is stored under another (see standing.ts). */
  readonly announced?: string;
}

export type ClinicalManifest = StudyManifest & { readonly facts: IngestFacts };

/** SHA-256 (hex) over the sorted (SOPInstanceUID, SHA-256 of the file) list. */
export function contentDigest(series: readonly ManifestSeries[]): string {
  return digestOfParts(series.flatMap((s) => s.instances.map((i) => `${i.sopInstanceUid}/${i.sha256}`)).sort());
}

export function manifestKeyOf(centre: string, study: string, revision: string): string {
  return `${centre}/${study}/${revision}/manifest.json`;
}

/** StudyStored and the status for the centre, from the manifest alone. */
export function storedEvents(published: Published<ClinicalManifest>): NewEvent[] {
  const { manifest, sha256 } = published;
  const { facts } = manifest;
  const study = {
    centre: facts.centre as CentreId,
    studyInstanceUid: manifest.study as StudyInstanceUid,
    revision: manifest.revision as ClinicalRevision,
  };
  return [
    {
      type: 'ctstream.clinical.v1.StudyStored',
      cause: sha256,
      value: {
        ...study,
        sequence: facts.sequence,
        manifestKey: manifestKeyOf(facts.centre, manifest.study, manifest.revision),
        manifestSha256: sha256,
        contentDigest: facts.contentDigest,
        seriesCount: manifest.series.length,
        instanceCount: facts.instanceCount,
        sizeBytes: facts.sizeBytes,
      },
    },
    {
      type: 'ctstream.clinical.v1.StudyStatus',
      cause: sha256,
      // The gateway knows the revision that it announced.
      value: {
        ...study,
        revision: (facts.announced ?? manifest.revision) as ClinicalRevision,
        state: 'stored',
        code: null,
        instanceCount: facts.instanceCount,
      },
    },
  ];
}

/** What the centre is told of a study that is not stored. */
export function statusEvent(event: Available, centre: string, state: 'rejected' | 'waiting', code: Code): NewEvent {
  const { studyInstanceUid, revision } = event.value;
  return {
    type: 'ctstream.clinical.v1.StudyStatus',
    value: { centre: centre as CentreId, studyInstanceUid, revision, state, code, instanceCount: 0 },
  };
}
