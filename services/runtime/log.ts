// Log lines: JSON through pino, with trace ids and no identity. Fields that could name someone are censored
// whatever a caller passes; clinical stages log event ids only.
import { trace } from '@opentelemetry/api';
import pino from 'pino';
import { Fault } from '../kernel/fault.ts';

const NEVER = [
  'studyInstanceUid',
  'seriesInstanceUid',
  'sopInstanceUid',
  'patientId',
  'patientName',
  'key',
  'value',
  'headers',
  'record',
  'event',
  'password',
  'username',
  'secret',
  'authorization',
  'url',
];

/** What a log line may say of an error: a Fault's own text; else class and stack frames, since a message may quote values. */
export function describeError(error: unknown): Record<string, unknown> {
  if (error instanceof Fault)
    return {
      code: error.code,
      fault: error.message,
      retryable: error.retryable,
      ...(error.cause === undefined ? {} : { cause: describeError(error.cause) }),
    };
  if (!(error instanceof Error)) return { error: typeof error };
  const frames = (error.stack ?? '')
    .split('\n')
    .filter((line) => /^\s+at /.test(line))
    .map((line) => line.trim());
  const code = (error as NodeJS.ErrnoException).code;
  return { error: error.name, ...(typeof code === 'string' ? { errno: code } : {}), stack: frames.slice(0, 12) };
}

/** A logger on stdout (or the given stream). */
export function createLog(name: string, level: string, destination?: pino.DestinationStream): pino.Logger {
  const options: pino.LoggerOptions = {
    name,
    level,
    base: { name, pid: process.pid },
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }) },
    redact: { paths: NEVER.flatMap((field) => [field, `*.${field}`]), censor: '[never logged]' },
    serializers: { err: describeError, error: (value: unknown) => (value instanceof Error ? describeError(value) : value) },
    mixin: () => {
      const span = trace.getActiveSpan()?.spanContext();
      return span === undefined ? {} : { traceId: span.traceId, spanId: span.spanId };
    },
  };
  return destination === undefined ? pino(options) : pino(options, destination);
}
