// deploy/ fits the stages: compose.yaml gives each an environment that its own schema accepts and its own secrets only,
// and the image holds every file and package that a stage or a command imports. The example deployment files are good
// ones, and what k8s/ and compose.yaml mount for people is what these name.
import { afterAll, describe, expect, test } from '@jest/globals';
import { spawnSync } from 'node:child_process';
import { chownSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { builtinModules } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join, relative, resolve } from 'node:path';
import { parse } from 'yaml';
import { z } from 'zod';
import topicsFile from '../../schemas/topics.json' with { type: 'json' };
import { VAULT_ROLES, type Access } from '../../services/cli/access.ts';
import { fileAccess } from '../../services/cli/deployment-file.ts';
import { objectProblems } from '../integration/kubernetes-models.ts';
import {
  documentedSecrets,
  environmentProblems,
  FILE_VARIABLE,
  PEOPLE,
  peopleSecrets,
  root,
  schemas,
  SECRETS_FOLDER,
  stageOf,
  text,
} from '../integration/manifests-support.ts';

describe('deploy/compose.yaml', () => {
  const service = z.looseObject({
    command: z.union([z.string(), z.array(z.string())]).optional(),
    entrypoint: z.array(z.string()).optional(),
    build: z.object({ context: z.string(), dockerfile: z.string() }).optional(),
    environment: z.record(z.string(), z.string()).default({}),
    volumes: z.array(z.string()).default([]),
    ports: z.array(z.string()).default([]),
  });
  const file = z.looseObject({ services: z.record(z.string(), service), volumes: z.record(z.string(), z.unknown()) });
  const compose = file.parse(parse(text('deploy/compose.yaml'), { merge: true }));
  const stages = Object.entries(compose.services).filter(([, s]) => s.build !== undefined);

  test('every stage is there, with an environment that it accepts', () => {
    const problems = stages.flatMap(([name, s]) => {
      const env = Object.fromEntries(
        Object.entries(s.environment).map(([k, v]) => [k, v.replaceAll(/\$\{[A-Z0-9_]+:\?\}/g, 'stands-in-for-a-secret')]),
      );
      return environmentProblems(stageOf([s.command ?? ''].flat()), env).map((p) => `${name}: ${p}`);
    });
    expect(problems).toEqual([]);
    expect(new Set(stages.map(([, s]) => stageOf([s.command ?? ''].flat())))).toEqual(new Set(schemas.keys()));
  });

  test('a service sees its own secret files only, and k8s/README.md names them', () => {
    const documented = documentedSecrets();
    for (const [name, s] of stages) {
      expect(s.volumes[0]).toBe(`\${SECRETS_DIR:?}/${name}:/run/ctstream:ro`);
      const files = Object.entries(s.environment)
        .filter(([variable]) => FILE_VARIABLE.test(variable))
        .map(([, path]) => path);
      expect(
        files.filter(
          (path) => !path.startsWith(SECRETS_FOLDER) || !documented.has(`ctstream-${name}/${path.slice(SECRETS_FOLDER.length)}`),
        ),
      ).toEqual([]);
    }
  });

  test.each(PEOPLE)('%s gets a place to give commands, with the own secret files only', (person) => {
    const { entrypoint, environment, volumes } = compose.services[person] ?? {};
    expect(entrypoint).toEqual(['node', '--no-warnings', 'services/cli/main.ts']);
    expect(environment).toEqual({ CTSTREAM_DEPLOYMENT: `${SECRETS_FOLDER}deployment.json` });
    expect(volumes).toEqual([`\${SECRETS_DIR:?}/${person}:/run/ctstream:ro`]);
  });

  test('what a stage notes of the jobs under way is on a volume: a container that is restarted has an empty /tmp', () => {
    for (const name of Object.keys(topicsFile.stages)) {
      const s = compose.services[name];
      expect(s?.volumes.map((v) => v.split(':')[1])).toContain(s?.environment['JOBS_FOLDER'] ?? `none of ${name}`);
    }
  });

  test('volumes are declared, ports are published on loopback only', () => {
    const mounted = Object.values(compose.services)
      .flatMap((s) => s.volumes.map((v) => v.split(':')[0] ?? ''))
      .filter((v) => /^[a-z]/.test(v));
    expect(new Set(mounted)).toEqual(new Set(Object.keys(compose.volumes)));
    expect(
      Object.values(compose.services)
        .flatMap((s) => s.ports)
        .filter((p) => !p.startsWith('127.0.0.1:')),
    ).toEqual([]);
  });

  test('compose.env.example has every variable that is asked for, no other, and no value', () => {
    const asked = new Set([...text('deploy/compose.yaml').matchAll(/(?<!\$)\$\{([A-Z0-9_]+)/g)].map((m) => m[1]));
    const lines = text('deploy/compose.env.example')
      .split('\n')
      .filter((line) => line !== '' && !line.startsWith('#'));
    expect(lines.filter((line) => !line.endsWith('='))).toEqual([]);
    expect(new Set(lines.map((line) => line.slice(0, -1)))).toEqual(asked);
  });
});

describe('deploy/Dockerfile', () => {
  const copied = [...text('deploy/Dockerfile').matchAll(/^COPY (?!--from)(.+) \S+$/gm)].flatMap((m) => (m[1] ?? '').split(' '));
  const { dependencies } = z.object({ dependencies: z.record(z.string(), z.string()) }).parse(JSON.parse(text('package.json')));

  test('what it copies is there', () => {
    expect(copied).toEqual(expect.arrayContaining(['package.json', 'schemas', 'services']));
    expect(copied.filter((path) => !existsSync(join(root, path)))).toEqual([]);
  });

  test('every file and package that a stage or a command imports is in the image', () => {
    const seen = new Set<string>();
    const problems = new Set<string>();
    const visit = (file: string): void => {
      if (seen.has(file)) return;
      seen.add(file);
      if (!copied.some((path) => file === path || file.startsWith(`${path}/`))) problems.add(`${file} is not copied`);
      if (!file.endsWith('.ts')) return;
      for (const [, fixed, late] of text(file).matchAll(
        /^(?:import|export) (?!type )(?:[^'"]*? from )?['"]([^'"]+)['"]|await import\('([^']+)'\)/gm,
      )) {
        const target = fixed ?? late;
        if (target === undefined || target.startsWith('node:') || builtinModules.includes(target)) continue;
        if (target.startsWith('.')) visit(relative(root, resolve(root, dirname(file), target)));
        else if (dependencies[/^(@[^/]+\/)?[^/]+/.exec(target)?.[0] ?? ''] === undefined)
          problems.add(`${file}: ${target} is no runtime dependency`);
      }
    };
    for (const stage of [...schemas.keys(), 'cli']) visit(`services/${stage}/main.ts`);
    expect([...problems]).toEqual([]);
    expect(seen.size).toBeGreaterThan(50);
  });
});

describe('the example deployment files', () => {
  const dir = mkdtempSync(join(tmpdir(), 'ctstream-examples-'));
  afterAll(() => rmSync(dir, { recursive: true }));

  /** The example of a person, beside the secret files that it names. */
  const accessOf = (person: (typeof PEOPLE)[number]): Access => {
    const own = mkdtempSync(join(dir, person));
    for (const path of peopleSecrets([person])) {
      const file = path.slice(path.indexOf('/') + 1);
      const content = file === 'vault-key' ? 'ab'.repeat(32) : file.endsWith('-url') ? 'postgres://u:p@h/vault' : 'a-secret';
      writeFileSync(join(own, file), file === 'deployment.json' ? text(`deploy/${person}.example.json`) : content, { mode: 0o600 });
    }
    return fileAccess(join(own, 'deployment.json'), 'a command');
  };

  const notGiven = /is missing, and 'a command' needs it/;

  test("the operator's has what lag, query and dead need, and nothing of the vault: its pod computes no link", () => {
    const access = accessOf('operator');
    expect([access.kafka('account'), access.kafka('operator'), access.store('analyst')]).toHaveLength(3);
    for (const role of VAULT_ROLES) expect(() => access.vaultUrl(role)).toThrow(notGiven);
    expect(access.vaultKey).toThrow(notGiven);
  });

  test("the account's has what account needs, and no more", () => {
    const access = accessOf('account');
    expect([access.kafka('account'), access.vaultUrl('account')]).toHaveLength(2);
    expect(access.vaultKey().byteLength).toBe(32);
    for (const more of [() => access.kafka('operator'), () => access.store('analyst'), () => access.vaultUrl('privacy')])
      expect(more).toThrow(notGiven);
  });

  test("the security role's has what held needs, and no more", () => {
    const access = accessOf('security');
    expect([access.kafka('operator'), access.store('security'), access.vaultUrl('security')]).toHaveLength(3);
    expect(access.peopleFile).toMatch(/people\.json$/);
    for (const more of [() => access.kafka('account'), () => access.store('analyst'), () => access.vaultUrl('account'), access.vaultKey])
      expect(more).toThrow(notGiven);
  });

  test.each(PEOPLE)('k8s/README.md names the secret files of %s, all and no other', (person) => {
    const documented = [...documentedSecrets()].filter((path) => path.startsWith(`ctstream-${person}/`));
    expect(documented.sort()).toEqual([...peopleSecrets([person])].sort());
  });
});

test.each(PEOPLE)('k8s/operator.yaml is a valid pod for %s, with the own Secret in files that are its own', (person) => {
  const pod = z
    .looseObject({
      apiVersion: z.string(),
      kind: z.string(),
      metadata: z.looseObject({ name: z.string() }),
      spec: z.looseObject({
        containers: z.tuple([z.looseObject({ env: z.array(z.object({ name: z.string(), value: z.string() })) })]),
        volumes: z.array(z.looseObject({ name: z.string(), secret: z.looseObject({ secretName: z.string() }).optional() })),
      }),
    })
    .parse(parse(text('k8s/operator.yaml').replaceAll('operator', person)));
  expect(objectProblems(pod)).toEqual([]);
  expect(pod.metadata.name).toBe(person);
  expect(pod.spec.volumes.flatMap((v) => v.secret?.secretName ?? [])).toEqual([`ctstream-${person}`]);
  expect(pod.spec.containers[0].env).toEqual([{ name: 'CTSTREAM_DEPLOYMENT', value: `${SECRETS_FOLDER}deployment.json` }]);
});

describe.each(['k8s/base/own-secrets.yaml', 'k8s/operator.yaml'])('the init container of %s', (path) => {
  const dir = mkdtempSync(join(tmpdir(), 'ctstream-own-'));
  const [given, own] = [join(dir, 'given'), join(dir, 'own')];
  // Root may write over any file; the containers' user may not.
  const user = process.getuid?.() === 0 ? { uid: 10001, gid: 10001 } : undefined;
  afterAll(() => rmSync(dir, { recursive: true }));

  /** What a process of the containers' user gets from the copied file, after the command has run over a Secret with this password. */
  const copied = (password: string): unknown => {
    rmSync(join(given, 'password'), { force: true });
    writeFileSync(join(given, 'password'), password, { mode: 0o440 });
    if (user !== undefined) chownSync(join(given, 'password'), 0, user.gid);
    const command = /command: \[sh, -c, (.+)\]$/m.exec(text(path))?.[1] ?? '';
    const here = command.replaceAll('/run/given', given).replaceAll('/run/ctstream', own);
    const { status, stderr } = spawnSync('sh', ['-c', here], { encoding: 'utf8', ...user });
    const copy = join(own, 'password');
    return { status, stderr, password: readFileSync(copy, 'utf8'), others: statSync(copy).mode & 0o077, owner: statSync(copy).uid };
  };

  test('copies the files as its own, and again when it runs again in the same pod', () => {
    for (const folder of [given, own]) mkdirSync(folder);
    if (user !== undefined) for (const folder of [dir, own]) chownSync(folder, user.uid, user.gid);
    const well = { status: 0, stderr: '', others: 0, owner: user?.uid ?? process.getuid?.() };
    expect(copied('first')).toEqual({ ...well, password: 'first' });
    expect(copied('second')).toEqual({ ...well, password: 'second' });
  });
});
