// What the holder of a PACS knows of its studies: asked of the real Orthanc, file by file.
import { sha256Hex } from '../../../services/kernel/digest.ts';
import type { OrthancInstance } from '../../../deploy/local/platform.ts';

export interface KnownInstance {
  readonly seriesInstanceUid: string;
  readonly sopInstanceUid: string;
  readonly md5: string;
  readonly sha256: string;
}

export interface KnownStudy {
  readonly centre: string;
  readonly studyInstanceUid: string;
  readonly patientId: string;
  readonly issuer: string;
  readonly instances: readonly KnownInstance[];
  /** Every value of the study's headers, Orthanc's own ids and times. */
  readonly values: readonly string[];
}

type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json };

function leaves(value: Json): string[] {
  if (value === null || typeof value === 'boolean') return [];
  if (typeof value !== 'object') return [String(value)];
  return Object.values(value).flatMap((v) => leaves(v as Json));
}

interface OrthancStudy {
  readonly ID: string;
  readonly LastUpdate: string;
  readonly MainDicomTags: Readonly<Record<string, string>>;
  readonly PatientMainDicomTags: Readonly<Record<string, string>>;
  readonly ParentPatient: string;
  readonly Series: readonly string[];
}

/** Every study of the PACS. */
export async function knownStudies(pacs: OrthancInstance): Promise<KnownStudy[]> {
  const headers = { authorization: `Basic ${Buffer.from(`${pacs.username}:${pacs.password}`).toString('base64')}` };
  const get = async (path: string): Promise<Response> => {
    const response = await fetch(`${pacs.baseUrl.replace(/\/$/, '')}${path}`, { headers });
    if (!response.ok) throw new Error(`Orthanc answered ${response.status} to ${path}`);
    return response;
  };
  const json = async <T>(path: string): Promise<T> => (await (await get(path)).json()) as T;
  const known: KnownStudy[] = [];
  for (const study of await json<OrthancStudy[]>('/studies?expand')) {
    const instances: KnownInstance[] = [];
    const values = new Set([
      study.ID,
      study.ParentPatient,
      study.LastUpdate,
      ...leaves(study.MainDicomTags),
      ...leaves(study.PatientMainDicomTags),
      ...study.Series,
    ]);
    let issuer = '';
    for (const series of await json<{ ID: string; Instances: string[]; MainDicomTags: Record<string, string> }[]>(
      `/studies/${study.ID}/series`,
    )) {
      const tags = await json<Record<string, Json>>(`/instances/${series.Instances[0] ?? ''}/simplified-tags`);
      for (const leaf of leaves(tags)) if (leaf.length < 200) values.add(leaf);
      if (typeof tags['IssuerOfPatientID'] === 'string') issuer = tags['IssuerOfPatientID'];
      values.add(series.Instances[0] ?? '');
      for (const id of series.Instances) {
        const file = new Uint8Array(await (await get(`/instances/${id}/file`)).arrayBuffer());
        const of = await json<{ MainDicomTags: Record<string, string> }>(`/instances/${id}`);
        const md5 = await (await get(`/instances/${id}/attachments/dicom/md5`)).text();
        instances.push({
          seriesInstanceUid: series.MainDicomTags['SeriesInstanceUID'] ?? '',
          sopInstanceUid: of.MainDicomTags['SOPInstanceUID'] ?? '',
          md5,
          sha256: sha256Hex(file),
        });
      }
    }
    known.push({
      centre: pacs.centre,
      studyInstanceUid: study.MainDicomTags['StudyInstanceUID'] ?? '',
      patientId: study.PatientMainDicomTags['PatientID'] ?? '',
      issuer,
      instances,
      values: [...values],
    });
  }
  return known;
}
