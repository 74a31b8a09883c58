// Orthanc's own REST interface: its change feed, and the hash that it keeps of each file.
import { z } from 'zod';
import { Fault } from '../kernel/fault.ts';
import type { StudyInstanceUid } from '../kernel/ids.ts';
import type { Change, ChangePage, PacsChanges } from '../ports/dicomweb.ts';
import { basicAuth, PACS_TIMEOUT_MS, pacsFetch, rootOf, wholeBody } from './dicomweb-http.ts';
import type { PacsOptions } from './dicomweb-http.ts';

const LIMIT_BYTES = 128 * 1024 * 1024;
/** Requests for hashes at a time; 0.2 ms each on loopback. */
const HASH_REQUESTS = 6;

const changesShape = z.object({
  Changes: z.array(z.object({ ChangeType: z.string(), ID: z.string(), Seq: z.number().int() })),
  Done: z.boolean(),
  Last: z.number().int(),
});
const resourcesShape = z.array(z.looseObject({ ID: z.string(), MainDicomTags: z.record(z.string(), z.string()).optional() }));
const lookupShape = z.array(z.object({ ID: z.string(), Type: z.string() }));

interface Rest {
  get(path: string, signal: AbortSignal): Promise<Buffer | undefined>;
  post(path: string, body: string, signal: AbortSignal): Promise<Buffer | undefined>;
}

function rest(o: PacsOptions & { orthancUrl: string }): Rest {
  const what = `Orthanc REST of centre ${o.centre}`;
  const timeoutMs = o.timeoutMs ?? PACS_TIMEOUT_MS;
  const call = async (method: 'GET' | 'POST', path: string, body: string | undefined, signal: AbortSignal): Promise<Buffer | undefined> => {
    const response = await pacsFetch({
      what,
      url: `${rootOf(o.orthancUrl)}${path}`,
      method,
      authorization: basicAuth(o),
      timeoutMs,
      signal,
      ...(body === undefined ? {} : { body }),
    });
    const bytes = await wholeBody(response, what, LIMIT_BYTES, timeoutMs, signal);
    return response.status === 404 ? undefined : bytes;
  };
  return { get: (path, signal) => call('GET', path, undefined, signal), post: (path, body, signal) => call('POST', path, body, signal) };
}

function parsed<T>(shape: z.ZodType<T>, bytes: Buffer | undefined, what: string): T {
  let value: unknown;
  try {
    value = bytes === undefined ? undefined : (JSON.parse(bytes.toString('utf8')) as unknown);
  } catch {
    value = undefined;
  }
  const result = shape.safeParse(value);
  if (!result.success) throw new Fault('PACS_ERROR', true, `${what}: not the answer of an Orthanc`);
  return result.data;
}

// A changed header is an update of metadata in Orthanc only; new bytes are always a NewInstance.
const KINDS: Readonly<Record<string, Change['kind']>> = { NewInstance: 'touched', StableStudy: 'stable' };

/** Changes of one kind that follow each other, together: to ask for the study of each is slow, and their order counts. */
function runsOf(changes: z.output<typeof changesShape>['Changes']): { kind: Change['kind']; ids: string[] }[] {
  const runs: { kind: Change['kind']; ids: string[] }[] = [];
  for (const { ChangeType, ID } of changes) {
    const kind = KINDS[ChangeType];
    if (kind === undefined) continue;
    if (runs.at(-1)?.kind === kind) runs.at(-1)?.ids.push(ID);
    else runs.push({ kind, ids: [ID] });
  }
  return runs;
}

/** Change feed and hashes of the Orthanc at `orthancUrl` (its REST root, not its DICOMweb root). */
export function orthancChanges(o: PacsOptions & { orthancUrl: string }): PacsChanges {
  const api = rest(o);
  const what = `Orthanc of centre ${o.centre}`;

  /** Study UIDs that resources of any level belong to. What was deleted meanwhile is left out. */
  const studiesOf = async (ids: readonly string[], signal: AbortSignal): Promise<StudyInstanceUid[]> => {
    if (ids.length === 0) return [];
    const rows = parsed(
      resourcesShape,
      await api.post('/tools/bulk-content', JSON.stringify({ Resources: ids, Level: 'Study', Metadata: false }), signal),
      what,
    );
    return rows.map((r) => (r.MainDicomTags?.['StudyInstanceUID'] ?? '') as StudyInstanceUid);
  };

  return {
    async since(sequence, limit, signal): Promise<ChangePage> {
      const page = parsed(changesShape, await api.get(`/changes?since=${sequence}&limit=${limit}`, signal), what);
      const changes: Change[] = [];
      for (const { kind, ids } of runsOf(page.Changes)) changes.push({ kind, studies: await studiesOf(ids, signal) });
      return { changes, last: page.Last, done: page.Done };
    },

    async hashes(study, signal) {
      const found = parsed(lookupShape, await api.post('/tools/lookup', study, signal), what).filter((r) => r.Type === 'Study');
      const ids: { id: string; sop: string }[] = [];
      for (const { ID } of found) {
        const bytes = await api.get(`/studies/${ID}/instances`, signal);
        if (bytes === undefined) continue;
        for (const row of parsed(resourcesShape, bytes, what)) ids.push({ id: row.ID, sop: row.MainDicomTags?.['SOPInstanceUID'] ?? '' });
      }
      const hashes = new Map<string, string>();
      let next = 0;
      const work = async (): Promise<void> => {
        for (let i = next++; i < ids.length; i = next++) {
          const { id, sop } = ids[i] as { id: string; sop: string };
          const md5 = (await api.get(`/instances/${id}/attachments/dicom/md5`, signal))?.toString('latin1').trim();
          if (md5 === undefined || !/^[0-9a-f]{32}$/.test(md5)) continue;
          // One SOPInstanceUID under two patients: both hashes count, in a fixed order.
          hashes.set(sop, [...(hashes.get(sop)?.split(',') ?? []), md5].sort().join(','));
        }
      };
      await Promise.all(Array.from({ length: HASH_REQUESTS }, work));
      return hashes;
    },
  };
}
