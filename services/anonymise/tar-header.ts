// Header block of a plain tar (POSIX ustar): no owner, time 0, so that equal files give equal bytes.

export const TAR_BLOCK_BYTES = 512;

/** @throws Error when the name is not 1 to 100 characters of a research UID's file name. */
export const tarHeader = (name: string, sizeBytes: number): Buffer => {
  if (!/^[0-9A-Za-z.-]{1,100}$/.test(name)) throw new Error('a name in a research tar is a research UID');
  const block = Buffer.alloc(TAR_BLOCK_BYTES);
  const octal = (value: number, digits: number): string => `${value.toString(8).padStart(digits, '0')}\0`;
  block.write(name, 0, 'latin1');
  block.write(octal(0o644, 7), 100, 'latin1');
  block.write(octal(0, 7), 108, 'latin1');
  block.write(octal(0, 7), 116, 'latin1');
  block.write(octal(sizeBytes, 11), 124, 'latin1');
  block.write(octal(0, 11), 136, 'latin1');
  // The checksum counts its own field as eight spaces.
  block.write(' '.repeat(8), 148, 'latin1');
  block.write('0', 156, 'latin1');
  block.write('ustar\u000000', 257, 'latin1');
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return block;
};
