// One MinIO server on one folder, reachable on loopback only.
import { copyFile, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Certificates } from './certificates.ts';
import type { LocalEnv } from './env.ts';
import { request } from './request.ts';
import type { ProcessSpec } from './processes.ts';
import type { Tools } from './tools.ts';

export async function prepareMinio(o: {
  dir: string;
  port: number;
  accessKey: string;
  secretKey: string;
  /** Given, the server speaks TLS and nothing else. */
  certificates?: Certificates | undefined;
  tools: Tools;
  env: LocalEnv;
}): Promise<ProcessSpec> {
  const folder = join(o.dir, 'minio');
  await mkdir(join(folder, 'data'), { recursive: true });
  await mkdir(join(folder, 'certs'), { recursive: true });
  if (o.certificates !== undefined) {
    await copyFile(o.certificates.certFile, join(folder, 'certs', 'public.crt'));
    await copyFile(o.certificates.keyFile, join(folder, 'certs', 'private.key'));
  }
  return {
    name: 'MinIO',
    command: o.tools.minio,
    args: ['server', '--quiet', '--address', `127.0.0.1:${o.port}`, '--certs-dir', join(folder, 'certs'), join(folder, 'data')],
    cwd: folder,
    env: {
      ...o.env.childEnv,
      MINIO_ROOT_USER: o.accessKey,
      MINIO_ROOT_PASSWORD: o.secretKey,
      MINIO_BROWSER: 'off',
      MINIO_UPDATE: 'off',
      // The scanner looks for work that a run of minutes does not have.
      MINIO_SCANNER_SPEED: 'slowest',
    },
    logFile: join(o.dir, 'logs', 'minio.log'),
    stopSignal: 'SIGTERM',
  };
}

export async function minioAnswers(port: number, ca?: string): Promise<boolean> {
  return (await request({ port, ca, method: 'GET', path: '/minio/health/ready', timeoutMs: 2000 })).status === 200;
}
