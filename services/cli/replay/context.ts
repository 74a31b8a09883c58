// What every replay on a local deployment has: its log, its buckets to read, and empty ones of another prefix to fill.
import type { Platform } from '../../../deploy/local/platform.ts';
import { BUCKETS } from '../../../deploy/local/policies.ts';
import type { Provisioned } from '../../../deploy/local/provision.ts';
import { s3Store } from '../../adapters/s3-store.ts';
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

/** `into` is put before the names of the buckets to fill. @throws ConfigError for one that names the deployment's own */
export async function openReplay(
  { platform, provisioned }: { readonly platform: Platform; readonly provisioned: Provisioned },
  into: string,
  o: { readonly signal: AbortSignal; readonly progress?: (done: number, all: number) => void },
): Promise<ReplayContext> {
  if (!/^[a-z0-9][a-z0-9-]*-$/.test(into)) throw new ConfigError([`--into: a-z, 0-9 and '-', with '-' at the end, such as replay-`]);
  const prefix = `${into}${provisioned.bucketPrefix}`;
  const { minio, tls } = platform;
  const store = (bucketPrefix: string): ReturnType<typeof s3Store> =>
    s3Store({
      endpoint: minio.url,
      ...(tls === undefined ? {} : { tls: { ca: tls.ca } }),
      accessKey: minio.accessKey,
      secretKey: minio.secretKey,
      bucketPrefix,
    });
  const target = store(prefix);
  await target.ensureBuckets(BUCKETS.filter((bucket) => bucket !== 'ct-clinical' && bucket !== 'ct-event-log'));
  const bus = await openQuietBus(localAccess(platform, provisioned).kafka('account'), 'ctstream-replay');
  return {
    platform,
    provisioned,
    bus,
    codec: await openCodec(platform.registryUrl),
    source: store(provisioned.bucketPrefix),
    target,
    signal: o.signal,
    progress: o.progress ?? (() => undefined),
    close: () => bus.close(),
  };
}

const WITHDRAWN = 'ctstream.research.v1.SubjectWithdrawn';

export interface Withdrawn {
  readonly subjects: ReadonlySet<string>;
  /** Whether the event is of a withdrawn subject, or tells of an erasure. */
  concerns(event: EventIn): boolean;
}

/** Who withdrew: nothing of them is rebuilt. */
export function withdrawnIn(events: readonly EventIn[]): Withdrawn {
  const subjects = new Set<string>(events.flatMap((e) => (e.type === WITHDRAWN ? [e.value.subjectId] : [])));
  // A rejection names its study only.
  const studies = new Set<string>(
    events.flatMap(({ value: v }) => ('subjectId' in v && 'studyId' in v && subjects.has(v.subjectId) ? [v.studyId] : [])),
  );
  const concerns = ({ value: v }: EventIn): boolean =>
    ('subjectId' in v && subjects.has(v.subjectId)) ||
    ('studyId' in v && studies.has(v.studyId)) ||
    ('code' in v && v.code === 'PATIENT_WITHDRAWN');
  return { subjects, concerns };
}
