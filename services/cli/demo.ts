// `npm run demo`: CT studies go into the PACSs of several centres and come out as a released dataset.
import { cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { openDuckDb } from '../event-log/parquet.ts';
import { createViews, runQuery } from '../event-log/query.ts';
import type { Account, StudyAccount } from '../kernel/accounting.ts';
import { CODES, isCode } from '../kernel/codes.ts';
import { abortOnSignals } from './demo/abort-on-signals.ts';
import { centreNames, deployLocal, stopLocal, type Running } from './demo/deploy.ts';
import { feedCentres } from './demo/feed-centres.ts';
import { funnelTable, reasonLines } from './demo/funnel.ts';
import { liveView } from './demo/live-view.ts';
import { parseDemoOptions, type DemoOptions } from './demo/options.ts';
import { EXAMPLE_QUERIES } from './demo/queries.ts';
import { demoReport, equationHolds, equationLine, type DemoReport, type Fed } from './demo/report.ts';
import { startReaders } from './demo/readers.ts';
import { restarts } from './demo/restarts.ts';
import { startSecurityOfficer, type SecurityOfficer } from './demo/security-officer.ts';
import { buildAndApprove, flushArchives, requestCensus } from './demo/steps.ts';
import { DEFAULT_DIR, localAccess, operatorPorts, stagesDir, type OperatorPorts } from './deployment.ts';
import { followLog, type LogFollower } from './follow-log.ts';
import { tableText } from './table-text.ts';

const say = (line: string): void => void process.stderr.write(`${line}\n`);

/** Studies that wait for nothing but a release or a person, or have ended; the simulated officer is no such person. */
function settled(a: Account, expected: number, officer: SecurityOfficer): boolean {
  const isLeft = (s: StudyAccount): boolean =>
    (s.dead && !(s.code === 'HELD_BURNED_IN_TEXT' && officer.isWorking())) || s.code === 'AWAITING_RELEASE';
  const open = a.studies.filter((s) => s.state === 'unaccounted' || (s.state === 'waiting' && !isLeft(s)));
  return a.totals.sent >= expected && open.length === 0;
}

async function until(
  follower: LogFollower,
  done: (a: Account) => boolean,
  show: (a: Account) => void,
  limitMs: number,
  signal: AbortSignal,
): Promise<Account> {
  const deadline = Date.now() + limitMs;
  for (;;) {
    const now = await follower.account(signal);
    show(now);
    if (done(now) || Date.now() > deadline) return now;
    await new Promise((r) => setTimeout(r, 1000));
    signal.throwIfAborted();
  }
}

async function runStudies(
  o: DemoOptions,
  running: Running,
  ports: OperatorPorts,
  signal: AbortSignal,
): Promise<{ account: Account; fed: Fed; dataset: string; looked: readonly string[]; studySeconds: number }> {
  const follower = followLog(ports);
  const view = liveView();
  const started = performance.now();
  const readers = startReaders(running, o.seed, signal);
  const officer = startSecurityOfficer(running, view.note, signal);
  // Ends the watching when the feeding fails, and the other way round.
  const giveUp = new AbortController();
  const both = AbortSignal.any([signal, giveUp.signal]);
  const work: Promise<unknown>[] = [];
  try {
    const feeding = feedCentres(o, running, view.note, both);
    let expected = Number.POSITIVE_INFINITY;
    void feeding.then(
      (f) => {
        expected = f.studies;
      },
      () => undefined,
    );
    const watching = until(follower, (a) => settled(a, expected, officer), view.show, limitMsOf(o), both);
    work.push(feeding, watching);
    const [fed, ready] = await Promise.all([feeding, watching]);
    const dataset = await buildAndApprove(running, o.out, ready, view.note);
    await requestCensus(running);
    const last = await until(
      follower,
      (a) => dataset === '' || a.studies.every((s) => s.code !== 'AWAITING_RELEASE'),
      view.show,
      60_000,
      signal,
    );
    return { account: last, fed, dataset, looked: officer.done(), studySeconds: (performance.now() - started) / 1000 };
  } finally {
    giveUp.abort(new Error('the demo ends'));
    await Promise.allSettled(work);
    view.end();
    await Promise.all([readers.stop(), officer.stop()]);
  }
}

/** A generous limit: a study that hangs is shown as waiting, the demo does not hang with it. */
function limitMsOf(o: DemoOptions): number {
  return 300_000 + o.studies * 15_000;
}

async function showQueries(o: DemoOptions): Promise<void> {
  const dir = join(o.out, 'event-log');
  const db = await openDuckDb();
  try {
    await createViews(db, dir);
    for (const { question, sql } of EXAMPLE_QUERIES) {
      say(`\n${question}\n  ${sql}\n${tableText(await runQuery(db, sql))}`);
    }
  } finally {
    db.closeSync();
  }
}

function tellEnd(report: DemoReport, account: Account, looked: readonly string[], o: DemoOptions, running: Running): void {
  say(`\n${funnelTable(account)}`);
  if (Object.keys(account.reasons).length > 0) {
    say('\nWhy studies are not released:');
    for (const line of reasonLines(account)) say(`${line}  ${meaning(line.trim().split(/\s+/)[1] ?? '')}`);
  }
  if (looked.length > 0) say(`\nHeld until somebody had looked (docs/held.md):\n${looked.map((line) => `  ${line}`).join('\n')}`);
  say(`\n${equationLine(account.totals)}`);
  say(
    `${report.instances} instances, ${(report.bytes / 1e6).toFixed(0)} MB in ${report.seconds} s (${report.megabytesPerSecond} MB/s while studies flowed)`,
  );
  say(
    report.dataset === ''
      ? '\nNo study was released.'
      : `\nDataset:    ${report.dataset}  (registry.csv, images/, SHA256SUMS, datasheet.md)`,
  );
  say(
    `Event log:  ${join(o.out, 'event-log')}  (npm run -s ctstream -- query "select * from research.study_assessed" --log ${join(o.out, 'event-log')})`,
  );
  say(`Logs:       ${join(o.out, 'logs')}`);
  if (o.keep) {
    say(`Centres:    ${running.stages.apiUrl('centre-gateway')}/`);
    if (running.platform.prometheusUrl !== undefined) say(`Metrics:    ${running.platform.prometheusUrl}`);
    if (running.platform.zipkinUrl !== undefined) say(`Traces:     ${running.platform.zipkinUrl}`);
    say(`Everything still runs: npm run -s ctstream -- account | lag | centres | query${dirWord(o)}. Ctrl-C ends it, 'down' too.`);
  }
}

/** The other commands look in the default folder unless told. */
function dirWord(o: DemoOptions): string {
  return o.dir === DEFAULT_DIR ? '' : `, each with --dir ${o.dir}`;
}

function meaning(code: string): string {
  return isCode(code) ? CODES[code].meaning : '';
}

async function main(): Promise<number> {
  const o = parseDemoOptions(process.argv.slice(2));
  const started = performance.now();
  const abort = abortOnSignals(say);
  for (const part of ['dataset', 'event-log', 'logs']) await rm(join(o.out, part), { recursive: true, force: true });
  await mkdir(o.out, { recursive: true });
  const again = restarts({ limit: 1, firstWaitMs: 1000, say });
  const running = await deployLocal({
    dir: o.dir,
    centres: centreNames(o.centres),
    extras: o.extras,
    readers: 6,
    datasetDir: join(o.out, 'dataset'),
    say,
    restarts: again,
    signal: abort,
  });
  try {
    const ports = await operatorPorts(localAccess(running.platform, running.provisioned));
    try {
      const { account, fed, dataset, looked, studySeconds } = await runStudies(o, running, ports, abort);
      const report = demoReport(account, fed, (performance.now() - started) / 1000, studySeconds, running.phases, dataset);
      await flushArchives(ports, join(o.out, 'event-log'), abort);
      await showQueries(o);
      tellEnd(report, account, looked, o, running);
      await writeFile(join(o.out, 'report.json'), `${JSON.stringify(report, null, 2)}\n`);
      if (o.json !== undefined) await writeFile(o.json, await readFile(join(o.out, 'report.json')));
      if (o.keep && !abort.aborted) await new Promise((done) => abort.addEventListener('abort', done, { once: true }));
      return equationHolds(report.studies) && report.studies.unaccounted === 0 && report.missing.length === 0 ? 0 : 1;
    } finally {
      await ports.close();
    }
  } finally {
    try {
      await stopLocal({ ...running, restarts: again });
    } finally {
      await cp(join(stagesDir(o.dir), 'logs'), join(o.out, 'logs'), { recursive: true });
    }
  }
}

process.exitCode = await main().catch((error: unknown) => {
  const exitCode = error instanceof Error && 'exitCode' in error && typeof error.exitCode === 'number' ? error.exitCode : 1;
  say(`\n${error instanceof Error ? error.message : String(error)}`);
  return exitCode;
});
