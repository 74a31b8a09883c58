import { expect, test } from '@jest/globals';
import kafkajs from 'kafkajs';
import pino from 'pino';
import { busFault, kafkaClient } from './kafka-client.ts';
import { kafkaScram } from './kafkajs-scram.ts';

const logger = kafkaClient({
  brokers: ['127.0.0.1:1'],
  username: 'u',
  password: 'p',
  clientId: 'test',
  log: pino({ level: 'silent' }),
}).logger();

async function logIn(answer: Error): Promise<unknown> {
  const provider = kafkaScram({ username: 'u', password: 'p' }).authenticationProvider;
  const authenticator = provider({ host: 'broker', port: 9092, logger, saslAuthenticate: async () => await Promise.reject(answer) });
  return await authenticator.authenticate().catch((error: unknown) => error);
}

test('a connection that ends while kafkajs logs in is no refusal, and is tried again', async () => {
  for (const lost of [
    new kafkajs.KafkaJSError('Closed connection'),
    new kafkajs.KafkaJSConnectionError('Connection error: read ECONNRESET'),
  ]) {
    const error = await logIn(lost);
    expect(error).toBe(lost);
    expect(busFault(error, 'testing')).toMatchObject({ code: 'BUS_UNAVAILABLE', retryable: true });
  }
});

test("the broker's refusal is one", async () => {
  const refusal = new kafkajs.KafkaJSProtocolError(
    Object.assign(new Error('refused'), { type: 'SASL_AUTHENTICATION_FAILED', code: 58, retriable: false }),
  );
  expect(busFault(await logIn(refusal), 'testing')).toMatchObject({ code: 'BUS_UNAUTHORISED', retryable: false });
});
