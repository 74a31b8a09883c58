// What the tests of k8s/ and deploy/ share: a stage's environment judged by the stage's own schema, the secrets that
// k8s/README.md documents, and the pinned kustomize.
import { existsSync, readFileSync } from 'node:fs';
import { rename } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { readLocalEnv } from '../../deploy/local/env.ts';
import { ensureCached, runWithEnv } from '../../deploy/local/install.ts';
import { environmentSchemas } from '../../docs/generate.ts';

export const root = resolve(import.meta.dirname, '../..');
const KUSTOMIZE = 'v5.7.1';

/** A variable that names a file, and the folder where secret files lie in a container. */
export const FILE_VARIABLE = /_FILE$/;
export const SECRETS_FOLDER = '/run/ctstream/';

/** Text of a file of the project. */
export const text = (path: string): string => readFileSync(join(root, path), 'utf8');

/** The environment schema of each stage. */
export const schemas = await environmentSchemas();

/** The stage that `services/<stage>/main.ts` starts. */
export function stageOf(args: readonly string[]): string {
  const stage = /^services\/([a-z-]+)\/main\.ts$/.exec(args[0] ?? '')?.[1];
  if (stage === undefined || !existsSync(join(root, args[0] ?? ''))) throw new Error(`${args.join(' ')} starts no stage`);
  return stage;
}

/** What is wrong with a stage's environment by its own schema: unknown variables, tokens left out, and whatever the schema refuses. */
export function environmentProblems(stage: string, env: Readonly<Record<string, string>>): string[] {
  const schema = schemas.get(stage);
  if (schema === undefined) return [`${stage} has no environment schema`];
  const unknown = Object.keys(env)
    // Node's own options are no setting of a stage.
    .filter((name) => schema.shape[name] === undefined && name !== 'NODE_OPTIONS')
    .map((name) => `${name} is unknown to ${stage}`);
  const parsed = schema.safeParse(env);
  const secrets = Object.keys(schema.shape).filter((name) => schema.shape[`${name}_FILE`] !== undefined);
  const clinicalOnly = (name: string): boolean => name === 'VAULT_URL' && env['ZONE'] === 'research';
  const ungiven = secrets.filter((name) => !clinicalOnly(name) && (env[name] === undefined) === (env[`${name}_FILE`] === undefined));
  return [
    ...unknown,
    ...(parsed.success ? [] : parsed.error.issues.map((i) => `${i.path.join('.')}: ${i.message}`)),
    ...ungiven.map((name) => `${name}: give it or ${name}_FILE`),
    // Optional to the stage, which then refuses whatever the token is for: nobody could give it a command.
    ...Object.keys(schema.shape)
      .filter((name) => name.endsWith('_TOKEN') && env[name] === undefined)
      .map((name) => `${name}: give it`),
  ];
}

/** Secret files that README.md of k8s/ lists: `<secret>/<key>`. */
export function documentedSecrets(): Set<string> {
  const found = new Set<string>();
  for (const line of text('k8s/README.md').split('\n')) {
    const [, secret, keys] = /^\| `(ctstream-[a-z-]+)` \| (.+?) \|$/.exec(line) ?? [];
    for (const [, key] of (keys ?? '').matchAll(/`([^`]+)`/g)) found.add(`${secret}/${key}`);
  }
  return found;
}

/** Who has a place to give commands, and an example of a deployment file in deploy/. */
export const PEOPLE = ['operator', 'account', 'security'] as const;

/** The files of their Secrets, as `documentedSecrets` has them: the deployment file and all that it names. */
export function peopleSecrets(people: readonly string[] = PEOPLE): Set<string> {
  const found = new Set<string>();
  for (const person of people) {
    found.add(`ctstream-${person}/deployment.json`);
    JSON.parse(text(`deploy/${person}.example.json`), function note(this: unknown, name: string, value: unknown) {
      const named = name.endsWith('File') ? [value] : name === 'urlFiles' ? Object.values(value as object) : [];
      for (const file of named) found.add(`ctstream-${person}/${String(file)}`);
      return value;
    });
  }
  return found;
}

/** The pinned kustomize, built into the cache once. */
export async function kustomize(): Promise<string> {
  const { cacheDir } = readLocalEnv();
  const build = async (into: string): Promise<void> => {
    const bin = join(into, 'bin');
    await runWithEnv(
      'kustomize',
      { GOBIN: bin, CGO_ENABLED: '0', GOFLAGS: '' },
      'go',
      ['install', '-trimpath', '-ldflags=-s -w', `sigs.k8s.io/kustomize/kustomize/v5@${KUSTOMIZE}`],
      { cwd: into },
    );
    await rename(join(bin, 'kustomize'), join(into, 'kustomize'));
  };
  return join(await ensureCached(cacheDir, { id: `kustomize-${KUSTOMIZE}`, build }, () => undefined), 'kustomize');
}
