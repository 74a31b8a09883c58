// A deployment file: where the servers of a deployment are that is not the local one, and in which files its people's
// secrets lie. It may leave out whatever the person who has it may not do.
import { dirname, resolve } from 'node:path';
import { z } from 'zod';
import { broker, certificatesOf, ConfigError, kafkaShape, postgresUrl, registryShape, storeShape } from '../runtime/env.ts';
import { readOwnFile, readOwnJson } from '../runtime/own-file.ts';
import { isKafkaUser, STORE_USERS, VAULT_ROLES, type Access } from './access.ts';
import { keyOfText } from './key-file.ts';

/** Of a file, from the folder of the deployment file. */
const path = z.string().min(1);
const kafkaUser = z.strictObject({ username: z.string().min(1).optional(), passwordFile: path });
const storeUser = z.strictObject({ accessKey: z.string().min(1).optional(), secretFile: path });

const fileSchema = z.strictObject({
  kafka: z
    .strictObject({
      brokers: z.array(broker).min(1),
      caFile: path.optional(),
      topicPrefix: kafkaShape.TOPIC_PREFIX,
      users: z.partialRecord(z.string().refine(isKafkaUser, 'no Kafka user that a command connects as'), kafkaUser).default({}),
    })
    .optional(),
  store: z
    .strictObject({
      endpoint: storeShape.S3_ENDPOINT,
      caFile: path.optional(),
      bucketPrefix: storeShape.BUCKET_PREFIX,
      users: z.partialRecord(z.enum(STORE_USERS), storeUser).default({}),
    })
    .refine((s) => s.caFile === undefined || s.endpoint.startsWith('https:'), { path: ['caFile'], message: 'endpoint is not https' })
    .optional(),
  vault: z.strictObject({ urlFiles: z.partialRecord(z.enum(VAULT_ROLES), path).default({}), keyFile: path.optional() }).optional(),
  schemaRegistryUrl: registryShape.SCHEMA_REGISTRY_URL,
  peopleFile: path.optional(),
});

/** @throws ConfigError with all problems; values never stand in it */
export function readDeploymentFile(file: string): z.output<typeof fileSchema> {
  const what = 'deployment file';
  const result = fileSchema.safeParse(readOwnJson(what, file));
  if (result.success) return result.data;
  throw new ConfigError(result.error.issues.map((issue) => `${what} ${file}: ${issue.path.join('.') || 'file'}: ${issue.message}`));
}

/** What the file gives to a command. Its secrets are read when they are asked for. @throws ConfigError */
export function fileAccess(file: string, command: string): Access {
  const { kafka, store, vault, schemaRegistryUrl, peopleFile } = readDeploymentFile(file);
  const at = (name: string): string => resolve(dirname(file), name);
  const missing = (field: string): ConfigError =>
    new ConfigError([`deployment file ${file}: ${field} is missing, and '${command}' needs it`]);
  const secret = (field: string, name: string): string => {
    const text = readOwnFile(field, at(name)).replace(/\r?\n$/, '');
    if (text === '') throw new ConfigError([`${field}: ${at(name)} is empty`]);
    return text;
  };
  const ca = (field: string, name: string | undefined): { ca: string } | undefined =>
    name === undefined ? undefined : { ca: certificatesOf(field, at(name)) };
  return {
    kafka: (user) => {
      const given = kafka?.users[user];
      if (kafka === undefined || given === undefined) throw missing(`kafka.users.${user}`);
      const ssl = ca('kafka.caFile', kafka.caFile);
      return {
        brokers: kafka.brokers,
        ...(ssl === undefined ? {} : { ssl }),
        username: given.username ?? user,
        password: secret(`kafka.users.${user}.passwordFile`, given.passwordFile),
        prefix: kafka.topicPrefix,
      };
    },
    store: (user) => {
      const given = store?.users[user];
      if (store === undefined || given === undefined) throw missing(`store.users.${user}`);
      const tls = ca('store.caFile', store.caFile);
      return {
        endpoint: store.endpoint,
        ...(tls === undefined ? {} : { tls }),
        accessKey: given.accessKey ?? user,
        secretKey: secret(`store.users.${user}.secretFile`, given.secretFile),
        bucketPrefix: store.bucketPrefix,
      };
    },
    vaultUrl: (role) => {
      const field = `vault.urlFiles.${role}`;
      const name = vault?.urlFiles[role];
      if (name === undefined) throw missing(field);
      const url = postgresUrl.safeParse(secret(field, name).trim());
      if (url.success) return url.data;
      throw new ConfigError(url.error.issues.map(({ message }) => `${field}: ${at(name)} ${message}`));
    },
    vaultKey: () => {
      if (vault?.keyFile === undefined) throw missing('vault.keyFile');
      return keyOfText('vault.keyFile', at(vault.keyFile), secret('vault.keyFile', vault.keyFile));
    },
    registryUrl: schemaRegistryUrl,
    peopleFile: peopleFile === undefined ? undefined : at(peopleFile),
  };
}
