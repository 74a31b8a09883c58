// A patient withdraws: `withdraw` and `withdraw receipt`. What is typed to name the person is never written back.
import { existsSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { createInterface } from 'node:readline/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Command } from 'commander';
import pino from 'pino';
import { backupVault } from '../../adapters/postgres-vault-admin-backup.ts';
import { openPostgresWithdrawals } from '../../adapters/postgres-vault-withdraw.ts';
import { openCodec } from '../../adapters/schema-registry.ts';
import { withdrawFromSqliteVault } from '../../adapters/sqlite-vault-withdraw.ts';
import { DEFAULT_IDENTITY_RULES } from '../../anonymise/identity.ts';
import { patientKeyOfText, RESEARCH_IDS } from '../../anonymise/withdraw-ids.ts';
import type { SubjectId } from '../../kernel/ids.ts';
import type { PatientKey } from '../../ports/identity-vault.ts';
import type { Receipt, Withdrawals } from '../../ports/withdrawals.ts';
import { readCityIssuers } from '../../runtime/city-issuers-file.ts';
import { abortOnSignals } from '../demo/abort-on-signals.ts';
import { print, progress } from '../output.ts';
import { placed, privacyPerson, vaultPlace, withVaultSession } from '../vault-access.ts';
import type { PersonOptions, VaultOptions, VaultPlace } from '../vault-access.ts';
import { receiptShown, receiptText } from '../withdraw-receipt.ts';

interface WithdrawOptions extends VaultOptions, Partial<PersonOptions> {
  readonly patient?: string;
  readonly pseudonym?: string;
  readonly vault?: string;
  readonly cityIssuers?: string;
  readonly denials?: string;
  readonly yes?: true;
  readonly wait?: true;
}

const POLL_MS = 1000;

async function withWithdrawals<T>(place: VaultPlace, work: (withdrawals: Withdrawals) => Promise<T>): Promise<T> {
  // The event is encoded with the ids of schemas/ids.json, or of the deployment's registry. anonymise publishes it under its own.
  const withdrawals = await openPostgresWithdrawals({
    connectionString: place.connectionString,
    key: place.key,
    codec: await openCodec(place.access?.registryUrl),
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
function keyOf(text: string, o: WithdrawOptions, command: Command): PatientKey {
  const [line = ''] = text === '-' ? readFileSync(0, 'utf8').split(/\r?\n/) : [text];
  const key = patientKeyOfText(line, { ...DEFAULT_IDENTITY_RULES, cityIssuers: readCityIssuers(o.cityIssuers) });
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

/** What a restore of an older backup needs, as soon as the denial is in force. What went wrong, if anything. */
async function exportDenials(path: string, place: VaultPlace, by: string): Promise<string | undefined> {
  try {
    await withVaultSession(place, (session) => backupVault(session, { path, key: place.key, kind: 'denials', by }));
    return undefined;
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    return `the withdrawal is in force, but the denials were not exported (${why}): ctstream vault denials export FILE`;
  }
}

function checkUsage({ patient, pseudonym, vault, cityIssuers, denials, tokenFile }: WithdrawOptions, command: Command): void {
  if ((patient === undefined) === (pseudonym === undefined)) command.error('error: give either --patient or --pseudonym', { exitCode: 2 });
  if (vault !== undefined && patient === undefined) command.error('error: a folder vault is asked by --patient', { exitCode: 2 });
  if (vault !== undefined && (cityIssuers ?? denials) !== undefined)
    command.error('error: a folder vault has no city-wide ids and no denials to export', { exitCode: 2 });
  if (vault === undefined && tokenFile === undefined)
    command.error("error: give --token-file: someone with the role 'privacy' withdraws, and stands in the audit", { exitCode: 2 });
  if (denials !== undefined && existsSync(denials)) command.error('error: the file of --denials is there already', { exitCode: 2 });
}

async function withdraw(o: WithdrawOptions, command: Command): Promise<void> {
  checkUsage(o, command);
  const { patient, pseudonym, vault, tokenFile = '' } = o;
  if (vault !== undefined && patient !== undefined) {
    const key = keyOf(patient, o, command);
    await confirm(o, command);
    return withdrawFromFolder({ ...o, vault }, key);
  }
  const place = await vaultPlace(o);
  const { name } = privacyPerson(place, { ...o, tokenFile });
  const key = patient === undefined ? undefined : keyOf(patient, o, command);
  await confirm(o, command);
  const signal = abortOnSignals(progress);
  await withWithdrawals(place, async (withdrawals) => {
    progress("waiting for the patient's studies that are being worked on");
    const receipt =
      key === undefined
        ? await withdrawals.withdrawSubject(pseudonym as SubjectId, name, signal)
        : await withdrawals.withdrawPatient(key, name, signal);
    if (receipt === undefined)
      throw new Error('no patient has this pseudonym (a merge or split may have retired it), and none withdrew under it');
    if (receipt !== 'denied') progress(`request ${receipt.requestId}`);
    const problem = o.denials === undefined ? undefined : await exportDenials(resolve(o.denials), place, name);
    const shown = receiptShown(o.wait === true && receipt !== 'denied' ? await untilComplete(withdrawals, receipt, signal) : receipt);
    print(o, shown, () => receiptText(shown));
    if (problem !== undefined) throw new Error(problem);
  });
}

async function showReceipt(requestId: string, o: VaultOptions): Promise<void> {
  await withWithdrawals(await vaultPlace(o), async (withdrawals) => {
    const receipt = await withdrawals.receipt(requestId);
    if (receipt === undefined) throw new Error('there is no such request');
    const shown = receiptShown(receipt);
    print(o, shown, () => receiptText(shown));
  });
}

export function addWithdrawCommands(program: Command): void {
  const command = placed(program.command('withdraw'))
    .description('erase a patient who withdrew, everywhere and for good; refuse their later studies; give a receipt')
    .option(
      '--patient <issuer:id>',
      "issuer (or the centre's namespace) and patient id; centre:CENTRE:ID without one; - reads it from stdin",
    )
    .option('--pseudonym <p>', 'the subject as the research zone knows it')
    .option('--yes', 'do not ask')
    .option('--wait', 'until every stage has reported: about an hour, since all erase again after the longest job')
    .option('--token-file <file>', "your token (mode 600); the role is 'privacy'")
    .option('--people-file <file>', "who has which role; the deployment's own when not given")
    .option('--city-issuers <file>', 'as CITY_ISSUERS_FILE of anonymise, when the id is a city-wide one')
    .option('--denials <file>', "also write the new 'vault denials export'; must not be there")
    .option('--vault <file>', 'the folder vault of `ctstream deid` instead of a deployment; needs no token')
    .addHelpText(
      'after',
      '\nExamples:\n  ctstream withdraw --patient HOSPITAL-7:12345 --token-file ~/token --denials denials-2026-11-24.bak\n  echo HOSPITAL-7:12345 | ctstream withdraw --patient - --token-file ~/token --yes --json\n  ctstream withdraw --pseudonym S2K5QX7... --token-file ~/token --wait\n  ctstream withdraw receipt 6f1c...\n  ctstream withdraw --vault ~/vault.sqlite --patient HOSPITAL-7:12345\n',
    )
    .action(withdraw);
  placed(command.command('receipt'))
    .argument('<request id>', 'as `withdraw` gave it')
    .description('what has been erased by whom, what only expires, and that later studies are refused')
    .addHelpText('after', '\nExample:\n  ctstream withdraw receipt 6f1c... --json\n')
    .action((requestId: string, _: unknown, self: Command) => showReceipt(requestId, self.optsWithGlobals()));
}
