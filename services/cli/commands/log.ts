// Commands on what has happened: account, lag, query.
import type { Command } from 'commander';
import Table from 'cli-table3';
import { openDuckDb } from '../../event-log/parquet.ts';
import { createViews, ensureLog, runQuery, tableNames } from '../../event-log/query.ts';
import type { Account } from '../../kernel/accounting.ts';
import { openQuietBus } from '../access.ts';
import { onArchive } from '../archive-folder.ts';
import { funnelTable, reasonLines } from '../demo/funnel.ts';
import { equationLine } from '../demo/report.ts';
import { accessOf, accountPorts, placedAnywhere, type Placed } from '../deployment.ts';
import { followLog, stageLags, type StageLag } from '../follow-log.ts';
import { print, type Printable } from '../output.ts';
import { csvText, tableText } from '../table-text.ts';

type LogOptions = Printable & Placed;

const LIMIT_MS = 300_000;

async function readAccount(o: LogOptions): Promise<Account> {
  const ports = await accountPorts(await accessOf(o, 'account'));
  try {
    return await followLog(ports).account(AbortSignal.timeout(LIMIT_MS));
  } finally {
    await ports.close();
  }
}

async function readLags(o: LogOptions): Promise<StageLag[]> {
  const access = await accessOf(o, 'lag');
  const bus = await openQuietBus(access.kafka('account'), 'ctstream-lag');
  try {
    return await stageLags(bus, AbortSignal.timeout(LIMIT_MS));
  } finally {
    await bus.close();
  }
}

async function accountCommand(o: LogOptions & { studies?: boolean }): Promise<void> {
  const result = await readAccount(o);
  const { totals, reached, reasons, missing, bad } = result;
  const lost = totals.unaccounted > 0 || missing.length > 0;
  print(o, { ...reached, ...totals, reasons, missing, bad, ...(o.studies === true ? { list: result.studies } : {}) }, () =>
    [
      funnelTable(result),
      ...reasonLines(result),
      equationLine(totals),
      ...missing.map((m) => `missing from the log: ${m}`),
      ...bad.map((b) => `not in the account: ${b.records} bad record${b.records === 1 ? '' : 's'} in ${b.topic} (${b.code})`),
      lost ? 'NOT everything is accounted for' : 'everything is accounted for',
    ].join('\n'),
  );
  if (lost) process.exitCode = 1;
}

async function lagCommand(o: LogOptions): Promise<void> {
  const rows = await readLags(o);
  print(o, rows, () => {
    const table = new Table({ head: ['stage', 'lag (records)', 'oldest (s)'], style: { head: [], border: [], compact: true } });
    for (const r of rows) table.push([r.stage, r.records, (r.oldestMs / 1000).toFixed(0)]);
    return table.toString();
  });
}

interface QueryOptions extends LogOptions {
  readonly log?: string;
  readonly into?: string;
  readonly csv?: boolean;
}

async function queryCommand(sql: string, o: QueryOptions): Promise<void> {
  if (o.log !== undefined) {
    await ensureLog(o.log);
    return answer(sql, o.log, o);
  }
  await onArchive(o, await accessOf(o, 'query'), async (dir) => await answer(sql, dir, o));
}

/** Of the Parquet files in the folder. */
async function answer(sql: string, dir: string, o: QueryOptions): Promise<void> {
  const db = await openDuckDb();
  try {
    await createViews(db, dir);
    const result = await runQuery(db, sql);
    if (o.csv === true) process.stdout.write(csvText(result));
    else print(o, result.rows, () => tableText(result));
  } finally {
    db.closeSync();
  }
}

export function addLogCommands(program: Command): void {
  placedAnywhere(program.command('account'))
    .description('every study that any centre sent, and where it stands; exit code 1 when one is unaccounted for')
    .option('--studies', 'with --json: list every study too (identified: clinical zone only)')
    .option('--json', 'one JSON document')
    .addHelpText('after', '\nExamples:\n  ctstream account\n  ctstream account --json\n  ctstream account --deployment deployment.json\n')
    .action(accountCommand);
  placedAnywhere(program.command('lag'))
    .description('records that each stage has not finished, and the age of the oldest')
    .option('--json', 'one JSON document')
    .addHelpText('after', '\nExamples:\n  ctstream lag --json\n  ctstream lag --deployment deployment.json\n')
    .action(lagCommand);
  placedAnywhere(program.command('query'))
    .argument('<sql>', 'one SQL statement (DuckDB)')
    .description(`SQL over the event log. Tables: ${tableNames().join(', ')}`)
    .option('--log <dir>', 'folder with the Parquet files, instead of a running deployment')
    .option('--into <dir>', "folder where the deployment's Parquet files are kept for the next query; with --deployment none unless told")
    .option('--csv', 'RFC 4180')
    .option('--json', 'array of rows')
    .addHelpText(
      'after',
      '\nExamples:\n  ctstream query "select event_type, count(*) from events group by 1"\n  ctstream query "select * from research.study_assessed limit 5" --log demo-out/event-log --csv\n  ctstream query "select count(*) from events" --deployment deployment.json --into event-log\n',
    )
    .action(queryCommand);
}
