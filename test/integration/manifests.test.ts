// k8s/ is valid and fits the stages: rendered by the real kustomize, checked by the Kubernetes and KEDA
// schemas, and every environment by the stage's own schema. (deploy/: test/rules/deploy.test.ts)
import { beforeAll, describe, expect, test } from '@jest/globals';
import { join } from 'node:path';
import { parseAllDocuments } from 'yaml';
import { z } from 'zod';
import { runCommand } from '../../deploy/local/install.ts';
import { missingGo } from '../../deploy/local/preflight.ts';
import { objectProblems } from './kubernetes-models.ts';
import {
  documentedSecrets,
  environmentProblems,
  FILE_VARIABLE,
  kustomize,
  peopleSecrets,
  root,
  schemas,
  SECRETS_FOLDER,
  stageOf,
  text,
} from './manifests-support.ts';

const OVERLAYS = ['k8s/base', 'k8s/overlays/example'];
const SECRET_MODE = 0o440;

const named = z.looseObject({ name: z.string() });
const container = z.looseObject({
  name: z.string(),
  image: z.string(),
  args: z.array(z.string()).optional(),
  env: z
    .array(
      z.looseObject({
        name: z.string(),
        value: z.string().optional(),
        valueFrom: z.object({ secretKeyRef: z.object({ name: z.string(), key: z.string() }) }).optional(),
      }),
    )
    .default([]),
  envFrom: z.array(z.object({ configMapRef: named })).default([]),
  ports: z.array(z.object({ name: z.string(), containerPort: z.number() })).default([]),
  volumeMounts: z.array(z.looseObject({ name: z.string(), mountPath: z.string() })).default([]),
});
const podSpec = z.looseObject({
  containers: z.array(container).length(1),
  initContainers: z.array(container).default([]),
  volumes: z
    .array(
      z.looseObject({
        name: z.string(),
        secret: z.object({ secretName: z.string(), defaultMode: z.number() }).optional(),
        configMap: named.optional(),
        emptyDir: z.looseObject({}).optional(),
      }),
    )
    .default([]),
});
const workload = z.looseObject({
  kind: z.enum(['Deployment', 'StatefulSet']),
  metadata: named,
  spec: z.looseObject({
    replicas: z.number().optional(),
    template: z.looseObject({ metadata: z.looseObject({ labels: z.record(z.string(), z.string()) }), spec: podSpec }),
    volumeClaimTemplates: z.array(z.looseObject({ metadata: named })).default([]),
  }),
});
type Workload = z.output<typeof workload>;
const anyObject = z.looseObject({
  apiVersion: z.string(),
  kind: z.string(),
  metadata: z.looseObject({ name: z.string(), namespace: z.string().optional() }),
});
type AnyObject = z.output<typeof anyObject>;

/** Every object of an overlay, as kustomize renders it. */
async function rendered(overlay: string): Promise<AnyObject[]> {
  const documents = await runCommand('kustomize', await kustomize(), ['build', join(root, overlay)]);
  return parseAllDocuments(documents).map((document) => anyObject.parse(document.toJS()));
}

/** True when kustomize can't be had, which is said once. */
async function isSkipped(overlay: string): Promise<boolean> {
  const why = await missingGo('kustomize');
  if (why !== undefined) process.stderr.write(`skipped: ${overlay} is not checked, ${why.tool}: ${why.why}\n`);
  return why !== undefined;
}

