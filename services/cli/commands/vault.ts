// Commands on the identity vault (docs/vault.md): patients, keys and backups. Re-identification stands in vault-reidentify.ts.
import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import pino from 'pino';
import { backupVault } from '../../adapters/postgres-vault-admin-backup.ts';
import { restoreVault } from '../../adapters/postgres-vault-admin-restore.ts';
import { openVaultCorrections, type Correction, type VaultCorrections } from '../../adapters/postgres-vault-admin-correct.ts';
import { rotateKey } from '../../adapters/postgres-vault-admin-keys.ts';
import { openCodec } from '../../adapters/schema-registry.ts';
import { backupSqliteVault } from '../../adapters/sqlite-vault-backup.ts';
import type { BackupKind } from '../../adapters/vault-backup-file.ts';
import { RESEARCH_IDS } from '../../anonymise/withdraw-ids.ts';
import { abortOnSignals } from '../demo/abort-on-signals.ts';
import { allOf, openQuietBus, type Access, type KafkaRights } from '../access.ts';
import { accessOf } from '../deployment.ts';
import { readKeyFile, readOrMakeKeyFile } from '../key-file.ts';
import { print, progress } from '../output.ts';
import {
  asker,
  operatorName,
  patientKey,
  patientRef,
  personal,
  placed,
  privacyPerson,
  vaultPlace,
  withVaultSession,
} from '../vault-access.ts';
import type { PersonOptions, VaultOptions, VaultPlace } from '../vault-access.ts';
import { reanonymise, type Reanonymised } from '../vault-reanonymise.ts';
import { addReidentifyCommands } from './vault-reidentify.ts';

interface CorrectOptions extends VaultOptions, PersonOptions {
  readonly cityIssuers?: string;
  readonly yes?: true;
}

async function withCorrections<T>(place: VaultPlace, work: (corrections: VaultCorrections) => Promise<T>): Promise<T> {
  const { connectionString, key, access } = place;
  // The event of an erasure is encoded with the ids of schemas/ids.json, or of the deployment's registry. anonymise publishes it
  // under its own.
  const codec = await openCodec(access?.registryUrl);
  const corrections = await openVaultCorrections({ connectionString, key, ids: RESEARCH_IDS, codec, log: pino({ level: 'silent' }) });
  try {
    return await work(corrections);
  } finally {
    await corrections.close();
  }
}

async function merge(a: string, b: string, o: CorrectOptions, command: Command): Promise<void> {
  await corrected(o, command, async (ask, by) => {
    const first = await patientRef(a, 'A', { ...o, ask }, command);
    const second = await patientRef(b, 'B', { ...o, ask }, command);
    return (corrections, signal) => corrections.merge(first, second, by, signal);
  });
}

async function split(id: string, o: CorrectOptions, command: Command): Promise<void> {
  await corrected(o, command, async (ask, by) => {
    const key = patientKey(await patientRef(id, 'the id', { ...o, ask }, command), 'the id', command);
    return (corrections, signal) => corrections.split(key, by, signal);
  });
}

type Work = (corrections: VaultCorrections, signal: AbortSignal) => Promise<Correction>;

async function corrected(
  o: CorrectOptions,
  command: Command,
  prepare: (ask: (question: string) => Promise<string>, by: string) => Promise<Work>,
): Promise<void> {
  // Before anything is asked or opened.
  const place = await vaultPlace(o);
  const { name } = privacyPerson(place, o);
  const rights = place.access === undefined ? undefined : handOverRights(place.access);
  const { ask, close } = asker();
  let work: Work;
  try {
    work = await prepare(ask, name);
    const isSure =
      o.yes === true ||
      (await ask('Research erases the old pseudonym, its readings too, and takes the studies anew. Type yes: ')).trim() === 'yes';
    if (!isSure) command.error('nothing was done', { exitCode: 1 });
  } finally {
    close();
  }
  const signal = abortOnSignals(progress);
  progress("waiting for the patients' studies that are being worked on");
  const correction = await withCorrections(place, (corrections) => work(corrections, signal));
  const replayed = rights === undefined ? undefined : await handOver(place, rights, signal);
  print(o, { ...correction, ...replayed }, () => [correctionText(correction), nextText(replayed)].join('\n'));
}

const correctionText = ({ kind, retired, requestId, studies }: Correction): string =>
  [
    `${kind} done. ${retired} is nobody's any more; research erases it (ctstream withdraw receipt ${requestId}).`,
    `${studies.length} studies have another research identity now:`,
    ...studies.map((s) => `  ${s.centre}  ${s.studyInstanceUid}  was ${s.researchStudy}`),
  ].join('\n');

