// Streaming reader of multipart bodies (RFC 2046 5.1.1) for WADO-RS: parts one after another, flat memory.
// Any split of the bytes into chunks gives the same parts. A part that declares its length is passed on without copying.

export interface MultipartLimits {
  /** Bytes of one part's header block, and of the preamble. */
  readonly maxHeaderBytes: number;
  readonly maxParts: number;
}

export interface MultipartPart {
  /** Names in lower case; the last of equal names counts. */
  readonly headers: ReadonlyMap<string, string>;
  /** Must be read (or left) before the next part is asked for. */
  readonly body: AsyncIterable<Uint8Array>;
}

/** The bytes are not the multipart body that the header promised. */
export class MultipartError extends Error {
  constructor(detail: string) {
    super(detail);
    this.name = 'MultipartError';
  }
}

export const MULTIPART_LIMITS: MultipartLimits = { maxHeaderBytes: 64 * 1024, maxParts: 1_000_000 };

// RFC 2046 allows 70 characters; Orthanc sends 73.
const MAX_BOUNDARY = 200;
// Padding after a boundary (RFC 2046 transport-padding) that still counts as one.
const MAX_PADDING = 128;

/** `boundary` of a `multipart/...` content type; undefined when it is no multipart type. @throws MultipartError without a usable boundary. */
export function boundaryOf(contentType: string): string | undefined {
  if (!/^\s*multipart\//i.test(contentType)) return undefined;
  const match = /;\s*boundary\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;"]+))/i.exec(contentType);
  const boundary = match?.[1]?.replaceAll(/\\(.)/g, '$1') ?? match?.[2] ?? '';
  if (boundary === '' || boundary.length > MAX_BOUNDARY) throw new MultipartError('the multipart content type has no usable boundary');
  return boundary;
}

type Pull = () => Promise<boolean>;

/** What was received and not yet used. `pull` adds a chunk and answers false at the end. */
class Window {
  bytes: Buffer = Buffer.alloc(0);
  readonly #source: AsyncIterator<Uint8Array>;
  ended = false;

  constructor(source: AsyncIterator<Uint8Array>) {
    this.#source = source;
  }

  pull: Pull = async () => {
    if (this.ended) return false;
    const next = await this.#source.next();
    if (next.done === true) {
      this.ended = true;
      return false;
    }
    const chunk = Buffer.from(next.value.buffer, next.value.byteOffset, next.value.byteLength);
    this.bytes = this.bytes.length === 0 ? chunk : Buffer.concat([this.bytes, chunk]);
    return true;
  };

  /** Takes the first `count` bytes off. */
  take(count: number): Buffer {
    const head = this.bytes.subarray(0, count);
    this.bytes = this.bytes.subarray(count);
    return head;
  }
}

type Delimiter = { readonly kind: 'part' | 'end'; readonly length: number } | { readonly kind: 'data' | 'more' };

/** What stands behind `CRLF--boundary` at `at`: a further part, the end, nothing of the kind, or too little to say. */
function delimiterAt(window: Window, at: number, delimiterLength: number): Delimiter {
  const { bytes } = window;
  let next = at + delimiterLength;
  if (next >= bytes.length) return { kind: window.ended ? 'data' : 'more' };
  if (bytes[next] === 0x2d) {
    if (next + 1 >= bytes.length) return { kind: window.ended ? 'data' : 'more' };
    return bytes[next + 1] === 0x2d ? { kind: 'end', length: next + 2 - at } : { kind: 'data' };
  }
  const limit = next + MAX_PADDING;
  while (next < bytes.length && next < limit && (bytes[next] === 0x20 || bytes[next] === 0x09)) next += 1;
  if (next + 1 >= bytes.length && next < limit) return { kind: window.ended ? 'data' : 'more' };
  return bytes[next] === 0x0d && bytes[next + 1] === 0x0a ? { kind: 'part', length: next + 2 - at } : { kind: 'data' };
}

/** Yields what stands before the next delimiter and takes the delimiter off; answers which it was. */
async function* untilDelimiter(window: Window, delimiter: Buffer): AsyncGenerator<Buffer, 'part' | 'end'> {
  let from = 0;
  let atEnd = false;
  for (;;) {
    const at = window.bytes.indexOf(delimiter, from);
    if (at >= 0) {
      const found = delimiterAt(window, at, delimiter.length);
      if (found.kind === 'part' || found.kind === 'end') {
        if (at > 0) yield window.take(at);
        window.take(found.length);
        return found.kind;
      }
      if (found.kind === 'data') {
        from = at + 1;
        continue;
      }
      if (at > 0) yield window.take(at);
      from = 0;
    } else {
      // The last bytes may be the start of a delimiter that the next chunk completes.
      const safe = window.bytes.length - delimiter.length + 1;
      if (safe > 0) yield window.take(safe);
      from = 0;
    }
    if (await window.pull()) continue;
    // Once more after the end: what was too little to say is data now.
    if (atEnd) throw new MultipartError('the answer ends without its closing boundary');
    atEnd = true;
  }
}

/** A part that declares its length: exactly that many bytes, then a delimiter must stand. */
async function* byLength(window: Window, delimiter: Buffer, length: number): AsyncGenerator<Buffer, 'part' | 'end'> {
  let left = length;
  while (left > 0) {
    if (window.bytes.length === 0 && !(await window.pull())) throw new MultipartError('the answer ends inside a part');
    const piece = window.take(Math.min(left, window.bytes.length));
    left -= piece.length;
    if (piece.length > 0) yield piece;
  }
  for (;;) {
    if (window.bytes.length >= delimiter.length) {
      const found: Delimiter = window.bytes.indexOf(delimiter) === 0 ? delimiterAt(window, 0, delimiter.length) : { kind: 'data' };
      if (found.kind === 'part' || found.kind === 'end') {
        window.take(found.length);
        return found.kind;
      }
      if (found.kind === 'data') throw new MultipartError('a part is longer or shorter than its Content-Length');
    }
    if (!(await window.pull())) throw new MultipartError('the answer ends without its closing boundary');
  }
}

async function readHeaders(window: Window, limits: MultipartLimits): Promise<Map<string, string>> {
  const headers = new Map<string, string>();
  let used = 0;
  for (;;) {
    const end = window.bytes.indexOf('\r\n');
    if (end < 0) {
      if (used + window.bytes.length > limits.maxHeaderBytes) throw new MultipartError('the header of a part is too long');
      if (!(await window.pull())) throw new MultipartError('the answer ends inside a header');
      continue;
    }
    used += end + 2;
    if (used > limits.maxHeaderBytes) throw new MultipartError('the header of a part is too long');
    const line = window.take(end + 2).toString('latin1', 0, end);
    if (line === '') return headers;
    const colon = line.indexOf(':');
    if (colon < 1) throw new MultipartError('a header line of a part has no name');
    headers.set(line.slice(0, colon).trim().toLowerCase(), line.slice(colon + 1).trim());
  }
}

function declaredLength(headers: ReadonlyMap<string, string>): number | undefined {
  const text = headers.get('content-length');
  if (text === undefined) return undefined;
  if (!/^\d{1,15}$/.test(text)) throw new MultipartError('the Content-Length of a part is no number');
  return Number(text);
}

/**
 * The parts of a multipart body. The source is pulled only as the parts' bodies are read, and closed
 * when the reader stops early. Bytes after the closing boundary are ignored.
 * @throws MultipartError when the framing does not hold; errors of the source pass through.
 */
export async function* multipartParts(
  source: AsyncIterable<Uint8Array>,
  boundary: string,
  limits: MultipartLimits = MULTIPART_LIMITS,
): AsyncGenerator<MultipartPart> {
  const iterator = source[Symbol.asyncIterator]();
  try {
    const window = new Window(iterator);
    const delimiter = Buffer.from(`\r\n--${boundary}`, 'latin1');
    // The first boundary may stand at the very start, without a line end before it.
    window.bytes = Buffer.from('\r\n');
    let kind = await skipPreamble(window, delimiter, limits);
    for (let count = 1; kind === 'part'; count += 1) {
      if (count > limits.maxParts) throw new MultipartError('the answer has too many parts');
      // A part without headers starts with the empty line at once.
      const headers = await readHeaders(window, limits);
      const length = declaredLength(headers);
      const pieces = length === undefined ? untilDelimiter(window, delimiter) : byLength(window, delimiter, length);
      let ended: 'part' | 'end' | undefined;
      const nextPiece = async (): Promise<IteratorResult<Uint8Array, undefined>> => {
        if (ended !== undefined) return { done: true, value: undefined };
        const piece = await pieces.next();
        if (piece.done !== true) return { done: false, value: piece.value };
        ended = piece.value;
        return { done: true, value: undefined };
      };
      // No `return` method: leaving a body early must not end the generator that stands in the stream.
      yield { headers, body: { [Symbol.asyncIterator]: () => ({ next: nextPiece }) } };
      while ((await nextPiece()).done !== true);
      kind = ended ?? 'end';
    }
  } finally {
    await iterator.return?.();
  }
}

async function skipPreamble(window: Window, delimiter: Buffer, limits: MultipartLimits): Promise<'part' | 'end'> {
  const preamble = untilDelimiter(window, delimiter);
  let skipped = 0;
  for (;;) {
    const piece = await preamble.next();
    if (piece.done === true) return piece.value;
    skipped += piece.value.length;
    if (skipped > limits.maxHeaderBytes) throw new MultipartError('the answer does not start with its boundary');
  }
}
