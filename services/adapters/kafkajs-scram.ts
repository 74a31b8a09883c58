// Logs in to Kafka by SCRAM-SHA-512. kafkajs takes a connection that ends meanwhile for a refusal of the password, which it
// does not try again; here it is what it is.
import kafkajs from 'kafkajs';
import type { Mechanism } from 'kafkajs';
import scram512 from 'kafkajs/src/broker/saslAuthenticator/scram512.js';

export function kafkaScram(user: { readonly username: string; readonly password: string }): Mechanism {
  return {
    mechanism: 'scram-sha-512',
    authenticationProvider: (args) => {
      let lost: Error | undefined;
      const authenticator = scram512(user)({
        ...args,
        saslAuthenticate: async (request) =>
          await args.saslAuthenticate(request).catch((error: unknown) => {
            // The broker's own refusal is not to be tried again.
            if (error instanceof kafkajs.KafkaJSError && error.retriable) lost = error;
            throw error;
          }),
      });
      return {
        authenticate: async () =>
          await authenticator.authenticate().catch((error: unknown) => {
            throw lost ?? error;
          }),
      };
    },
  };
}
