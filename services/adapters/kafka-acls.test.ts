import { expect, test } from '@jest/globals';
import kafkajs from 'kafkajs';
import type { AclEntry, Admin } from 'kafkajs';
import { applyAcls } from './kafka-acls.ts';
import { aclsOf, topicPlans } from './kafka-topics.ts';

const rules = (centres: readonly string[]): AclEntry[] => aclsOf(topicPlans(centres), '');

/** A broker that keeps access rules and nothing else. */
function broker(there: AclEntry[]): { readonly admin: Admin; readonly rules: () => readonly AclEntry[] } {
  const admin = new kafkajs.Kafka({ brokers: ['127.0.0.1:9'] }).admin();
  let kept = there;
  admin.describeAcls = () => Promise.resolve({ errorCode: 0, throttleTime: 0, resources: kept.map((a) => ({ ...a, acls: [a] })) } as never);
  admin.createAcls = ({ acl }) => Promise.resolve((kept = [...kept, ...acl]).length > 0);
  admin.deleteAcls = ({ filters }) => Promise.resolve({ filterResponses: void (kept = kept.filter((a) => !isAny(a, filters))) } as never);
  return { admin, rules: () => kept };
}

const isAny = (a: AclEntry, filters: readonly { principal?: string; resourceName?: string; operation: number }[]): boolean =>
  filters.some((f) => f.principal === a.principal && f.resourceName === a.resourceName && f.operation === a.operation);

test('a centre that left loses its rules, unless rules are only added', async () => {
  const all = rules(['c01', 'c02']);
  const adding = broker(all);
  expect(await applyAcls(adding.admin, rules([]), '', true)).toEqual([]);
  expect(adding.rules()).toHaveLength(all.length);
  const exact = broker(all);
  expect((await applyAcls(exact.admin, rules(['c01']), '')).every((text) => text.includes('c02'))).toBe(true);
  expect(exact.rules()).toHaveLength(rules(['c01']).length);
});
