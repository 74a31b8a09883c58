// Commands on what has happened: account, lag, query.
import { join } from 'node:path';
import type { Command } from 'commander';
import Table from 'cli-table3';
import { openDuckDb } from '../../event-log/parquet.ts';
import { createViews, mirrorLog, runQuery, tableNames } from '../../event-log/query.ts';
import { funnelTable, reasonLines } from '../demo/funnel.ts';
import { equationLine } from '../demo/report.ts';
import { attachDeployment, DEFAULT_DIR, operatorPorts, type OperatorPorts } from '../deployment.ts';
import { followLog } from '../follow-log.ts';
import { print, type Printable } from '../output.ts';
import { csvText, tableText } from '../table-text.ts';

interface DirOption extends Printable {
  readonly dir: string;
}

async function withPorts<T>(dir: string, work: (ports: OperatorPorts) => Promise<T>): Promise<T> {
  const deployment = await attachDeployment(dir);
  const ports = await operatorPorts(deployment.platform, deployment.provisioned);
  try {
    return await work(ports);
  } finally {
    await ports.close();
  }
}

async function accountCommand(o: DirOption & { studies?: boolean }): Promise<void> {
  const result = await withPorts(o.dir, (ports) => followLog(ports).account(AbortSignal.timeout(300_000)));
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

async function lagCommand(o: DirOption): Promise<void> {
  const rows = await withPorts(o.dir, (ports) => followLog(ports).lag(AbortSignal.timeout(300_000)));
  print(o, rows, () => {
    const table = new Table({ head: ['stage', 'lag (records)', 'oldest (s)'], style: { head: [], border: [], compact: true } });
    for (const r of rows) table.push([r.stage, r.records, (r.oldestMs / 1000).toFixed(0)]);
    return table.toString();
  });
}

interface QueryOptions extends DirOption {
  readonly log?: string;
  readonly csv?: boolean;
}

async function queryCommand(sql: string, o: QueryOptions): Promise<void> {
  let dir = o.log;
  if (dir === undefined) {
    dir = join(o.dir, 'event-log');
    const into = dir;
    await withPorts(o.dir, (ports) => mirrorLog(ports.store, into));
  }
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
  program
    .command('account')
    .description('every study that any centre sent, and where it stands; exit code 1 when one is unaccounted for')
    .option('--dir <dir>', 'folder of the deployment', DEFAULT_DIR)
    .option('--studies', 'with --json: list every study too (identified: clinical zone only)')
    .option('--json', 'one JSON document')
    .addHelpText('after', '\nExamples:\n  ctstream account\n  ctstream account --json\n')
    .action(accountCommand);
  program
    .command('lag')
    .description('records that each stage has not finished, and the age of the oldest')
    .option('--dir <dir>', 'folder of the deployment', DEFAULT_DIR)
    .option('--json', 'one JSON document')
    .addHelpText('after', '\nExample:\n  ctstream lag --json\n')
    .action(lagCommand);
  program
    .command('query')
    .argument('<sql>', 'one SQL statement (DuckDB)')
    .description(`SQL over the event log. Tables: ${tableNames().join(', ')}`)
    .option('--dir <dir>', 'folder of the deployment', DEFAULT_DIR)
    .option('--log <dir>', 'folder with the Parquet files, instead of a running deployment')
    .option('--csv', 'RFC 4180')
    .option('--json', 'array of rows')
    .addHelpText(
      'after',
      '\nExamples:\n  ctstream query "select event_type, count(*) from events group by 1"\n  ctstream query "select * from research.study_assessed limit 5" --log demo-out/event-log --csv\n',
    )
    .action(queryCommand);
}
