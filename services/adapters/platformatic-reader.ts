// Reading a log from one offset to another: plain fetches, so no group is joined and none has to vanish.
import { setTimeout as sleep } from 'node:timers/promises';
import { Fault } from '../kernel/fault.ts';
import type { BusRecord, TopicEnd } from '../ports/event-bus.ts';
import { busFault } from './kafka-client.ts';
import type { KafkaBusOptions } from './kafka-offsets.ts';
import { openFetcher, type Fetched, type Fetcher, type Place } from './platformatic-fetch.ts';
import { isOutOfRange } from './platformatic-pump.ts';

/** Longest time without any progress. */
const STALL_MS = 30_000;

/** Every record from `first` up to (not including) `end` of each partition, one partition after the other. @throws Fault */
export async function* readRecords(options: KafkaBusOptions, ends: readonly TopicEnd[], signal?: AbortSignal): AsyncIterable<BusRecord> {
  const wanted = ends.filter((e) => e.end > e.first);
  if (wanted.length === 0) return;
  const fetcher = openFetcher(options);
  try {
    for (const want of wanted) yield* readPartition(fetcher, want, signal);
  } finally {
    await fetcher.close().catch(() => undefined);
  }
}

async function* readPartition(fetcher: Fetcher, want: TopicEnd, signal?: AbortSignal): AsyncIterable<BusRecord> {
  const name = { topic: want.topic, partition: want.partition };
  let coming: Promise<Fetched<Place>> | undefined = fetchOn(fetcher, { name, next: want.first }, want, signal);
  while (coming !== undefined) {
    const { records, next }: Fetched<Place> = await coming;
    // The next fetch is under way while this one's records are worked on. Its error is thrown when it is awaited.
    coming = next < want.end ? fetchOn(fetcher, { name, next }, want, signal) : undefined;
    coming?.catch(() => undefined);
    for (const record of records) {
      signal?.throwIfAborted();
      if (record.offset < want.end) yield record;
    }
  }
}

/** The next records of a partition, with patience. */
async function fetchOn(fetcher: Fetcher, place: Place, want: TopicEnd, signal?: AbortSignal): Promise<Fetched<Place>> {
  const until = Date.now() + STALL_MS;
  for (;;) {
    signal?.throwIfAborted();
    try {
      const [leader] = await fetcher.byLeader([place]);
      const [found] = leader === undefined ? [] : await fetcher.fetch(leader[0], [place], 200);
      if (found !== undefined && found.next > place.next) return found;
    } catch (error) {
      const what = `reading ${want.topic}`;
      if (isOutOfRange(error))
        throw new Fault('LOG_TRUNCATED', false, `${what}/${want.partition}: the log no longer has ${place.next}`, { cause: error });
      const fault = busFault(error, what);
      if (!fault.retryable || Date.now() > until) throw fault;
      fetcher.forget();
      await sleep(200);
    }
    if (Date.now() > until) throw new Fault('BUS_UNAVAILABLE', true, `${want.topic}/${want.partition} can't be read up to ${want.end}`);
  }
}
