// Builds and releases every recorded version again, from the facts of the log below its cut and the volumes, in an empty
// database and empty buckets.
import pino from 'pino';
import { z } from 'zod';
import { postgresDatabase } from '../../adapters/postgres-database.ts';
import type { EventIn } from '../../kernel/stage.ts';
import type { ObjectStore } from '../../ports/object-store.ts';
import { approveRelease } from '../../release/approve.ts';
import { type BuildDeps, buildRelease, CANDIDATES, type ReleaseDeps, removePrefix } from '../../release/build.ts';
import type { VersionHole } from '../../release/documents.ts';
import { readReleaseSecret } from '../../release/env.ts';
import type { FactType } from '../../release/facts.ts';
import { ReleaseError } from '../../release/release-error.ts';
import { releaseStage } from '../../release/stage.ts';
import { RELEASES, TOMBSTONES_FILE } from '../../release/tombstones.ts';
import { compareEvents, compareObjects, type Difference } from '../../runtime/replay-compare.ts';
import { eventsIn, recordedLog, replayEvents, replayStore, type RecordedLog } from '../../runtime/replay.ts';
import { systemClock } from '../../runtime/system.ts';
import { type ReplayContext, type ReplayReport, withdrawnIn } from './context.ts';
import { makeCopies, removeEnded } from './release-copies.ts';
import { eraseWithdrawn } from './withdrawn-copies.ts';

type Fact = EventIn<FactType>;
type Released = EventIn<'ctstream.research.v1.DatasetReleased'>;
type ReplayDatabase = Awaited<ReturnType<typeof postgresDatabase>>;

const releaseJson = z.object({ holes: z.array(z.tuple([z.string(), z.number(), z.number(), z.number()])) });
const LIMIT_BYTES = 64 * 1024 * 1024;

export async function replayRelease(ctx: ReplayContext): Promise<ReplayReport> {
  const log = await recordedLog(ctx.bus, ctx.codec, { told: releaseStage.produces, taken: releaseStage.consumes }, ctx.signal);
  const erased = await eraseWithdrawn(ctx, log.events);
  await removeEnded(ctx);
  const copies = await makeCopies(ctx);
  try {
    const database = await emptyDatabase(ctx, copies.url);
    try {
      const report = await rebuild(ctx, log, database, copies.folder);
      return { ...report, notes: [...erased, ...report.notes] };
    } finally {
      await database.close();
    }
  } finally {
    await copies.remove();
  }
}

async function emptyDatabase({ codec }: ReplayContext, url: string): Promise<ReplayDatabase> {
  const migrationsDir = new URL('../../release/migrations', import.meta.url).pathname;
  return await postgresDatabase({ url, migrationsDir, codec, source: releaseStage.name, log: pino({ level: 'silent' }) });
}

async function rebuild(ctx: ReplayContext, log: RecordedLog, database: ReplayDatabase, stagingDir: string): Promise<ReplayReport> {
  const store = replayStore({
    source: ctx.source,
    target: ctx.target,
    isInput: (bucket, key) => bucket === 'ct-research' || (bucket === RELEASES && key.endsWith(`/${TOMBSTONES_FILE}`)),
  });
  const secret = readReleaseSecret(ctx.provisioned.file('release-secret'));
  const versions = eventsIn(log, 'ctstream.research.v1.DatasetReleased').toSorted((a, b) =>
    Number((a.sequence ?? 0n) - (b.sequence ?? 0n)),
  );
  // All is built anew, and files of an earlier replay that a version has no more would stay: a withdrawn subject's too.
  for (const bucket of [RELEASES, CANDIDATES])
    for (const folder of await ctx.target.folders(bucket, ctx.signal)) await removePrefix(ctx.target, bucket, folder, ctx.signal);
  const feed = await feeder(ctx, log, { database, store, secret, codeVersion: '', stagingDir });
  const differences: Difference[] = [];
  const rewritten = new Set<string>();
  for (const [i, version] of versions.entries()) {
    const { version: name, approvers, simulatedApproval: simulated, codeVersion, cut } = version.value;
    const deps: BuildDeps = { database, store, secret, codeVersion, stagingDir, takenUntil: async () => await Promise.resolve([]) };
    if ((await ctx.source.head(RELEASES, `${name}/${TOMBSTONES_FILE}`)) !== undefined) rewritten.add(name);
    await feed(version, await holesOf(ctx.source, name));
    try {
      await buildRelease(deps, { version: name, cut, acceptHoles: true, signal: ctx.signal });
      await approveRelease(deps, { version: name, approvers, simulated, signal: ctx.signal });
    } catch (error) {
      if (!(error instanceof ReleaseError)) throw error;
      differences.push({ what: 'object', how: 'missing', name: `${RELEASES}/${name} (${error.message})` });
    }
    ctx.progress(i + 1, versions.length);
  }
  const told = await toldBy(database, ctx);
  const objects = await compareObjects({
    source: ctx.source,
    target: ctx.target,
    bucket: RELEASES,
    wanted: () => true,
    needed: (key) => versions.some((v) => key.startsWith(`${v.value.version}/`)),
    signal: ctx.signal,
  });
  // What was told of a version holds for the files before a withdrawal; its present files are compared above.
  const still = (e: EventIn): boolean => e.type === 'ctstream.research.v1.DatasetReleased' && !rewritten.has(e.value.version);
  return {
    stage: releaseStage.name,
    handled: versions.length,
    events: told.length,
    objects: objects.compared,
    differences: [...differences, ...compareEvents(versions.filter(still), told.filter(still)), ...objects.differences],
    faults: [],
    notes:
      rewritten.size === 0
        ? []
        : [`${rewritten.size} versions were written anew after a withdrawal: their files are compared, not their first event`],
  };
}

