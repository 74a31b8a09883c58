// Topics, their settings and the broker's access rules, all derived from schemas/topics.json: applied, then verified.
import kafkajs from 'kafkajs';
import type { AclEntry, Admin, IResourceConfig, ITopicConfig } from 'kafkajs';
import pino from 'pino';
import topicsFile from '../../schemas/topics.json' with { type: 'json' };
import { Fault } from '../kernel/fault.ts';
import { centreId } from '../kernel/ids.ts';
import { deadTopic, retryTopic } from '../kernel/route.ts';
import type { Zone } from '../kernel/stage.ts';
import { applyAcls } from './kafka-acls.ts';
import { kafkaClient } from './kafka-client.ts';
import type { TlsOptions } from './tls-files.ts';

const { AclOperationTypes, AclPermissionTypes, AclResourceTypes, ConfigResourceTypes, ConfigSource, ResourcePatternTypes } = kafkajs;

/** How the broker keeps batches, whatever a producer sent. */
const COMPRESSION = 'compression.type';
const AS_SENT = 'producer';

/** Whose time a record gets: its producer's, or the broker's when it takes it. */
export type TimestampType = 'CreateTime' | 'LogAppendTime';
const TIMESTAMP_TYPE = 'message.timestamp.type';
const MAX_BYTES = 'max.message.bytes';

export interface TopicPlan {
  /** Logical name. */
  readonly name: string;
  readonly partitions: number;
  readonly replicas: number;
  readonly minInsyncReplicas: number;
  readonly retentionMs: number;
  readonly cleanup: string;
  /** Largest batch that the topic takes, bytes; the broker's own limit (1 MiB) when not given. */
  readonly maxMessageBytes?: number;
  readonly writers: readonly string[];
  readonly readers: readonly string[];
}

/** Replays dead letters and looks at everything's lag. */
const OPERATOR = 'operator';
/** May see how far every group is. */
const OBSERVERS = ['account', OPERATOR];

const archiverOf = (zone: Zone): string => `archiver-${zone}`;

/** Every topic of a deployment with these centres, retry and dead topics included. */
export function topicPlans(centres: readonly string[], partitionsOverride?: number): TopicPlan[] {
  const fewer = (n: number): number => (partitionsOverride === undefined ? n : Math.min(n, partitionsOverride));
  const plans: TopicPlan[] = [];
  for (const t of topicsFile.topics) {
    const places = t.name.includes('<centre>') ? centres.map((c) => centreId(c)) : [''];
    for (const centre of places) {
      const fill = (text: string): string => text.replace('<centre>', centre);
      plans.push({ ...t, name: fill(t.name), partitions: fewer(t.partitions), writers: t.writers.map(fill), readers: t.readers.map(fill) });
    }
  }
  for (const [stage, zone] of Object.entries(topicsFile.stages) as [string, Zone][]) {
    const common = { replicas: 3, minInsyncReplicas: 2, cleanup: 'delete' };
    for (const delay of Object.keys(topicsFile.retry.delays)) {
      plans.push({
        ...common,
        name: retryTopic(zone, stage, delay),
        partitions: fewer(topicsFile.retry.partitions),
        retentionMs: topicsFile.retry.retentionMs,
        maxMessageBytes: topicsFile.retry.maxMessageBytes,
        writers: [stage, OPERATOR],
        readers: [stage, archiverOf(zone), ...OBSERVERS],
      });
    }
    plans.push({
      ...common,
      name: deadTopic(zone, stage),
      partitions: fewer(topicsFile.dead.partitions),
      retentionMs: topicsFile.dead.retentionMs,
      maxMessageBytes: topicsFile.dead.maxMessageBytes,
      writers: [stage],
      readers: [archiverOf(zone), ...OBSERVERS],
    });
  }
  return plans;
}

/** All Kafka users of a deployment. */
export function principals(centres: readonly string[]): string[] {
  const names = topicPlans(centres).flatMap((t) => [...t.writers, ...t.readers]);
  return [...new Set([...names, ...Object.keys(topicsFile.stages)])].sort();
}

const sizeOf = ({ maxMessageBytes: bytes }: TopicPlan): Record<string, string> =>
  bytes === undefined ? {} : { [MAX_BYTES]: String(bytes) };

