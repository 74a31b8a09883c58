// The flags that the commands of this folder share.
import { Command, InvalidArgumentError } from 'commander';

export interface FaultFlags {
  readonly seed: number;
  readonly most?: number;
  readonly json?: string;
  readonly page?: true;
}

function whole(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError('needs a whole number');
  return Number(text);
}

/** Reads them from the command line; `--help` and what is wrong with them end the process. @param name of the file, without .ts */
export function faultFlags(name: string, description: string): FaultFlags {
  return new Command(`node test/fault/${name}.ts`)
    .description(`${description} Everything that is needed is started, and ended again.`)
    .option('--seed <n>', 'draws studies and faults', whole, 1)
    .option('--most <n>', 'so many faults, drawn by the seed; all when not given', whole)
    .option('--json <file>', 'write the result as JSON')
    .option('--page', `make it the result in docs/faults/${name}.json and docs/faults.md`)
    .addHelpText(
      'after',
      `
Examples:
  node test/fault/${name}.ts --most 2
  node test/fault/${name}.ts --seed 1 --page

Exit codes: 0 nothing was lost or doubled, 1 something is wrong (it is said what), 2 usage.`,
    )
    .exitOverride((error) => process.exit(error.exitCode === 0 ? 0 : 2))
    .parse()
    .opts<FaultFlags>();
}
