// The text of docs/credentials.md: who may do what at the three servers, from the tables that provisioning applies.
import { BUCKETS, POLICIES, STORE_USERS } from '../deploy/local/policies.ts';
import { VAULT_GUESTS } from '../deploy/local/vault-roles.ts';
import { principals, topicPlans } from '../services/adapters/kafka-topics.ts';
import { CODES, type Code } from '../services/kernel/codes.ts';

const CENTRE = 'centre';
// Names with <centre> stand in code spans, where < is itself.
const cell = (text: string): string => text.replaceAll('|', '\\|');

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  return [head, head.map(() => '---'), ...rows].map((row) => `| ${row.join(' | ')} |`).join('\n');
}

/** Names of topics, a stage's three retry topics as one. */
function topicNames(names: readonly string[]): string {
  const short = names.map((n) =>
    n
      .replace(`.${CENTRE}.`, '.<centre>.')
      .replace(/^ct\./, '')
      .replace(/\.retry\.(?:30s|5m|1h)$/, '.retry.*'),
  );
  return [...new Set(short)].map((n) => `\`${n}\``).join(', ') || '-';
}

function kafkaRows(): string[][] {
  const plans = topicPlans([CENTRE]);
  return principals([CENTRE]).map((user) => [
    `\`${user.replace(CENTRE, '<centre>')}\``,
    topicNames(plans.filter((p) => p.writers.includes(user)).map((p) => p.name)),
    topicNames(plans.filter((p) => p.readers.includes(user)).map((p) => p.name)),
  ]);
}

function storeRows(): string[][] {
  return STORE_USERS.map((user) => [
    `\`${user}\``,
    ...BUCKETS.map((bucket) => {
      const grant = POLICIES[user]?.[bucket];
      if (grant === undefined) return '-';
      const prefix = grant.prefix === undefined ? '' : ` under \`${grant.prefix}\``;
      const marks = grant.marks === undefined ? '' : `; puts \`*${grant.marks}\``;
      return `${grant.access.join(', ')}${prefix}${marks}`;
    }),
  ]);
}

const DATABASE_ROWS = [
  ['`vault`', 'vault', 'owns it: anonymise, and the commands of the role `privacy` (withdraw, merge, keys, backups)'],
  ...Object.entries(VAULT_GUESTS).map(([guest, rights]) => [`\`vault_${guest.replaceAll('-', '_')}\``, 'vault', rights.join('; ')]),
  ...['select', 'label_queue', 'release'].map((name) => [`\`${name}\``, name, `owns it: ${name.replace('_', '-')}`]),
];

const REFUSALS: readonly Code[] = [
  'BUS_UNAUTHORISED',
  'DENIED_BY_BROKER',
  'BUS_UNTRUSTED',
  'STORE_UNAUTHORISED',
  'STORE_UNTRUSTED',
  'DATABASE_UNAUTHORISED',
  'DATABASE_UNTRUSTED',
  'VAULT_UNAUTHORISED',
  'VAULT_UNTRUSTED',
  'PACS_UNAUTHORISED',
  'BAD_CONFIG',
];

