// `ctstream log accept-loss`: a stage that ended with LOG_TRUNCATED goes on after what was deleted before it was read.
import Table from 'cli-table3';
import { InvalidArgumentError, type Command } from 'commander';
import { kafkaGroupOffsets } from '../../adapters/platformatic-group-offsets.ts';
import { Fault } from '../../kernel/fault.ts';
import type { GroupOffsets } from '../../ports/group-offsets.ts';
import { isStageUser, quietly, type StageUser } from '../access.ts';
import { accessOf, placedAnywhere, type Placed } from '../deployment.ts';
import { acceptRefusal, groupsOf, lostPlaces, nextSteps, type AcceptRefusal, type ConsumerGroup, type LostPlace } from '../lost-records.ts';
import { print, type Printable } from '../output.ts';
import { asker } from '../vault-access.ts';

interface AcceptFlags extends Printable, Placed {
  readonly stage: StageUser;
  readonly topic?: string;
  readonly dryRun?: true;
  readonly yes?: true;
}

/** @throws Fault GROUP_ACTIVE */
async function nobodyIn(offsets: GroupOffsets, groups: readonly ConsumerGroup[]): Promise<void> {
  for (const { group } of groups) {
    const members = await offsets.members(group);
    if (members > 0) throw new Fault('GROUP_ACTIVE', false, `the group ${group} has ${members} members: stop all processes of the stage`);
  }
}

async function confirmed(o: AcceptFlags, places: readonly LostPlace[], command: Command): Promise<boolean> {
  if (o.yes === true) return true;
  if (!process.stdin.isTTY) command.error('error: nobody can be asked here: give --yes, or --dry-run', { exitCode: 2 });
  process.stderr.write(`${tableOf(places)}\n`);
  const { ask, close } = asker();
  try {
    return (await ask(`${o.stage} never sees these records. Type yes: `)).trim() === 'yes';
  } finally {
    close();
  }
}

async function acceptLoss(o: AcceptFlags, command: Command): Promise<void> {
  const groups = groupsOf(o.stage);
  if (groups === undefined) command.error(`error: no stage ${o.stage}`, { exitCode: 2 });
  // As the stage's own user: it may read its topics and its groups, and nobody else has to.
  const kafka = (await accessOf(o, 'log accept-loss')).kafka(o.stage);
  const offsets = kafkaGroupOffsets(quietly(kafka, 'ctstream-accept-loss'));
  try {
    const found = (await lostPlaces(offsets, groups)).filter((p) => o.topic === undefined || p.topic === o.topic);
    const judged = found.map((place) => ({ place, code: acceptRefusal(place.topic, o.topic !== undefined) }));
    const places = judged.flatMap(({ place, code }) => (code === undefined ? [place] : []));
    const refused = judged.flatMap(({ place, code }) => (code === undefined ? [] : [{ ...place, code }]));
    if (places.length > 0 && o.dryRun !== true) {
      await nobodyIn(offsets, groups);
      if (!(await confirmed(o, places, command))) command.error('nothing was done', { exitCode: 1 });
      for (const [group, of] of Map.groupBy(places, (p) => p.group))
        await offsets.set(
          group,
          of.map(({ topic, partition, goesOnAt }) => ({ topic, partition, offset: goesOnAt })),
        );
    }
    const next = places.length === 0 ? [] : nextSteps(o.stage, [...new Set(places.map((p) => p.topic))]);
    const done = { stage: o.stage, at: new Date().toISOString(), dryRun: o.dryRun === true, accepted: places, refused, next };
    print(o, done, () => lossText(o, places, refused, next));
    if (refused.length > 0) process.exitCode = 1;
  } finally {
    await offsets.close();
  }
}

const REASONS = { DELETED: 'deleted before it was read', MADE_ANEW: 'the topic was made anew', RESET: 'reset to the start by kafkajs' };

export interface Refused extends LostPlace {
  readonly code: AcceptRefusal;
}

const REFUSALS: Readonly<Record<AcceptRefusal, string>> = {
  RESTORE_INSTEAD: 'the event log has these records. Restore them: ctstream log restore (docs/replay.md).',
  WITHDRAWALS:
    'withdrawals may be among what is lost. Tell the privacy role first, whose receipts show what is not erased yet; then name the topic with --topic.',
};

function tableOf(places: readonly LostPlace[]): string {
  const table = new Table({
    head: ['group', 'partition', 'was at', 'lost', 'records', 'goes on at', 'why'],
    style: { head: [], border: [], compact: true },
  });
  for (const { group, topic, partition, committed, lost, goesOnAt, reason } of places) {
    const [range, records] = lost === undefined ? ['not known', '?'] : [`${lost.first} to ${lost.last}`, `${lost.records}`];
    table.push([group, `${topic}/${partition}`, `${committed}`, range, records, `${goesOnAt}`, REASONS[reason]]);
  }
  return table.toString();
}

/** What people read. */
export function lossText(
  o: Pick<AcceptFlags, 'stage' | 'dryRun'>,
  places: readonly LostPlace[],
  refused: readonly Refused[],
  next: readonly string[],
): string {
  if (places.length + refused.length === 0) return `${o.stage} has lost nothing: each of its places is in the log`;
  const known = places.reduce((sum, p) => sum + (p.lost?.records ?? 0n), 0n);
  return [
    ...(places.length === 0
      ? []
      : [
          tableOf(places),
          `${o.dryRun === true ? 'Would be' : 'Was'} accepted in ${places.length} partitions: ${known} records that ${o.stage} never sees.`,
          ...next,
        ]),
    ...[...Map.groupBy(refused, (p) => p.code)].flatMap(([code, of]) => [tableOf(of), `Not accepted: ${REFUSALS[code]}`]),
  ].join('\n');
}

function stageName(text: string): StageUser {
  if (!isStageUser(text)) throw new InvalidArgumentError('a stage (ingest, anonymise, ...) or gateway-<centre>');
  return text;
}

/** Registers `log accept-loss`. */
export function addAcceptLossCommand(log: Command): void {
  placedAnywhere(log.command('accept-loss'))
    .description('lets a stage that ended with LOG_TRUNCATED go on after records that were deleted before it read them. It must not run')
    .requiredOption('--stage <stage>', 'whose place is gone: ingest, anonymise, ..., or gateway-<centre>', stageName)
    .option('--topic <topic>', 'in this topic only')
    .option('--dry-run', 'say what is lost, and change nothing')
    .option('--yes', 'do not ask')
    .option('--json', 'one JSON document: keep it, nothing else records what was accepted')
    .addHelpText(
      'after',
      '\nExamples:\n  ctstream log accept-loss --stage anonymise --dry-run\n  ctstream log accept-loss --stage ingest --topic ct.clinical.c07.study-available.v1\n  ctstream log accept-loss --stage ingest --yes --json > loss-2026-11-28.json\n  ctstream log accept-loss --stage gateway-c07 --deployment deployment.json\n',
    )
    .action(acceptLoss);
}
