// What every replay on a local deployment has: its log, its buckets to read, and empty ones of another prefix to fill.
import type { Platform } from '../../../deploy/local/platform.ts';
import { BUCKETS } from '../../../deploy/local/policies.ts';
import type { Provisioned } from '../../../deploy/local/provision.ts';
import { s3Store, type S3Store } from '../../adapters/s3-store.ts';
import { openCodec } from '../../adapters/schema-registry.ts';
import type { EventIn } from '../../kernel/stage.ts';
import type { EventBus } from '../../ports/event-bus.ts';
import type { EventCodec } from '../../ports/event-codec.ts';
import type { ObjectStore } from '../../ports/object-store.ts';
import { ConfigError } from '../../runtime/env.ts';
import type { Difference } from '../../runtime/replay-compare.ts';
import type { ReplayFault } from '../../runtime/replay.ts';
import { openQuietBus } from '../access.ts';
import { localAccess } from '../deployment.ts';

export interface ReplayContext {
  readonly platform: Platform;
  readonly provisioned: Provisioned;
  readonly bus: EventBus;
  readonly codec: EventCodec;
  /** The deployment's buckets. Replays only read here. */
  readonly source: ObjectStore;
  /** Held studies leave nothing here: there is no ct-quarantine. */
  readonly target: ObjectStore;
  readonly signal: AbortSignal;
  readonly progress: (done: number, all: number) => void;
  close(): Promise<void>;
}

export interface ReplayReport {
  readonly stage: string;
  /** Events that were handled, or rounds or versions that were made again. */
  readonly handled: number;
  /** Events told, and objects compared byte for byte. */
  readonly events: number;
  readonly objects: number;
  /** Empty when the replay is what was recorded. */
  readonly differences: readonly Difference[];
  readonly faults: readonly ReplayFault[];
  /** What was left out, and why. */
  readonly notes: readonly string[];
}

interface Place {
  readonly platform: Platform;
  readonly provisioned: Provisioned;
}

/** Buckets that a replay reads but never makes. Where they are, a deployment is. */
const NEVER_MADE: readonly string[] = ['ct-clinical', 'ct-event-log'];
/** Earlier versions made ct-quarantine too, and put pictures of held studies there, for ever. */
export const COPIED = BUCKETS.filter((bucket) => !NEVER_MADE.includes(bucket));
const FILLED = COPIED.filter((bucket) => bucket !== 'ct-quarantine');

/**
 * The buckets whose names begin with `into`, and the deployment's own.
 * @throws ConfigError for an `into` that names a deployment's own buckets, this one's or another's
 */
export async function replayStores(
  { platform, provisioned }: Place,
  into: string,
): Promise<{ readonly source: S3Store; readonly target: S3Store; readonly prefix: string }> {
  if (!/^[a-z0-9][a-z0-9-]*-$/.test(into)) throw new ConfigError([`--into: a-z, 0-9 and '-', with '-' at the end, such as replay-`]);
  const prefix = `${into}${provisioned.bucketPrefix}`;
  const { minio, tls } = platform;
  const store = (bucketPrefix: string): S3Store =>
    s3Store({
      endpoint: minio.url,
      ...(tls === undefined ? {} : { tls: { ca: tls.ca } }),
      accessKey: minio.accessKey,
      secretKey: minio.secretKey,
      bucketPrefix,
    });
  const target = store(prefix);
  await refuseDeployment(target, prefix);
  return { source: store(provisioned.bucketPrefix), target, prefix };
}

/** @throws ConfigError when the buckets are a deployment's */
export async function refuseDeployment(target: Pick<S3Store, 'bucketsOf'>, prefix: string): Promise<void> {
  const [own] = await target.bucketsOf(NEVER_MADE);
  if (own !== undefined) throw new ConfigError([`--into: ${prefix}${own} is there, so these are a deployment's own buckets`]);
}

/** `into` is put before the names of the buckets to fill. @throws ConfigError for one that names a deployment's own */
export async function openReplay(
  { platform, provisioned }: Place,
  into: string,
  o: { readonly signal: AbortSignal; readonly progress?: (done: number, all: number) => void },
): Promise<ReplayContext> {
  const { source, target } = await replayStores({ platform, provisioned }, into);
  for (const left of await target.bucketsOf(['ct-quarantine'])) await target.removeBucket(left, o.signal);
  await target.ensureBuckets(FILLED);
  const bus = await openQuietBus(localAccess(platform, provisioned).kafka('account'), 'ctstream-replay');
  return {
    platform,
    provisioned,
    bus,
    codec: await openCodec(platform.registryUrl),
    source,
    target,
    signal: o.signal,
    progress: o.progress ?? (() => undefined),
    close: () => bus.close(),
  };
}

const WITHDRAWN = 'ctstream.research.v1.SubjectWithdrawn';

export interface Withdrawn {
  readonly subjects: ReadonlySet<string>;
  /** Studies that their withdrawals named: of these nothing is, whoever the revisions were of. */
  readonly named: ReadonlySet<string>;
  /** Whether the event is of a withdrawn subject, or tells of an erasure. */
  concerns(event: EventIn): boolean;
}

/** Who withdrew: nothing of them is rebuilt. */
export function withdrawnIn(events: readonly EventIn[]): Withdrawn {
  const subjects = new Set<string>(events.flatMap((e) => (e.type === WITHDRAWN ? [e.value.subjectId] : [])));
  const named = new Set<string>(events.flatMap((e) => (e.type === WITHDRAWN ? (e.value.studies ?? []) : [])));
  const isTheirs = (v: EventIn['value']): boolean => 'subjectId' in v && v.subjectId !== null && subjects.has(v.subjectId);
  // Most rejections name their study only.
  const theirs = events.flatMap(({ value: v }) => ('studyId' in v && isTheirs(v) ? [v.studyId] : []));
  const studies = new Set<string>([...named, ...theirs]);
  const concerns = ({ value: v }: EventIn): boolean =>
    isTheirs(v) || ('studyId' in v && studies.has(v.studyId)) || ('code' in v && v.code === 'PATIENT_WITHDRAWN');
  return { subjects, named, concerns };
}
