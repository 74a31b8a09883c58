// The broker's access rules made equal to the wanted ones: what is missing is added, what is no longer wanted is removed.
import kafkajs from 'kafkajs';
import type { AclEntry, Admin } from 'kafkajs';
import { Fault } from '../kernel/fault.ts';

const { AclOperationTypes, AclPermissionTypes, AclResourceTypes, ResourcePatternTypes } = kafkajs;

const textOf = (a: AclEntry): string =>
  [a.principal, a.host, a.operation, a.permissionType, a.resourceType, a.resourceName, a.resourcePatternType].join(' ');

async function rulesThere(admin: Admin): Promise<AclEntry[]> {
  const { resources } = await admin.describeAcls({
    resourceType: AclResourceTypes.ANY,
    resourcePatternType: ResourcePatternTypes.ANY,
    operation: AclOperationTypes.ANY,
    permissionType: AclPermissionTypes.ANY,
  });
  // kafkajs types a single pattern where the broker gives one per resource.
  return resources.flatMap((r) =>
    r.acls.map((a) => ({ ...a, resourceType: r.resourceType, resourceName: r.resourceName, resourcePatternType: r.resourcePatternType })),
  );
}

/**
 * Whether a rule is this deployment's to remove: one that allows something on its topics, or a user the group of its own
 * name. Rules of other deployments of the cluster have another prefix; an operator's rules that deny stay.
 */
function isOurs(rule: AclEntry, prefix: string): boolean {
  if (rule.permissionType !== AclPermissionTypes.ALLOW) return false;
  const { resourceName } = rule;
  if (rule.resourceType === AclResourceTypes.TOPIC)
    return /^ct\.(?:clinical|research)\./.test(resourceName.slice(prefix.length)) && resourceName.startsWith(prefix);
  const user = rule.principal.replace(/^User:/, '');
  return rule.resourceType === AclResourceTypes.GROUP && [`${prefix}${user}`, `${prefix}${user}.`].includes(resourceName);
}

/**
 * Adds and removes rules. The broker takes about a second before it acts on them, so this waits until it tells exactly these.
 * @param onlyAdd for who does not know all that is wanted
 * @returns the rules that were removed, as text for the log
 */
export async function applyAcls(admin: Admin, wanted: readonly AclEntry[], prefix: string, onlyAdd = false): Promise<readonly string[]> {
  const look = async (): Promise<{ absent: AclEntry[]; stale: AclEntry[] }> => {
    const there = await rulesThere(admin);
    const [isThere, isWanted] = [new Set(there.map(textOf)), new Set(wanted.map(textOf))];
    return {
      absent: wanted.filter((a) => !isThere.has(textOf(a))),
      stale: there.filter((a) => !onlyAdd && isOurs(a, prefix) && !isWanted.has(textOf(a))),
    };
  };
  const { absent, stale } = await look();
  if (absent.length === 0 && stale.length === 0) return [];
  // First what must no longer be: a failure between the two leaves too little, not too much.
  if (stale.length > 0) await admin.deleteAcls({ filters: stale });
  if (absent.length > 0) await admin.createAcls({ acl: absent });
  for (let i = 0; i < 150; i++) {
    const now = await look();
    if (now.absent.length === 0 && now.stale.length === 0) return stale.map((a) => `${a.principal} on ${a.resourceName}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Fault('BUS_UNAVAILABLE', true, 'the broker does not show the access rules that it took');
}
