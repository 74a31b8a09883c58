// What tests of the stage need: a study in ct-clinical with its event.
import { SOP_CLASS } from '../dicom/uid.ts';
import { sha256Hex } from '../kernel/digest.ts';
import { centreId } from '../kernel/ids.ts';
import type { ClinicalRevision, StudyInstanceUid } from '../kernel/ids.ts';
import { canonicalJson } from '../kernel/manifest.ts';
import type { StudyManifest } from '../kernel/manifest.ts';
import type { EventIn } from '../kernel/stage.ts';
import { TAR_HEADER_BYTES, tarHeader, tarPadding } from '../kernel/tar.ts';
import type { ObjectStore } from '../ports/object-store.ts';
import { SERIES_UID, sopUidOf, STUDY_UID } from './test-support.ts';

export const CENTRE = centreId('c01');

/** A study in ct-clinical as ingest leaves it, and its event. */
export const storedStudy = async (
  store: ObjectStore,
  files: readonly Uint8Array[],
  revision = 'a'.repeat(32),
  sequence = 1,
  sopClassUids: readonly string[] = [],
): Promise<EventIn<'ctstream.clinical.v1.StudyStored'>> => {
  const parts: Uint8Array[] = [];
  let offset = 0;
  const instances = files.map((bytes, i) => {
    parts.push(tarHeader(`${i}.dcm`, bytes.length), bytes, tarPadding(bytes.length));
    const entry = {
      sopInstanceUid: sopUidOf(i + 1),
      sopClassUid: sopClassUids[i] ?? SOP_CLASS.CTImageStorage,
      transferSyntaxUid: '1.2.840.10008.1.2.1',
      offset: offset + TAR_HEADER_BYTES,
      sizeBytes: bytes.length,
      sha256: sha256Hex(bytes),
    };
    offset += TAR_HEADER_BYTES + Math.ceil(bytes.length / TAR_HEADER_BYTES) * TAR_HEADER_BYTES;
    return entry;
  });
  const prefix = `${CENTRE}/${STUDY_UID}/${revision}`;
  await store.put('ct-clinical', `${prefix}/x/${SERIES_UID}.tar`, Buffer.concat(parts));
  const manifest: StudyManifest = {
    format: 'ctstream-manifest/1',
    study: STUDY_UID,
    revision,
    attempt: 'x',
    series: [{ seriesInstanceUid: SERIES_UID, modality: 'CT', object: `${prefix}/x/${SERIES_UID}.tar`, sizeBytes: offset, instances }],
    facts: { sequence },
  };
  const bytes = canonicalJson(manifest);
  await store.put('ct-clinical', `${prefix}/manifest.json`, bytes);
  return {
    type: 'ctstream.clinical.v1.StudyStored' as const,
    id: 'clinical-event-id',
    source: 's',
    timeMs: 1,
    topic: 'ct.clinical.study-stored.v1',
    partition: 0,
    offset: 0n,
    key: '',
    value: {
      centre: CENTRE,
      studyInstanceUid: STUDY_UID as StudyInstanceUid,
      revision: revision as ClinicalRevision,
      sequence,
      manifestKey: `${prefix}/manifest.json`,
      manifestSha256: sha256Hex(bytes),
      contentDigest: '',
      seriesCount: 1,
      instanceCount: files.length,
      sizeBytes: offset,
    },
  };
};
