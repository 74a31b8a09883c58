// Steps of kafkajs: what is taken, published and committed.
import kafkajs from 'kafkajs';
import type { Consumer, Kafka as KafkaClient, Producer } from 'kafkajs';
import { take, write } from './step.ts';

/** `study-stored` of `<prefix>ct.clinical.study-stored.v1`; `retry` of a retry topic. */
const shortName = (topic: string): string => topic.split('.').at(-2) ?? topic;

function steppedProducer(producer: Producer): Producer {
  const { sendBatch } = producer;
  producer.sendBatch = (batch) => {
    const topics = (batch.topicMessages ?? []).map((m) => shortName(m.topic)).sort();
    return write(`publish ${[...new Set(topics)].join(' and ')}`, () => sendBatch(batch));
  };
  return producer;
}

function steppedConsumer(consumer: Consumer, isRetry: boolean): Consumer {
  const { run } = consumer;
  const of = isRetry ? ' of the retry topics' : '';
  consumer.run = (config) => {
    const eachBatch = config?.eachBatch;
    if (eachBatch === undefined) throw new Error('the stage loop no longer takes batches');
    return run({
      ...config,
      eachBatch: (payload) => {
        const commit = payload.commitOffsetsIfNecessary.bind(payload);
        // Studies are sent one by one: with a batch a job begins.
        if (payload.batch.messages.length > 0) take(`take${of}`);
        return eachBatch({ ...payload, commitOffsetsIfNecessary: (offsets) => write(`commit${of}`, () => commit(offsets)) });
      },
    });
  };
  return consumer;
}

const { prototype } = kafkajs.Kafka;
const producerOf = Reflect.get(prototype, 'producer');
const consumerOf = Reflect.get(prototype, 'consumer');
prototype.producer = function producer(this: KafkaClient, config) {
  return steppedProducer(producerOf.call(this, config));
};
prototype.consumer = function consumer(this: KafkaClient, config) {
  if (config === undefined) throw new Error('a consumer without a group');
  return steppedConsumer(consumerOf.call(this, config), config.groupId.endsWith('.retry'));
};
