// Kafka's wire protocol, as far as kafkajs does not speak it: a connection with SCRAM login, requests one at a time, and the
// primitive types. The broker's users are made with it, and tests ask it what a user may do.
import { createHash, createHmac, pbkdf2Sync, randomBytes, timingSafeEqual } from 'node:crypto';
import { connect, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';

export interface KafkaLogin {
  username: string;
  password: string;
}

const SASL_HANDSHAKE = 17;
const SASL_AUTHENTICATE = 36;

/** Connects, over TLS when a certificate that may vouch for the broker is given, and logs in. Throws with Kafka's own message. */
export async function openWire(o: {
  host: string;
  port: number;
  user: KafkaLogin;
  ca?: string | undefined;
}): Promise<{ send: Send; close(): void }> {
  const where = { host: o.host, port: o.port };
  const socket = o.ca === undefined ? connect(where) : connectTls({ ...where, ca: o.ca });
  socket.setNoDelay(true);
  socket.setTimeout(15_000, () => socket.destroy(new Error('Kafka did not answer in 15 s')));
  const send = requester(socket);
  try {
    await authenticate(send, o.user);
  } catch (error) {
    socket.destroy();
    throw error;
  }
  return { send, close: () => void socket.destroy() };
}

export type Send = (apiKey: number, version: number, body: Buffer, kind: 'classic' | 'flexible') => Promise<Reader>;

/** Requests one at a time over a socket; the reader starts after the response's header. */
function requester(socket: Socket): Send {
  let received = Buffer.alloc(0);
  let wake: () => void = () => undefined;
  let failure: Error | undefined;
  socket.on('data', (chunk) => {
    received = Buffer.concat([received, chunk]);
    wake();
  });
  socket.on('error', (error) => {
    failure = error;
    wake();
  });
  socket.on('close', () => {
    failure ??= new Error('Kafka closed the connection');
    wake();
  });
  const until = async (ready: () => boolean): Promise<void> => {
    while (!ready()) {
      if (failure !== undefined) throw failure;
      await new Promise<void>((resolve) => (wake = () => resolve()));
    }
  };
  let correlation = 0;
  return async (apiKey, version, body, kind) => {
    correlation += 1;
    const header = [
      int16(apiKey),
      int16(version),
      int32(correlation),
      string('ctstream-platform'),
      kind === 'flexible' ? NO_TAGS : Buffer.alloc(0),
    ];
    const request = Buffer.concat([...header, body]);
    socket.write(Buffer.concat([int32(request.length), request]));
    await until(() => received.length >= 4 && received.length >= 4 + received.readInt32BE(0));
    const size = received.readInt32BE(0);
    const reader = new Reader(received.subarray(4, 4 + size));
    received = received.subarray(4 + size);
    if (reader.int32() !== correlation) throw new Error('Kafka answered another request');
    if (kind === 'flexible') reader.skipTags();
    return reader;
  };
}

/** SCRAM-SHA-512 as a client: RFC 5802, section 3. */
async function authenticate(send: Send, user: KafkaLogin): Promise<void> {
  const handshake = await send(SASL_HANDSHAKE, 1, string('SCRAM-SHA-512'), 'classic');
  if (handshake.int16() !== 0) throw new Error('Kafka does not offer SCRAM-SHA-512');
  const exchange = async (message: string): Promise<string> => {
    const bytes = Buffer.from(message);
    const response = await send(SASL_AUTHENTICATE, 1, Buffer.concat([int32(bytes.length), bytes]), 'classic');
    const error = response.int16();
    const text = response.string();
    if (error !== 0) throw new Error(`Kafka refused the user: ${text ?? `error ${error}`}`);
    return response.bytes().toString('utf8');
  };
  const name = user.username.replaceAll('=', '=3D').replaceAll(',', '=2C');
  const clientFirst = `n=${name},r=${randomBytes(18).toString('base64url')}`;
  const serverFirst = await exchange(`n,,${clientFirst}`);
  const attributes = new Map(serverFirst.split(',').map((part) => [part.slice(0, 1), part.slice(2)]));
  const salted = pbkdf2Sync(user.password, Buffer.from(attributes.get('s') ?? '', 'base64'), Number(attributes.get('i')), 64, 'sha512');
  const clientKey = hmac(salted, 'Client Key');
  const withoutProof = `c=biws,r=${attributes.get('r') ?? ''}`;
  const authMessage = `${clientFirst},${serverFirst},${withoutProof}`;
  const signature = hmac(createHash('sha512').update(clientKey).digest(), authMessage);
  const proof = Buffer.from(clientKey.map((byte, index) => byte ^ (signature[index] ?? 0)));
  const serverFinal = await exchange(`${withoutProof},p=${proof.toString('base64')}`);
  const expected = hmac(hmac(salted, 'Server Key'), authMessage);
  const given = Buffer.from(serverFinal.slice(2), 'base64');
  if (given.length !== expected.length || !timingSafeEqual(given, expected))
    throw new Error('What answers is not our Kafka: it does not know the password');
}

// The primitive types of the protocol: kafka.apache.org/protocol, "Protocol Primitive Types".

export const NO_TAGS = Buffer.of(0);

export function int8(value: number): Buffer {
  return Buffer.of(value);
}

export function int16(value: number): Buffer {
  const buffer = Buffer.alloc(2);
  buffer.writeInt16BE(value);
  return buffer;
}

export function int32(value: number): Buffer {
  const buffer = Buffer.alloc(4);
  buffer.writeInt32BE(value);
  return buffer;
}

export function string(value: string): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([int16(bytes.length), bytes]);
}

export function unsignedVarint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  while (rest > 0x7f) {
    bytes.push((rest & 0x7f) | 0x80);
    rest >>>= 7;
  }
  return Buffer.of(...bytes, rest);
}

export function compact(bytes: Buffer): Buffer {
  return Buffer.concat([unsignedVarint(bytes.length + 1), bytes]);
}

export class Reader {
  private position = 0;
  private readonly buffer: Buffer;

  constructor(buffer: Buffer) {
    this.buffer = buffer;
  }

  int16(): number {
    this.position += 2;
    return this.buffer.readInt16BE(this.position - 2);
  }

  int32(): number {
    this.position += 4;
    return this.buffer.readInt32BE(this.position - 4);
  }

  take(length: number): Buffer {
    if (this.position + length > this.buffer.length) throw new Error("Kafka's answer is too short");
    this.position += length;
    return this.buffer.subarray(this.position - length, this.position);
  }

  string(): string | null {
    const length = this.int16();
    return length < 0 ? null : this.take(length).toString('utf8');
  }

  bytes(): Buffer {
    return this.take(Math.max(0, this.int32()));
  }

  unsignedVarint(): number {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = this.take(1)[0] ?? 0;
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
  }

  compactString(): string | null {
    const length = this.unsignedVarint() - 1;
    return length < 0 ? null : this.take(length).toString('utf8');
  }

  skipTags(): void {
    for (let count = this.unsignedVarint(); count > 0; count--) {
      this.unsignedVarint();
      this.take(this.unsignedVarint());
    }
  }
}

function hmac(key: Buffer, text: string): Buffer {
  return createHmac('sha512', key).update(text).digest();
}