/** The page. */
export function credentialsPage(): string {
  const kafka = table(
    ['user', 'writes', 'reads'],
    kafkaRows().map((r) => r.map(cell)),
  );
  const store = table(
    ['user', ...BUCKETS],
    storeRows().map((r) => r.map(cell)),
  );
  const databases = table(
    ['role', 'database', 'may'],
    DATABASE_ROWS.map((r) => r.map(cell)),
  );
  const refusals = table(
    ['code', 'meaning', 'what to do'],
    REFUSALS.map((c) => [`\`${c}\``, cell(CODES[c].meaning), cell(CODES[c].remedy)]),
  );
  return `# Credentials

Generated from the tables that provisioning applies (schemas/topics.json, deploy/local/policies.ts, deploy/local/vault-roles.ts)
by \`npm run generate\`. Do not edit.

Each service has a Kafka user, a user of the object store and a PostgreSQL role of its own. What stands here is all that
each may do; the servers refuse the rest. Tests ask the servers for every pair: rights-at-the-broker-are-exactly-the-tables
and provision-gives-least-right, in test/integration.

## Kafka

Names without \`ct.\`. A user that reads anything may join the groups of its own name (\`<user>\` and \`<user>.*\`) and no
other; \`account\` and \`operator\` also see how far every group is. Nobody may create, change or delete a topic. Whoever may
join a group may set its offsets: \`ctstream log accept-loss\` works as the stage's own user. \`ctstream log restore\` makes topics and
writes to all, so it works as an administrator of Kafka, who stands in no row here.

${kafka}

Applying the topics again removes the rules that are no longer in the tables: a centre that left loses its rights, its topics
and records stay. Rules of yours that allow something on \`ct.*\` topics go too (the log names them); rules that deny stay.

## Object store

\`read\` gets and lists, \`list\` sees names only, \`write\` puts, \`remove\` deletes. Without a key nobody gets anything.

${store}

## PostgreSQL

A role connects to its own database only. The owner makes the tables. In the vault's database the others have single tables and
columns; \`ctstream held\` connects as \`vault_security\`, the account as \`vault_account\`.

**Every link in one hand**: the vault's key with any role that reads \`vault_meta\` and \`studies\` (\`vault\`, \`vault_archiver_clinical\`,
\`vault_account\`) is enough to compute which research study is which study of a centre, past the four eyes and unseen by the audit.
Anonymise, archiver-clinical, the role \`privacy\` and whoever gives \`ctstream account\` have both; the operator and the security
role do not need both and must not have both ([vault.md](vault.md#re-identify-under-four-eyes)).

${databases}

On a server of your own: make each role with \`CREATE ROLE ... LOGIN PASSWORD ...\`, \`REVOKE CONNECT ON DATABASE vault FROM PUBLIC\`,
\`GRANT CONNECT ON DATABASE vault TO vault_security\`, then, once anonymise has made the tables, \`GRANT\` each right above \`TO\` the
role; again after a restore into a new database. Close \`postgres\` and \`template1\` too: PostgreSQL opens them to every role.

## TLS

| server | setting |
|---|---|
| Kafka (SASL_SSL) | \`KAFKA_SSL_CA_FILE\`: certificates (PEM) that may vouch for the brokers. Without it nothing is encrypted |
| object store | \`https://\` in \`S3_ENDPOINT\`; \`S3_CA_FILE\` for an authority of your own |
| PostgreSQL | \`?sslmode=verify-full&sslrootcert=FILE\` in \`DATABASE_URL\` and \`VAULT_URL\`. Other modes of \`sslmode\` do not check the server and are refused (\`disable\` says that there is no TLS) |

The certificate must name the host that you connect to; for an address, as an IP entry of subjectAltName. \`startPlatform({ tls: true })\`
brings the local platform up this way, with certificates made on the spot; the test tls-with-own-certificates runs stages on it.
Plain text to a port that speaks TLS shows as \`BUS_UNAVAILABLE\` and \`STORE_UNAVAILABLE\`: those servers just end the connection.
A broker whose certificate is refused is tried for about a quarter of a minute, then the process ends.

## Rotation

1. Kafka: set the user's new SCRAM password (connections that are open stay), write the file, restart the service.
2. Object store: set the user's new secret, write the file, restart. Until then the service waits with \`STORE_UNAUTHORISED\` and
   loses nothing: its studies wait in the retry topics.
3. PostgreSQL: \`ALTER ROLE ... PASSWORD\`, write the file, restart. For an end by date, \`VALID UNTIL\`.
4. Certificates: put the new authority beside the old one into the CA file and restart the services, then change the server's
   certificate, then take the old authority out.
5. Someone left: the same three, then your own provisioning applies the tables again (a local platform is made anew by each
   \`npm run ctstream -- up\`).

The vault's key has its own rotation: [vault.md](vault.md).

## What a refusal looks like

At start a process says the code on stderr and ends: 78 when its own settings are wrong (all problems at once, missing
credentials and unreadable files among them), 1 when a server refused it. Later, what a study needs and is refused waits and is
tried again; what Kafka refuses ends the process. Not so a gateway: the refusal holds up that centre alone, is tried again
after 1 to 30 seconds, and shows in its log (\`tried again later\`, with the code) and in the events that wait to be published
(its status page). No message holds a secret or a value.

${refusals}

## The object store at start

ingest, anonymise, assess and release try what ctstream relies on before they take a study: a conditional PUT refuses a second
one, a range GET gives exactly its bytes, an upload in two parts (5 MiB) comes back whole, a PUT is listed at once, what is
removed is gone. It takes about a tenth of a second, and takes away what such trials left whose process was killed, 12 hours ago
or more. A server that lacks something is \`BAD_CONFIG\`, and all that it lacks is named. Tried with every test run: MinIO. The
archivers may not remove anything, so they do not try it: they use the same server.

A store that is full can't be tried. The process goes on, says so in \`notes\` of \`/readyz\`, and tries every 5 s until there
is room ([no room](retention.md#no-room)).
`;
}
