// Writes records into given partitions with the times that they had (kafkajs): for a restore, as a user who may do all.
import kafkajs from 'kafkajs';
import { Fault } from '../kernel/fault.ts';
import type { LogRecord, LogWriter } from '../ports/log-writer.ts';
import { busFault, kafkaClient } from './kafka-client.ts';
import type { KafkaBusOptions } from './kafka-offsets.ts';
import { setTimestampType, type TimestampType } from './kafka-topics.ts';

const TRIES = 5;
const PAUSE_MS = 500;
/**
 * A broker tells a topic's new setting before its partitions have it: tens of milliseconds on one with work to do, and
 * other brokers may be further behind. What is written meanwhile has the wrong time for good.
 */
const SETTLE_MS = 3000;
/** Records of a batch that is there only to move the partition's end. */
const BLANKS = 1000;

/** The writer. Connects at once. @throws Fault BUS_UNAVAILABLE, DENIED_BY_BROKER */
export async function kafkaLogWriter(options: KafkaBusOptions): Promise<LogWriter> {
  const kafka = kafkaClient(options);
  const admin = kafka.admin();
  // The client must not send a batch twice: what became of a lost answer is asked of the log.
  const producer = kafka.producer({
    createPartitioner: kafkajs.Partitioners.DefaultPartitioner,
    allowAutoTopicCreation: false,
    maxInFlightRequests: 1,
    retry: { retries: 0 },
  });
  const asked = async <T>(what: string, work: () => Promise<T>): Promise<T> => {
    try {
      return await work();
    } catch (error) {
      throw busFault(error, what);
    }
  };
  await asked('connecting to Kafka', async () => {
    await admin.connect();
    await producer.connect();
  });

  const ends = async (topic: string, partition: number): Promise<{ first: bigint; end: bigint }> => {
    const offsets = await asked(`asking for the ends of ${topic}`, () => admin.fetchTopicOffsets(options.prefix + topic));
    const found = offsets.find((o) => o.partition === partition);
    if (found === undefined) throw new Fault('BAD_CONFIG', false, `${topic} has no partition ${partition}`);
    return { first: BigInt(found.low), end: BigInt(found.high) };
  };

  const restored = new Set<string>();
  /** The log's own times are the broker's: while it is restored, those that the records had. */
  const times = async (topics: Iterable<string>, type: TimestampType): Promise<void> => {
    const names = [...topics].map((topic) => options.prefix + topic);
    await asked('changing whose time records get', () => setTimestampType(admin, names, type));
  };

  const keepTimes = async (topics: readonly string[]): Promise<void> => {
    for (const topic of topics) restored.add(topic);
    await times(topics, 'CreateTime');
    await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
  };

  const append = async (topic: string, partition: number, at: bigint, records: readonly LogRecord[]): Promise<void> => {
    const messages = records.map((r) => ({
      partition,
      key: r.key,
      value: Buffer.from(r.value),
      headers: { ...r.headers },
      timestamp: String(r.timestampMs),
    }));
    for (let i = 1; ; i += 1) {
      const { end } = await ends(topic, partition);
      if (i > 1 && end === at + BigInt(records.length)) return;
      if (end !== at)
        throw new Fault('LOG_DIFFERS', false, `${topic}/${partition} ends at ${end}, not at ${at}: something else writes to it`);
      try {
        const answers = await producer.send({ topic: options.prefix + topic, acks: -1, timeout: 30_000, messages });
        if (restored.has(topic)) assertTimesKept(answers, `${topic}/${partition}`);
        return;
      } catch (error) {
        const fault = busFault(error, `restoring ${topic}`);
        if (!fault.retryable || i === TRIES) throw fault;
        await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
      }
    }
  };

  return {
    keepTimes,
    append,
    beginAt: async (topic, partition, offset) => {
      const now = await ends(topic, partition);
      if (now.first === offset && now.end === offset) return;
      if (now.end > offset || (now.first > 0n && now.first !== now.end))
        throw new Fault('LOG_DIFFERS', false, `${topic}/${partition} holds records of its own`);
      const blank: LogRecord = { key: '', value: new Uint8Array(), headers: {}, timestampMs: Date.now() };
      for (let at = now.end; at < offset; at += BigInt(BLANKS)) {
        const count = Math.min(BLANKS, Number(offset - at));
        await append(
          topic,
          partition,
          at,
          Array.from({ length: count }, () => blank),
        );
      }
      await asked(`emptying ${topic}`, () =>
        admin.deleteTopicRecords({ topic: options.prefix + topic, partitions: [{ partition, offset: offset.toString() }] }),
      );
    },
    close: async () => {
      // What a killed run leaves is set right when the topics are applied again.
      await times(restored, 'LogAppendTime').catch(() => undefined);
      await Promise.allSettled([producer.disconnect(), admin.disconnect()]);
    },
  };
}

/** The answer to a Produce request says the time that the broker gave, or -1 when the records kept theirs. */
function assertTimesKept(answers: readonly kafkajs.RecordMetadata[], place: string): void {
  if (answers.some(({ logAppendTime = '-1' }) => logAppendTime !== '-1')) throw new Fault('TIMES_NOT_KEPT', false, place);
}
