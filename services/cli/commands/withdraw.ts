// A patient withdraws: `withdraw` and `withdraw receipt`. What is typed to name the person is never written back.
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { createInterface } from 'node:readline/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Command } from 'commander';
import pino from 'pino';
import { openPostgresWithdrawals } from '../../adapters/postgres-vault-withdraw.ts';
import { openCodec } from '../../adapters/schema-registry.ts';
import { withdrawFromSqliteVault } from '../../adapters/sqlite-vault-withdraw.ts';
import { patientKeyOfText, RESEARCH_IDS } from '../../anonymise/withdraw-ids.ts';
import type { SubjectId } from '../../kernel/ids.ts';
import type { PatientKey } from '../../ports/identity-vault.ts';
import type { Receipt, Withdrawals } from '../../ports/withdrawals.ts';
import { abortOnSignals } from '../demo/abort-on-signals.ts';
import { attachDeployment, DEFAULT_DIR } from '../deployment.ts';
import { print, progress, type Printable } from '../output.ts';
import { receiptShown, receiptText } from '../withdraw-receipt.ts';

interface WithdrawOptions extends Printable {
  readonly dir: string;
  readonly patient?: string;
  readonly pseudonym?: string;
  readonly vault?: string;
  readonly yes?: true;
  readonly wait?: true;
}

const POLL_MS = 1000;

async function withWithdrawals<T>(dir: string, work: (withdrawals: Withdrawals) => Promise<T>): Promise<T> {
  const { platform, provisioned } = await attachDeployment(resolve(dir));
  const withdrawals = await openPostgresWithdrawals({
    connectionString: provisioned.databases.vault,
    key: Buffer.from(readFileSync(provisioned.file('vault-key'), 'utf8').trim(), 'hex'),
    codec: await openCodec(platform.registryUrl),
    log: pino({ level: 'silent' }),
    ids: RESEARCH_IDS,
  });
  try {
    return await work(withdrawals);
  } finally {
    await withdrawals.close();
  }
}

/** ISSUER:ID as it was typed, or the first line of stdin for '-': there no list of processes shows it. */
function keyOf(text: string, command: Command): PatientKey {
  const [line = ''] = text === '-' ? readFileSync(0, 'utf8').split(/\r?\n/) : [text];
  const key = patientKeyOfText(line);
  if (key === undefined) command.error('error: --patient is ISSUER:ID, and the id one that can be a person (see --help)', { exitCode: 2 });
  return key;
}

async function confirm(o: WithdrawOptions, command: Command): Promise<void> {
  if (o.yes === true) return;
  if (!process.stdin.isTTY) command.error('error: nobody can be asked here: give --yes to erase', { exitCode: 2 });
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  const answer = await terminal.question('Everything of this person is erased, for good, and later studies are refused. Type yes: ');
  terminal.close();
  if (answer.trim() !== 'yes') command.error('nothing was done', { exitCode: 1 });
}

async function untilComplete(withdrawals: Withdrawals, first: Receipt, signal: AbortSignal): Promise<Receipt> {
  let told = '';
  for (let receipt = first; ;) {
    const pending = receipt.reports.filter((r) => r.doneAtMs === undefined).map((r) => r.stage);
    if (pending.join() !== told) progress(pending.length === 0 ? 'all have reported' : `waiting for ${pending.join(', ')}`);
    told = pending.join();
    if (receipt.completedAtMs !== undefined) return receipt;
    await sleep(POLL_MS, undefined, { signal });
    receipt = (await withdrawals.receipt(receipt.requestId)) ?? receipt;
  }
}

function withdrawFromFolder(o: WithdrawOptions & { vault: string }, key: PatientKey): void {
  const result = withdrawFromSqliteVault(resolve(o.vault), key);
  const studies = result === 'denied' ? 0 : result.studies;
  print(o, { state: result === 'denied' ? 'denied' : 'complete', studies, refusal: 'in force' }, () =>
    result === 'denied'
      ? 'Nothing of this person is known (any more). Later files are refused.'
      : `The links of ${studies} ${studies === 1 ? 'study' : 'studies'} are deleted. Later files are refused. Files that were written before are yours to delete.`,
  );
}

async function withdraw(o: WithdrawOptions, command: Command): Promise<void> {
  const { patient, pseudonym, vault } = o;
  if ((patient === undefined) === (pseudonym === undefined)) command.error('error: give either --patient or --pseudonym', { exitCode: 2 });
  if (vault !== undefined && patient === undefined) command.error('error: a folder vault is asked by --patient', { exitCode: 2 });
  const key = patient === undefined ? undefined : keyOf(patient, command);
  await confirm(o, command);
  if (vault !== undefined && key !== undefined) return withdrawFromFolder({ ...o, vault }, key);
  const signal = abortOnSignals(progress);
  await withWithdrawals(o.dir, async (withdrawals) => {
    progress("waiting for the patient's studies that are being worked on");
    const receipt =
      key === undefined
        ? await withdrawals.withdrawSubject(pseudonym as SubjectId, signal)
        : await withdrawals.withdrawPatient(key, signal);
    if (receipt === undefined)
      throw new Error('no patient has this pseudonym (a merge or split may have retired it), and none withdrew under it');
    if (receipt !== 'denied') progress(`request ${receipt.requestId}`);
    const shown = receiptShown(o.wait === true && receipt !== 'denied' ? await untilComplete(withdrawals, receipt, signal) : receipt);
    print(o, shown, () => receiptText(shown));
  });
}

async function showReceipt(requestId: string, o: Printable & { readonly dir: string }): Promise<void> {
  await withWithdrawals(o.dir, async (withdrawals) => {
    const receipt = await withdrawals.receipt(requestId);
    if (receipt === undefined) throw new Error('there is no such request');
    const shown = receiptShown(receipt);
    print(o, shown, () => receiptText(shown));
  });
}

export function addWithdrawCommands(program: Command): void {
  const command = program
    .command('withdraw')
    .description('erase a patient who withdrew, everywhere and for good; refuse their later studies; give a receipt')
    .option(
      '--patient <issuer:id>',
      "issuer (or the centre's namespace) and patient id; centre:CENTRE:ID without one; - reads it from stdin",
    )
    .option('--pseudonym <p>', 'the subject as the research zone knows it')
    .option('--yes', 'do not ask')
    .option('--wait', 'until every stage has reported: about an hour, since all erase again after the longest job')
    .option('--vault <file>', 'the folder vault of `ctstream deid` instead of a deployment')
    .option('--dir <dir>', 'folder of the deployment', DEFAULT_DIR)
    .option('--json', 'the receipt: requestId, state, stages, expires, refusal')
    .addHelpText(
      'after',
      '\nExamples:\n  ctstream withdraw --patient HOSPITAL-7:12345\n  echo HOSPITAL-7:12345 | ctstream withdraw --patient - --yes --json\n  ctstream withdraw --pseudonym S2K5QX7... --wait\n  ctstream withdraw receipt 6f1c...\n  ctstream withdraw --vault ~/vault.sqlite --patient HOSPITAL-7:12345\n',
    )
    .action(withdraw);
  command
    .command('receipt')
    .argument('<request id>', 'as `withdraw` gave it')
    .description('what has been erased by whom, what only expires, and that later studies are refused')
    .option('--dir <dir>', 'folder of the deployment', DEFAULT_DIR)
    .option('--json', 'one JSON document')
    .addHelpText('after', '\nExample:\n  ctstream withdraw receipt 6f1c... --json\n')
    .action((requestId: string, _: unknown, self: Command) => showReceipt(requestId, self.optsWithGlobals()));
}
