// MinIO's admin API, as far as one user with one policy needs it. The npm package does not have it. A
// body with a secret must be encrypted with the caller's own secret key (madmin's format, below).
import { request } from './request.ts';
import { createCipheriv, createHash, createHmac, pbkdf2Sync, randomBytes } from 'node:crypto';

interface Root {
  port: number;
  accessKey: string;
  secretKey: string;
  /** Certificate that vouches for the server, when it speaks TLS. */
  ca?: string | undefined;
}

/**
 * Creates the user (or sets its secret) with exactly this policy. Throws with MinIO's code and message.
 * `secret` needs 8 to 40 characters, `name` at least 3.
 */
export async function addMinioUser(root: Root, name: string, secret: string, policyJson: string): Promise<void> {
  const policy = `policy-${name}`;
  await call(root, 'PUT', '/minio/admin/v3/add-canned-policy', { name: policy }, Buffer.from(policyJson));
  await call(
    root,
    'PUT',
    '/minio/admin/v3/add-user',
    { accessKey: name },
    encryptBody(root.secretKey, { secretKey: secret, status: 'enabled' }),
  );
  await call(
    root,
    'POST',
    '/minio/admin/v3/idp/builtin/policy/attach',
    {},
    encryptBody(root.secretKey, { policies: [policy], user: name }),
  );
}

/** Disables the user: its secret stays and is refused. */
export async function disableMinioUser(root: Root, name: string): Promise<void> {
  await call(root, 'PUT', '/minio/admin/v3/set-user-status', { accessKey: name, status: 'disabled' }, Buffer.alloc(0));
}

/**
 * salt (32) | algorithm (1) | nonce (8) | ciphertext: algorithm 2 is PBKDF2-SHA256 with 8192 rounds and
 * AES-256-GCM in packets of 16 KiB. A packet's nonce ends in its little-endian number; its associated
 * data is a flag (0x80 for the last packet) and the tag of an empty packet number 0.
 */
function encryptBody(password: string, value: Record<string, unknown>): Buffer {
  const plain = Buffer.from(JSON.stringify(value));
  if (plain.length > 16_384) throw new Error('An admin request must fit into one packet of 16 KiB');
  const salt = randomBytes(32);
  const nonce = randomBytes(8);
  const key = pbkdf2Sync(password, salt, 8192, 32, 'sha256');
  const seal = (sequence: number, data: Buffer, associated: Buffer): Buffer => {
    const number = Buffer.alloc(4);
    number.writeUInt32LE(sequence);
    const cipher = createCipheriv('aes-256-gcm', key, Buffer.concat([nonce, number]));
    cipher.setAAD(associated);
    return Buffer.concat([cipher.update(data), cipher.final(), cipher.getAuthTag()]);
  };
  const headerTag = seal(0, Buffer.alloc(0), Buffer.alloc(0));
  return Buffer.concat([salt, Buffer.of(2), nonce, seal(1, plain, Buffer.concat([Buffer.of(0x80), headerTag]))]);
}

/** A request with AWS Signature Version 4, as every S3 call has it. */
async function call(root: Root, method: string, path: string, query: Record<string, string>, body: Buffer): Promise<void> {
  const host = `127.0.0.1:${root.port}`;
  const date = new Date().toISOString().replaceAll(/[-:]|\.\d+/g, '');
  const bodyHash = sha256(body);
  const search = new URLSearchParams(Object.entries(query).toSorted()).toString().replaceAll('+', '%20');
  const headers: Record<string, string> = { host, 'x-amz-content-sha256': bodyHash, 'x-amz-date': date };
  const signed = Object.keys(headers).join(';');
  const canonical = [method, path, search, ...Object.entries(headers).map(([k, v]) => `${k}:${v}`), '', signed, bodyHash].join('\n');
  const scope = `${date.slice(0, 8)}/us-east-1/s3/aws4_request`;
  const key = scope.split('/').reduce<Buffer>((k, part) => hmac(k, part), Buffer.from(`AWS4${root.secretKey}`));
  const signature = hmac(key, ['AWS4-HMAC-SHA256', date, scope, sha256(Buffer.from(canonical))].join('\n')).toString('hex');
  const { host: _, ...sent } = headers;
  const { status, text } = await request({
    port: root.port,
    ca: root.ca,
    method,
    path: `${path}${search === '' ? '' : `?${search}`}`,
    headers: {
      ...sent,
      'content-type': 'application/octet-stream',
      authorization: `AWS4-HMAC-SHA256 Credential=${root.accessKey}/${scope}, SignedHeaders=${signed}, Signature=${signature}`,
    },
    body,
    timeoutMs: 15_000,
  });
  // The policy is there already when a user is set a second time.
  if (status >= 300 && !text.includes('PolicyChangeAlreadyApplied'))
    throw new Error(`MinIO refused ${method} ${path} with ${status}: ${text.slice(0, 300)}`);
}

function sha256(data: Buffer): string {
  return createHash('sha256').update(data).digest('hex');
}

function hmac(key: Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest();
}
