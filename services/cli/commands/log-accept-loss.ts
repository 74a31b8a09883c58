// `ctstream log accept-loss`: a stage that ended with LOG_TRUNCATED goes on after what was deleted before it was read.
import { resolve } from 'node:path';
import Table from 'cli-table3';
import { InvalidArgumentError, type Command } from 'commander';
import pino from 'pino';
import type { KafkaBusOptions } from '../../adapters/kafka-offsets.ts';
import { kafkaGroupOffsets } from '../../adapters/platformatic-group-offsets.ts';
import { Fault } from '../../kernel/fault.ts';
import type { GroupOffsets } from '../../ports/group-offsets.ts';
import { ConfigError } from '../../runtime/env.ts';
import { attachDeployment, DEFAULT_DIR, localKafka } from '../deployment.ts';
import { kafkaOfFlags, type KafkaFlags } from '../kafka-place.ts';
import { acceptRefusal, groupsOf, lostPlaces, nextSteps, type AcceptRefusal, type ConsumerGroup, type LostPlace } from '../lost-records.ts';
import { print, type Printable } from '../output.ts';
import { asker } from '../vault-access.ts';

interface AcceptFlags extends Printable, KafkaFlags {
  readonly dir: string;
  readonly stage: string;
  readonly topic?: string;
  readonly dryRun?: true;
  readonly yes?: true;
}

/** As the stage's own user: it may read its topics and its groups, and nobody else has to. @throws ConfigError, NoDeployment */
async function kafkaOf(o: AcceptFlags): Promise<KafkaBusOptions> {
  const clientId = 'ctstream-accept-loss';
  const { brokers, username = o.stage, passwordFile } = o;
  if (brokers === undefined) {
    const { platform, provisioned } = await attachDeployment(resolve(o.dir));
    return { ...localKafka(platform, provisioned, o.stage), clientId, log: pino({ level: 'silent' }) };
  }
  if (passwordFile === undefined) throw new ConfigError(['with --brokers give --password-file too']);
  return kafkaOfFlags({ ...o, brokers, username, passwordFile }, clientId);
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
  const offsets = kafkaGroupOffsets(await kafkaOf(o));
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
  WITHDRAWALS: 'a withdrawal that is lost is never erased. Tell the privacy role first; then name the topic with --topic.',
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

function stageName(text: string): string {
  if (groupsOf(text) === undefined) throw new InvalidArgumentError('a stage (ingest, anonymise, ...) or gateway-<centre>');
  return text;
}

/** Registers `log accept-loss`. */
export function addAcceptLossCommand(log: Command): void {
  log
    .command('accept-loss')
    .description('lets a stage that ended with LOG_TRUNCATED go on after records that were deleted before it read them. It must not run')
    .requiredOption('--stage <stage>', 'whose place is gone: ingest, anonymise, ..., or gateway-<centre>', stageName)
    .option('--topic <topic>', 'in this topic only')
    .option('--dry-run', 'say what is lost, and change nothing')
    .option('--yes', 'do not ask')
    .option('--dir <dir>', 'folder of the deployment', DEFAULT_DIR)
    .option('--brokers <list>', 'another Kafka, as host:port,host:port; with --password-file')
    .option('--username <name>', "SCRAM-SHA-512 user; the stage's own when not given")
    .option('--password-file <file>', 'file with its password')
    .option('--ca-file <file>', 'CA certificate (PEM) of the brokers')
    .option('--prefix <text>', 'before every topic and group, with --brokers')
    .option('--json', 'one JSON document: keep it, nothing else records what was accepted')
    .addHelpText(
      'after',
      '\nExamples:\n  ctstream log accept-loss --stage anonymise --dry-run\n  ctstream log accept-loss --stage ingest --topic ct.clinical.c07.study-available.v1\n  ctstream log accept-loss --stage ingest --yes --json > loss-2026-11-28.json\n  ctstream log accept-loss --stage gateway-c07 --brokers kafka1:9093 --password-file gateway-c07.password --ca-file ca.pem\n',
    )
    .action(acceptLoss);
}
