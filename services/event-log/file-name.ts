// Names of a partition's files. Those of a log that was begun anew have a start of their own, which sorts behind the earlier ones.

const NAME = /(?:^|\/)((?:anew\d{4}-)?)(\d{20})\.parquet$/;

export interface FileName {
  /** What the names of this log's files begin with: nothing for the first log. */
  readonly log: string;
  readonly first: bigint;
}

/** Of a key or a file; undefined when it is none of ours. */
export function parsedName(key: string): FileName | undefined {
  const [, log, digits] = NAME.exec(key) ?? [];
  return log === undefined || digits === undefined ? undefined : { log, first: BigInt(digits) };
}

export const fileName = ({ log, first }: FileName): string => `${log}${first.toString().padStart(20, '0')}.parquet`;

/** The log that is begun after this one was lost. */
export const logAfter = (log: string): string => `anew${String(Number(/\d+/.exec(log)?.[0] ?? 0) + 1).padStart(4, '0')}-`;
