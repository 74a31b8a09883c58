// Looks at what this machine offers before anything is fetched, and names all that is missing at once.
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import type { LocalEnv } from './env.ts';
import { commandWorks, runCommand } from './install.ts';
import type { MissingTool } from './problem.ts';

/** Debian packages with a PACS and its DICOMweb plugin, and those with other people's tools that tests compare with. */
export const PACS_PACKAGES = ['orthanc', 'orthanc-dicomweb'] as const;
export const OPTIONAL_PACKAGES = ['dcmtk', 'dcm2niix', 'dicom3tools', 'python3-pydicom'] as const;

/** How apt-get can be called here: as root, through sudo without a password, or not at all. */
export type AptRights = 'root' | 'sudo' | 'none';

export async function aptRights(): Promise<AptRights> {
  if (!(await commandWorks('apt-get', ['--version']))) return 'none';
  if (process.getuid?.() === 0) return 'root';
  return (await commandWorks('sudo', ['-n', 'true'])) ? 'sudo' : 'none';
}

/** First executable of these names in PATH or in the folders where Debian and macOS put servers. */
export function findExecutable(names: readonly string[], env: LocalEnv): string | undefined {
  const folders = [...(env.childEnv['PATH'] ?? '').split(delimiter), '/usr/sbin', '/usr/local/sbin', '/usr/local/bin', '/opt/homebrew/bin'];
  for (const folder of folders) {
    for (const name of names) {
      if (folder !== '' && existsSync(join(folder, name))) return join(folder, name);
    }
  }
  return undefined;
}

export function findDicomWebPlugin(): string | undefined {
  const folders = ['/usr/share/orthanc/plugins', '/usr/local/share/orthanc/plugins', '/opt/homebrew/share/orthanc/plugins'];
  return folders
    .flatMap((folder) => [join(folder, 'libOrthancDicomWeb.so'), join(folder, 'libOrthancDicomWeb.dylib')])
    .find((file) => existsSync(file));
}

export function javaCommand(env: LocalEnv): string {
  return env.javaHome === undefined ? 'java' : join(env.javaHome, 'bin', 'java');
}

/** What stands in the way of Java; undefined when 17 or newer runs. */
export async function missingJava(env: LocalEnv): Promise<MissingTool | undefined> {
  const remedy = 'sudo apt-get install openjdk-17-jre-headless   (or any Java 17+; set JAVA_HOME if it is not in the PATH)';
  const text = await runCommand('Java', javaCommand(env), ['-version']).catch(() => undefined);
  if (text === undefined) return { tool: 'Java 17 or newer', why: 'Kafka runs on it, and there is no working java here', remedy };
  // '17.0.15', '21-ea'; up to Java 8 it was '1.8.0_402'.
  const major = Number(/version "(\d+)/.exec(text)?.[1] ?? 0);
  if (major >= 17) return undefined;
  return { tool: 'Java 17 or newer', why: `Kafka 4 needs it, and this one says ${text.split('\n')[0]?.trim() ?? '?'}`, remedy };
}

export async function missingMaven(): Promise<MissingTool | undefined> {
  if (await commandWorks('mvn', ['-v'])) return undefined;
  return {
    tool: 'Maven (mvn)',
    why: "it fetches Kafka's jars from Maven Central",
    remedy: 'sudo apt-get install maven   (or https://maven.apache.org/download.cgi)',
  };
}

export async function missingGo(what: string): Promise<MissingTool | undefined> {
  const remedy = 'https://go.dev/doc/install   (1.21 or newer; it gets the newer compiler that the source asks for by itself)';
  const text = await runCommand('Go', 'go', ['version']).catch(() => undefined);
  if (text === undefined) return { tool: 'Go 1.21 or newer', why: `it builds ${what} from source`, remedy };
  const minor = Number(/go1\.(\d+)/.exec(text)?.[1] ?? 99);
  return minor >= 21
    ? undefined
    : { tool: 'Go 1.21 or newer', why: `it builds ${what} from source, and this one is ${text.trim()}`, remedy };
}

/** What stands in the way of Debian packages that are not installed yet. */
export function missingAptRights(rights: AptRights, packages: readonly string[], why: string): MissingTool | undefined {
  if (rights !== 'none') return undefined;
  return { tool: packages.join(', '), why, remedy: `sudo apt-get install --no-install-recommends ${packages.join(' ')}` };
}
