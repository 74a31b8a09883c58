// npm run bench: measures against peers and against what the machine can do at all. Figures of two machines, or of two
// moments on a busy one, can't be compared; ratios of runs in turn can.
import { Command } from 'commander';
import { busCommand } from './bus-command.ts';
import { deidCommand } from './deid-command.ts';
import { eventsCommand } from './events-command.ts';
import { fairnessCommand } from './fairness-command.ts';
import { ingestCommand } from './ingest-command.ts';
import { pipelineCommand } from './pipeline-command.ts';

const commands = [deidCommand(), ingestCommand(), pipelineCommand(), eventsCommand(), fairnessCommand(), busCommand()];

const bench = new Command('bench').description(
  'speed against peers and against what the machine can do; each bench writes its section of bench/results.md',
);
for (const command of commands) bench.addCommand(command.exitOverride((e) => process.exit(e.exitCode === 0 ? 0 : 2)));
await bench.exitOverride((e) => process.exit(e.exitCode === 0 ? 0 : 2)).parseAsync();
