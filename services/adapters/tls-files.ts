// What the three clients share of TLS: which errors say that the other side could not be trusted, and the files' contents.

/** Certificates and key as PEM text. */
export interface TlsOptions {
  /** Certificates that may vouch for the server; without it those that Node trusts. */
  readonly ca?: string;
  /** Certificate and key that this process shows. */
  readonly cert?: string;
  readonly key?: string;
}

/** Codes of Node and OpenSSL for a failed handshake: an unknown or expired certificate, another name, no TLS at all. */
const UNTRUSTED = /CERT|SELF_SIGNED|^UNABLE_TO_|^ERR_(?:TLS|SSL|OSSL)_|^EPROTO$|HOSTNAME_MISMATCH|^INVALID_CA$|PATH_LENGTH_EXCEEDED/;

/** True for the `code` of an error that a handshake ended with. */
export function isUntrusted(code: string): boolean {
  return UNTRUSTED.test(code);
}
