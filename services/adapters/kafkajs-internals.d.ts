// What kafkajs does not export: its own SCRAM-SHA-512.
declare module 'kafkajs/src/broker/saslAuthenticator/scram512.js' {
  import type { Mechanism } from 'kafkajs';
  export default function scram512(user: { readonly username: string; readonly password: string }): Mechanism['authenticationProvider'];
}
