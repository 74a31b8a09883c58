// One Kafka broker with its controller in the same process (KRaft), reachable on loopback only, with
// SCRAM users and an authoriser that refuses whatever no ACL allows.
import { randomBytes } from 'node:crypto';
import { connect } from 'node:net';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Kafka, logLevel } from 'kafkajs';
import { pemStore, type Certificates } from './certificates.ts';
import type { LocalEnv } from './env.ts';
import { runCommand } from './install.ts';
import type { ProcessSpec } from './processes.ts';
import type { Tools } from './tools.ts';

export interface KafkaUser {
  username: string;
  password: string;
}

export interface KafkaPorts {
  client: number;
  controller: number;
  /** The listeners behind Toxiproxy, and the port that Toxiproxy shows for each. */
  proxied: readonly { readonly listen: number; readonly advertise: number }[];
}

/** Writes the configuration, formats the log folder with the first users, and says how to start it. */
export async function prepareKafka(o: {
  dir: string;
  ports: KafkaPorts;
  admin: KafkaUser;
  users: readonly KafkaUser[];
  /** Given, the clients' listeners speak TLS. */
  certificates?: Certificates | undefined;
  tools: Tools;
  env: LocalEnv;
}): Promise<ProcessSpec> {
  const folder = join(o.dir, 'kafka');
  await mkdir(join(folder, 'data'), { recursive: true });
  const config = join(folder, 'server.properties');
  await writeFile(
    config,
    properties(folder, o.ports, o.admin, o.certificates !== undefined) + (await tlsProperties(folder, o.certificates)),
    {
      mode: 0o600,
    },
  );
  const classpath = `${o.tools.kafkaLibs}/*`;
  const scram = [o.admin, ...o.users].flatMap((user) => ['--add-scram', `SCRAM-SHA-512=[name=${user.username},password=${user.password}]`]);
  const clusterId = `C${randomBytes(16).toString('base64url').slice(1, 22)}`;
  const quick = ['-Xshare:auto', '-XX:TieredStopAtLevel=1', '-XX:+UseSerialGC', '-Dorg.slf4j.simpleLogger.defaultLogLevel=warn'];
  await runCommand('Kafka', o.tools.java, [
    ...quick,
    '-cp',
    classpath,
    'kafka.tools.StorageTool',
    'format',
    '-t',
    clusterId,
    '-c',
    config,
    ...scram,
  ]);
  const heap = o.env.kafkaHeapMb;
  return {
    name: 'Kafka',
    command: o.tools.java,
    args: [
      `-Xms${Math.min(heap, 256)}m`,
      `-Xmx${heap}m`,
      '-XX:+UseSerialGC',
      '-XX:+ExitOnOutOfMemoryError',
      '-Djava.awt.headless=true',
      '-Dorg.slf4j.simpleLogger.defaultLogLevel=warn',
      '-Dorg.slf4j.simpleLogger.showDateTime=true',
      '-cp',
      classpath,
      'kafka.Kafka',
      config,
    ],
    cwd: folder,
    env: o.env.childEnv,
    logFile: join(o.dir, 'logs', 'kafka.log'),
    stopSignal: 'SIGTERM',
  };
}

async function tlsProperties(folder: string, certificates: Certificates | undefined): Promise<string> {
  if (certificates === undefined) return '';
  const keystore = await pemStore(certificates, join(folder, 'keystore.pem'));
  return `ssl.keystore.type=PEM\nssl.keystore.location=${keystore}\nssl.truststore.type=PEM\nssl.truststore.location=${certificates.caFile}\n`;
}