const nextText = (replayed: Reanonymised | undefined): string =>
  replayed === undefined
    ? 'Next: ctstream vault reanonymise, where Kafka can be reached: it hands the studies to the anonymiser again.'
    : [
        `${replayed.asked.length} studies were handed to the anonymiser again.`,
        ...(replayed.gone.length === 0 ? [] : ['No longer in the log; have the centre send them again, then they come by themselves:']),
        ...replayed.gone.map((s) => `  ${s.centre}  ${s.studyInstanceUid}`),
      ].join('\n');

interface HandOverRights {
  readonly reads: KafkaRights;
  readonly writes: KafkaRights;
  readonly registryUrl: string | undefined;
}

/** @throws ConfigError before anything is changed */
function handOverRights(access: Access): HandOverRights {
  const rights = allOf({ reads: () => access.kafka('account'), writes: () => access.kafka('operator') });
  return { ...rights, registryUrl: access.registryUrl };
}

/** Hands over what waits, over the deployment's Kafka. */
async function handOver(place: VaultPlace, rights: HandOverRights, signal: AbortSignal): Promise<Reanonymised> {
  const codec = await openCodec(rights.registryUrl);
  const reads = await openQuietBus(rights.reads, 'ctstream-vault');
  const writes = await openQuietBus(rights.writes, 'ctstream-vault');
  try {
    return await withCorrections(place, (corrections) => reanonymise({ corrections, codec, reads, writes }, signal));
  } finally {
    await Promise.allSettled([reads.close(), writes.close()]);
  }
}

async function reanonymiseAll(o: VaultOptions): Promise<void> {
  const place = await vaultPlace(o);
  // With the vault by its two files, Kafka is still the deployment's.
  const rights = handOverRights(place.access ?? (await accessOf(o, 'vault reanonymise')));
  const done = await handOver(place, rights, abortOnSignals(progress));
  print(o, done, () => nextText(done));
}

async function rotate(o: VaultOptions & { newKeyFile: string }): Promise<void> {
  const { connectionString, key } = await vaultPlace(o);
  const newKey = await readOrMakeKeyFile(o.newKeyFile);
  await rotateKey({ connectionString, oldKey: key, newKey, by: operatorName() });
  print(o, { rotated: true, keyFile: o.newKeyFile }, () =>
    [
      `The vault opens with ${o.newKeyFile} alone from now on. Running stages go on; they need it at their next start.`,
      'Put it where VAULT_KEY_FILE points, make a new backup, then destroy the old key and the backups made under it.',
    ].join('\n'),
  );
}

async function backup(file: string, kind: BackupKind, o: VaultOptions & { folderVault?: string }): Promise<void> {
  if (o.folderVault !== undefined) {
    await backupSqliteVault(o.folderVault, file);
    return print(o, { file, key: `${file}.key` }, () => `Written: ${file} and ${file}.key. Keep the two apart.`);
  }
  const place = await vaultPlace(o);
  const done = await withVaultSession(place, (session) => backupVault(session, { path: file, key: place.key, kind, by: operatorName() }));
  print(o, { file, ...done }, () =>
    [
      ...Object.entries(done.rows).map(([table, rows]) => `${String(rows).padStart(9)}  ${table}`),
      `${file}: ${done.sizeBytes} bytes, SHA-256 ${done.sha256}`,
    ].join('\n'),
  );
}

interface RestoreFlags extends VaultOptions {
  readonly denials?: string;
  readonly withoutDenials?: true;
  readonly oldKeyFile: string[];
  readonly withdrawnFile?: string;
}

async function restore(file: string, o: RestoreFlags, command: Command): Promise<void> {
  if ((o.denials === undefined) !== (o.withoutDenials === true))
    command.error('error: give --denials FILE, or --without-denials when nobody withdrew since the backup', { exitCode: 2 });
  const { connectionString, key } = await vaultPlace(o);
  const lines = o.withdrawnFile === undefined ? [] : readFileSync(o.withdrawnFile, 'utf8').split(/\s+/);
  const done = await restoreVault({
    connectionString,
    key,
    oldKeys: o.oldKeyFile.map(readKeyFile),
    backup: file,
    denials: o.denials,
    withdrawn: new Set(lines.filter((line) => line !== '')),
    ids: RESEARCH_IDS,
    by: operatorName(),
  });
  print(o, done, () =>
    [
      `Restored as of ${done.backupAt}: ${Object.values(done.rows).reduce((a, b) => a + b, 0)} rows.`,
      `${done.withdrawnAgain} patients had withdrawn since: deleted again, and denied.`,
      `${done.retiredAgain} pseudonyms had been retired since: do those merges and splits again.`,
      'Patients first seen since the backup get other pseudonyms from now on: see docs/vault.md, "What loss means".',
    ].join('\n'),
  );
}

