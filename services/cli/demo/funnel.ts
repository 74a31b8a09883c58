// The funnel as a table: a row per centre, a column per step, and what stopped studies on the way.
import Table from 'cli-table3';
import { MILESTONES, type Account, type StudyAccount } from '../../kernel/accounting.ts';

const STATES = ['waiting', 'excluded', 'rejected', 'unaccounted'] as const;

function rowOf(name: string, studies: readonly StudyAccount[]): (string | number)[] {
  const reached = MILESTONES.map((_, i) => studies.filter((s) => MILESTONES.indexOf(s.reached) >= i).length);
  return [name, ...reached, ...STATES.map((state) => studies.filter((s) => s.state === state).length || '')];
}

/** Text of the table. With many centres only the totals and the centres that still have waiting studies are shown. */
export function funnelTable(account: Account, most = 12): string {
  const table = new Table({
    head: ['centre', ...MILESTONES, ...STATES],
    style: { head: [], border: [], compact: true },
    colAligns: ['left', ...MILESTONES.map(() => 'right' as const), ...STATES.map(() => 'right' as const)],
  });
  const centres = [...new Set(account.studies.map((s) => s.centre))].sort();
  const busy = centres.filter((c) => account.studies.some((s) => s.centre === c && s.state === 'waiting'));
  const shown = centres.length <= most ? centres : busy.slice(0, most);
  for (const centre of shown)
    table.push(
      rowOf(
        centre,
        account.studies.filter((s) => s.centre === centre),
      ),
    );
  if (shown.length < centres.length)
    table.push([`${centres.length - shown.length} more`, ...MILESTONES.map(() => ''), ...STATES.map(() => '')]);
  table.push(rowOf('all', account.studies));
  return table.toString();
}

/** One line for a log that has no cursor. */
export function funnelLine(account: Account): string {
  const { reached, totals } = account;
  return `${MILESTONES.map((m) => `${m} ${reached[m]}`).join(' > ')} | waiting ${totals.waiting}, excluded ${totals.excluded}, rejected ${totals.rejected}, unaccounted ${totals.unaccounted}`;
}

/** Codes and how many studies bear each, most first. */
export function reasonLines(account: Account): string[] {
  return Object.entries(account.reasons)
    .sort(([, a], [, b]) => b - a)
    .map(([code, n]) => `${String(n).padStart(5)}  ${code}`);
}
