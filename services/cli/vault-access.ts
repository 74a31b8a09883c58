// What the vault's commands are given: connection and key, a patient's id that no shell history keeps, and the person
// of a token.
import { existsSync, readFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import { createInterface } from 'node:readline/promises';
import type { Command } from 'commander';
import type { PatientRef } from '../adapters/postgres-vault-admin-correct.ts';
import { openVaultSession } from '../adapters/postgres-vault-admin.ts';
import type { VaultSession } from '../adapters/postgres-vault-admin.ts';
import { readCityIssuers } from '../runtime/city-issuers-file.ts';
import { DEFAULT_IDENTITY_RULES } from '../anonymise/identity.ts';
import { patientKeyOfText, RESEARCH_IDS } from '../anonymise/withdraw-ids.ts';
import type { PatientKey } from '../ports/identity-vault.ts';
import { ConfigError, secretOf } from '../runtime/env.ts';
import { personOf, readPeopleFile, readTokenFile, type Person } from '../runtime/people-file.ts';
import { allOf, type Access } from './access.ts';
import { accessOf, placedAnywhere, type Placed } from './deployment.ts';
import { readKeyFile } from './key-file.ts';
import type { Printable } from './output.ts';

export interface VaultOptions extends Printable, Placed {
  /** File with the connection of the vault's database; with `keyFile` in place of a deployment. */
  readonly urlFile?: string;
  readonly keyFile?: string;
}

export interface VaultPlace {
  readonly connectionString: string;
  readonly key: Uint8Array;
  readonly peopleFile: string | undefined;
  /** The rest of the deployment; undefined where the two files alone were given. */
  readonly access: Access | undefined;
}

/** Where the vault is: as the two files say, or the deployment. @throws ConfigError, NoDeployment */
export const vaultPlace = async (o: VaultOptions): Promise<VaultPlace> => {
  if ((o.urlFile === undefined) !== (o.keyFile === undefined)) throw new ConfigError(['give --url-file and --key-file together']);
  if (o.urlFile !== undefined && o.keyFile !== undefined) {
    const connectionString = secretOf('vault url', undefined, o.urlFile).trim();
    return { connectionString, key: readKeyFile(o.keyFile), peopleFile: undefined, access: undefined };
  }
  const access = await accessOf(o, 'vault');
  const { connectionString, key } = allOf({ connectionString: () => access.vaultUrl('privacy'), key: access.vaultKey });
  return { connectionString, key, peopleFile: access.peopleFile, access };
};

export const withVaultSession = async <T>(place: VaultPlace, work: (session: VaultSession) => Promise<T>): Promise<T> => {
  const session = await openVaultSession({ connectionString: place.connectionString, key: place.key, ids: RESEARCH_IDS });
  try {
    return await work(session);
  } finally {
    await session.close();
  }
};

/** Who works here, for the audit of what needs no role. */
export const operatorName = (): string => userInfo().username;

export interface PersonOptions {
  readonly tokenFile: string;
  readonly peopleFile?: string;
}

const NO_PEOPLE =
  'no people file says who may do this: make one (mode 600), [{"name": "...", "roles": ["privacy"], "tokenSha256": "..."}], as docs/vault.md says, and give it by --people-file';

/** The person of the token, with the role 'privacy'. @throws ConfigError, Fault TOKEN_REFUSED, ROLE_REFUSED */
export const privacyPerson = (place: VaultPlace, o: PersonOptions): Person => {
  const people = o.peopleFile ?? place.peopleFile;
  if (people === undefined || !existsSync(people)) throw new ConfigError([NO_PEOPLE]);
  return personOf(readPeopleFile(people), readTokenFile(o.tokenFile), 'privacy');
};

const PSEUDONYM = /^S[A-Z2-7]{16}$/;

/**
 * A patient as an argument says: a pseudonym, `@FILE` whose first line is ISSUER:ID, or `-` to be asked for it. An id on
 * the command line itself would stand in the shell's history and in every list of processes, so it is refused.
 */
export const patientRef = async (
  text: string,
  what: string,
  o: { readonly cityIssuers?: string; readonly ask: (question: string) => Promise<string> },
  command: Command,
): Promise<PatientRef> => {
  if (PSEUDONYM.test(text)) return { pseudonym: text };
  if (text !== '-' && !text.startsWith('@'))
    return command.error(`error: ${what} is a pseudonym, @FILE or -; an id itself is not typed here (see --help)`, { exitCode: 2 });
  const line = text === '-' ? await o.ask(`${what} (ISSUER:ID): `) : (readFileSync(text.slice(1), 'utf8').split(/\r?\n/)[0] ?? '');
  const key = patientKeyOfText(line.trim(), { ...DEFAULT_IDENTITY_RULES, cityIssuers: readCityIssuers(o.cityIssuers) });
  if (key === undefined) return command.error(`error: ${what} is not ISSUER:ID of someone`, { exitCode: 2 });
  return { key };
};

export const patientKey = (ref: PatientRef, what: string, command: Command): PatientKey =>
  'key' in ref ? ref.key : command.error(`error: ${what} is one id, not a pseudonym`, { exitCode: 2 });

/** Asks on stderr and reads a line of stdin for each question, from a terminal or a pipe. */
export const asker = (): { ask: (question: string) => Promise<string>; close(): void } => {
  let lines: AsyncIterator<string> | undefined;
  let input: ReturnType<typeof createInterface> | undefined;
  return {
    ask: async (question) => {
      process.stderr.write(question);
      input ??= createInterface({ input: process.stdin });
      lines ??= input[Symbol.asyncIterator]();
      const next = await lines.next();
      return next.done === true ? '' : next.value;
    },
    close: () => input?.close(),
  };
};

/** Options of a command that one person of the role 'privacy' gives. */
export const personal = (command: Command): Command =>
  command
    .requiredOption('--token-file <file>', "your token (mode 600); the role is 'privacy'")
    .option('--people-file <file>', "who has which role; the deployment's own when not given");

/** Options that every vault command has. */
export const placed = (command: Command): Command =>
  placedAnywhere(command)
    .option('--url-file <file>', "file with the URL of the vault's database, in place of a deployment's")
    .option('--key-file <file>', "the vault's key file, in place of a deployment's")
    .option('--json', 'one JSON document');