function configOf(plan: TopicPlan, brokers: number): Record<string, string> {
  return {
    'retention.ms': String(plan.retentionMs),
    'cleanup.policy': plan.cleanup,
    'min.insync.replicas': String(Math.min(plan.minInsyncReplicas, brokers)),
    // The broker's clock: a hospital's may be years behind (its records would be deleted at once) or hours ahead
    // (INVALID_TIMESTAMP). The time of the event itself is ce_time.
    [TIMESTAMP_TYPE]: 'LogAppendTime' satisfies TimestampType,
    // A broker that packs anew, by a setting of its own, packs what not every reader unpacks; and whatever it shall pack or
    // unpack it first unpacks without a limit, so that a megabyte of zeros ends it. Nobody of ours packs.
    [COMPRESSION]: AS_SENT,
    // A record that its own topic just took must fit with what parking adds; and one that names every study of a dataset.
    ...sizeOf(plan),
  };
}

/** A writer or reader gets its topic and nothing else; Write and Read imply Describe. A group belongs to the user of its name. */
export function aclsOf(plans: readonly TopicPlan[], prefix: string): AclEntry[] {
  const allow = (
    user: string,
    resourceType: number,
    resourceName: string,
    operation: number,
    pattern: number = ResourcePatternTypes.LITERAL,
  ): AclEntry => ({
    principal: `User:${user}`,
    host: '*',
    permissionType: AclPermissionTypes.ALLOW,
    resourceType,
    resourceName,
    resourcePatternType: pattern,
    operation,
  });
  const acls: AclEntry[] = [];
  for (const plan of plans) {
    for (const user of plan.writers) acls.push(allow(user, AclResourceTypes.TOPIC, prefix + plan.name, AclOperationTypes.WRITE));
    for (const user of plan.readers) acls.push(allow(user, AclResourceTypes.TOPIC, prefix + plan.name, AclOperationTypes.READ));
  }
  for (const user of new Set(plans.flatMap((p) => p.readers))) {
    // Not all names that begin so: c1 would have the group of c10.
    acls.push(allow(user, AclResourceTypes.GROUP, prefix + user, AclOperationTypes.READ));
    acls.push(allow(user, AclResourceTypes.GROUP, `${prefix}${user}.`, AclOperationTypes.READ, ResourcePatternTypes.PREFIXED));
  }
  for (const user of OBSERVERS) {
    if (prefix === '') acls.push(allow(user, AclResourceTypes.GROUP, '*', AclOperationTypes.DESCRIBE));
    else acls.push(allow(user, AclResourceTypes.GROUP, prefix, AclOperationTypes.DESCRIBE, ResourcePatternTypes.PREFIXED));
  }
  return acls;
}

export interface ApplyTopicsOptions {
  readonly brokers: readonly string[];
  /** A user that may create topics and ACLs. */
  readonly username: string;
  readonly password: string;
  readonly ssl?: TlsOptions;
  readonly prefix: string;
  readonly centres: readonly string[];
  /** True when `centres` may not be all: no access rule is removed. */
  readonly keepRules?: boolean;
  /** At most so many partitions a topic, for tests and small machines. */
  readonly partitionsOverride?: number;
  readonly log?: pino.Logger;
}

/**
 * Creates what is missing, lets records get the broker's time, be kept as they were sent and be as large as planned, removes access rules that are no longer in the tables (a centre that left loses its rights; its
 * topics and records stay), and verifies all: partitions, retention, cleanup, min ISR, ACLs.
 * @throws Fault BAD_CONFIG naming every difference: changing a topic that holds records is an operator's decision.
 */
export async function applyTopics(o: ApplyTopicsOptions): Promise<void> {
  const admin = kafkaClient({ ...o, clientId: 'apply-topics', log: o.log ?? pino({ level: 'silent' }) }).admin();
  await admin.connect();
  try {
    const brokers = (await admin.describeCluster()).brokers.length;
    const plans = topicPlans(o.centres, o.partitionsOverride);
    await createMissing(admin, plans, o.prefix, brokers);
    const common = { [TIMESTAMP_TYPE]: 'LogAppendTime' satisfies TimestampType, [COMPRESSION]: AS_SENT };
    await setOwn(admin, new Map(plans.map((p) => [o.prefix + p.name, { ...common, ...sizeOf(p) }])));
    const removed = await applyAcls(admin, aclsOf(plans, o.prefix), o.prefix, o.keepRules);
    if (removed.length > 0) o.log?.warn({ removed }, 'access rules that schemas/topics.json no longer has were removed');
    const wrong = await differences(admin, plans, o.prefix, brokers);
    if (wrong.length > 0) throw new Fault('BAD_CONFIG', false, `topics differ from schemas/topics.json: ${wrong.join('; ')}`);
  } finally {
    await admin.disconnect();
  }
}

