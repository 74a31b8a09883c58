// The sockets of kafkajs. kafkajs 2.2.4 keeps the bytes of a response that was cut off and puts the next connection's
// behind them: from then on no answer is understood and every login times out, until the process is started again. So it
// is given whole responses only, and what a broken connection had begun goes with its socket.
import net from 'node:net';
import tls from 'node:tls';
import type { ISocketFactory } from 'kafkajs';
import { fetchWatch } from './packed-batches.ts';

const KEEP_ALIVE_MS = 60_000;
const SIZE_BYTES = 4;

/**
 * Takes the bytes of one connection as they come. Each call gives all responses that are whole by now, as they stood on the
 * wire (a size of four bytes, then so many bytes), or undefined.
 */
export function wholeResponses(): (chunk: Buffer) => Buffer | undefined {
  let begun: Buffer[] = [];
  let have = 0;
  let need = SIZE_BYTES;
  return (chunk) => {
    begun.push(chunk);
    have += chunk.length;
    if (have < need) return undefined;
    const bytes = begun.length === 1 ? chunk : Buffer.concat(begun, have);
    let end = 0;
    need = SIZE_BYTES;
    while (have - end >= SIZE_BYTES) {
      // A size below nothing is no response: kafkajs is given it, and fails over it.
      const size = SIZE_BYTES + Math.max(0, bytes.readInt32BE(end));
      need = size;
      if (have - end < size) break;
      end += size;
      need = SIZE_BYTES;
    }
    begun = end === have ? [] : [bytes.subarray(end)];
    have -= end;
    return end === 0 ? undefined : bytes.subarray(0, end);
  };
}

/** As kafkajs makes them, but that a listener for data hears of whole responses only, and of no batch that is a danger to unpack. */
export const kafkaSocket: ISocketFactory = ({ host, port, ssl, onConnect }) => {
  const server = net.isIP(host) === 0 ? { servername: host } : {};
  // Without TLS it is null, whatever its type says.
  const isPlain = (ssl as tls.ConnectionOptions | null) === null;
  const socket = isPlain ? net.connect({ host, port }, onConnect) : tls.connect({ host, port, ...server, ...ssl }, onConnect);
  socket.setKeepAlive(true, KEEP_ALIVE_MS);
  const whole = wholeResponses();
  const watch = fetchWatch();
  const on = socket.on.bind(socket);
  const onWhole = (event: string, listener: (...args: unknown[]) => void): net.Socket => {
    if (event !== 'data') return on(event, listener);
    return on('data', (chunk) => {
      const responses = whole(chunk);
      if (responses === undefined) return;
      watch.answered(responses);
      listener(responses);
    });
  };
  const write = socket.write.bind(socket) as (...args: unknown[]) => boolean;
  const onWrite = (data: Uint8Array | string, ...rest: unknown[]): boolean => {
    watch.asked(data);
    return write(data, ...rest);
  };
  return Object.assign(socket, { on: onWhole, write: onWrite });
};
