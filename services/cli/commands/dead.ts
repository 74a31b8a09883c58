// `ctstream dead`: the records that stages gave up, why, and their replay.
import { writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import Table from 'cli-table3';
import { InvalidArgumentError, type Command } from 'commander';
import { openCodec } from '../../adapters/schema-registry.ts';
import { CODES, isCode } from '../../kernel/codes.ts';
import type { EventBus } from '../../ports/event-bus.ts';
import type { EventCodec } from '../../ports/event-codec.ts';
import {
  DEAD_LETTER_STAGES,
  eventOfLetter,
  readDeadLetters,
  REFUSALS,
  refusalOf,
  replayLetters,
  studyNameOf,
  type DeadLetter,
  type LetterState,
  type ReplayRefusal,
  wholeLetter,
} from '../../runtime/dead-letters.ts';
import { allOf, openQuietBus, type Access } from '../access.ts';
import { choose, isNarrowed, letterLine, parseAge, shownEvent, type LetterFilter } from '../dead-view.ts';
import { accessOf, placedAnywhere, type Placed } from '../deployment.ts';
import { print, progressCounter, type Printable } from '../output.ts';

const LIMIT_MS = 600_000;

type DeadOptions = Printable & LetterFilter & Placed;

interface DeadPorts {
  /** As `account`, which reads every topic: the letters, what waits, and what came out. */
  readonly reads: EventBus;
  readonly codec: EventCodec;
}

async function withLetters<T>(
  o: DeadOptions,
  ids: readonly string[],
  access: Access,
  work: (ports: DeadPorts, letters: readonly DeadLetter[], signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const reads = await openQuietBus(access.kafka('account'), 'ctstream-dead');
  const signal = AbortSignal.timeout(LIMIT_MS);
  try {
    const ports = { reads, codec: await openCodec(access.registryUrl) };
    const named = [...new Set(ids.map((id) => id.split('/')[0] ?? ''))];
    const stages = o.stage === undefined ? (named.length > 0 ? named : DEAD_LETTER_STAGES) : [o.stage];
    return await work(ports, await readDeadLetters(ports, stages, signal), signal);
  } finally {
    await reads.close();
  }
}

async function list(o: DeadOptions & { readonly all?: boolean; readonly limit: number; readonly identified?: boolean }): Promise<void> {
  const chosen = await withLetters(o, [], await accessOf(o, 'dead list'), async (_, letters) =>
    choose(letters, o, Date.now(), o.all === true),
  );
  const shown = chosen.slice(0, o.limit);
  const open = chosen.filter((l) => l.state === 'open').length;
  print(o, { open, found: chosen.length, letters: shown.map((l) => letterLine(l, o.identified === true)) }, () => {
    if (chosen.length === 0) return 'no dead letters';
    const table = new Table({
      head: ['letter', 'dead since', 'code', 'tries', 'study', ...(o.all === true ? ['state'] : [])],
      style: { head: [], border: [], compact: true },
    });
    for (const l of shown) {
      const { deadSince, study } = letterLine(l, o.identified === true);
      table.push([l.id, String(deadSince), l.code, l.attempts, String(study), ...(o.all === true ? [STATES[l.state]] : [])]);
    }
    const more = chosen.length - shown.length;
    return [table.toString(), ...(more > 0 ? [`and ${more} more: --limit, or a filter`] : []), `${open} open`].join('\n');
  });
}

const STATES: Readonly<Record<LetterState, string>> = {
  open: 'open',
  waiting: 'replayed, waiting',
  settled: 'settled',
  replaced: 'died again later',
};

async function show(id: string, o: DeadOptions & { readonly identified?: boolean; readonly save?: string }): Promise<void> {
  await withLetters(o, [id], await accessOf(o, 'dead show'), async (ports, letters, signal) => {
    const letter = letters.find((l) => l.id === id);
    if (letter === undefined) throw new Error(notFound([id]));
    const line = letterLine(letter, o.identified === true);
    const event = shownEvent(letter, await eventOfLetter(letter, ports, signal), o.identified === true);
    const { meaning, remedy } = CODES[letter.code];
    const refusal = await refusalOf(letter, ports.reads, signal);
    if (o.save !== undefined)
      await writeFile(resolve(o.save), (await wholeLetter(letter, ports.reads, signal)).value, { mode: 0o600, flag: 'wx' });
    print(o, { ...line, meaning, remedy, ...(refusal === undefined ? {} : { notReplayable: refusal }), event }, () =>
      [
        `${letter.id}  ${STATES[letter.state]}`,
        `${letter.code}: ${meaning}`,
        `What to do: ${remedy}`,
        ...Object.entries(line)
          .filter(([name]) => !['id', 'state', 'code'].includes(name))
          .map(([name, value]) => `  ${name.padEnd(12)} ${typeof value === 'string' ? value : JSON.stringify(value)}`),
        ...(refusal === undefined ? [`Replay: ctstream dead replay ${id}`] : [`No replay: ${REFUSALS[refusal]}`]),
        'event:',
        JSON.stringify(event, null, 2),
      ].join('\n'),
    );
  });
}

interface Refused {
  readonly id: string;
  readonly code: ReplayRefusal | 'NOT_FOUND';
}

async function replay(
  ids: readonly string[],
  o: DeadOptions & { readonly dryRun?: boolean; readonly limit?: number },
  command: Command,
): Promise<void> {
  if (ids.length === 0 && !isNarrowed(o))
    command.error('error: name the letters, or give a filter: --stage, --code, --centre, --older-than ...', { exitCode: 2 });
  if (ids.length > 0 && isNarrowed(o)) command.error('error: name the letters or give a filter, not both', { exitCode: 2 });
  const access = await accessOf(o, 'dead replay');
  // Before anything is read: the operator alone may write retry topics beside their stages.
  if (o.dryRun !== true) allOf({ reads: () => access.kafka('account'), writes: () => access.kafka('operator') });
  await withLetters(o, ids, access, async (ports, letters, signal) => {
    // Named letters are answered for one by one, also when they are not open; a filter takes open ones only.
    const chosen = choose(ids.length === 0 ? letters : letters.filter((l) => ids.includes(l.id)), o, Date.now(), ids.length > 0);
    const refused: Refused[] = ids.filter((id) => !letters.some((l) => l.id === id)).map((id) => ({ id, code: 'NOT_FOUND' }));
    const ready: DeadLetter[] = [];
    for (const letter of chosen) {
      // Of those that can be replayed: else the same refused ones would stand before all others each time.
      if (ready.length === o.limit) break;
      const code = await refusalOf(letter, ports.reads, signal);
      if (code === undefined) ready.push(letter);
      else refused.push({ id: letter.id, code });
    }
    if (o.dryRun !== true) {
      const count = progressCounter('replayed');
      const writes = await openQuietBus(access.kafka('operator'), 'ctstream-dead');
      try {
        const publish = writes.publish.bind(writes);
        await replayLetters(ready, publish, Date.now(), (done) => count(done, ready.length), signal);
      } finally {
        await writes.close();
      }
    }
    const done = { dryRun: o.dryRun === true, replayed: ready.map((l) => l.id), refused };
    print(o, done, () =>
      [
        `${ready.length} ${o.dryRun === true ? 'would be replayed' : 'replayed; their stages take them up now'}`,
        ...(o.dryRun === true ? ready.map((l) => `  ${l.id}  ${l.code}  ${studyNameOf(l)}`) : []),
        ...refused.map((r) => `  not ${r.id}: ${r.code === 'NOT_FOUND' ? notFound([r.id]) : REFUSALS[r.code]}`),
      ].join('\n'),
    );
    if (refused.some((r) => r.code === 'NOT_FOUND')) process.exitCode = 1;
  });
}

const notFound = (ids: readonly string[]): string => `no such letter: ${ids.join(', ')}; see 'ctstream dead list --all'`;

function oneOfStages(text: string): string {
  if (!DEAD_LETTER_STAGES.includes(text)) throw new InvalidArgumentError(`one of ${DEAD_LETTER_STAGES.join(', ')}`);
  return text;
}

function knownCode(text: string): string {
  if (!isCode(text)) throw new InvalidArgumentError('a code of docs/codes.md');
  return text;
}

function wholeNumber(text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw new InvalidArgumentError('a whole number');
  return Number(text);
}

function letterName(text: string): string {
  const [stage = '', ...rest] = text.split('/');
  if (rest.length !== 2 || !rest.every((n) => /^\d+$/.test(n)))
    throw new InvalidArgumentError("as 'dead list' says, such as anonymise/3/17");
  return `${oneOfStages(stage)}/${rest.join('/')}`;
}

function filtered(command: Command): Command {
  return command
    .option('--stage <stage>', `of one stage: ${DEAD_LETTER_STAGES.join(', ')}`, oneOfStages)
    .option('--code <code>', 'with this code (docs/codes.md)', knownCode)
    .option('--centre <centre>', "of one centre's studies; the research zone knows none")
    .option('--older-than <age>', 'dead for longer: 90s, 30m, 1h, 7d', parseAge)
    .option('--newer-than <age>', 'dead for less', parseAge)
    .option('--topic <topic>', 'first read from this topic')
    .option('--partition <n>', 'and this partition', wholeNumber)
    .option('--offset <n>', 'and this offset', wholeNumber);
}

/** Registers `dead list`, `dead show` and `dead replay`. */
export function addDeadCommands(program: Command): void {
  const dead = program.command('dead').description('records that a stage gave up: list, look at, replay');
  const common = (command: Command): Command => placedAnywhere(command).option('--json', 'one JSON document');
  filtered(common(dead.command('list')))
    .description('what lies there and why')
    .option('--all', 'also those that were replayed, handled since, or died again')
    .option('--limit <n>', 'at most so many', wholeNumber, 100)
    .option('--identified', 'with StudyInstanceUIDs: clinical zone only')
    .addHelpText(
      'after',
      '\nExamples:\n  ctstream dead list\n  ctstream dead list --stage ingest --older-than 1h --json\n  ctstream dead list --deployment deployment.json\n',
    )
    .action(list);
  common(dead.command('show'))
    .description('one letter: its event, its code and what to do')
    .argument('<letter>', "as 'dead list' says", letterName)
    .option('--identified', 'with StudyInstanceUIDs: clinical zone only')
    .option('--save <file>', "the record's bytes, into a new file (mode 600; identified in the clinical zone)")
    .addHelpText('after', '\nExample:\n  ctstream dead show anonymise/3/17\n')
    .action(show);
  filtered(common(dead.command('replay')))
    .description('has their stages try again, with all tries; what needs none is refused and listed')
    .argument(
      '[letters...]',
      "as 'dead list' says; or filters alone",
      (text: string, all: readonly string[]) => [...all, letterName(text)],
      [] as readonly string[],
    )
    .option('--limit <n>', 'at most so many, the oldest first', wholeNumber)
    .option('--dry-run', 'say what would be replayed, and change nothing')
    .addHelpText(
      'after',
      '\nExamples:\n  ctstream dead replay anonymise/3/17\n  ctstream dead replay --stage ingest --code JOB_TIMEOUT --dry-run\n  ctstream dead replay --centre c07 --newer-than 2h\n',
    )
    .action(replay);
}
