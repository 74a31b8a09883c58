// Spans by hand and metrics. Attributes and labels never hold identity: no key, no UID, no object name.
import {
  context,
  metrics,
  SpanKind,
  SpanStatusCode,
  trace,
  type Attributes,
  type Context,
  type ObservableCallback,
  type ObservableGauge,
  type Span,
} from '@opentelemetry/api';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { PrometheusExporter } from '@opentelemetry/exporter-prometheus';
import { ZipkinExporter } from '@opentelemetry/exporter-zipkin';
import { NodeSDK, type NodeSDKConfiguration } from '@opentelemetry/sdk-node';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { Fault } from '../kernel/fault.ts';

export type Labels = Readonly<Record<string, string>>;

export interface SpanOptions {
  /** W3C traceparent of the span before; without it a new trace starts. */
  readonly parent?: string | undefined;
  readonly kind?: 'consumer' | 'producer' | 'client' | 'internal';
  readonly attributes?: Readonly<Record<string, string | number | boolean>>;
}

export interface OpenSpan {
  readonly traceparent: string;
  setAttribute(key: string, value: string | number | boolean): void;
}

export interface Telemetry {
  /** Runs the work inside a span; an error marks it with its code or name, never its message. */
  span<T>(name: string, options: SpanOptions, work: (span: OpenSpan) => Promise<T>): Promise<T>;
  counter(name: string, n?: number, labels?: Labels): void;
  histogram(name: string, value: number, labels?: Labels): void;
  /** `read` is asked at each scrape, in place of the one that was given before with the same name and labels. */
  gauge(name: string, read: () => number, labels?: Labels): void;
}

export interface RunningTelemetry extends Telemetry {
  handleMetrics(request: IncomingMessage, response: ServerResponse): void;
  shutdown(): Promise<void>;
}

const KINDS = { consumer: SpanKind.CONSUMER, producer: SpanKind.PRODUCER, client: SpanKind.CLIENT, internal: SpanKind.INTERNAL } as const;
const TRACEPARENT = /^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/;

/** Trace id of a traceparent; undefined when it is none. */
export function traceIdOf(traceparent: string | undefined): string | undefined {
  return traceparent === undefined ? undefined : TRACEPARENT.exec(traceparent)?.[1];
}

function parentContext(traceparent: string | undefined): Context {
  const match = traceparent === undefined ? null : TRACEPARENT.exec(traceparent);
  const root = trace.deleteSpan(context.active());
  if (match === null) return root;
  return trace.setSpanContext(root, {
    traceId: match[1] ?? '',
    spanId: match[2] ?? '',
    traceFlags: Number.parseInt(match[3] ?? '0', 16),
    isRemote: true,
  });
}

function traceparentOf(span: Span): string {
  const { traceId, spanId, traceFlags } = span.spanContext();
  return `00-${traceId}-${spanId}-${traceFlags.toString(16).padStart(2, '0')}`;
}

/** What a span may say of an error: its code, else its class. Messages may quote values. */
function errorKind(error: unknown): string {
  if (error instanceof Fault) return error.code;
  return error instanceof Error ? error.name : 'unknown';
}

type SpanProcessors = NonNullable<NodeSDKConfiguration['spanProcessors']>;
type TraceExporter = NodeSDKConfiguration['traceExporter'];

/** NodeSDK without an exporter sends to port 4318 by itself, so spans always get a processor of ours. */
const nowhere: SpanProcessors = [
  { onStart: () => undefined, onEnd: () => undefined, forceFlush: async () => undefined, shutdown: async () => undefined },
];

