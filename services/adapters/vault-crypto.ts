// What the identity vault writes instead of values: keyed digests to look rows up by, and sealed boxes
// for what must be read again. The key lies in a file, so a dump of the database alone links nothing.
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

/** From the 32 bytes of the key file. Two keys are derived: one for digests, one for boxes. */
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
    seal: (plain, context) => {
      const iv = randomBytes(IV_BYTES);
      const cipher = createCipheriv('aes-256-gcm', boxKey, iv).setAAD(Buffer.from(context));
      return Buffer.concat([iv, cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
    },
    open: (box, context) => {
      const decipher = createDecipheriv('aes-256-gcm', boxKey, box.subarray(0, IV_BYTES)).setAAD(Buffer.from(context));
      decipher.setAuthTag(box.subarray(-TAG_BYTES));
      return Buffer.concat([decipher.update(box.subarray(IV_BYTES, -TAG_BYTES)), decipher.final()]);
    },
    keyCheck: digest('key-check'),
  };
};

/** Whether a stored key check is this key's; a vault opened with another key would draw everything anew. */
export const isSameKey = (crypto: VaultCrypto, stored: string): boolean => {
  const [a, b] = [Buffer.from(crypto.keyCheck), Buffer.from(stored)];
  return a.length === b.length && timingSafeEqual(a, b);
};

/** Secret of a patient, study or deployment. */
export const newSecret = (): Buffer => randomBytes(32);
/** Row ids, lineage ids and tokens: 128 random bits in hex. */
export const newId = (): string => randomBytes(16).toString('hex');
