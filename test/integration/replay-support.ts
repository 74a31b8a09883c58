// What the tests of replays share: a pipeline that commands can attach to, and the commands.
import { execFile } from 'node:child_process';
import { symlink } from 'node:fs/promises';
import { resolve } from 'node:path';
import { promisify } from 'node:util';
import { STAGE_NAMES, type StageName } from '../../deploy/local/stages.ts';
import { platformDir, writeDeployment } from '../../services/cli/deployment.ts';
import type { ReplayReport } from '../../services/cli/replay/context.ts';
import type { Pipeline } from './pipeline.ts';

/** Leaves in the pipeline's folder what commands look for. */
export async function attachable(p: Pipeline): Promise<void> {
  await symlink(p.platform.dir, platformDir(p.dir));
  const urls = (of: (name: StageName) => string): Record<string, string> => Object.fromEntries(STAGE_NAMES.map((name) => [name, of(name)]));
  const { centres, prefix, readers } = p.provisioned;
  await writeDeployment(p.dir, { centres, prefix, readers: readers.length, urls: urls(p.stages.url), apiUrls: urls(p.stages.apiUrl) });
}

/** A `ctstream` command with --json: its exit code and document. */
export async function ctstream<T>(p: Pipeline, ...args: string[]): Promise<{ code: number; document: T }> {
  const main = resolve(import.meta.dirname, '../../services/cli/main.ts');
  const all = ['--no-warnings', main, ...args, '--dir', p.dir, '--json'];
  const done = await promisify(execFile)(process.execPath, all, { timeout: 120_000, maxBuffer: 1 << 26 }).then(
    ({ stdout }) => ({ code: 0, stdout }),
    (error: { code: number; stdout: string; stderr: string }) => {
      if (error.stdout === '') throw new Error(error.stderr);
      return error;
    },
  );
  return { code: done.code, document: JSON.parse(done.stdout) as T };
}

export async function replay(p: Pipeline, stage: string, into: string): Promise<{ code: number; report: ReplayReport }> {
  const { code, document } = await ctstream<ReplayReport>(p, 'replay', stage, '--into', into);
  return { code, report: document };
}

/** Builds the version from so many graded studies and releases it. */
export async function release(p: Pipeline, version: string, waitForStudies: number): Promise<void> {
  const post = async (path: string, body: object): Promise<void> => {
    const response = await fetch(`${p.stages.apiUrl('release')}${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${p.provisioned.releaseToken}` },
      body: JSON.stringify(body),
    });
    if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
  };
  await post('/releases', { version, waitForStudies });
  await post(`/releases/${version}/approve`, { approvers: ['Simulated One', 'Simulated Two'], simulated: true });
}
