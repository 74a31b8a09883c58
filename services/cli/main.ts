// `ctstream`: the commands that people type. Results go to stdout, progress and messages to stderr.
// Exit codes: 0 done, 1 failed, 2 usage, 78 configuration.
import { Command, CommanderError } from 'commander';
import { addDeploymentCommands } from './commands/deployment.ts';
import { addFileCommands } from './commands/files.ts';
import { addHeldCommands } from './commands/held.ts';
import { addLogCommands } from './commands/log.ts';
import { addReleaseCommands } from './commands/release.ts';
import { addVaultCommands } from './commands/vault.ts';
import { addWithdrawCommands } from './commands/withdraw.ts';
import { Fault } from '../kernel/fault.ts';
import { ConfigError } from '../runtime/env.ts';
import { NoDeployment } from './deployment.ts';

const program = new Command('ctstream')
  .description('Chest CT studies from many hospitals, by themselves, into an anonymised, graded, versioned research dataset.')
  .configureHelp({ sortSubcommands: false })
  .addHelpText(
    'after',
    '\nExamples:\n  npm run -s ctstream -- account\n  npm run -s ctstream -- query "select count(*) from research.study_assessed"\n  npm run -s ctstream -- COMMAND --help\n',
  )
  .exitOverride();

addDeploymentCommands(program);
addFileCommands(program);
addLogCommands(program);
addReleaseCommands(program);
addWithdrawCommands(program);
addVaultCommands(program);
addHeldCommands(program);

function exitCodeOf(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  if (error instanceof NoDeployment || error instanceof ConfigError) return 78;
  if (error instanceof Fault && error.code === 'BAD_CONFIG') return 78;
  return error instanceof Error && 'exitCode' in error && typeof error.exitCode === 'number' ? error.exitCode : 1;
}

try {
  await program.parseAsync(process.argv);
} catch (error) {
  process.exitCode = exitCodeOf(error);
}
