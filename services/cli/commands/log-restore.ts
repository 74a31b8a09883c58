// `ctstream log restore`: the research log from its Parquet files back into Kafka (docs/replay.md).
import { resolve } from 'node:path';
import { InvalidArgumentError, type Command } from 'commander';
import Table from 'cli-table3';
import { kafkaLogWriter } from '../../adapters/kafka-log-writer.ts';
import { applyTopics } from '../../adapters/kafka-topics.ts';
import { openBus } from '../../adapters/event-bus.ts';
import { openDuckDb } from '../../event-log/parquet.ts';
import { ensureLog } from '../../event-log/query.ts';
import { restoreLog, type Restored } from '../../event-log/restore.ts';
import { allOf, quietly, type KafkaRights } from '../access.ts';
import { onArchive } from '../archive-folder.ts';
import { abortOnSignals } from '../demo/abort-on-signals.ts';
import { accessOf, attachDeployment, deploymentFileOf, placedAnywhere, type Placed } from '../deployment.ts';
import { print, progress, progressCounter, type Printable } from '../output.ts';

interface RestoreFlags extends Printable, Placed {
  readonly from?: string;
  readonly centres?: string;
  readonly partitions?: number;
  readonly allowShift?: true;
  readonly newestLog?: true;
}

async function centresOf(o: RestoreFlags): Promise<readonly string[]> {
  if (deploymentFileOf(o) !== undefined) return o.centres?.split(',') ?? [];
  return (await attachDeployment(resolve(o.dir))).file.centres;
}

async function restore(o: RestoreFlags): Promise<void> {
  const access = await accessOf(o, 'log restore');
  const { kafka } = allOf({
    // Makes the topics and writes to all: no user of the deployment may.
    kafka: () => access.kafka('admin'),
    archive: () => (o.from === undefined ? access.store('analyst') : undefined),
  });
  if (o.from !== undefined) return await restoreFrom(resolve(o.from), kafka, o);
  await onArchive(o, access, async (dir, copied) => {
    progress(`${copied} new files of the archive copied`);
    await restoreFrom(dir, kafka, o);
  });
}

/** From the Parquet files in the folder. */
async function restoreFrom(dir: string, rights: KafkaRights, o: RestoreFlags): Promise<void> {
  const signal = abortOnSignals(progress);
  await ensureLog(dir, 'research');
  const kafka = quietly(rights, 'ctstream-restore');
  progress('topics of schemas/topics.json: made where they are missing, then verified');
  const partitions = o.partitions === undefined ? {} : { partitionsOverride: o.partitions };
  await applyTopics({ ...kafka, centres: await centresOf(o), keepRules: true, ...partitions });
  const bus = await openBus(kafka);
  const writer = await kafkaLogWriter(kafka);
  const db = await openDuckDb();
  try {
    const counter = progressCounter('records restored');
    const chosen = { allowShift: o.allowShift === true, newestLog: o.newestLog === true };
    const done = await restoreLog({ bus, writer, db }, { dir, ...chosen, signal, progress: counter });
    print(o, done, () => textOf(done));
  } finally {
    db.closeSync();
    await Promise.allSettled([bus.close(), writer.close()]);
  }
}

function textOf({ partitions, shifts, notRestored }: Restored): string {
  const table = new Table({ head: ['topic', 'partitions', 'records', 'written now'], style: { head: [], border: [], compact: true } });
  for (const [topic, list] of Map.groupBy(partitions, (p) => p.topic)) {
    const sum = (of: 'records' | 'written'): number => list.reduce((n, p) => n + p[of], 0);
    table.push([topic, list.length, sum('records'), sum('written')]);
  }
  const parked = notRestored.reduce((n, p) => n + p.records, 0);
  return [
    table.toString(),
    'Read back: every record has the archived key, bytes, headers and time.',
    ...(shifts.length === 0
      ? ['Every record has the offset that it had.']
      : [
          ...shifts.map((s) => `${s.topic}/${s.partition}: from ${s.from} on, ${s.by} lower`),
          'Start archiver-research with ARCHIVE_ANEW_BEFORE and the time of now: it archives these anew, and a later restore takes --newest-log (docs/replay.md).',
        ]),
    ...(parked === 0 ? [] : [`Not restored: ${parked} retry and dead letters, which are archived as metadata only.`]),
    'Before select, label-queue and release start: what they had told and the archive lacks is sent again by a statement in their databases (docs/replay.md, "What the archive lacks").',
    'Start the stages: they read from the start of the log and publish what stands again, with the same ids.',
  ].join('\n');
}

function whole(text: string): number {
  const n = Number(text);
  if (!Number.isInteger(n) || n < 1) throw new InvalidArgumentError('a number from 1 on');
  return n;
}

/** Registers `log restore`. */
export function addLogRestoreCommand(log: Command): void {
  placedAnywhere(log.command('restore'))
    .description('the research log from its Parquet files back into an empty Kafka; goes on where it was killed. Stages must not run')
    .option('--from <dir>', "folder with the Parquet files, instead of the deployment's bucket")
    .option('--centres <list>', 'ids of the centres, whose topics are made too, with --deployment')
    .option('--partitions <n>', 'at most so many partitions a topic: as the deployment had it', whole)
    .option('--allow-shift', 'restore partitions whose records get other offsets, and list the moves')
    .option(
      '--newest-log',
      'of partitions that were archived anew (files anew0001-...) restore the newest log, without what only earlier ones hold',
    )
    .option('--json', 'one JSON document')
    .addHelpText(
      'after',
      '\nExamples:\n  ctstream log restore\n  ctstream log restore --from /backup/event-log --deployment deployment.json --centres c01,c02\n',
    )
    .action(restore);
}