const IDS = `
A patient is a pseudonym (S and 16 characters), @FILE with ISSUER:ID in its first line, or - to be asked for it
(a pipe's lines work too). An id itself is refused as an argument: it would stand in the shell's history and in the
list of processes. ISSUER is as in the files, or the centre's namespace; centre:CENTRE:ID where neither is there.
`;

const collect = (value: string, all: string[]): string[] => [...all, value];

function addPatientCommands(vault: Command): void {
  const correcting = (command: Command): Command =>
    personal(placed(command))
      .option('--city-issuers <file>', 'as CITY_ISSUERS_FILE of anonymise, when an id is a city-wide one')
      .option('--yes', 'do not ask');
  correcting(vault.command('merge').argument('<A>', 'the patient who stays').argument('<B>', 'the patient who becomes A'))
    .description("two patients are one: B's ids and studies become A's, and B's pseudonym is erased in research")
    .addHelpText(
      'after',
      `${IDS}\nExamples:\n  ctstream vault merge - - --token-file ~/token\n  ctstream vault merge S2K5QX7ABCDEFGHIJ @/run/b.txt --token-file ~/token --yes --json\n`,
    )
    .action(merge);
  correcting(vault.command('split').argument('<id>', 'one id, by @FILE or -'))
    .description('an id is another person: it gets a patient of its own, with the studies that came by it')
    .addHelpText('after', `${IDS}\nExample:\n  ctstream vault split - --token-file ~/token\n`)
    .action(split);
  placed(vault.command('reanonymise'))
    .description('hand the studies of merges and splits to the anonymiser again, those that still wait')
    .addHelpText('after', '\nExamples:\n  ctstream vault reanonymise --json\n  ctstream vault reanonymise --deployment deployment.json\n')
    .action(reanonymiseAll);
}

export function addVaultCommands(program: Command): void {
  const vault = program.command('vault').description('the identity vault: patients, keys, backup and restore, re-identification');
  addPatientCommands(vault);
  placed(vault.command('rotate-key').requiredOption('--new-key-file <file>', 'made when it is not there (mode 600)'))
    .description('the key file of the vault becomes another one; the old one opens nothing any more')
    .addHelpText(
      'after',
      '\nExample:\n  ctstream vault rotate-key --url-file vault-url --key-file vault-key --new-key-file vault-key.2027\n',
    )
    .action(rotate);
  placed(vault.command('backup').argument('<file>', 'to write; must not be there'))
    .option('--folder-vault <file>', "the vault of 'ctstream deid' in a file, in place of PostgreSQL")
    .description('everything in the vault, from one snapshot, encrypted under its key file')
    .addHelpText(
      'after',
      '\nExamples:\n  ctstream vault backup vault-2026-11-23.bak\n  ctstream vault backup copy.sqlite --folder-vault ~/vault.sqlite\n',
    )
    .action((file: string, o: VaultOptions & { folderVault?: string }) => backup(file, 'vault', o));
  placed(vault.command('restore').argument('<file>', 'a backup'))
    .option('--denials <file>', "the newest 'vault denials export': whoever withdrew since the backup stays away")
    .option('--without-denials', 'nobody withdrew since the backup')
    .option('--withdrawn-file <file>', 'pseudonyms of ct.research.subject-withdrawn, one a line: a second net (see docs/vault.md)')
    .option('--old-key-file <file>', 'an earlier key under which a file was made; may be repeated', collect, [])
    .description('fill an empty database from a backup; who withdrew since is deleted again and denied')
    .addHelpText(
      'after',
      '\nExample:\n  ctstream vault restore vault-2026-11-23.bak --denials denials-2026-11-24.bak --url-file url --key-file key\n',
    )
    .action(restore);
  const denials = vault.command('denials').description('who withdrew, as digests');
  placed(denials.command('export').argument('<file>', 'to write; must not be there'))
    .description('what a restore of an older backup needs, encrypted; after each withdrawal and with each backup')
    .addHelpText('after', '\nExample:\n  ctstream vault denials export denials-2026-11-24.bak\n')
    .action((file: string, o: VaultOptions) => backup(file, 'denials', o));
  addReidentifyCommands(vault);
}
