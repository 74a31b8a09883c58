// Obtains every part of the local platform, pinned, side by side, into the user's cache folder. A
// second call finds all of it there and does nothing.
import { chmod, mkdir, rename, rmdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { installPackages } from './apt.ts';
import type { LocalEnv } from './env.ts';
import { ensureCached, runCommand, runWithEnv, type CachedPart } from './install.ts';
import { existsSync } from 'node:fs';
import {
  aptRights,
  findDicomWebPlugin,
  findExecutable,
  javaCommand,
  missingAptRights,
  missingGo,
  missingJava,
  missingMaven,
  OPTIONAL_PACKAGES,
  PACS_PACKAGES,
} from './preflight.ts';
import { MissingToolsError, PartFailedError, type MissingTool } from './problem.ts';
import { runTasks, type ProgressOptions, type Report, type Task } from './progress.ts';

export type Extra = 'registry' | 'traces' | 'metrics' | 'toxiproxy';
export const EXTRAS: readonly Extra[] = ['registry', 'traces', 'metrics', 'toxiproxy'];

const KAFKA = '4.1.2';
const SLF4J = '1.7.36';
const MAVEN_PLUGIN = 'org.apache.maven.plugins:maven-dependency-plugin:3.6.1';
// Upstream publishes source only; this is its last commit.
const MINIO = 'v0.0.0-20260212201848-7aac2a2c5b7c';
const APICURIO = '2.6.13.Final';
const ZIPKIN = '3.5.1';
const TOXIPROXY = 'v2.12.0';

/** Where everything is. */
export interface Tools {
  java: string;
  /** Folder with Kafka's jars. */
  kafkaLibs: string;
  minio: string;
  orthanc: string;
  dicomWebPlugin: string;
  /** dcmtk's C-STORE sender; undefined when it could not be had. */
  storescu: string | undefined;
  dcm2niix: string | undefined;
  /** Apicurio's folder of jars. */
  apicurio: string | undefined;
  zipkinJar: string | undefined;
  prometheus: string | undefined;
  toxiproxy: string | undefined;
}

/** The parts that come into the cache, by name. */
function cachedParts(): Record<'kafka' | 'minio' | 'registry' | 'traces' | 'toxiproxy', CachedPart> {
  return {
    kafka: { id: `kafka-${KAFKA}`, build: fetchKafka },
    minio: {
      id: `minio-${MINIO.slice(-12)}`,
      build: (into, report) => goInstall('MinIO', `github.com/minio/minio@${MINIO}`, into, report),
    },
    registry: { id: `apicurio-${APICURIO}`, build: fetchApicurio },
    traces: {
      id: `zipkin-${ZIPKIN}`,
      build: (into, report) => mavenCopy('Zipkin', `io.zipkin:zipkin-server:${ZIPKIN}:jar:exec`, into, report),
    },
    toxiproxy: {
      id: `toxiproxy-${TOXIPROXY}`,
      build: (into, report) => goInstall('Toxiproxy', `github.com/Shopify/toxiproxy/v2/cmd/server@${TOXIPROXY}`, into, report),
    },
  };
}

/**
 * Brings all parts here. Throws `MissingToolsError` (exit code 78), naming everything that is missing,
 * before it fetches anything; `PartFailedError` when a fetch or a build fails.
 */
export async function obtainTools(extras: readonly Extra[], env: LocalEnv, progress: ProgressOptions = {}): Promise<Tools> {
  const parts = cachedParts();
  const folder = (part: CachedPart): string => join(env.cacheDir, part.id);
  const wanted = (['minio', 'kafka', 'registry', 'traces', 'toxiproxy'] as const).filter(
    (name) => name === 'minio' || name === 'kafka' || extras.includes(name),
  );
  const absent = wanted.filter((name) => !existsSync(folder(parts[name])));
  const packages = absentPackages(env, extras);
  const rights = packages.required.length + packages.optional.length === 0 ? 'none' : await aptRights();

  await failIfMissing(env, absent, packages.required, rights);
  const tasks: Task[] = absent.map((name) => ({
    title: `install ${parts[name].id}`,
    run: async (report: Report) => void (await ensureCached(env.cacheDir, parts[name], report)),
  }));
  if (rights !== 'none' && packages.required.length + packages.optional.length > 0) {
    tasks.push({
      title: `install ${[...packages.required, ...packages.optional].join(', ')}`,
      run: (report) => installPackages(packages, rights, env, report),
    });
  }
  if (tasks.length > 0) await runTasks(tasks, progress);

  const found = (name: string, value: string | undefined): string => {
    if (value === undefined) throw new PartFailedError(name, 'is still not there after its installation', '');
    return value;
  };
  return {
    java: javaCommand(env),
    kafkaLibs: folder(parts.kafka),
    minio: join(folder(parts.minio), 'minio'),
    orthanc: found('Orthanc', findExecutable(['Orthanc'], env)),
    dicomWebPlugin: found("Orthanc's DICOMweb plugin", findDicomWebPlugin()),
    storescu: findExecutable(['storescu'], env),
    dcm2niix: findExecutable(['dcm2niix'], env),
    apicurio: extras.includes('registry') ? folder(parts.registry) : undefined,
    zipkinJar: extras.includes('traces') ? join(folder(parts.traces), `zipkin-server-${ZIPKIN}-exec.jar`) : undefined,
    prometheus: extras.includes('metrics') ? found('Prometheus', findExecutable(['prometheus'], env)) : undefined,
    toxiproxy: extras.includes('toxiproxy') ? join(folder(parts.toxiproxy), 'server') : undefined,
  };
}

export interface AbsentPackages {
  required: string[];
  /** Good to have: their absence is not an error. */
  optional: string[];
}

function absentPackages(env: LocalEnv, extras: readonly Extra[]): AbsentPackages {
  const required: string[] = [];
  if (findExecutable(['Orthanc'], env) === undefined || findDicomWebPlugin() === undefined) required.push(...PACS_PACKAGES);
  if (extras.includes('metrics') && findExecutable(['prometheus'], env) === undefined) required.push('prometheus');
  const executables = { dcmtk: 'storescu', dcm2niix: 'dcm2niix', dicom3tools: 'dciodvfy', 'python3-pydicom': 'pydicom' };
  const optional = OPTIONAL_PACKAGES.filter((name) => findExecutable([executables[name]], env) === undefined);
  return { required, optional };
}

async function failIfMissing(
  env: LocalEnv,
  absent: readonly string[],
  packages: readonly string[],
  rights: 'root' | 'sudo' | 'none',
): Promise<void> {
  const needsMaven = absent.some((name) => ['kafka', 'registry', 'traces'].includes(name));
  const goBuilds = absent.filter((name) => name === 'minio' || name === 'toxiproxy');
  const none = Promise.resolve(undefined);
  const checks: (MissingTool | undefined)[] = await Promise.all([
    missingJava(env),
    needsMaven ? missingMaven() : none,
    goBuilds.length > 0 ? missingGo(goBuilds.map((name) => (name === 'minio' ? 'MinIO' : 'Toxiproxy')).join(' and ')) : none,
    packages.length > 0
      ? missingAptRights(rights, packages, 'each centre has an Orthanc as its PACS, and installing needs root or sudo without a password')
      : none,
  ]);
  const missing = checks.filter((check) => check !== undefined);
  if (missing.length > 0) throw new MissingToolsError(missing);
}

async function fetchKafka(into: string, report: Report): Promise<void> {
  const pom = join(into, 'pom.xml');
  const dependency = (group: string, artifact: string, version: string): string =>
    `<dependency><groupId>${group}</groupId><artifactId>${artifact}</artifactId><version>${version}</version></dependency>`;
  await writeFile(
    pom,
    `<project><modelVersion>4.0.0</modelVersion><groupId>ctstream</groupId><artifactId>kafka</artifactId><version>1</version><packaging>pom</packaging><dependencies>${dependency('org.apache.kafka', 'kafka_2.13', KAFKA)}${dependency('org.slf4j', 'slf4j-simple', SLF4J)}</dependencies></project>`,
  );
  report(`fetching Kafka ${KAFKA} from Maven Central`);
  await runCommand(
    'Kafka',
    'mvn',
    ['-B', '-f', pom, `${MAVEN_PLUGIN}:copy-dependencies`, `-DoutputDirectory=${into}`, '-DincludeScope=runtime'],
    { cwd: into, report },
  );
}

async function mavenCopy(part: string, artifact: string, into: string, report: Report): Promise<void> {
  report(`fetching ${artifact}`);
  await runCommand(part, 'mvn', ['-B', `${MAVEN_PLUGIN}:copy`, `-Dartifact=${artifact}`, `-DoutputDirectory=${into}`], {
    cwd: into,
    report,
  });
}

async function fetchApicurio(into: string, report: Report): Promise<void> {
  await mavenCopy('Apicurio registry', `io.apicurio:apicurio-registry-app:${APICURIO}:tar.gz:all`, into, report);
  await runCommand('Apicurio registry', 'tar', ['xzf', join(into, `apicurio-registry-app-${APICURIO}-all.tar.gz`), '-C', into], { report });
}

async function goInstall(part: string, module: string, into: string, report: Report): Promise<void> {
  const bin = join(into, 'bin');
  await mkdir(bin);
  const started = Date.now();
  const name = module.split('@')[0]?.split('/').at(-1) ?? '';
  report(`building ${part} from source (up to three minutes, once)`);
  const ticker = setInterval(
    () => report(`building ${part} from source, ${Math.round((Date.now() - started) / 1000)} s (up to three minutes, once)`),
    1000,
  );
  try {
    // Without cgo the build needs no C compiler and gives the same program everywhere.
    await runWithEnv(part, { GOBIN: bin, CGO_ENABLED: '0', GOFLAGS: '' }, 'go', ['install', '-trimpath', '-ldflags=-s -w', module], {
      cwd: into,
    });
  } finally {
    clearInterval(ticker);
  }
  await rename(join(bin, name), join(into, name));
  await rmdir(bin);
  await chmod(join(into, name), 0o755);
}
