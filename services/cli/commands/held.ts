// `ctstream held`: the security role's commands on what is held back from the research zone.
import { resolve } from 'node:path';
import type { Command } from 'commander';
import Table from 'cli-table3';
import type { Access } from '../access.ts';
import { accessOf, placedAnywhere, type Placed } from '../deployment.ts';
import { decideHeld, heldPorts, lookAgain, showHeld, type HeldPorts } from '../held.ts';
import { print, type Printable } from '../output.ts';
import type { DecisionKind, HeldStudy } from '../../ports/held-decisions.ts';
import { ConfigError } from '../../runtime/env.ts';
import { personOf, readPeopleFile, readTokenFile, type Person } from '../../runtime/people-file.ts';

type HeldOptions = Printable & Placed;

type PersonOptions = HeldOptions & { readonly tokenFile: string; readonly people?: string };

async function withHeld<T>(o: HeldOptions, work: (ports: HeldPorts, access: Access) => Promise<T>): Promise<T> {
  const access = await accessOf(o, 'held');
  const ports = await heldPorts(access);
  try {
    return await work(ports, access);
  } finally {
    await ports.close();
  }
}

/** The person of the token's file. @throws ConfigError, Fault TOKEN_REFUSED, ROLE_REFUSED */
function officer(o: PersonOptions, { peopleFile }: Access): Person {
  const people = o.people ?? peopleFile;
  if (people === undefined) throw new ConfigError(["peopleFile is missing in the deployment file, and 'held' needs it, or --people"]);
  return personOf(readPeopleFile(people), readTokenFile(o.tokenFile), 'security');
}

const age = (ms: number): string =>
  ms < 3_600_000
    ? `${Math.round(ms / 60_000)} min`
    : ms < 172_800_000
      ? `${Math.round(ms / 3_600_000)} h`
      : `${Math.floor(ms / 86_400_000)} d`;

function lineOf(study: HeldStudy): object {
  const { heldId, centre, code, checks, findings, heldAtMs, decision } = study;
  const since = new Date(heldAtMs).toISOString();
  return {
    heldId,
    since,
    ageSeconds: Math.round((Date.now() - heldAtMs) / 1000),
    centre,
    code,
    checks,
    findings,
    ...(decision === undefined ? {} : { decision: decision.kind }),
  };
}

async function list(o: HeldOptions): Promise<void> {
  const studies = await withHeld(o, ({ review }) => review.list());
  print(o, studies.map(lineOf), () => {
    if (studies.length === 0) return 'nothing is held';
    const table = new Table({
      head: ['held id', 'age', 'centre', 'code', 'checks', 'findings', 'decision'],
      style: { head: [], border: [], compact: true },
    });
    for (const s of studies)
      table.push([s.heldId, age(Date.now() - s.heldAtMs), s.centre, s.code, s.checks.join(' '), s.findings, s.decision?.kind ?? '']);
    return table.toString();
  });
}

async function show(heldId: string, o: PersonOptions & { readonly pictures?: string }): Promise<void> {
  const { study, note, pictures } = await withHeld(o, (ports, access) =>
    showHeld(ports, heldId, officer(o, access), o.pictures === undefined ? undefined : resolve(o.pictures)),
  );
  print(o, { ...lineOf(study), findings: note.findings, pictures }, () => {
    const table = new Table({ head: ['check', 'where', 'instances'], style: { head: [], border: [], compact: true } });
    for (const f of note.findings) table.push([f.check, f.where, f.count]);
    return [`${study.heldId}  ${study.code}  centre ${study.centre}`, table.toString(), ...pictures].join('\n');
  });
}

function decide(kind: DecisionKind): (heldId: string, o: PersonOptions & { readonly reason: string }) => Promise<void> {
  return async (heldId, o) => {
    const done = await withHeld(o, (ports, access) =>
      decideHeld(ports, { heldId, kind, reason: o.reason, person: officer(o, access) }, AbortSignal.timeout(300_000)),
    );
    print(o, done, () => `${heldId} is ${kind} by ${done.by}; the anonymiser takes it up now`);
  };
}

async function again(heldId: string, o: PersonOptions): Promise<void> {
  await withHeld(o, async (ports, access) => {
    officer(o, access);
    await lookAgain(ports, heldId, AbortSignal.timeout(300_000));
  });
  print(o, { heldId }, () => `${heldId} is looked at again; a hold with the same findings keeps its id`);
}

export function addHeldCommands(program: Command): void {
  const held = program.command('held').description('studies held back for a person of the security role');
  const common = (command: Command): Command => placedAnywhere(command).option('--json', 'one JSON document');
  const personal = (command: Command): Command =>
    common(command.argument('<held-id>', "as 'held list' says"))
      .requiredOption('--token-file <file>', 'file with your token (mode 600)')
      .option('--people <file>', "who has which role (mode 600); the deployment's own when not given");
  common(held.command('list').description('age, centre, code and checks of everything that is held'))
    .addHelpText('after', '\nExamples:\n  ctstream held list --json\n  ctstream held list --deployment deployment.json\n')
    .action(list);
  personal(held.command('show').description('findings and pictures of one; noted in the audit'))
    .option('--pictures <dir>', 'save the pictures in this folder')
    .addHelpText('after', '\nExample:\n  ctstream held show h0123456789abcdef --pictures look --token-file ~/.ctstream-token\n')
    .action(show);
  personal(held.command('release').description('let it go on: what was shown to you identifies nobody'))
    .requiredOption('--reason <text>', 'why, for the audit; names nobody')
    .addHelpText(
      'after',
      '\nExample:\n  ctstream held release h0123456789abcdef --reason "a ruler, no text" --token-file ~/.ctstream-token\n',
    )
    .action(decide('released'));
  personal(held.command('refuse').description('reject it for good'))
    .requiredOption('--reason <text>', 'why, for the audit; names nobody')
    .addHelpText(
      'after',
      '\nExample:\n  ctstream held refuse h0123456789abcdef --reason "a name in the corner" --token-file ~/.ctstream-token\n',
    )
    .action(decide('refused'));
  personal(held.command('again').description('have it looked at anew, without a decision: after a fix, or when its pictures have expired'))
    .addHelpText('after', '\nExample:\n  ctstream held again h0123456789abcdef --token-file ~/.ctstream-token\n')
    .action(again);
}
