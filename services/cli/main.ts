// `ctstream`: the commands that people type. Results go to stdout, progress and messages to stderr.
// Exit codes: 0 done, 1 failed, 2 usage, 78 configuration.
import { Command, CommanderError } from 'commander';
import { Fault } from '../kernel/fault.ts';
import { COMMANDS, loadAll } from './commands.ts';

const program = new Command('ctstream')
  .description('Chest CT studies from many hospitals, by themselves, into an anonymised, graded, versioned research dataset.')
  .configureHelp({ sortSubcommands: false })
  .addHelpText(
    'after',
    '\nExamples:\n  npm run -s ctstream -- account\n  npm run -s ctstream -- account --deployment deployment.json\n  npm run -s ctstream -- query "select count(*) from research.study_assessed"\n  npm run -s ctstream -- COMMAND --help\n',
  )
  .exitOverride();

// Who reads the output may have seen enough (`| head`).
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
  process.exit();
});

const asked = COMMANDS.find(({ names }) => names.includes(process.argv[2] ?? ''));
await (asked === undefined ? loadAll(program) : asked.load(program));

function exitCodeOf(error: unknown): number {
  // Of its own it ends with 1 on wrong usage; what a command says itself ('nothing was done') stands.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : error.code === 'commander.error' ? error.exitCode : 2;
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  if (error instanceof Fault && error.code === 'BAD_CONFIG') return 78;
  return error instanceof Error && 'exitCode' in error && typeof error.exitCode === 'number' ? error.exitCode : 1;
}

try {
  await program.parseAsync(process.argv);
} catch (error) {
  process.exitCode = exitCodeOf(error);
}
