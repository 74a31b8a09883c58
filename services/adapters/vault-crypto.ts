// What the identity vault writes instead of values: keyed digests to look rows up by, and sealed boxes
// for what must be read again. The key lies in a file, so a dump of the database alone links nothing.
// In PostgreSQL that file's key only seals the vault's own data key, so it can be changed (decision 0017).
import { createCipheriv, createDecipheriv, createHmac, hkdfSync, randomBytes, timingSafeEqual } from 'node:crypto';

export const VAULT_KEY_BYTES = 32;

export interface VaultCrypto {
  /** Hex digest of the parts, keyed; equal parts give equal digests for as long as the key stands. */
  digest(purpose: string, ...parts: readonly string[]): string;
  /** AES-256-GCM; `context` (the row's digest) must be given again to open, so boxes can't change places. */
  seal(plain: Uint8Array, context: string): Buffer;
  open(box: Uint8Array, context: string): Buffer;
  /** What a database remembers of its key. */
  keyCheck: string;
}

const IV_BYTES = 12;
const TAG_BYTES = 16;

/** From the 32 bytes of the data key. Two keys are derived: one for digests, one for boxes. */
export const vaultCrypto = (key: Uint8Array): VaultCrypto => {
  if (key.length !== VAULT_KEY_BYTES) throw new Error(`the vault's key has ${VAULT_KEY_BYTES} bytes, not ${key.length}`);
  const derived = (purpose: string): Buffer => Buffer.from(hkdfSync('sha256', key, 'ctstream-vault', purpose, 32));
  const [digestKey, boxKey] = [derived('digest'), derived('box')];
  const digest = (purpose: string, ...parts: readonly string[]): string => {
    const hmac = createHmac('sha256', digestKey).update(purpose);
    for (const part of parts) hmac.update(`\n${Buffer.byteLength(part)}:`).update(part);
    return hmac.digest('hex');
  };
  return {
    digest,
    seal: (plain, context) => sealed(boxKey, plain, context),
    open: (box, context) => opened(boxKey, box, context),
    keyCheck: digest('key-check'),
  };
};

const sealed = (key: Uint8Array, plain: Uint8Array, context: string): Buffer => {
  const iv = randomBytes(IV_BYTES);
  const cipher = createCipheriv('aes-256-gcm', key, iv).setAAD(Buffer.from(context));
  return Buffer.concat([iv, cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
};

const opened = (key: Uint8Array, box: Uint8Array, context: string): Buffer => {
  if (box.length < IV_BYTES + TAG_BYTES) throw new Error('a box of the vault is cut short');
  const decipher = createDecipheriv('aes-256-gcm', key, box.subarray(0, IV_BYTES), { authTagLength: TAG_BYTES }).setAAD(
    Buffer.from(context),
  );
  decipher.setAuthTag(box.subarray(-TAG_BYTES));
  return Buffer.concat([decipher.update(box.subarray(IV_BYTES, -TAG_BYTES)), decipher.final()]);
};

/** A key of its own purpose from the 32 bytes of the key file. @throws Error when they are not 32 */
export const keyFor = (fileKey: Uint8Array, purpose: 'wrap' | 'backup'): Buffer => {
  if (fileKey.length !== VAULT_KEY_BYTES) throw new Error(`the vault's key has ${VAULT_KEY_BYTES} bytes, not ${fileKey.length}`);
  return Buffer.from(hkdfSync('sha256', fileKey, 'ctstream-vault-file', purpose, 32));
};

const DATA_KEY_CONTEXT = 'data-key';

/** The vault's data key, sealed under the key file's: what the database holds of it. */
export const wrapDataKey = (fileKey: Uint8Array, dataKey: Uint8Array): Buffer => sealed(keyFor(fileKey, 'wrap'), dataKey, DATA_KEY_CONTEXT);

/** The data key, or undefined when the key file is another one or the box was changed. */
export const unwrapDataKey = (fileKey: Uint8Array, wrapped: Uint8Array): Buffer | undefined => {
  const key = keyFor(fileKey, 'wrap');
  try {
    return opened(key, wrapped, DATA_KEY_CONTEXT);
  } catch {
    return undefined;
  }
};

/** Whether a stored key check is this key's; a vault opened with another key would draw everything anew. */
export const isSameKey = (crypto: VaultCrypto, stored: string): boolean => {
  const [a, b] = [Buffer.from(crypto.keyCheck), Buffer.from(stored)];
  return a.length === b.length && timingSafeEqual(a, b);
};

/** Draws a vault's data key: 32 random bytes, for as long as the vault lives. */
export const newDataKey = (): Buffer => randomBytes(VAULT_KEY_BYTES);
/** Secret of a patient, study or deployment. */
export const newSecret = (): Buffer => randomBytes(32);
/** Row ids, lineage ids and tokens: 128 random bits in hex. */
export const newId = (): string => randomBytes(16).toString('hex');
