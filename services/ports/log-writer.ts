// Writing a log as it was: into a given partition, with the times that the records had. For a restore alone; stages publish.

export interface LogRecord {
  readonly key: string;
  readonly value: Uint8Array;
  readonly headers: Readonly<Record<string, string>>;
  readonly timestampMs: number;
}

export interface LogWriter {
  /** From here until `close` what is appended to the topics keeps its times. @throws Fault BUS_UNAVAILABLE, DENIED_BY_BROKER */
  keepTimes(topics: readonly string[]): Promise<void>;
  /**
   * Puts the records behind the partition's end, in their order, once: `at` is the end that the caller knows.
   * @throws Fault LOG_DIFFERS when the partition does not end there, TIMES_NOT_KEPT, BUS_UNAVAILABLE, DENIED_BY_BROKER
   */
  append(topic: string, partition: number, at: bigint, records: readonly LogRecord[]): Promise<void>;
  /** Lets an empty partition begin at the offset: what comes next gets it. Again after a crash: the same. @throws as `append` */
  beginAt(topic: string, partition: number, offset: bigint): Promise<void>;
  close(): Promise<void>;
}
