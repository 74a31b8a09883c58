// `ctstream vault reidentify`: from a pseudonym back to centres and studies, two people of the role 'privacy' together.
import type { Command } from 'commander';
import {
  approveReidentification,
  listReidentifications,
  requestReidentification,
  showReidentification,
} from '../../adapters/postgres-vault-admin-reidentify.ts';
import type { ReidentifyRequest } from '../../adapters/postgres-vault-admin-reidentify.ts';
import type { VaultSession } from '../../adapters/postgres-vault-admin.ts';
import type { Person } from '../../runtime/people-file.ts';
import { print } from '../output.ts';
import { personal, placed, privacyPerson, vaultPlace, withVaultSession } from '../vault-access.ts';
import type { PersonOptions, VaultOptions } from '../vault-access.ts';

type Options = VaultOptions & PersonOptions;

async function as<T>(o: Options, work: (session: VaultSession, person: Person) => Promise<T>): Promise<T> {
  const place = await vaultPlace(o);
  // Before the vault is opened: who has no role learns nothing, not even whether it is there.
  const person = privacyPerson(place, o);
  return withVaultSession(place, (session) => work(session, person));
}

async function request(o: Options & { pseudonym: string; reason: string }): Promise<void> {
  const requestId = await as(o, (session, { name }) =>
    requestReidentification(session, { pseudonym: o.pseudonym, reason: o.reason, by: name }),
  );
  print(o, { requestId }, () => `${requestId}\nAnother person approves it within a day: ctstream vault reidentify approve ${requestId}`);
}

async function approve(requestId: string, o: Options): Promise<void> {
  const approved = await as(o, (session, { name }) => approveReidentification(session, requestId, name));
  print(o, approved, () => `Approved: ${approved.pseudonym}, for ${approved.requestedBy}, because: ${approved.reason}`);
}

async function show(requestId: string, o: Options): Promise<void> {
  const studies = await as(o, (session, { name }) => showReidentification(session, requestId, name));
  print(o, { studies }, () =>
    studies.length === 0
      ? 'No patient in the vault has this pseudonym: withdrawn, merged, or never there.'
      : [
          ...studies.map((s) => `${s.centre}  ${s.studyInstanceUid}  ${s.researchStudy}`),
          "Shown once. Who it is stands in the centre's PACS.",
        ].join('\n'),
  );
}

const stateOf = (r: ReidentifyRequest): string =>
  r.isShown ? 'shown' : r.expiresAt.getTime() < Date.now() ? 'expired' : r.approvedBy === undefined ? 'waits for approval' : 'approved';

async function list(o: Options): Promise<void> {
  const requests = await as(o, (session) => listReidentifications(session));
  print(o, requests, () =>
    requests.length === 0
      ? 'No requests.'
      : requests.map((r) => `${r.requestId}  ${stateOf(r)}  ${r.pseudonym}  by ${r.requestedBy}: ${r.reason}`).join('\n'),
  );
}

export function addReidentifyCommands(vault: Command): void {
  const reidentify = vault
    .command('reidentify')
    .description("from a pseudonym to centres and StudyInstanceUIDs; two people of the role 'privacy'");
  personal(placed(reidentify.command('request')))
    .requiredOption('--pseudonym <p>', 'of the subject')
    .requiredOption('--reason <text>', 'for the person who approves, and for the record')
    .description('the first person asks; gives the id of the request')
    .addHelpText(
      'after',
      '\nExample:\n  ctstream vault reidentify request --pseudonym S2K5QX7ABCDEFGHIJ --reason "nodule, ethics 12/26" --token-file ~/token\n',
    )
    .action(request);
  personal(placed(reidentify.command('approve').argument('<request>', 'its id')))
    .description('another person approves it')
    .addHelpText('after', '\nExample:\n  ctstream vault reidentify approve 6f1c... --token-file ~/token\n')
    .action(approve);
  personal(placed(reidentify.command('show').argument('<request>', 'its id')))
    .description('the first person sees the studies, once, within a day of the request')
    .addHelpText('after', '\nExample:\n  ctstream vault reidentify show 6f1c... --token-file ~/token\n')
    .action(show);
  personal(placed(reidentify.command('list')))
    .description('every request, and where it stands')
    .addHelpText('after', '\nExample:\n  ctstream vault reidentify list --token-file ~/token --json\n')
    .action(list);
}
