// Breaks each connection of ingest and anonymise in each way, a study for each, in a whole pipeline.
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Platform } from '../../../deploy/local/platform.ts';
import type { StageName } from '../../../deploy/local/stages.ts';
import { random } from '../../../services/cli/phantom/random.ts';
import { startPipeline, type Pipeline } from '../../integration/pipeline.ts';
import { keepUp, oneByOne, type OneByOne, type TimedFault } from '../one-by-one.ts';
import { addProxy, proxyNamed, type Proxy, type Toxic } from './proxy.ts';

const PLACES = ['ingest and PACS', 'ingest and MinIO', 'anonymise and MinIO', 'anonymise and PostgreSQL', 'both and Kafka'] as const;
type Place = (typeof PLACES)[number];

/** Bytes that a connection lets through before it ends, and KB a second: the small talk of a database is not a study. */
const SIZES: Readonly<Record<Place, { readonly bytes: number; readonly rate: number }>> = {
  'ingest and PACS': { bytes: 300_000, rate: 800 },
  'ingest and MinIO': { bytes: 300_000, rate: 800 },
  'anonymise and MinIO': { bytes: 300_000, rate: 800 },
  'anonymise and PostgreSQL': { bytes: 3000, rate: 10 },
  'both and Kafka': { bytes: 3000, rate: 20 },
};

const BROKEN_MS = 5000;

interface Kind {
  readonly fault: string;
  readonly lasts: TimedFault['lasts'];
  readonly toxic: (place: Place) => Toxic;
}

const KINDS: readonly Kind[] = [
  { fault: 'latency of 200 to 600 ms', lasts: 'study', toxic: () => ({ type: 'latency', attributes: { latency: 400, jitter: 200 } }) },
  { fault: 'reset of every connection for 5 s', lasts: BROKEN_MS, toxic: () => ({ type: 'reset_peer', attributes: { timeout: 0 } }) },
  {
    fault: 'truncation: connections end after some bytes, for 5 s',
    lasts: BROKEN_MS,
    toxic: (place) => ({ type: 'limit_data', attributes: { bytes: SIZES[place].bytes } }),
  },
  { fault: 'slow close, by 2 s', lasts: 'study', toxic: () => ({ type: 'slow_close', attributes: { delay: 2000 } }) },
  {
    fault: 'a thin line (10 to 800 KB a second)',
    lasts: 'study',
    toxic: (place) => ({ type: 'bandwidth', attributes: { rate: SIZES[place].rate } }),
  },
];

export interface ConnectionsOptions {
  /** With Toxiproxy. */
  readonly platform: Platform;
  readonly seed: number;
  /** Most faults, drawn by the seed; each kind at each place without it. */
  readonly most?: number;
  readonly say: (line: string) => void;
}

const ENV = { KAFKA_SESSION_TIMEOUT_MS: '6000', RETRY_DELAYS_MS: '2000,4000,8000', PACS_BREAKER_MS: '2000' };

export async function breakConnections(o: ConnectionsOptions): Promise<OneByOne> {
  const keeper = keepUp();
  const p = await startPipeline({
    name: 'broken',
    centres: 1,
    platform: o.platform,
    env: { ingest: ENV, anonymise: ENV },
    onExit: keeper.onExit,
  });
  const added: Proxy[] = [];
  try {
    const { proxies, env } = await putBetween(p, added);
    for (const name of ['ingest', 'anonymise'] as const) {
      await p.stages.kill(name, 'SIGTERM');
      await p.stages.start(name, env[name]);
    }
    keeper.attach(p, env);
    return await oneByOne(p, choose(proxies, o), { seed: o.seed, ownEnds: keeper.ownEnds, say: o.say });
  } finally {
    await keeper.stop();
    await p.stop();
    for (const proxy of added) await proxy.remove();
  }
}

function choose(proxies: Readonly<Record<Place, Proxy>>, { seed, most }: ConnectionsOptions): TimedFault[] {
  const all = PLACES.map((place) =>
    KINDS.map(({ fault, lasts, toxic }) => ({
      fault,
      place,
      lasts,
      begin: () => proxies[place].poison(toxic(place)),
      end: () => proxies[place].heal(),
    })),
  );
  if (most === undefined) return all.flat();
  // The places in turn, so that few faults are not all at one place.
  const draw = random(seed, 'connections');
  const count = Math.min(most, all.flat().length);
  return Array.from({ length: count }, (_, i) => {
    const left = all[i % PLACES.length] ?? [];
    return left.splice(draw.whole(0, left.length - 1), 1);
  }).flat();
}

/** Proxies before the parts, and the environment that leads ingest and anonymise through them. */
async function putBetween(
  p: Pipeline,
  added: Proxy[],
): Promise<{
  proxies: Record<Place, Proxy>;
  env: Partial<Record<StageName, Record<string, string>>> & Record<'ingest' | 'anonymise', Record<string, string>>;
}> {
  const { platform, provisioned } = p;
  const api = platform.toxiproxyUrl;
  const kafka = platform.kafka.proxiedBrokers?.[0];
  const [pacs] = p.pacs;
  if (api === undefined || kafka === undefined || pacs === undefined) throw new Error('the platform has no Toxiproxy or no PACS');
  const add = async (what: string, upstream: string): Promise<Proxy> => {
    const proxy = await addProxy(api, `${provisioned.prefix}${what}`, upstream);
    added.push(proxy);
    return proxy;
  };
  const minio = `${platform.minio.endPoint}:${platform.minio.port}`;
  const web = new URL(pacs.dicomWebUrl);
  const vault = new URL(provisioned.databases.vault);
  const proxies = {
    'ingest and PACS': await add('pacs', web.host),
    'ingest and MinIO': await add('minio-ingest', minio),
    'anonymise and MinIO': await add('minio-anonymise', minio),
    'anonymise and PostgreSQL': await add('vault', vault.host),
    'both and Kafka': proxyNamed(api, 'kafka', kafka),
  };
  const centres = join(p.dir, 'centres-through-proxy.json');
  const text = await readFile(provisioned.file('centres.json'), 'utf8');
  await writeFile(centres, text.replaceAll(web.host, proxies['ingest and PACS'].address), { mode: 0o600 });
  vault.host = proxies['anonymise and PostgreSQL'].address;
  return {
    proxies,
    env: {
      ingest: { KAFKA_BROKERS: kafka, S3_ENDPOINT: `http://${proxies['ingest and MinIO'].address}`, CENTRES_FILE: centres },
      anonymise: { KAFKA_BROKERS: kafka, S3_ENDPOINT: `http://${proxies['anonymise and MinIO'].address}`, VAULT_URL: vault.href },
    },
  };
}
