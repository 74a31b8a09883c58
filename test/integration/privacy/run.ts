// One run from PACS to release with rich identities, read back whole: what the privacy tests look at.
import { setTimeout as sleep } from 'node:timers/promises';
import { kafkaBus } from '../../../services/adapters/kafkajs-bus.ts';
import { generateStudy, type Defect, type PhantomTruth } from '../../../services/cli/phantom/generate.ts';
import { startSecurityOfficer } from '../../../services/cli/demo/security-officer.ts';
import { buildAndApprove, flushArchives } from '../../../services/cli/demo/steps.ts';
import { STAGE_NAMES, type StageName } from '../../../deploy/local/stages.ts';
import type { Account } from '../../../services/kernel/accounting.ts';
import type { BusRecord } from '../../../services/ports/event-bus.ts';
import { createLog } from '../../../services/runtime/log.ts';
import { join } from 'node:path';
import { sendPhantom, startPipeline, until, type Pipeline } from '../pipeline.ts';
import { recordsOf } from './corpus.ts';
import { startSpanCollector, type SpanCollector } from './span-collector.ts';

export const CLINICAL_STAGES: readonly StageName[] = ['centre-gateway', 'ingest', 'anonymise', 'archiver-clinical'];
export const RESEARCH_STAGES: readonly StageName[] = STAGE_NAMES.filter((name) => !CLINICAL_STAGES.includes(name));

export interface Sent {
  readonly seed: number;
  readonly index: number;
  /** Position of the centre. */
  readonly at: number;
  readonly defect?: Defect;
}

export interface Run {
  readonly p: Pipeline;
  readonly spans: SpanCollector;
  readonly truths: readonly PhantomTruth[];
  /** Folder of the release. */
  readonly dataset: string;
}

/** Sends the studies and waits until the good ones are released. */
export async function runToRelease(name: string, sent: readonly Sent[]): Promise<Run> {
  const spans = await startSpanCollector();
  const env = Object.fromEntries(STAGE_NAMES.map((stage) => [stage, { ZIPKIN_URL: spans.url, LOG_LEVEL: 'debug' }]));
  const p = await startPipeline({ name, centres: 2, env });
  try {
    const truths: PhantomTruth[] = [];
    for (const { at, ...o } of sent) {
      const pacs = p.pacs[at];
      if (pacs === undefined) throw new Error(`no centre ${at}`);
      truths.push(await sendPhantom(pacs, o));
    }
    const good = sent.filter((s) => s.defect === undefined).length;
    const running = { platform: p.platform, provisioned: p.provisioned, stages: p.stages, phases: {} };
    const officer = startSecurityOfficer(running, () => undefined, AbortSignal.timeout(240_000));
    const isReady = (a: Account): boolean =>
      a.totals.sent === sent.length &&
      a.totals.rejected === sent.length - good &&
      a.studies.filter((s) => s.code === 'AWAITING_RELEASE').length === good;
    let graded: Account;
    try {
      graded = await until(p, isReady, 240_000);
    } finally {
      await officer.stop();
    }
    const dataset = await buildAndApprove(running, p.dir, graded, () => undefined);
    await until(p, (a) => a.totals.released === good);
    return { p, spans, truths, dataset };
  } catch (error) {
    await p.stop();
    await spans.close();
    throw error;
  }
}

/** Makes assess fail over an event, so that there is a parked research record: one that names a manifest which is not there. */
export async function parkOne(p: Pipeline): Promise<BusRecord> {
  const first = (await recordsOf(p, 'ct.research.study-anonymised.v1'))[0];
  if (first === undefined) throw new Error('nothing was anonymised');
  const event = p.ports.codec.decode(first);
  if (event.type !== 'ctstream.research.v1.StudyAnonymised') throw new Error('another type');
  const value = {
    ...event.value,
    revision: 'A'.repeat(24) as typeof event.value.revision,
    manifestKey: `${event.value.studyId}/${'A'.repeat(24)}/manifest.json`,
  };
  const { platform, provisioned } = p;
  const bus = kafkaBus({
    brokers: platform.kafka.brokers,
    username: 'anonymise',
    password: provisioned.secretOf('anonymise'),
    prefix: provisioned.prefix,
    clientId: 'test-parked',
    log: createLog('test', 'silent'),
  });
  try {
    await bus.publish([
      p.ports.codec.encode({ type: event.type, value }, { id: 'f'.repeat(32), source: 'anonymise', timeMs: event.timeMs }),
    ]);
  } finally {
    await bus.close();
  }
  for (let i = 0; i < 150; i++) {
    const parked = await recordsOf(p, 'ct.research.assess.*');
    if (parked[0] !== undefined) return parked[0];
    await sleep(200);
  }
  throw new Error('the record was not parked');
}

/** Lets both archivers come to the end of the log. */
export function flushed(p: Pipeline): Promise<boolean> {
  return flushArchives(p.ports, join(p.dir, 'mirror'), AbortSignal.timeout(120_000));
}

/** Some files of a sent study again, small: the identities do not depend on its size. */
export function originalsOf(p: Pipeline, { at, ...o }: Sent): Uint8Array[] {
  return [...generateStudy({ ...o, rows: 32, slices: 4, issuer: `iss-${p.pacs[at]?.centre}` })].map(({ bytes }) => bytes);
}
