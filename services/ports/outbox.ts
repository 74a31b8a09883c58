// The outbox of a source: rows written with its state, published in order, then marked as sent.

export interface OutboxRow {
  /** Contiguous per source, drawn in the transaction that wrote the row. */
  readonly sequence: bigint;
  readonly eventId: string;
  /** Logical topic. */
  readonly topic: string;
  readonly key: string;
  readonly value: Uint8Array;
  readonly headers: Readonly<Record<string, string>>;
}

export interface OutboxSource {
  /** Oldest rows that are not sent, by sequence. */
  next(limit: number): Promise<readonly OutboxRow[]>;
  markSent(sequences: readonly bigint[]): Promise<void>;
  /** Rows that are not sent. */
  depth(): Promise<number>;
}