/** Spans are for looking, not for living: a collector that is away must not end the process. */
function forgiving(exporter: TraceExporter, warn: (text: string) => void): TraceExporter {
  let warned = false;
  const failed = (error: unknown): void => {
    if (!warned) warn(`spans are dropped: ${errorKind(error)}`);
    warned = true;
  };
  return {
    export: (spans, done) => {
      try {
        exporter.export(spans, (result) => {
          if (result.error !== undefined) failed(result.error);
          else warned = false;
          done(result);
        });
      } catch (error) {
        failed(error);
        done({ code: 1 });
      }
    },
    forceFlush: async () => await exporter.forceFlush?.().catch(failed),
    shutdown: async () => await exporter.shutdown().catch(failed),
  };
}

/** Starts spans and metrics of the process. Spans leave it only when an endpoint is given. */
export function startTelemetry(o: {
  name: string;
  otlpEndpoint?: string | undefined;
  zipkinUrl?: string | undefined;
  warn: (text: string) => void;
}): RunningTelemetry {
  const prometheus = new PrometheusExporter({ preventServerStart: true, withoutScopeInfo: true });
  const exporter =
    o.otlpEndpoint !== undefined
      ? new OTLPTraceExporter({ url: `${o.otlpEndpoint.replace(/\/$/, '')}/v1/traces` })
      : o.zipkinUrl !== undefined
        ? new ZipkinExporter({ url: o.zipkinUrl, serviceName: o.name })
        : undefined;
  const sdk = new NodeSDK({
    serviceName: o.name,
    autoDetectResources: false,
    textMapPropagator: null,
    metricReaders: [prometheus],
    logRecordProcessors: [],
    instrumentations: [],
    ...(exporter === undefined ? { spanProcessors: nowhere } : { traceExporter: forgiving(exporter, o.warn) }),
  });
  sdk.start();
  return {
    ...apiTelemetry(o.name),
    handleMetrics: (request, response) => prometheus.getMetricsRequestHandler(request, response),
    shutdown: () => sdk.shutdown(),
  };
}

/** Telemetry over whatever the OpenTelemetry API has: no-ops when nothing was started. */
export function apiTelemetry(name: string): Telemetry {
  const tracer = trace.getTracer(name);
  const meter = metrics.getMeter(name);
  const counters = new Map<string, ReturnType<typeof meter.createCounter>>();
  const histograms = new Map<string, ReturnType<typeof meter.createHistogram>>();
  const gauges = new Map<string, ObservableGauge>();
  const readers = new Map<string, ObservableCallback>();
  return {
    span: (spanName, options, work) => {
      const attributes: Attributes = { ...options.attributes };
      const parent = parentContext(options.parent);
      const span = tracer.startSpan(spanName, { kind: KINDS[options.kind ?? 'internal'], attributes }, parent);
      return context.with(trace.setSpan(parent, span), async () => {
        try {
          return await work({ traceparent: traceparentOf(span), setAttribute: (key, value) => void span.setAttribute(key, value) });
        } catch (error) {
          span.setStatus({ code: SpanStatusCode.ERROR, message: errorKind(error) });
          throw error;
        } finally {
          span.end();
        }
      });
    },
    counter: (metric, n = 1, labels = {}) => obtain(counters, metric, () => meter.createCounter(metric)).add(n, labels),
    histogram: (metric, value, labels = {}) => obtain(histograms, metric, () => meter.createHistogram(metric)).record(value, labels),
    gauge: (metric, read, labels = {}) => {
      const gauge = obtain(gauges, metric, () => meter.createObservableGauge(metric));
      const series = JSON.stringify([metric, Object.entries(labels).toSorted(([a], [b]) => (a < b ? -1 : 1))]);
      const former = readers.get(series);
      // Work that is begun again names its gauges again: the one before would be asked for ever, and keep all that it holds.
      if (former !== undefined) gauge.removeCallback(former);
      const reader: ObservableCallback = (result) => result.observe(read(), labels);
      gauge.addCallback(reader);
      readers.set(series, reader);
    },
  };
}

function obtain<T>(map: Map<string, T>, name: string, make: () => T): T {
  const known = map.get(name);
  if (known !== undefined) return known;
  const made = make();
  map.set(name, made);
  return made;
}
