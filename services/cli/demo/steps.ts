// Steps of the demo that a person would do: ask for a census, build a release, approve it.
import { setTimeout as sleep } from 'node:timers/promises';
import { join } from 'node:path';
import type { Account } from '../../kernel/accounting.ts';
import { openDuckDb } from '../../event-log/parquet.ts';
import { createViews, mirrorLog, runQuery } from '../../event-log/query.ts';
import type { OperatorPorts } from '../deployment.ts';
import type { Running } from './deploy.ts';

export const DEMO_VERSION = 'v1.0.0';

async function post(url: string, body: unknown, headers: Readonly<Record<string, string>> = {}): Promise<unknown> {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(600_000),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`POST ${new URL(url).pathname} was answered ${response.status}: ${text.slice(0, 300)}`);
  return text === '' ? undefined : JSON.parse(text);
}

/** Asks every PACS what it lists, so that the last account starts from the newest numbers. */
export async function requestCensus(running: Running): Promise<void> {
  await post(`${running.stages.apiUrl('centre-gateway')}/census`, {}, { authorization: `Bearer ${running.provisioned.gatewayToken}` });
}

/** Builds the release and approves it in the name of two simulated approvers. Returns its folder, '' when nothing is graded. */
export async function buildAndApprove(running: Running, out: string, account: Account, note: (line: string) => void): Promise<string> {
  const graded = account.studies.filter((s) => s.code === 'AWAITING_RELEASE').length;
  if (graded === 0) return '';
  await releaseVersion(running, DEMO_VERSION, graded, note);
  return join(out, 'dataset', DEMO_VERSION);
}

/** @param graded so many graded studies are waited for */
export async function releaseVersion(
  { stages, provisioned }: Pick<Running, 'stages' | 'provisioned'>,
  version: string,
  graded: number,
  note: (line: string) => void,
): Promise<void> {
  const api = stages.apiUrl('release');
  const bearer = { authorization: `Bearer ${provisioned.releaseToken}` };
  note(`Building the release ${version}`);
  await post(`${api}/releases`, { version, waitForStudies: graded }, bearer);
  note('Approving it in the name of two simulated approvers');
  const approval = { approvers: ['Simulated Approver One', 'Simulated Approver Two'], simulated: true };
  await post(`${api}/releases/${version}/approve`, approval, bearer);
}

/** Waits until both archivers have written everything that the log holds now, and mirrors it into a folder. False when they have not after a minute. */
export async function flushArchives(ports: OperatorPorts, dir: string, signal: AbortSignal): Promise<boolean> {
  const ends = await ports.bus.ends(await ports.bus.topics(['ct.clinical.*', 'ct.research.*']));
  const expected = ends.reduce((sum, e) => sum + Number(e.end - e.first), 0);
  const deadline = Date.now() + 60_000;
  const db = await openDuckDb();
  try {
    for (;;) {
      await mirrorLog(ports.store, dir, signal);
      await createViews(db, dir);
      const { rows } = await runQuery(db, 'SELECT count(*)::INTEGER AS n FROM records');
      if (Number(rows[0]?.['n']) >= expected) return true;
      if (Date.now() > deadline) return false;
      await sleep(500, undefined, { signal });
    }
  } finally {
    db.closeSync();
  }
}
