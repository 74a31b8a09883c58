// Breaks each connection of each service in each way, a study for each, in a whole pipeline.
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Platform } from '../../../deploy/local/platform.ts';
import { STAGE_NAMES, stageEnv, type StageName } from '../../../deploy/local/stages.ts';
import { releaseVersion } from '../../../services/cli/demo/steps.ts';
import { random } from '../../../services/cli/phantom/random.ts';
import { startPipeline, type Pipeline } from '../../integration/pipeline.ts';
import { keepUp, oneByOne, type OneByOne, type TimedFault } from '../one-by-one.ts';
import { addProxy, proxyNamed, type Proxy, type Toxic } from './proxy.ts';

type Part = 'PACS' | 'MinIO' | 'PostgreSQL' | 'Kafka';

/** Bytes that a connection lets through before it ends, and KB a second: the small talk of a database is not a study. */
interface Size {
  readonly bytes: number;
  readonly rate: number;
}
const PIXELS: Size = { bytes: 300_000, rate: 800 };
const TALK: Size = { bytes: 3000, rate: 20 };
const KEYS: Size = { bytes: 3000, rate: 10 };

/** What a service connects to, and between which points of the study's way it has to do with it. */
interface Service extends Pick<TimedFault, 'since' | 'through'> {
  readonly to: Readonly<Partial<Record<Part, Size>>>;
}

/** release first: each version that it builds holds all studies until then. */
const SERVICES: Readonly<Record<StageName, Service>> = {
  release: { to: { MinIO: PIXELS, PostgreSQL: TALK, Kafka: TALK }, since: 'labelled', through: 'released' },
  'centre-gateway': { to: { PACS: TALK, Kafka: TALK }, since: 'sent', through: 'available' },
  ingest: { to: { PACS: PIXELS, MinIO: PIXELS, Kafka: TALK }, since: 'available', through: 'stored' },
  anonymise: { to: { MinIO: PIXELS, PostgreSQL: KEYS, Kafka: TALK }, since: 'stored', through: 'anonymised' },
  assess: { to: { MinIO: PIXELS, Kafka: TALK }, since: 'anonymised', through: 'assessed' },
  select: { to: { PostgreSQL: TALK, Kafka: TALK }, since: 'assessed', through: 'selected' },
  // The readers fetch their volumes from MinIO through it.
  'label-queue': { to: { MinIO: PIXELS, PostgreSQL: TALK, Kafka: TALK }, since: 'selected', through: 'labelled' },
  'archiver-clinical': { to: { MinIO: TALK, PostgreSQL: KEYS, Kafka: TALK }, since: 'stored', through: 'archived' },
  'archiver-research': { to: { MinIO: TALK, Kafka: TALK }, since: 'assessed', through: 'archived' },
};

interface Place extends Size, Pick<TimedFault, 'since' | 'through'> {
  readonly name: string;
  readonly stage: StageName;
  readonly part: Part;
}

const entries = <K extends string, V>(record: Readonly<Partial<Record<K, V>>>): [K, V][] => Object.entries(record) as [K, V][];

const PLACES: readonly Place[] = entries(SERVICES).flatMap(([stage, { to, since, through }]) =>
  entries(to).map(([part, size]) => ({ name: `${stage} and ${part}`, stage, part, ...size, since, through })),
);

const BROKEN_MS = 5000;

interface Kind {
  readonly fault: string;
  readonly lasts: TimedFault['lasts'];
  readonly toxic: (place: Size) => Toxic;
}

const KINDS: readonly Kind[] = [
  { fault: 'latency of 200 to 600 ms', lasts: 'study', toxic: () => ({ type: 'latency', attributes: { latency: 400, jitter: 200 } }) },
  { fault: 'reset of every connection for 5 s', lasts: BROKEN_MS, toxic: () => ({ type: 'reset_peer', attributes: { timeout: 0 } }) },
  {
    fault: 'truncation: connections end after some bytes, for 5 s',
    lasts: BROKEN_MS,
    toxic: (place) => ({ type: 'limit_data', attributes: { bytes: place.bytes } }),
  },
  { fault: 'slow close, by 2 s', lasts: 'study', toxic: () => ({ type: 'slow_close', attributes: { delay: 2000 } }) },
  {
    fault: 'a thin line (10 to 800 KB a second)',
    lasts: 'study',
    toxic: (place) => ({ type: 'bandwidth', attributes: { rate: place.rate } }),
  },
];

export interface ConnectionsOptions {
  /** With Toxiproxy. */
  readonly platform: Platform;
  readonly seed: number;
  /** Most faults, each at another place, drawn by the seed; each kind at each place without it. */
  readonly most?: number;
  readonly say: (line: string) => void;
}

type Environment = Record<string, string>;

const ENV = { KAFKA_SESSION_TIMEOUT_MS: '6000', RETRY_DELAYS_MS: '2000,4000,8000', PACS_BREAKER_MS: '2000' };

