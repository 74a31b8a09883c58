// Creates SCRAM users on a running broker. kafkajs has no AlterUserScramCredentials, and Kafka's own
// command takes a JVM (1.5 s) per user; one request of the wire protocol takes milliseconds.
import { pbkdf2Sync, randomBytes } from 'node:crypto';
import { compact, int32, int8, NO_TAGS, openWire, unsignedVarint, type KafkaLogin, type Reader } from './kafka-wire.ts';

const ALTER_USER_SCRAM_CREDENTIALS = 51;
/** Kafka's number for SCRAM-SHA-512, and its least count of iterations (KIP-554). */
const SHA_512 = 2;
const ITERATIONS = 4096;

interface Broker {
  host: string;
  port: number;
  admin: KafkaLogin;
  /** Certificate that vouches for the broker, when it speaks TLS. */
  ca?: string | undefined;
}

/** Creates the users or sets their passwords, all in one request. Throws with Kafka's own message. */
export async function addScramUsers(o: Broker & { users: readonly KafkaLogin[] }): Promise<void> {
  const upsertions = o.users.map((user) => {
    const salt = randomBytes(32);
    const salted = pbkdf2Sync(user.password, salt, ITERATIONS, 64, 'sha512');
    return Buffer.concat([compact(Buffer.from(user.username)), int8(SHA_512), int32(ITERATIONS), compact(salt), compact(salted), NO_TAGS]);
  });
  await alter(o, [], upsertions);
}

/** Takes the users' passwords away: they can't log in any more. Connections that are open stay. */
export async function removeScramUsers(o: Broker & { names: readonly string[] }): Promise<void> {
  const deletions = o.names.map((name) => Buffer.concat([compact(Buffer.from(name)), int8(SHA_512), NO_TAGS]));
  await alter(o, deletions, []);
}

async function alter(o: Broker, deletions: readonly Buffer[], upsertions: readonly Buffer[]): Promise<void> {
  if (deletions.length + upsertions.length === 0) return;
  const wire = await openWire({ ...o, user: o.admin });
  try {
    const list = (items: readonly Buffer[]): Buffer => Buffer.concat([unsignedVarint(items.length + 1), ...items]);
    checkResults(await wire.send(ALTER_USER_SCRAM_CREDENTIALS, 0, Buffer.concat([list(deletions), list(upsertions), NO_TAGS]), 'flexible'));
  } finally {
    wire.close();
  }
}

function checkResults(response: Reader): void {
  response.int32();
  const count = response.unsignedVarint() - 1;
  for (let i = 0; i < count; i++) {
    const user = response.compactString();
    const error = response.int16();
    const message = response.compactString();
    response.skipTags();
    if (error !== 0) throw new Error(`Kafka did not take the user '${user}': ${message ?? `error ${error}`}`);
  }
}
