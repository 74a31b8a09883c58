// The admin client of a kafkajs bus. kafkajs asks about every topic that it was ever asked about at once, and takes no answer in
// which one is missing: after a topic was deleted it could tell nothing of a new one, and when its metadata was five minutes
// old of none. And after a partition has moved it goes on asking the broker that led it, for as long. So a client that was asked
// about a topic that is gone, or to which a broker said that it does not lead a partition, is replaced.
import type { Admin } from 'kafkajs';
import { Fault } from '../kernel/fault.ts';
import { busFault, saysPartitionRefused } from './kafka-client.ts';

export interface KafkaAdmin {
  /** Names of all topics that this user may see. @throws Fault */
  topics(): Promise<string[]>;
  /** Does some work that asks about these topics (with their prefix). @throws Fault when it can't be connected, else what the work throws */
  about<T>(topics: readonly string[], work: (client: Admin) => Promise<T>): Promise<T>;
  close(): Promise<void>;
}

interface Opened {
  readonly client: Promise<Admin>;
  /** What it was asked about. */
  readonly asked: Set<string>;
  readonly working: Set<Promise<unknown>>;
}

/** Connected at first use. @param create a client that is not connected */
export function kafkaAdmin(create: () => Admin): KafkaAdmin {
  let current: Opened | undefined;
  const connect = async (): Promise<Admin> => {
    const client = create();
    try {
      await client.connect();
    } catch (error) {
      current = undefined;
      await client.disconnect().catch(() => undefined);
      throw busFault(error, 'connecting to Kafka');
    }
    return client;
  };
  const open = (): Opened => (current ??= { client: connect(), asked: new Set(), working: new Set() });
  const close = async ({ client }: Opened): Promise<void> => await (await client.catch(() => undefined))?.disconnect();
  const list = async ({ client }: Opened): Promise<string[]> => {
    const connected = await client;
    // The first question may find that the broker has closed the connection meanwhile.
    return await connected.listTopics().catch(() => connected.listTopics().catch((error: unknown) => Promise.reject(listingFault(error))));
  };

  /** Another one is asked from now on. What is under way with this one may still be answered. */
  const retire = (opened: Opened): void => {
    if (current !== opened) return;
    current = undefined;
    void Promise.allSettled(opened.working).then(() => close(opened).catch(() => undefined));
  };

  /** One that was asked about no topic that is gone. */
  const usable = async (): Promise<Opened> => {
    const opened = open();
    const there = new Set(await list(opened));
    if ([...opened.asked].every((topic) => there.has(topic))) return opened;
    retire(opened);
    return open();
  };

  return {
    topics: () => list(open()),
    about: async (topics, work) => {
      const opened = await usable();
      for (const topic of topics) opened.asked.add(topic);
      const working = opened.client.then(work);
      opened.working.add(working);
      try {
        return await working;
      } catch (error) {
        if (saysPartitionRefused(error)) retire(opened);
        throw error;
      } finally {
        opened.working.delete(working);
      }
    },
    close: async () => {
      if (current !== undefined) await close(current);
    },
  };
}

/** kafkajs takes the answer apart that no broker gave. */
function listingFault(error: unknown): Fault {
  return error instanceof TypeError
    ? new Fault('BUS_UNAVAILABLE', true, 'listing topics: no broker answered', { cause: error })
    : busFault(error, 'listing topics');
}
