// Numbers as the codestreams of JPEG, JPEG-LS and JPEG 2000 write them. Behind the end stands nothing but zeros.
export const u16 = (stream: Uint8Array, at: number): number => ((stream[at] ?? 0) << 8) + (stream[at + 1] ?? 0);
export const u32 = (stream: Uint8Array, at: number): number => u16(stream, at) * 65_536 + u16(stream, at + 2);
