// `ctstream replay`: what a stage made, made again into empty buckets and compared (docs/replay.md).
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { abortOnSignals } from '../demo/abort-on-signals.ts';
import { attachDeployment, DEFAULT_DIR } from '../deployment.ts';
import { print, progress, progressCounter, type Printable } from '../output.ts';
import { openReplay, type ReplayContext, type ReplayReport } from '../replay/context.ts';

interface ReplayFlags extends Printable {
  readonly dir: string;
  readonly into: string;
}

const SHOWN = 50;

async function replay(stage: string, o: ReplayFlags, work: (ctx: ReplayContext) => Promise<ReplayReport>): Promise<void> {
  const signal = abortOnSignals(progress);
  const ctx = await openReplay(await attachDeployment(resolve(o.dir)), o.into, { signal, progress: progressCounter(stage) });
  try {
    const report = await work(ctx);
    print(o, report, () => textOf(report));
    if (report.differences.length > 0 || report.faults.length > 0) process.exitCode = 1;
  } finally {
    await ctx.close();
  }
}

function textOf({ stage, handled, events, objects, differences, faults, notes }: ReplayReport): string {
  return [
    `${stage}: ${handled} handled, ${events} events and ${objects} objects compared`,
    ...notes.map((note) => `  ${note}`),
    ...faults.slice(0, SHOWN).map((f) => `  ${f.code}  ${f.topic}/${f.partition} at ${f.offset}`),
    ...differences.slice(0, SHOWN).map((d) => `  ${d.how} ${d.what}  ${d.name}`),
    ...(differences.length > SHOWN ? [`  and ${differences.length - SHOWN} more: see --json`] : []),
    differences.length === 0 && faults.length === 0 ? 'identical' : 'NOT identical',
  ].join('\n');
}

export function addReplayCommands(program: Command): void {
  const group = program
    .command('replay')
    .description('makes again what a stage made, from the log and its inputs, and compares; exit code 1 when anything differs');
  const add = (name: string, text: string): Command =>
    group
      .command(name)
      .description(text)
      .requiredOption('--into <prefix>', 'before the names of the buckets to fill, such as replay-; what stands there is not made again')
      .option('--dir <dir>', 'folder of the deployment', DEFAULT_DIR)
      .option('--json', 'one JSON document')
      .addHelpText('after', `\nExample:\n  ctstream replay ${name} --into replay-\n`);
  add('anonymise', 'from ct-clinical, while it is kept, and the vault (clinical zone only)')
    .option('--city-issuers <file>', 'CITY_ISSUERS_FILE of the stage, where it has one')
    .action(async (o: ReplayFlags & { cityIssuers?: string }) => {
      const { replayAnonymise } = await import('../replay/anonymise.ts');
      const options = o.cityIssuers === undefined ? {} : { cityIssuersFile: o.cityIssuers };
      await replay('anonymise', o, (ctx) => replayAnonymise(ctx, options));
    });
  add('assess', 'from the images in ct-research').action(async (o: ReplayFlags) => {
    const { replayAssess } = await import('../replay/assess.ts');
    await replay('assess', o, (ctx) => replayAssess(ctx));
  });
  add('select', 'every recorded round, from the assessments below its cut')
    .option('--cohort <file...>', "cohort files; the deployment's own by default")
    .action(async (o: ReplayFlags & { cohort?: string[] }) => {
      const { replaySelect } = await import('../replay/select.ts');
      const { readCohortFile } = await import('../../select/cohort.ts');
      await replay('select', o, (ctx) =>
        replaySelect(
          ctx,
          (o.cohort ?? [ctx.provisioned.file('cohort.yaml')]).map((file) => readCohortFile(resolve(file))),
        ),
      );
    });
  add('release', 'every released version, from the facts below its cut and the volumes').action(async (o: ReplayFlags) => {
    const { replayRelease } = await import('../replay/release.ts');
    await replay('release', o, (ctx) => replayRelease(ctx));
  });
}
