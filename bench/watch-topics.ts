// Follows topics from where they end now: what a bench waits for.
import { randomBytes } from 'node:crypto';
import type { BusRecord, EventBus } from '../services/ports/event-bus.ts';

export interface Watch {
  /** Records as they come, until the reader stops. */
  records(): AsyncGenerator<BusRecord>;
  stop(): Promise<void>;
}

/** Returns once the ends are known and the group is joined: what is published after this is seen. */
export const watchTopics = async (bus: EventBus, topics: readonly string[]): Promise<Watch> => {
  const ends = new Map((await bus.ends(topics)).map((e) => [`${e.topic}/${e.partition}`, e.end]));
  const subscription = await bus.subscribe({ group: `bench-${randomBytes(6).toString('hex')}`, topics, window: 5000 });
  const ended = new AbortController();
  return {
    async *records() {
      for (;;) {
        const lease = await subscription.take(ended.signal);
        if (lease === undefined) return;
        lease.ack();
        const { topic, partition, offset } = lease.record;
        if (offset >= (ends.get(`${topic}/${partition}`) ?? 0n)) yield lease.record;
      }
    },
    stop: async () => {
      ended.abort();
      await subscription.stop();
    },
  };
};