/** @throws Error too when a proxy that had to break something was not in the way */
export async function breakConnections(o: ConnectionsOptions): Promise<OneByOne> {
  const keeper = keepUp();
  const p = await startPipeline({
    name: 'broken',
    centres: 1,
    platform: o.platform,
    env: Object.fromEntries(STAGE_NAMES.map((name) => [name, ENV])),
    onExit: keeper.onExit,
  });
  const added: Proxy[] = [];
  try {
    const { proxies, env } = await putBetween(p, added);
    await Promise.all(STAGE_NAMES.map((name) => p.stages.kill(name, 'SIGTERM')));
    await Promise.all(STAGE_NAMES.map((name) => p.stages.start(name, env[name])));
    keeper.attach(p, env);
    const chosen = choose(o);
    const faults = chosen.map(([place, kind]) => faultAt(p, proxyOf(proxies, place), place, kind));
    const result = await oneByOne(p, faults, { seed: o.seed, ownEnds: keeper.ownEnds, say: o.say });
    for (const [place] of chosen)
      if ((await proxyOf(proxies, place).bytes()) === 0) throw new Error(`nothing was broken: no byte went between ${place.name}`);
    return result;
  } finally {
    await keeper.stop();
    await p.stop();
    for (const proxy of added) await proxy.remove();
  }
}

function choose({ seed, most }: ConnectionsOptions): (readonly [Place, Kind])[] {
  if (most === undefined) return PLACES.flatMap((place) => KINDS.map((kind) => [place, kind] as const));
  const draw = random(seed, 'connections');
  const left = [...PLACES];
  const places = Array.from({ length: Math.min(most, left.length) }, () => left.splice(draw.whole(0, left.length - 1), 1)).flat();
  // The kinds in turn, so that few faults are not all of one kind.
  return places.flatMap((place, i) => KINDS.slice(i % KINDS.length, (i % KINDS.length) + 1).map((kind) => [place, kind] as const));
}

function proxyOf(proxies: ReadonlyMap<Place, Proxy>, place: Place): Proxy {
  const proxy = proxies.get(place);
  if (proxy === undefined) throw new Error(`no proxy stands between ${place.name}`);
  return proxy;
}

function faultAt(p: Pipeline, proxy: Proxy, place: Place, { fault, lasts, toxic }: Kind): TimedFault {
  const { name, since, through } = place;
  return {
    fault,
    place: name,
    since,
    through,
    lasts,
    begin: () => proxy.poison(toxic(place)),
    end: () => proxy.heal(),
    ...(through === 'released' ? { meanwhile: (studies, over) => void releaseAll(p, studies, over) } : {}),
  };
}

/** Builds and approves a version of all studies, as often as it takes: an answer may be lost, and what was done stands. */
async function releaseAll(p: Pipeline, studies: number, over: AbortSignal): Promise<void> {
  const release = (): Promise<boolean> =>
    releaseVersion(p, `v1.0.${studies}`, studies, () => undefined).then(
      () => true,
      () => false,
    );
  while (!over.aborted && !(await release())) await sleep(500);
}

/** Proxies before the parts, one for each connection, and the environment that leads each service through its own. */
async function putBetween(p: Pipeline, added: Proxy[]): Promise<{ proxies: Map<Place, Proxy>; env: Record<StageName, Environment> }> {
  const { platform, provisioned } = p;
  const api = platform.toxiproxyUrl;
  const [pacs] = p.pacs;
  if (api === undefined || pacs === undefined) throw new Error('the platform has no Toxiproxy or no PACS');
  const proxies = new Map<Place, Proxy>();
  const env = Object.fromEntries(STAGE_NAMES.map((name) => [name, {}])) as Record<StageName, Environment>;
  const ledBy = async (place: Place, text: string, host: string): Promise<string> => {
    const proxy = await addProxy(api, `${provisioned.prefix}${place.name.replaceAll(' ', '-')}`, host);
    added.push(proxy);
    proxies.set(place, proxy);
    return text.replaceAll(host, proxy.address);
  };
  for (const place of PLACES) {
    const { stage, part } = place;
    const own = stageEnv(stage, platform, provisioned, p.dir, 0, 0);
    if (part === 'Kafka') {
      const i = STAGE_NAMES.indexOf(stage);
      const address = platform.kafka.proxiedBrokers[i];
      if (address === undefined) throw new Error(`the platform has no proxy before Kafka for ${stage}`);
      proxies.set(place, proxyNamed(api, `kafka-${i}`, address));
      env[stage]['KAFKA_BROKERS'] = address;
    } else if (part === 'PACS') {
      const file = join(p.dir, `centres-of-${stage}.json`);
      const text = await readFile(own['CENTRES_FILE'] ?? '', 'utf8');
      await writeFile(file, await ledBy(place, text, new URL(pacs.dicomWebUrl).host), { mode: 0o600 });
      env[stage]['CENTRES_FILE'] = file;
    } else {
      const name = part === 'MinIO' ? 'S3_ENDPOINT' : own['VAULT_URL'] === undefined ? 'DATABASE_URL' : 'VAULT_URL';
      const url = own[name] ?? '';
      env[stage][name] = await ledBy(place, url, new URL(url).host);
    }
  }
  return { proxies, env };
}
