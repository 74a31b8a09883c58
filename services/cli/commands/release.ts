// Commands on releases: build and approve on a running deployment; verify and diff on dataset folders.
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { diffReleases, verifyRelease } from '../../release/verify.ts';
import { attachDeployment, DEFAULT_DIR } from '../deployment.ts';
import { print, type Printable } from '../output.ts';

/** POSTs to the release stage of the deployment in the folder. */
async function post(dir: string, path: string, body: unknown): Promise<unknown> {
  const { file, provisioned } = await attachDeployment(dir);
  const url = file.apiUrls['release'];
  if (url === undefined) throw new Error('this deployment has no release stage');
  const response = await fetch(`${url}${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${provisioned.releaseToken}` },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(3_600_000),
  });
  const answer: unknown = await response.json();
  if (!response.ok) throw new Error(`refused: ${JSON.stringify(answer)}`);
  return answer;
}

async function build(version: string, o: Printable & { dir: string }): Promise<void> {
  const answer = await post(o.dir, '/releases', { version });
  print(o, answer, () => JSON.stringify(answer, null, 2));
}

async function approve(version: string, o: Printable & { dir: string; approver: string[] }): Promise<void> {
  const answer = await post(o.dir, `/releases/${version}/approve`, { approvers: o.approver, simulated: false });
  print(o, answer, () => JSON.stringify(answer, null, 2));
}

async function verify(folder: string, o: Printable): Promise<void> {
  const result = await verifyRelease(resolve(folder));
  print(o, result, () =>
    [
      ...result.problems.map((p) => `${p.code}  ${p.file}: ${p.detail}`),
      `${result.files} files, ${result.studies} studies${result.withdrawn > 0 ? `, ${result.withdrawn} withdrawn` : ''}: ${result.ok ? 'good' : 'NOT good'}`,
    ].join('\n'),
  );
  if (!result.ok) process.exitCode = 1;
}

async function diff(before: string, after: string, o: Printable): Promise<void> {
  const result = await diffReleases(resolve(before), resolve(after));
  print(o, result, () =>
    [
      ...result.added.map((s) => `+ ${s}`),
      ...result.removed.map((s) => `- ${s}`),
      ...result.relabelled.map((r) => `~ ${r.study}: ${r.from} -> ${r.to}`),
      ...result.changed.map((s) => `! ${s}: other voxels`),
      ...result.withdrawn.map((s) => `x ${s}: withdrawn, in neither`),
    ].join('\n'),
  );
}

export function addReleaseCommands(program: Command): void {
  const release = program.command('release').description('versions of the dataset');
  release
    .command('build')
    .argument('<version>', 'such as v1.0.0')
    .description('build a candidate from everything that is graded')
    .option('--dir <dir>', 'folder of the deployment', DEFAULT_DIR)
    .option('--json', 'one JSON document')
    .addHelpText('after', '\nExample:\n  ctstream release build v1.1.0\n')
    .action(build);
  release
    .command('approve')
    .argument('<version>', 'a candidate')
    .requiredOption('--approver <name...>', 'the two people who approve')
    .description('publish a candidate in the name of two people')
    .option('--dir <dir>', 'folder of the deployment', DEFAULT_DIR)
    .option('--json', 'one JSON document')
    .addHelpText('after', '\nExample:\n  ctstream release approve v1.1.0 --approver "A. Petrova" "B. Lee"\n')
    .action(approve);
  release
    .command('verify')
    .argument('<folder>', 'dataset folder')
    .description('re-read every file of a dataset; exit code 1 when something is wrong')
    .option('--json', 'one JSON document')
    .addHelpText('after', '\nExample:\n  ctstream release verify demo-out/dataset/v1.0.0\n')
    .action(verify);
  release
    .command('diff')
    .argument('<before>', 'dataset folder')
    .argument('<after>', 'dataset folder')
    .description('added, removed and relabelled studies')
    .option('--json', 'one JSON document')
    .addHelpText('after', '\nExample:\n  ctstream release diff v1.0.0 v1.1.0\n')
    .action(diff);
}