function properties(folder: string, ports: KafkaPorts, admin: KafkaUser, tls: boolean): string {
  const protocol = tls ? 'SASL_SSL' : 'SASL_PLAINTEXT';
  // Controllers cannot check SCRAM before there is a metadata log to hold it, hence PLAIN, with a
  // password that never leaves this file, between the broker and itself.
  const controllerPassword = randomBytes(18).toString('base64url');
  const scramLogin = (user: KafkaUser): string =>
    `org.apache.kafka.common.security.scram.ScramLoginModule required username="${user.username}" password="${user.password}";`;
  const listeners = [`CLIENT://127.0.0.1:${ports.client}`];
  const advertised = [...listeners];
  const protocols = [`CLIENT:${protocol}`, 'CONTROLLER:SASL_PLAINTEXT'];
  for (const [i, { listen, advertise }] of ports.proxied.entries()) {
    listeners.push(`PROXIED${i}://127.0.0.1:${listen}`);
    advertised.push(`PROXIED${i}://127.0.0.1:${advertise}`);
    protocols.push(`PROXIED${i}:${protocol}`);
  }
  const lines: Record<string, string | number | boolean> = {
    'process.roles': 'broker,controller',
    'node.id': 1,
    'controller.quorum.voters': `1@127.0.0.1:${ports.controller}`,
    listeners: [...listeners, `CONTROLLER://127.0.0.1:${ports.controller}`].join(','),
    'advertised.listeners': advertised.join(','),
    'listener.security.protocol.map': protocols.join(','),
    'controller.listener.names': 'CONTROLLER',
    'inter.broker.listener.name': 'CLIENT',
    'sasl.enabled.mechanisms': 'SCRAM-SHA-512',
    'sasl.mechanism.inter.broker.protocol': 'SCRAM-SHA-512',
    'listener.name.client.scram-sha-512.sasl.jaas.config': scramLogin(admin),
    'sasl.mechanism.controller.protocol': 'PLAIN',
    'listener.name.controller.sasl.enabled.mechanisms': 'PLAIN',
    'listener.name.controller.plain.sasl.jaas.config': `org.apache.kafka.common.security.plain.PlainLoginModule required username="controller" password="${controllerPassword}" user_controller="${controllerPassword}";`,
    'authorizer.class.name': 'org.apache.kafka.metadata.authorizer.StandardAuthorizer',
    'super.users': `User:${admin.username};User:controller`,
    'allow.everyone.if.no.acl.found': false,
    'log.dirs': join(folder, 'data'),
    'auto.create.topics.enable': false,
    'default.replication.factor': 1,
    'min.insync.replicas': 1,
    'offsets.topic.replication.factor': 1,
    'offsets.topic.num.partitions': 8,
    'transaction.state.log.replication.factor': 1,
    'transaction.state.log.min.isr': 1,
    'transaction.state.log.num.partitions': 8,
    'group.initial.rebalance.delay.ms': 0,
    // A killed broker may register again only when its former self has timed out (9 s by default).
    'broker.session.timeout.ms': 4000,
    'broker.heartbeat.interval.ms': 1000,
    // Each partition maps two index files of this size at once: 10 MiB by default, and 48 centres
    // make hundreds of partitions.
    'log.index.size.max.bytes': 262_144,
    'log.cleaner.dedupe.buffer.size': 33_554_432,
    'log.segment.delete.delay.ms': 1000,
    'num.network.threads': 3,
    'num.io.threads': 4,
  };
  for (const i of ports.proxied.keys()) {
    lines[`listener.name.proxied${i}.scram-sha-512.sasl.jaas.config`] = scramLogin(admin);
    lines[`listener.name.proxied${i}.num.network.threads`] = 1;
  }
  return Object.entries(lines)
    .map(([key, value]) => `${key}=${value}\n`)
    .join('');
}

/** True once the broker knows itself and takes the admin's password. */
export async function kafkaAnswers(port: number, admin: KafkaUser, ca?: string): Promise<boolean> {
  // A raw connection first: kafkajs' own retries are slow, and this is asked twenty times a second.
  if (!(await portOpen(port))) return false;
  const kafka = new Kafka({
    clientId: 'platform-health',
    brokers: [`127.0.0.1:${port}`],
    sasl: { mechanism: 'scram-sha-512', ...admin },
    ...(ca === undefined ? {} : { ssl: { ca } }),
    logLevel: logLevel.NOTHING,
    connectionTimeout: 2000,
    requestTimeout: 3000,
    retry: { retries: 0 },
  });
  const client = kafka.admin();
  try {
    await client.connect();
    const cluster = await client.describeCluster();
    return cluster.brokers.length === 1;
  } finally {
    await client.disconnect().catch(() => undefined);
  }
}

function portOpen(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1' });
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
