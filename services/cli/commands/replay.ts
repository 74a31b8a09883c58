// `ctstream replay`: what a stage made, made again into empty buckets and compared (docs/replay.md).
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { abortOnSignals } from '../demo/abort-on-signals.ts';
import { attachDeployment, DEFAULT_DIR } from '../deployment.ts';
import { print, progress, progressCounter, type Printable } from '../output.ts';
import { COPIED, openReplay, replayStores, type ReplayContext, type ReplayReport } from '../replay/context.ts';
import { removeEnded } from '../replay/release-copies.ts';
import { asker } from '../vault-access.ts';

interface ReplayFlags extends Printable {
  readonly dir: string;
  readonly into: string;
}

interface RemoveFlags extends ReplayFlags {
  readonly yes?: true;
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

async function confirmed(o: RemoveFlags, buckets: readonly string[], command: Command): Promise<boolean> {
  if (o.yes === true) return true;
  if (!process.stdin.isTTY) command.error('error: nobody can be asked here: give --yes to remove', { exitCode: 2 });
  const { ask, close } = asker();
  try {
    return (await ask(`${buckets.join(', ')} and all in them are removed. Type yes: `)).trim() === 'yes';
  } finally {
    close();
  }
}

async function remove(o: RemoveFlags, command: Command): Promise<void> {
  const place = await attachDeployment(resolve(o.dir));
  const { target, prefix } = await replayStores(place, o.into);
  const found = await target.bucketsOf(COPIED);
  const buckets = found.map((bucket) => prefix + bucket);
  if (found.length > 0 && !(await confirmed(o, buckets, command))) command.error('nothing was done', { exitCode: 1 });
  const signal = abortOnSignals(progress);
  const unfinished = await removeEnded(place);
  let objects = 0;
  for (const bucket of found) objects += await target.removeBucket(bucket, signal);
  print(o, { buckets, objects, unfinished }, () =>
    [
      found.length === 0 ? `no replay has filled buckets under ${o.into}` : `${buckets.join(', ')} are removed, with ${objects} objects`,
      ...(unfinished === 0 ? [] : [`so is what ${unfinished} replays of release left that were killed`]),
    ].join('\n'),
  );
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
  group
    .command('remove')
    .description('takes away the buckets that replays have filled: a withdrawal reaches them at the next replay only')
    .requiredOption('--into <prefix>', 'as it was given to the replays')
    .option('--dir <dir>', 'folder of the deployment', DEFAULT_DIR)
    .option('--yes', 'do not ask')
    .option('--json', 'one JSON document')
    .addHelpText('after', '\nExample:\n  ctstream replay remove --into replay-\n')
    .action(async (o: RemoveFlags, command: Command) => {
      await remove(o, command);
    });
}
