// One Orthanc per centre: its PACS, with DICOMweb, its own storage and its own password.
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { LocalEnv } from './env.ts';
import type { ProcessSpec } from './processes.ts';
import type { Tools } from './tools.ts';

/** What is needed to talk to one centre's PACS. */
export interface OrthancAccess {
  centre: string;
  /** http://127.0.0.1:PORT */
  baseUrl: string;
  /** http://127.0.0.1:PORT/dicom-web */
  dicomWebUrl: string;
  username: string;
  password: string;
  dicomPort: number;
  aeTitle: string;
  /** The only AE title that may store by C-STORE (storescu's `-aet`). */
  scannerAeTitle: string;
}

export const SCANNER_AE_TITLE = 'SCANNER';

export function orthancAccess(centre: string, httpPort: number, dicomPort: number, password: string): OrthancAccess {
  return {
    centre,
    baseUrl: `http://127.0.0.1:${httpPort}`,
    dicomWebUrl: `http://127.0.0.1:${httpPort}/dicom-web`,
    username: 'gateway',
    password,
    dicomPort,
    // PS3.8 Annex: an AE title has at most 16 characters.
    aeTitle: `PACS_${centre.toUpperCase().replaceAll(/[^A-Z0-9]/g, '')}`.slice(0, 16),
    scannerAeTitle: SCANNER_AE_TITLE,
  };
}

export async function prepareOrthanc(o: {
  dir: string;
  access: OrthancAccess;
  stableAge: number;
  tools: Tools;
  env: LocalEnv;
}): Promise<ProcessSpec> {
  const folder = join(o.dir, 'orthanc', o.access.centre);
  await mkdir(folder, { recursive: true });
  const config = join(folder, 'orthanc.json');
  await writeFile(config, JSON.stringify(configuration(folder, o), null, 2), { mode: 0o600 });
  return {
    name: `Orthanc ${o.access.centre}`,
    command: o.tools.orthanc,
    args: [config],
    cwd: folder,
    env: o.env.childEnv,
    logFile: join(o.dir, 'logs', `orthanc-${o.access.centre}.log`),
    stopSignal: 'SIGTERM',
  };
}

function configuration(folder: string, o: { access: OrthancAccess; stableAge: number; tools: Tools }): Record<string, unknown> {
  const { access } = o;
  return {
    Name: `PACS of ${access.centre}`,
    StorageDirectory: join(folder, 'storage'),
    IndexDirectory: join(folder, 'storage'),
    StorageCompression: false,
    // A killed process loses nothing of what the kernel has; only a power cut would.
    SyncStorageArea: false,
    // 128 MB by default, times 48 centres.
    MaximumStorageCacheSize: 16,
    Plugins: [o.tools.dicomWebPlugin],
    HttpPort: Number(new URL(access.baseUrl).port),
    HttpThreadsCount: 16,
    HttpCompressionEnabled: false,
    KeepAlive: true,
    TcpNoDelay: true,
    // Orthanc 1.10 cannot bind to one address; it refuses every HTTP client that is not loopback.
    RemoteAccessAllowed: false,
    AuthenticationEnabled: true,
    RegisteredUsers: { [access.username]: access.password },
    DicomServerEnabled: true,
    DicomAet: access.aeTitle,
    DicomPort: access.dicomPort,
    DicomCheckCalledAet: true,
    DicomThreadsCount: 2,
    // The DICOM port cannot be bound to loopback either: only one AE title, from this host, may store.
    DicomCheckModalityHost: true,
    DicomAlwaysAllowEcho: false,
    DicomAlwaysAllowStore: false,
    DicomModalities: {
      scanner: {
        AET: SCANNER_AE_TITLE,
        Host: '127.0.0.1',
        Port: 104,
        AllowEcho: true,
        AllowStore: true,
        AllowFind: false,
        AllowMove: false,
        AllowGet: false,
      },
    },
    UnknownSopClassAccepted: true,
    OverwriteInstances: true,
    StableAge: o.stableAge,
    SaveJobs: false,
    ConcurrentJobs: 1,
    LimitFindResults: 0,
    LimitFindInstances: 0,
    DicomWeb: { Enable: true, Root: '/dicom-web/', EnableWado: false },
  };
}

/** True once /system and the DICOMweb plugin answer with the centre's password. */
export async function orthancAnswers(access: OrthancAccess): Promise<boolean> {
  const headers = { authorization: `Basic ${Buffer.from(`${access.username}:${access.password}`).toString('base64')}` };
  for (const url of [`${access.baseUrl}/system`, `${access.dicomWebUrl}/studies?limit=1`]) {
    const response = await fetch(url, { headers, signal: AbortSignal.timeout(5000) });
    await response.arrayBuffer();
    if (!response.ok) return false;
  }
  return true;
}
