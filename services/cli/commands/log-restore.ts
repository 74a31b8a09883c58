// `ctstream log restore`: the research log from its Parquet files back into Kafka (docs/replay.md).
import { join, resolve } from 'node:path';
import { InvalidArgumentError, type Command } from 'commander';
import Table from 'cli-table3';
import pino from 'pino';
import { kafkaLogWriter } from '../../adapters/kafka-log-writer.ts';
import type { KafkaBusOptions } from '../../adapters/kafka-offsets.ts';
import { applyTopics } from '../../adapters/kafka-topics.ts';
import { openBus } from '../../adapters/event-bus.ts';
import { s3Store } from '../../adapters/s3-store.ts';
import { openDuckDb } from '../../event-log/parquet.ts';
import { mirrorLog } from '../../event-log/query.ts';
import { restoreLog, type Restored } from '../../event-log/restore.ts';
import { ConfigError } from '../../runtime/env.ts';
import { abortOnSignals } from '../demo/abort-on-signals.ts';
import { attachDeployment, DEFAULT_DIR, localAccess } from '../deployment.ts';
import { kafkaOfFlags, type KafkaFlags } from '../kafka-place.ts';
import { print, progress, progressCounter, type Printable } from '../output.ts';

interface RestoreFlags extends Printable, KafkaFlags {
  readonly dir: string;
  readonly from?: string;
  readonly centres?: string;
  readonly partitions?: number;
  readonly allowShift?: true;
}

interface Place {
  readonly kafka: KafkaBusOptions;
  readonly centres: readonly string[];
}

/** The Kafka of the flags, or that of the local deployment. @throws ConfigError, NoDeployment */
async function placeOf(o: RestoreFlags): Promise<Place> {
  const common = { clientId: 'ctstream-restore', log: pino({ level: 'silent' }) };
  if (o.brokers === undefined) {
    const { file, platform, provisioned } = await attachDeployment(resolve(o.dir));
    const { brokers, admin } = platform.kafka;
    const tls = platform.tls === undefined ? {} : { ssl: { ca: platform.tls.ca } };
    return { kafka: { ...common, brokers, ...admin, ...tls, prefix: provisioned.prefix }, centres: file.centres };
  }
  if (o.username === undefined || o.passwordFile === undefined || o.from === undefined)
    throw new ConfigError(['with --brokers give --username, --password-file and --from too']);
  const { brokers, username, passwordFile } = o;
  return { kafka: kafkaOfFlags({ ...o, brokers, username, passwordFile }, common.clientId), centres: o.centres?.split(',') ?? [] };
}

/** Folder with the archive: the one given, or the deployment's bucket copied to where `query` keeps it too. */
async function archiveFolder(o: RestoreFlags): Promise<string> {
  if (o.from !== undefined) return resolve(o.from);
  const { platform, provisioned } = await attachDeployment(resolve(o.dir));
  const into = join(resolve(o.dir), 'event-log');
  const store = s3Store(localAccess(platform, provisioned).store('analyst'));
  progress(`${await mirrorLog(store, into)} new files of the archive copied`);
  return into;
}

async function restore(o: RestoreFlags): Promise<void> {
  const signal = abortOnSignals(progress);
  const { kafka, centres } = await placeOf(o);
  const dir = await archiveFolder(o);
  progress('topics of schemas/topics.json: made where they are missing, then verified');
  await applyTopics({ ...kafka, centres, keepRules: true, ...(o.partitions === undefined ? {} : { partitionsOverride: o.partitions }) });
  const bus = await openBus(kafka);
  const writer = await kafkaLogWriter(kafka);
  const db = await openDuckDb();
  try {
    const counter = progressCounter('records restored');
    const done = await restoreLog({ bus, writer, db }, { dir, allowShift: o.allowShift === true, signal, progress: counter });
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
      : shifts.map((s) => `${s.topic}/${s.partition}: from ${s.from} on, ${s.by} lower`)),
    ...(parked === 0 ? [] : [`Not restored: ${parked} retry and dead letters, which are archived as metadata only.`]),
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
  log
    .command('restore')
    .description('the research log from its Parquet files back into an empty Kafka; goes on where it was killed. Stages must not run')
    .option('--dir <dir>', 'folder of the deployment', DEFAULT_DIR)
    .option('--from <dir>', "folder with the Parquet files, instead of the deployment's bucket")
    .option('--brokers <list>', 'another Kafka, as host:port,host:port; with --username, --password-file and --from')
    .option('--username <name>', 'SCRAM-SHA-512 user who may make topics and write to all')
    .option('--password-file <file>', 'file with its password')
    .option('--ca-file <file>', 'CA certificate (PEM) of the brokers')
    .option('--prefix <text>', 'before every topic, with --brokers')
    .option('--centres <list>', 'ids of the centres, whose topics are made too, with --brokers')
    .option('--partitions <n>', 'at most so many partitions a topic: as the deployment had it', whole)
    .option('--allow-shift', 'restore partitions whose records get other offsets, and list the moves')
    .option('--json', 'one JSON document')
    .addHelpText(
      'after',
      '\nExamples:\n  ctstream log restore\n  ctstream log restore --from /backup/event-log --brokers kafka1:9093 --username admin --password-file admin.password --ca-file ca.pem --centres c01,c02\n',
    )
    .action(restore);
}
