// deploy/ fits the stages: compose.yaml gives each an environment that its own schema accepts and its own secrets only,
// and the image holds every file and package that a stage imports.
import { describe, expect, test } from '@jest/globals';
import { existsSync } from 'node:fs';
import { builtinModules } from 'node:module';
import { dirname, join, relative, resolve } from 'node:path';
import { parse } from 'yaml';
import { z } from 'zod';
import {
  documentedSecrets,
  environmentProblems,
  FILE_VARIABLE,
  root,
  schemas,
  SECRETS_FOLDER,
  stageOf,
  text,
} from '../integration/manifests-support.ts';

describe('deploy/compose.yaml', () => {
  const service = z.looseObject({
    command: z.union([z.string(), z.array(z.string())]).optional(),
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

  test('every file and package that a stage imports is in the image', () => {
    const seen = new Set<string>();
    const problems = new Set<string>();
    const visit = (file: string): void => {
      if (seen.has(file)) return;
      seen.add(file);
      if (!copied.some((path) => file === path || file.startsWith(`${path}/`))) problems.add(`${file} is not copied`);
      if (!file.endsWith('.ts')) return;
      for (const [, target] of text(file).matchAll(/^(?:import|export) (?!type )(?:[^'"]*? from )?['"]([^'"]+)['"]/gm)) {
        if (target === undefined || target.startsWith('node:') || builtinModules.includes(target)) continue;
        if (target.startsWith('.')) visit(relative(root, resolve(root, dirname(file), target)));
        else if (dependencies[/^(@[^/]+\/)?[^/]+/.exec(target)?.[0] ?? ''] === undefined)
          problems.add(`${file}: ${target} is no runtime dependency`);
      }
    };
    for (const stage of schemas.keys()) visit(`services/${stage}/main.ts`);
    expect([...problems]).toEqual([]);
    expect(seen.size).toBeGreaterThan(50);
  });
});
