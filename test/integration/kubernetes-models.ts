// Checks Kubernetes and KEDA objects by the schemas of `kubernetes-models`. Those schemas let unknown fields pass, so
// proxies note which fields a validator looked at: what it never looked at is a field that its schema does not know.
import * as keda from '@kubernetes-models/keda/keda.sh/v1alpha1';
import * as apps from 'kubernetes-models/apps/v1';
import * as networking from 'kubernetes-models/networking.k8s.io/v1';
import * as core from 'kubernetes-models/v1';

type ModelClass = { readonly prototype: { validate(this: unknown): void } };

const VERSIONS: Readonly<Record<string, object>> = {
  v1: core,
  'apps/v1': apps,
  'networking.k8s.io/v1': networking,
  'keda.sh/v1alpha1': keda,
};

/** The value, with every field that is never asked for added to `unread` by its path. */
function watched(value: unknown, path: string, unread: Set<string>): unknown {
  if (value === null || typeof value !== 'object') return value;
  const fields = new Map(Object.entries(value).map(([key, inner]) => [key, watched(inner, `${path}.${key}`, unread)]));
  if (!Array.isArray(value)) for (const key of fields.keys()) unread.add(`${path}.${key}`);
  return new Proxy(value, {
    get: (target, key) => {
      if (typeof key === 'symbol') return Reflect.get(target, key) as unknown;
      unread.delete(`${path}.${key}`);
      return fields.get(key) ?? (Reflect.get(target, key) as unknown);
    },
  });
}

/** Everything that is wrong with an object by the schema of its kind; empty when nothing is. */
export function objectProblems(object: {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string };
}): string[] {
  const name = `${object.kind} ${object.metadata.name}`;
  const Kind = (VERSIONS[object.apiVersion] as Readonly<Record<string, ModelClass>> | undefined)?.[object.kind];
  if (Kind === undefined) return [`${name}: no schema of ${object.apiVersion}`];
  const unread = new Set<string>();
  try {
    // Not on an instance: its constructor copies everything, and so looks at every field.
    Kind.prototype.validate.call(watched(object, name, unread));
  } catch (error) {
    return [`${name}: ${error instanceof Error ? error.message : 'not valid'}`];
  }
  // A whole subtree that was not looked at is told by its root.
  return [...unread].filter((path) => !unread.has(path.slice(0, path.lastIndexOf('.')))).map((path) => `${path} is no field of its schema`);
}