async function createMissing(admin: Admin, plans: readonly TopicPlan[], prefix: string, brokers: number): Promise<void> {
  const there = new Set(await admin.listTopics());
  const missing: ITopicConfig[] = plans
    .filter((p) => !there.has(prefix + p.name))
    .map((p) => ({
      topic: prefix + p.name,
      numPartitions: p.partitions,
      replicationFactor: Math.min(p.replicas, brokers),
      configEntries: Object.entries(configOf(p, brokers)).map(([name, value]) => ({ name, value })),
    }));
  for (let i = 0; i < missing.length; i += 50)
    await admin.createTopics({ topics: missing.slice(i, i + 50), waitForLeaders: false, timeout: 30_000 });
  if (missing.length > 0) await untilLed(admin, missing);
}

/** Sets whose time records get, where it differs; those that are there keep their times. */
export const setTimestampType = (admin: Admin, topics: readonly string[], type: TimestampType): Promise<void> =>
  setOwn(admin, new Map(topics.map((topic) => [topic, { [TIMESTAMP_TYPE]: type }])));

/** Sets what concerns records that come from now on, where it differs: that needs no other care. */
async function setOwn(admin: Admin, wanted: OwnSettings): Promise<void> {
  const resources = await toChange(admin, wanted);
  if (resources.length === 0) return;
  await admin.alterConfigs({ validateOnly: false, resources });
  // A broker tells the old ones for a moment; who asked it then would take them for the topic's.
  for (let i = 0; i < 100 && (await toChange(admin, wanted)).length > 0; i++) await new Promise((resolve) => setTimeout(resolve, 100));
}

type OwnSettings = ReadonlyMap<string, Readonly<Record<string, string>>>;

async function toChange(admin: Admin, wanted: OwnSettings): Promise<IResourceConfig[]> {
  if (wanted.size === 0) return [];
  const { resources } = await admin.describeConfigs({
    includeSynonyms: false,
    resources: [...wanted.keys()].map((name) => ({ type: ConfigResourceTypes.TOPIC, name })),
  });
  return resources.flatMap(({ resourceName: name, configEntries: there }) => {
    const ours = wanted.get(name) ?? {};
    if (Object.entries(ours).every(([key, value]) => there.some((e) => e.configName === key && e.configValue === value))) return [];
    // Kafka replaces all of a topic's own settings at once.
    const own = there.filter((e) => e.configSource === ConfigSource.TOPIC_CONFIG && !(e.configName in ours));
    const entries = [...own.map((e) => [e.configName, e.configValue] as const), ...Object.entries(ours)];
    return [{ type: ConfigResourceTypes.TOPIC, name, configEntries: entries.map(([key, value]) => ({ name: key, value })) }];
  });
}

/** Waits until every partition of new topics has a leader. kafkajs' own wait throws while the broker does not know them yet. */
async function untilLed(admin: Admin, created: readonly ITopicConfig[]): Promise<void> {
  const names = created.map((t) => t.topic);
  for (let i = 0; i < 300; i++) {
    const known = await admin.fetchTopicMetadata({ topics: names }).catch(() => undefined);
    const isLed = known?.topics.every((t) => t.partitions.length > 0 && t.partitions.every((p) => p.leader >= 0));
    if (isLed === true) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Fault('BUS_UNAVAILABLE', true, 'new topics got no leader within 30 s');
}

async function differences(admin: Admin, plans: readonly TopicPlan[], prefix: string, brokers: number): Promise<string[]> {
  const wrong: string[] = [];
  const { topics } = await admin.fetchTopicMetadata({ topics: plans.map((p) => prefix + p.name) });
  const partitions = new Map(topics.map((t) => [t.name, t.partitions.length]));
  const { resources } = await admin.describeConfigs({
    includeSynonyms: false,
    resources: plans.map((p) => ({
      type: ConfigResourceTypes.TOPIC,
      name: prefix + p.name,
      configNames: Object.keys(configOf(p, brokers)),
    })),
  });
  const configs = new Map(resources.map((r) => [r.resourceName, new Map(r.configEntries.map((e) => [e.configName, e.configValue]))]));
  for (const plan of plans) {
    const name = prefix + plan.name;
    if (partitions.get(name) !== plan.partitions) wrong.push(`${name} has ${partitions.get(name) ?? 0} partitions, not ${plan.partitions}`);
    for (const [key, value] of Object.entries(configOf(plan, brokers))) {
      const is = configs.get(name)?.get(key);
      if (is !== value) wrong.push(`${name} has ${key}=${is ?? '?'}, not ${value}`);
    }
  }
  return wrong;
}