/** Withdrawals first, since nothing of them is rebuilt; then for each version the facts below its cut that are in no hole. */
async function feeder(
  ctx: ReplayContext,
  log: RecordedLog,
  deps: ReleaseDeps,
): Promise<(version: Released, holes: readonly VersionHole[]) => Promise<void>> {
  const ports = { ...deps, clock: systemClock, eraseAgainAfterMs: 0 };
  const options = { codec: ctx.codec, signal: ctx.signal, concurrency: 1 };
  const handle = async (events: readonly Parameters<typeof releaseStage.handle>[0][]): Promise<void> => {
    const { faults } = await replayEvents(releaseStage, events, async () => ports, options);
    if (faults[0] !== undefined) throw new Error(`${faults[0].topic}/${faults[0].partition} at ${faults[0].offset}: ${faults[0].code}`);
  };
  if (withdrawnIn(log.events).subjects.size > 0) await handle(eventsIn(log, 'ctstream.research.v1.SubjectWithdrawn'));
  // Doubled ones too: the cut counts offsets.
  const facts = log.records.filter(
    (e): e is Fact => releaseStage.consumes.includes(e.topic) && e.type !== 'ctstream.research.v1.SubjectWithdrawn',
  );
  // An exclusion names no subject: that its study is withdrawn is told by the stages that have erased it, after the cut.
  const fed = new Set(facts.filter((f) => f.type === 'ctstream.research.v1.StudyRejected' && f.value.code === 'PATIENT_WITHDRAWN'));
  await handle([...fed]);
  return async ({ value: { cut } }, holes) => {
    const isBelow = (f: Fact): boolean =>
      cut.some((c) => c.topic === f.topic && c.partition === f.partition && f.offset < BigInt(c.endOffset));
    const inHole = (f: Fact): boolean =>
      holes.some(
        ([topic, partition, first, last]) => topic === f.topic && partition === f.partition && f.offset >= first && f.offset <= last,
      );
    const next = facts.filter((f) => !fed.has(f) && isBelow(f) && !inHole(f));
    for (const f of next) fed.add(f);
    await handle(next);
  };
}

/** Offsets that a version left out; they stand in the dataset itself. */
async function holesOf(source: ObjectStore, version: string): Promise<VersionHole[]> {
  const bytes = await source.getBytes(RELEASES, `${version}/release.json`, LIMIT_BYTES);
  return bytes === undefined ? [] : releaseJson.parse(JSON.parse(Buffer.from(bytes).toString('utf8'))).holes;
}

async function toldBy(database: ReplayDatabase, { codec }: ReplayContext): Promise<EventIn[]> {
  const rows = await database.next(10_000);
  return rows.map((r) => codec.decode({ ...r, partition: 0, offset: 0n, timestampMs: 0 }));
}