describe.each(OVERLAYS)('%s', (overlay) => {
  let objects: AnyObject[] = [];
  let workloads: Workload[] = [];
  let skipped = false;

  beforeAll(async () => {
    skipped = await isSkipped(overlay);
    if (skipped) return;
    objects = await rendered(overlay);
    workloads = objects.filter((o) => o.kind === 'Deployment' || o.kind === 'StatefulSet').map((o) => workload.parse(o));
  });

  const configMap = (name: string): Record<string, string> => {
    const found = objects.find((o) => o.kind === 'ConfigMap' && o.metadata.name === name);
    if (found === undefined) throw new Error(`no ConfigMap ${name}`);
    return z.record(z.string(), z.string()).parse(found['data']);
  };

  /** Environment as the process gets it, and the secret keys it takes from variables. */
  const environmentOf = (w: Workload): { env: Record<string, string>; keys: string[] } => {
    const [main] = w.spec.template.spec.containers;
    const env = Object.assign({}, ...(main?.envFrom ?? []).map((f) => configMap(f.configMapRef.name))) as Record<string, string>;
    const keys: string[] = [];
    for (const { name, value, valueFrom } of main?.env ?? []) {
      env[name] = value ?? 'stands-in-for-a-secret';
      if (valueFrom !== undefined) keys.push(`${valueFrom.secretKeyRef.name}/${valueFrom.secretKeyRef.key}`);
    }
    return { env, keys };
  };

  /** Each check in its own test, none of them when kustomize can't be had. */
  const check = (title: string, work: () => void | Promise<void>): void =>
    test(title, async () => {
      if (!skipped) await work();
    });

  check('every stage is there, once', () => {
    const started = workloads.map((w) => `${stageOf(w.spec.template.spec.containers[0]?.args ?? [])} as ${w.metadata.name}`).sort();
    expect(started).toEqual(
      [...schemas.keys()]
        .flatMap((s) => (s === 'event-log' ? ['event-log as archiver-clinical', 'event-log as archiver-research'] : [`${s} as ${s}`]))
        .sort(),
    );
  });

  check('every object is valid by the schema of its kind, and has no field that the schema does not know', () => {
    expect(objects.flatMap(objectProblems)).toEqual([]);
    expect(objects.length).toBeGreaterThan(15);
  });

  check('every environment is one that the stage accepts', () => {
    const problems = workloads.flatMap((w) =>
      environmentProblems(stageOf(w.spec.template.spec.containers[0]?.args ?? []), environmentOf(w).env).map(
        (p) => `${w.metadata.name}: ${p}`,
      ),
    );
    expect(problems).toEqual([]);
  });

  check('every mounted volume exists, and every file variable lies in one', () => {
    const problems = workloads.flatMap((w) => {
      const { containers, initContainers, volumes } = w.spec.template.spec;
      const there = new Set([...volumes.map((v) => v.name), ...w.spec.volumeClaimTemplates.map((t) => t.metadata.name)]);
      const mounts = [...containers, ...initContainers].flatMap((c) => c.volumeMounts);
      const files = Object.entries(environmentOf(w).env).filter(([name]) => FILE_VARIABLE.test(name) || name.endsWith('_DIR'));
      return [
        ...mounts.filter((m) => !there.has(m.name)).map((m) => `${w.metadata.name}: no volume ${m.name}`),
        ...files
          .filter(([, path]) => !containers.some((c) => c.volumeMounts.some((m) => `${path}/`.startsWith(`${m.mountPath}/`))))
          .map(([name]) => `${w.metadata.name}: ${name} lies in no volume`),
        ...volumes.flatMap((v) =>
          v.configMap === undefined || objects.some((o) => o.kind === 'ConfigMap' && o.metadata.name === v.configMap?.name)
            ? []
            : [`${w.metadata.name}: no ConfigMap ${v.configMap.name}`],
        ),
      ];
    });
    expect(problems).toEqual([]);
  });

  check('k8s/README.md names every secret key that is used, and no other', () => {
    const used = peopleSecrets();
    for (const w of workloads) {
      const { env, keys } = environmentOf(w);
      const secret = w.spec.template.spec.volumes.flatMap((v) => v.secret?.secretName ?? []);
      expect([w.metadata.name, secret]).toEqual([w.metadata.name, [`ctstream-${w.metadata.name}`]]);
      for (const [name, path] of Object.entries(env))
        if (FILE_VARIABLE.test(name) && path.startsWith(SECRETS_FOLDER)) used.add(`${secret[0]}/${path.slice(SECRETS_FOLDER.length)}`);
      for (const key of keys) used.add(key);
    }
    for (const o of objects.filter((o) => o.kind === 'TriggerAuthentication')) {
      const refs = z.object({ secretTargetRef: z.array(z.object({ name: z.string(), key: z.string() })) }).parse(o['spec']).secretTargetRef;
      for (const ref of refs) used.add(`${ref.name}/${ref.key}`);
    }
    expect([...documentedSecrets()].sort()).toEqual([...used].sort());
  });

  check('a stage with CENTRES_FILE gets it as its own, the others read their Secret by group', () => {
    for (const w of workloads) {
      const { initContainers, volumes } = w.spec.template.spec;
      const own = environmentOf(w).env['CENTRES_FILE'] !== undefined;
      expect([
        w.metadata.name,
        initContainers.map((c) => c.name),
        volumes.find((v) => v.name === 'secrets')?.emptyDir !== undefined,
      ]).toEqual([w.metadata.name, own ? ['own-secrets'] : [], own]);
      for (const v of volumes)
        if (v.secret !== undefined) expect([w.metadata.name, v.secret.defaultMode]).toEqual([w.metadata.name, SECRET_MODE]);
    }
  });

  check('KEDA scales consumers by their own group, and nothing else sets their replicas', () => {
    const shape = z.object({
      scaleTargetRef: named,
      triggers: z.array(
        z.object({
          type: z.literal('kafka'),
          metadata: z.looseObject({ bootstrapServersFromEnv: z.string(), consumerGroup: z.string(), topic: z.string().optional() }),
        }),
      ),
    });
    const topics = new Set(
      z
        .object({ topics: z.array(named) })
        .parse(JSON.parse(text('schemas/topics.json')))
        .topics.map((t) => t.name),
    );
    const scaled = objects.filter((o) => o.kind === 'ScaledObject').map((o) => shape.parse(o['spec']));
    expect(scaled.map((s) => s.scaleTargetRef.name).sort()).toEqual(['anonymise', 'assess', 'ingest']);
    for (const { scaleTargetRef, triggers } of scaled) {
      const target = workloads.find((w) => w.metadata.name === scaleTargetRef.name);
      for (const { metadata } of triggers) {
        expect([metadata.consumerGroup, target?.spec.replicas]).toEqual([scaleTargetRef.name, undefined]);
        expect(target === undefined ? {} : environmentOf(target).env).toHaveProperty(metadata.bootstrapServersFromEnv);
        if (metadata.topic !== undefined) expect([...topics]).toContain(metadata.topic);
      }
    }
  });

  check('a published port is one that the stage listens at, on all addresses', () => {
    for (const w of workloads) {
      const { env } = environmentOf(w);
      const listens: Record<string, string | undefined> = {
        http: env['HTTP_HOST'] === '0.0.0.0' ? env['HTTP_PORT'] : undefined,
        api: env['API_HOST'] === '0.0.0.0' ? env['API_PORT'] : undefined,
      };
      const ports = w.spec.template.spec.containers[0]?.ports ?? [];
      for (const port of ports)
        expect([w.metadata.name, port.name, listens[port.name]]).toEqual([w.metadata.name, port.name, String(port.containerPort)]);
    }
    const service = z.object({ selector: z.record(z.string(), z.string()), ports: z.array(z.object({ targetPort: z.string() })) });
    for (const o of objects.filter((o) => o.kind === 'Service')) {
      const { selector, ports } = service.parse(o['spec']);
      const target = workloads.find((w) => Object.entries(selector).every(([k, v]) => w.spec.template.metadata.labels[k] === v));
      const open = target?.spec.template.spec.containers[0]?.ports.map((p) => p.name) ?? [];
      expect([o.metadata.name, ports.filter((p) => !open.includes(p.targetPort))]).toEqual([o.metadata.name, []]);
    }
  });
});

test("a second gateway is the gateway alone, in a namespace of its own, so its Secret is not the first one's", async () => {
  const overlay = 'k8s/overlays/second-gateway';
  if (await isSkipped(overlay)) return;
  const objects = await rendered(overlay);
  expect(objects.flatMap(objectProblems)).toEqual([]);
  expect(objects.map((o) => `${o.kind} ${o.metadata.name}`).sort()).toEqual([
    'ConfigMap ctstream',
    'Namespace ctstream-gateway-2',
    'NetworkPolicy centres-reach-the-gateway',
    'NetworkPolicy stages-take-no-calls',
    'Service centre-gateway',
    'StatefulSet centre-gateway',
  ]);
  const namespaces = objects.map((o) => (o.kind === 'Namespace' ? o.metadata.name : o.metadata.namespace));
  expect(new Set(namespaces)).toEqual(new Set(['ctstream-gateway-2']));
});

test('the cohort of the base is the demo cohort', () => {
  expect(text('k8s/base/cohort.yaml')).toBe(text('services/select/cohorts/demo.yaml'));
});
