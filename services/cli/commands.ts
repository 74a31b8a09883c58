// Which file has which command: one command brings in its own file only, for the others' code takes half a second.
import type { Command } from 'commander';

interface Group {
  readonly names: readonly string[];
  load(program: Command): Promise<void>;
}

/** In the order of the help. */
export const COMMANDS: readonly Group[] = [
  {
    names: ['up', 'down', 'status', 'centres', 'announce-again'],
    load: async (program) => (await import('./commands/deployment.ts')).addDeploymentCommands(program),
  },
  {
    names: ['phantom', 'deid', 'verify', 'nifti', 'assess'],
    load: async (program) => (await import('./commands/files.ts')).addFileCommands(program),
  },
  { names: ['account', 'lag', 'query'], load: async (program) => (await import('./commands/log.ts')).addLogCommands(program) },
  {
    names: ['log'],
    load: async (program) => {
      const log = program.command('log').description('the event log itself');
      (await import('./commands/log-restore.ts')).addLogRestoreCommand(log);
      (await import('./commands/log-accept-loss.ts')).addAcceptLossCommand(log);
    },
  },
  { names: ['replay'], load: async (program) => (await import('./commands/replay.ts')).addReplayCommands(program) },
  { names: ['release'], load: async (program) => (await import('./commands/release.ts')).addReleaseCommands(program) },
  { names: ['withdraw'], load: async (program) => (await import('./commands/withdraw.ts')).addWithdrawCommands(program) },
  { names: ['vault'], load: async (program) => (await import('./commands/vault.ts')).addVaultCommands(program) },
  { names: ['held'], load: async (program) => (await import('./commands/held.ts')).addHeldCommands(program) },
  { names: ['dead'], load: async (program) => (await import('./commands/dead.ts')).addDeadCommands(program) },
];

export async function loadAll(program: Command): Promise<void> {
  for (const { load } of COMMANDS) await load(program);
}
