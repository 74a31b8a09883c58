// Debian packages: installed when they are absent and this user may, without leaving a system-wide
// server running that nobody asked for.
import { join } from 'node:path';
import type { LocalEnv } from './env.ts';
import { commandWorks, runCommand } from './install.ts';
import { withLock } from './lock.ts';
import type { Report } from './progress.ts';

/** Installs the required packages and tries the optional ones. */
export async function installPackages(
  packages: { required: string[]; optional: string[] },
  rights: 'root' | 'sudo',
  env: LocalEnv,
  report: Report,
): Promise<void> {
  await withLock(
    join(env.cacheDir, 'apt.lock'),
    async () => {
      await install(packages, rights, report);
      for (const service of ['orthanc', 'prometheus']) {
        if (packages.required.includes(service)) await stopSystemService(service, rights);
      }
    },
    () => report('another process is installing packages; waiting'),
  );
}

async function install(packages: { required: string[]; optional: string[] }, rights: 'root' | 'sudo', report: Report): Promise<void> {
  const all = [...packages.required, ...packages.optional];
  report('apt-get update');
  // Stale lists often still work: what matters is whether the packages can be had.
  await apt(rights, ['update'], report).catch(() => '');
  report(`apt-get install ${all.join(' ')}`);
  try {
    await apt(rights, ['install', '-y', '--no-install-recommends', ...all], report);
  } catch (error) {
    if (packages.optional.length === 0) throw error;
    report(`without ${packages.optional.join(', ')}, which could not be installed`);
    if (packages.required.length > 0) await apt(rights, ['install', '-y', '--no-install-recommends', ...packages.required], report);
  }
}

async function apt(rights: 'root' | 'sudo', args: readonly string[], report: Report): Promise<string> {
  const command = ['DEBIAN_FRONTEND=noninteractive', 'apt-get', '-q', '-o', 'DPkg::Lock::Timeout=300', ...args];
  return rights === 'root'
    ? await runCommand('apt-get', 'env', command, { report })
    : await runCommand('apt-get', 'sudo', ['-n', 'env', ...command], { report });
}

/** Debian starts a server when it installs one; ours are started per centre, on their own ports. */
async function stopSystemService(service: string, rights: 'root' | 'sudo'): Promise<void> {
  const run = (command: string, args: string[]): Promise<boolean> =>
    rights === 'root' ? commandWorks(command, args) : commandWorks('sudo', ['-n', command, ...args]);
  if (await run('systemctl', ['disable', '--now', service])) return;
  // No systemd: the old ways, each allowed to fail where it does not exist.
  await run('invoke-rc.d', [service, 'stop']);
  await run('update-rc.d', [service, 'disable']);
}
