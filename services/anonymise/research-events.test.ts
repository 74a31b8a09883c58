// The event of an anonymised study tells its size in whole megabytes.
import { expect, test } from '@jest/globals';
import type { SiteId, SubjectId } from '../kernel/ids.ts';
import { anonymisedEvent, type ResearchManifest } from './research-events.ts';

test.each([
  [65_390_028, 65_000_000],
  [499_999, 0],
])('%d bytes are told as %d', (sizeBytes, told) => {
  const halves = [Math.floor(sizeBytes / 2), Math.ceil(sizeBytes / 2)];
  const instances = halves.map((half) => ({
    sopInstanceUid: '',
    sopClassUid: '',
    transferSyntaxUid: '',
    offset: 0,
    sizeBytes: half,
    sha256: '',
  }));
  const facts = {
    subjectId: 'subject' as SubjectId,
    site: 'site' as SiteId,
    ordinal: 1,
    dropped: [],
    emptied: 0,
    ageBand: 'unknown',
    sex: 'unknown',
    manufacturer: 'unknown',
  } as ResearchManifest['facts'];
  const manifest: ResearchManifest = {
    format: 'ctstream-manifest/1',
    study: 'study',
    revision: 'revision',
    attempt: 'a',
    series: [{ seriesInstanceUid: '', modality: 'CT', object: '', sizeBytes, instances }],
    facts,
  };
  expect(anonymisedEvent({ manifest, sha256: '', ours: true }).value).toMatchObject({ sizeBytes: told, instanceCount: 2 });
});
