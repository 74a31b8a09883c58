// Time and randomness come through ports, so that a replay and a test can decide them.

export interface Clock {
  nowMs(): number;
  /** Resolves after the time, or at once when the signal aborts. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

export interface Randomness {
  /** Unique per call: the name of an attempt. 16 lower-case hex digits. */
  attempt(): string;
}
