// The optional parts: schema registry, trace page, metrics and a proxy that breaks connections on demand.
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { LocalEnv } from './env.ts';
import type { KafkaPorts } from './kafka.ts';
import { freePorts } from './ports.ts';
import type { ProcessSpec } from './processes.ts';
import type { Task } from './progress.ts';
import { updateState } from './state.ts';
import type { Extra, Tools } from './tools.ts';

export interface ExtraPorts {
  registry: number;
  zipkin: number;
  prometheus: number;
  toxiproxy: number;
  /** The broker's own listeners behind the proxies, and what Toxiproxy shows for each. */
  proxied: KafkaPorts['proxied'];
}

export async function extraPorts(extras: readonly Extra[], kafkaProxies: readonly number[]): Promise<ExtraPorts> {
  const [registry, zipkin, prometheus, toxiproxy, ...behind] = extras.length === 0 ? [] : await freePorts(4 + kafkaProxies.length);
  return {
    registry: registry ?? 0,
    zipkin: zipkin ?? 0,
    prometheus: prometheus ?? 0,
    toxiproxy: toxiproxy ?? 0,
    proxied: kafkaProxies.map((advertise, i) => ({ listen: behind[i] ?? 0, advertise })),
  };
}

interface ExtraContext {
  dir: string;
  ports: ExtraPorts;
  tools: Tools;
  env: LocalEnv;
  start: (dir: string, part: string, spec: ProcessSpec, healthy: () => Promise<boolean>) => Promise<void>;
}

/** One task for each optional part that was asked for. */
export function launchExtras(o: ExtraContext & { extras: readonly Extra[] }): Task[] {
  const all: Record<Extra, Task> = {
    registry: { title: 'Apicurio registry', run: () => startRegistry(o) },
    traces: { title: 'Zipkin', run: () => startZipkin(o) },
    metrics: { title: 'Prometheus', run: () => startPrometheus(o) },
    toxiproxy: { title: 'Toxiproxy', run: () => startToxiproxy(o) },
  };
  return [...new Set(o.extras)].map((extra) => all[extra]);
}

/** In memory only: a restart forgets the schemas. */
async function startRegistry(o: ExtraContext): Promise<void> {
  const { spec, url, answers } = await prepareRegistry(o, o.ports.registry);
  await o.start(o.dir, 'registry', spec, answers);
  await updateState(o.dir, (s) => {
    s.registryUrl = url;
  });
}

/** A registry on a port: its process, its URL, and whether it answers. */
export async function prepareRegistry(
  o: Pick<ExtraContext, 'dir' | 'tools' | 'env'>,
  port: number,
): Promise<{ spec: ProcessSpec; url: string; answers: () => Promise<boolean> }> {
  const folder = o.tools.apicurio ?? '';
  const names = await readdir(folder);
  const runner = names.find((name) => name.endsWith('-runner.jar'));
  // The archive holds one runner jar and its lib folder.
  const classpath = [runner === undefined ? [] : [join(folder, runner)], join(folder, 'lib', '*')].flat().join(':');
  const url = `http://127.0.0.1:${port}/apis/ccompat/v7`;
  const spec = javaSpec(o, 'registry', [
    '-Xmx256m',
    '-Dquarkus.http.host=127.0.0.1',
    `-Dquarkus.http.port=${port}`,
    '-cp',
    classpath,
    'io.quarkus.runner.GeneratedMain',
  ]);
  return { spec: { ...spec, name: 'Apicurio registry' }, url, answers: () => httpOk(`${url}/subjects`) };
}

async function startZipkin(o: ExtraContext): Promise<void> {
  const url = `http://127.0.0.1:${o.ports.zipkin}`;
  const spec = javaSpec(o, 'zipkin', [
    '-Xmx384m',
    `-Darmeria.ports[0].protocols=http`,
    '-jar',
    o.tools.zipkinJar ?? '',
    `--server.port=${o.ports.zipkin}`,
    '--server.address=127.0.0.1',
    '--armeria.ports[0].ip=127.0.0.1',
    `--armeria.ports[0].port=${o.ports.zipkin}`,
  ]);
  await o.start(o.dir, 'traces', { ...spec, name: 'Zipkin' }, () => httpOk(`${url}/health`));
  await updateState(o.dir, (s) => {
    s.zipkinUrl = url;
  });
}

/** Scrapes what `DIR/prometheus/targets/*.json` name (file_sd format), read again when they change. */
async function startPrometheus(o: ExtraContext): Promise<void> {
  const folder = join(o.dir, 'prometheus');
  await mkdir(join(folder, 'targets'), { recursive: true });
  const config = join(folder, 'prometheus.yml');
  const targets = join(folder, 'targets', '*.json');
  await writeFile(
    config,
    `global: {scrape_interval: 5s}\nscrape_configs:\n  - job_name: ctstream\n    file_sd_configs:\n      - files: [${JSON.stringify(targets)}]\n        refresh_interval: 5s\n`,
  );
  const url = `http://127.0.0.1:${o.ports.prometheus}`;
  const spec: ProcessSpec = {
    name: 'Prometheus',
    command: o.tools.prometheus ?? 'prometheus',
    args: [
      `--config.file=${config}`,
      `--storage.tsdb.path=${join(folder, 'data')}`,
      `--web.listen-address=127.0.0.1:${o.ports.prometheus}`,
    ],
    cwd: folder,
    env: o.env.childEnv,
    logFile: join(o.dir, 'logs', 'prometheus.log'),
    stopSignal: 'SIGTERM',
  };
  await o.start(o.dir, 'metrics', spec, () => httpOk(`${url}/-/ready`));
  await updateState(o.dir, (s) => {
    s.prometheusUrl = url;
  });
}

async function startToxiproxy(o: ExtraContext): Promise<void> {
  const url = `http://127.0.0.1:${o.ports.toxiproxy}`;
  const spec: ProcessSpec = {
    name: 'Toxiproxy',
    command: o.tools.toxiproxy ?? '',
    args: ['-host', '127.0.0.1', '-port', String(o.ports.toxiproxy), '-proxy-metrics'],
    cwd: o.dir,
    env: o.env.childEnv,
    logFile: join(o.dir, 'logs', 'toxiproxy.log'),
    stopSignal: 'SIGTERM',
  };
  await o.start(o.dir, 'toxiproxy', spec, () => httpOk(`${url}/version`));
  for (const [i, { listen, advertise }] of o.ports.proxied.entries()) {
    const proxy = { name: `kafka-${i}`, listen: `127.0.0.1:${advertise}`, upstream: `127.0.0.1:${listen}`, enabled: true };
    const response = await fetch(`${url}/proxies`, { method: 'POST', body: JSON.stringify(proxy) });
    if (!response.ok) throw new Error(`Toxiproxy did not take the proxy for Kafka: ${response.status}`);
  }
  await updateState(o.dir, (s) => {
    s.toxiproxyUrl = url;
  });
}

function javaSpec(o: Pick<ExtraContext, 'dir' | 'tools' | 'env'>, name: string, args: string[]): ProcessSpec {
  return {
    name,
    command: o.tools.java,
    args: ['-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1', ...args],
    cwd: o.dir,
    env: o.env.childEnv,
    logFile: join(o.dir, 'logs', `${name}.log`),
    stopSignal: 'SIGTERM',
  };
}

async function httpOk(url: string): Promise<boolean> {
  const response = await fetch(url, { signal: AbortSignal.timeout(3000) });
  await response.arrayBuffer();
  return response.ok;
}
