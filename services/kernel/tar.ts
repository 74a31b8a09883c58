// A plain tar (POSIX ustar), written in order: header, bytes, padding. No times, no owners: equal files give equal bytes.

const BLOCK = 512;
/** Largest size that 11 octal digits hold. */
const TAR_MAX_FILE_BYTES = 8 * 1024 ** 3 - 1;

/** Header block of a regular file. @throws Error when name (100 ASCII characters) or size do not fit. */
export function tarHeader(name: string, sizeBytes: number): Buffer {
  // oxlint-disable-next-line no-control-regex -- printable ASCII is what the name field is for
  if (name.length === 0 || name.length > 100 || !/^[\x21-\x7e]+$/.test(name))
    throw new Error('a tar name is 1 to 100 printable ASCII characters');
  if (sizeBytes > TAR_MAX_FILE_BYTES) throw new Error('a file in a tar is below 8 GiB');
  const block = Buffer.alloc(BLOCK);
  block.write(name, 0, 'latin1');
  block.write('0000644\0', 100, 'latin1');
  block.write('0000000\0', 108, 'latin1');
  block.write('0000000\0', 116, 'latin1');
  block.write(`${sizeBytes.toString(8).padStart(11, '0')}\0`, 124, 'latin1');
  block.write('00000000000\0', 136, 'latin1');
  block.write('        ', 148, 'latin1');
  block.write('0', 156, 'latin1');
  block.write('ustar\x0000', 257, 'latin1');
  let sum = 0;
  for (const byte of block) sum += byte;
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return block;
}

/** Bytes after a file of this size, up to the next block. */
export function tarPadding(sizeBytes: number): Buffer {
  return Buffer.alloc((BLOCK - (sizeBytes % BLOCK)) % BLOCK);
}

export const TAR_HEADER_BYTES = BLOCK;
/** What ends a tar. */
export const TAR_END = Buffer.alloc(2 * BLOCK);
