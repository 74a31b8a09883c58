// docs/accounting.md, from the transition table that the account's fold is held to.
import { ACCOUNT_TABLE, type AccountRow } from '../services/kernel/account-table.ts';

const INTRO = `# The account

Generated from services/kernel/account-table.ts by \`npm run generate\`. Do not edit.

\`ctstream account\` is one pure fold of the log to exactly one state per study
([0011](decisions/0011-account-as-a-fold.md)):

    sent = released + waiting + excluded + rejected + withdrawn + outOfScope + unaccounted

\`sent\` is what the PACSs themselves list. The order in which events are read does not matter, nor do copies of them.
A census lists a whole PACS every hour; while the log is read, four lines of each study stay at most and an envelope of each
page (0.6 kB for 500 lines), so the command's memory grows with the studies and hardly with how often they were listed. The
newest census is the last in the log, whatever its clock said.
\`unaccounted\` must be 0: anything else is a loss, and the command ends with code 1. The codes stand in
[codes.md](codes.md); dead letters in [dead-letters.md](dead-letters.md).

## Which revision counts

The newest announcement in the log. Two exceptions, and in both the study's line has a \`note\` with the newest
revision's code:

- A newer revision that is rejected (\`STUDY_VANISHED\` too) takes nothing away from an earlier one that went on: the study
  stands where that one stands. What readers rejected stays rejected.
- A release stands. Whatever a later revision meets is noted, until a next version has it.

A newer revision that is lost is \`unaccounted\` in every case: no release hides a loss. One that waits, is held or lies in dead
letters, at whatever stage, is where the study stands, and under a release it is the note.

## The table

A study in a row can go to the states of its last column; a code can change within a state. A property test walks random
histories of two centres (studies, revisions, verdicts, retries, dead letters, replays, rounds, releases, withdrawals,
censuses, months in which the log forgets) and fails at a state, code or step that is not here.

`;

const END = `
## What the account can't see

- A correction that leaves the number of instances as it was: the census has no hashes. Gateways of servers with a change
  feed see it at once; others when the study is next looked at.
- A loss of the last rows of a source other than a gateway, until its next event comes.
- Outcomes that have left the clinical log (30 days): \`EXPIRED\`. What is parked keeps its study's state and code until the
  parked record is gone too (90 days).

## A gateway that lost its database

A gateway numbers its announcements, and ingest takes a lower number than a stored one for an older revision. A new
database goes on from the clock in milliseconds, which is above every number that the old one drew, unless the clock
was set back in between or had been ahead. Then:

- What was announced before and has not changed is announced anew with a lower number; its revision is known, and ingest
  tells again what it told. Nothing is lost and nothing is doubled.
- A *newer* revision gets a lower number than the stored one, and ingest skips it as \`SUPERSEDED\`. The account goes by the
  order of the log, not by the number, so the study is not taken for done: it is \`waiting\` with \`SEQUENCE_WENT_BACK\`
  (or \`released\` with that note).

What the operator does: set the gateway's clock right (NTP), stop the gateway, move its state file away, start it. It
announces every study anew with numbers of the right clock; those that stand are recognised, the skipped revisions are
pulled. If the old clock was *ahead*, wait until the right one has passed the highest number (it is the time in
milliseconds since 1970), or have the studies sent after that.

The outbox numbers begin again at 1 under a new source name (\`centre-gateway/<centre>/<generation>\`), so a lost database
makes no false gaps. What the old one had drawn and not sent is gone with it: the census finds those studies again.
`;

const cell = (text: string): string => text.replaceAll('|', '\\|').replaceAll('<', '&lt;');

function line(row: AccountRow): string {
  const codes = row.title ?? row.codes.map((code) => `\`${code}\``).join(', ');
  return `| ${[row.state, codes, cell(row.putBy), cell(row.takenOutBy), cell(row.acts), row.next.length === 0 ? 'none' : row.next.join(', ')].join(' | ')} |`;
}

export function accountingPage(): string {
  const head = '| state | code | what puts it there | what takes it out | who acts | can go to |\n| --- | --- | --- | --- | --- | --- |';
  return `${INTRO}${[head, ...ACCOUNT_TABLE.map(line)].join('\n')}\n${END}`;
}
