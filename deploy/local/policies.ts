// Who may do what in which bucket: least right per service, as AWS policy JSON.

export const BUCKETS = ['ct-clinical', 'ct-research', 'ct-releases', 'ct-quarantine', 'ct-release-candidates', 'ct-event-log'] as const;
type Bucket = (typeof BUCKETS)[number];

/** 'read' gets and lists, 'list' shows names only, 'write' puts (also in parts), 'remove' deletes. */
type Access = 'read' | 'list' | 'write' | 'remove';

interface Grant {
  readonly access: readonly Access[];
  /** Only objects whose names begin so. */
  readonly prefix?: string;
  /** May also put, and only put, objects whose names end so. */
  readonly marks?: string;
}

type Grants = Readonly<Partial<Record<Bucket, Grant>>>;

const READ: Grant = { access: ['read'] };
const WRITE: Grant = { access: ['read', 'write'] };
/** Also of its own failed attempts, and of the object that tries conditional PUT at start. */
const OWN: Grant = { access: ['read', 'write', 'remove'] };

export const POLICIES: Readonly<Record<string, Grants>> = {
  ingest: { 'ct-clinical': OWN },
  // What it holds back it can't look at again, only remove when a decision took effect or the patient withdrew: a security
  // role reads that.
  anonymise: {
    // It marks what is done, so that its originals may be freed.
    'ct-clinical': { access: ['read', 'remove'], marks: '/done.json' },
    'ct-research': OWN,
    'ct-quarantine': { access: ['list', 'write', 'remove'] },
  },
  security: { 'ct-quarantine': READ },
  assess: { 'ct-research': OWN },
  'label-queue': { 'ct-research': READ },
  // It takes what is withdrawn out of published versions.
  release: { 'ct-research': READ, 'ct-release-candidates': OWN, 'ct-releases': OWN },
  // The zones' archives share a bucket and are kept apart by name. What is archived stays: nobody deletes there.
  'archiver-clinical': { 'ct-event-log': { ...WRITE, prefix: 'ct.clinical.' } },
  'archiver-research': { 'ct-event-log': { ...WRITE, prefix: 'ct.research.' } },
  analyst: { 'ct-event-log': READ, 'ct-releases': READ },
};

export const STORE_USERS: readonly string[] = Object.keys(POLICIES);

const ACTIONS: Readonly<Record<Access, readonly string[]>> = {
  read: ['s3:GetObject'],
  list: [],
  write: ['s3:PutObject', 's3:AbortMultipartUpload', 's3:ListMultipartUploadParts'],
  remove: ['s3:DeleteObject'],
};

interface Statement {
  readonly Effect: 'Allow';
  readonly Action: readonly string[];
  readonly Resource: readonly string[];
  readonly Condition?: unknown;
}

function statementsOf(arn: string, { access, prefix = '', marks }: Grant): Statement[] {
  const objects: Statement = { Effect: 'Allow', Action: access.flatMap((a) => ACTIONS[a]), Resource: [`${arn}/${prefix}*`] };
  const marking: Statement[] = marks === undefined ? [] : [{ Effect: 'Allow', Action: ['s3:PutObject'], Resource: [`${arn}/*${marks}`] }];
  if (!access.includes('read') && !access.includes('list')) return [objects, ...marking];
  const list: Statement = {
    Effect: 'Allow',
    Action: ['s3:ListBucket'],
    Resource: [arn],
    ...(prefix === '' ? {} : { Condition: { StringLike: { 's3:prefix': [`${prefix}*`] } } }),
  };
  return [list, objects, ...marking];
}

/** The policy of a service; one that has no bucket gets none. */
export function policyJson(bucketPrefix: string, user: string): string {
  const grants = Object.entries(POLICIES[user] ?? {});
  const statements = grants.flatMap(([bucket, grant]) => statementsOf(`arn:aws:s3:::${bucketPrefix}${bucket}`, grant));
  return JSON.stringify({ Version: '2012-10-17', Statement: statements });
}
