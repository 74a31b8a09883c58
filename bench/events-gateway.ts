// The gateway's half of the events bench: its real SQLite state (synchronous=FULL) and outboxes; the studies are made up.
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pino, { type Logger } from 'pino';
import { avroCodec } from '../services/adapters/avro-codec.ts';
import { kafkaBus } from '../services/adapters/kafkajs-bus.ts';
import { outboxDepth, outboxOf } from '../services/centre-gateway/outbox.ts';
import { addCentre, openState, sourceOf } from '../services/centre-gateway/state.ts';
import { digestOfParts, sha256Hex } from '../services/kernel/digest.ts';
import { centreId, type ClinicalRevision, type StudyInstanceUid } from '../services/kernel/ids.ts';
import type { NewEvent } from '../services/kernel/outcome.ts';
import { runOutbox } from '../services/runtime/outbox.ts';
import type { ProcessContext } from '../services/runtime/process.ts';
import { systemClock, systemRandom } from '../services/runtime/system.ts';
import { apiTelemetry } from '../services/runtime/telemetry.ts';
import type { BenchPlatform } from './platform.ts';

const BATCH = 500;
const CENSUS_PAGE = 500;
const INSTANCES = 300;

export const madeUpStudy = (centre: string, n: number): StudyInstanceUid =>
  `2.25.${Number.parseInt(sha256Hex(centre).slice(0, 8), 16)}.${n}` as StudyInstanceUid;

export const madeUpAnnouncement = (centre: string, n: number): NewEvent => {
  const studyInstanceUid = madeUpStudy(centre, n);
  return {
    type: 'ctstream.clinical.v1.StudyAvailable',
    value: {
      centre: centreId(centre),
      studyInstanceUid,
      revision: sha256Hex(studyInstanceUid).slice(0, 32) as ClinicalRevision,
      sequence: n,
      instanceCount: INSTANCES,
      seriesCount: 1,
      modalities: ['CT'],
      noticedBy: 'poll',
    },
  };
};

/** Announces `each` studies of every centre, then takes a census of all. Resolves when every outbox is empty. */
export const announceAll = async (bench: BenchPlatform, each: number): Promise<void> => {
  const { provisioned, platform, dir } = bench;
  const codec = avroCodec();
  const log: Logger = pino({ level: 'silent' });
  const state = openState({ file: join(dir, 'gateway.sqlite'), codec, nowMs: () => Date.now() });
  const stop = new AbortController();
  const ctx: ProcessContext = {
    name: 'gateway',
    log,
    clock: systemClock,
    random: systemRandom,
    signal: stop.signal,
    telemetry: apiTelemetry('gateway'),
    health: { ready: () => undefined, note: () => undefined },
    onStop: () => undefined,
  };
  const buses = provisioned.centres.map((centre) => {
    addCentre(state, centreId(centre));
    const user = `gateway-${centre}`;
    const bus = kafkaBus({
      brokers: platform.kafka.brokers,
      username: user,
      password: provisioned.secretOf(user),
      prefix: provisioned.prefix,
      clientId: user,
      log,
    });
    const source = sourceOf(state, centre);
    return { centre, bus, running: runOutbox(outboxOf(state, centre), { bus, codec, ctx, sourceName: source }) };
  });
  for (let from = 0; from < each; from += BATCH) {
    for (const { centre } of buses) {
      state.transaction(() => {
        for (let n = from + 1; n <= Math.min(each, from + BATCH); n++) state.enqueue(centreId(centre), () => madeUpAnnouncement(centre, n));
      });
      // The outboxes are in this process too.
      await sleep(0);
    }
  }
  for (const { centre } of buses) {
    const studies = Array.from({ length: each }, (_, i) => ({
      studyInstanceUid: madeUpStudy(centre, i + 1),
      instanceCount: INSTANCES,
      state: 'announced',
      code: null,
    })).sort((a, b) => (a.studyInstanceUid < b.studyInstanceUid ? -1 : 1));
    const common = {
      centre: centreId(centre),
      censusId: systemRandom.attempt(),
      takenAtMs: Date.now(),
      pages: Math.max(1, Math.ceil(each / CENSUS_PAGE)),
      total: each,
      digest: digestOfParts(studies.map((s) => s.studyInstanceUid)),
    };
    state.transaction(() => {
      for (let page = 1; page <= common.pages; page++) {
        const value = { ...common, page, studies: studies.slice((page - 1) * CENSUS_PAGE, page * CENSUS_PAGE) };
        state.enqueue(centreId(centre), (sequence) => ({
          type: 'ctstream.clinical.v1.Census',
          value: { ...value, outboxSequence: sequence },
        }));
      }
    });
  }
  while (buses.some(({ centre }) => outboxDepth(state, centre) > 0)) await sleep(100);
  stop.abort();
  await Promise.all(buses.map(({ running }) => running));
  await Promise.all(buses.map(({ bus }) => bus.close()));
  state.close();
};
