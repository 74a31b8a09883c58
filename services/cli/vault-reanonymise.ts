// After a merge or split: has the anonymiser take up again the newest stored revision of every study that has another
// research identity now. The record goes into the stage's retry topic, as that of a failed try does.
import { clinicalKey } from '../kernel/ids.ts';
import type { ClinicalKey } from '../kernel/ids.ts';
import { retryTopic } from '../kernel/route.ts';
import type { AffectedStudy } from '../adapters/postgres-vault-admin.ts';
import type { VaultCorrections } from '../adapters/postgres-vault-admin-correct.ts';
import type { BusRecord, EventBus, OutgoingRecord } from '../ports/event-bus.ts';
import type { EventCodec } from '../ports/event-codec.ts';
import { HEADER, RETRY_DELAYS } from '../runtime/retry.ts';

export interface ReanonymisePorts {
  readonly corrections: Pick<VaultCorrections, 'waiting' | 'asked'>;
  readonly codec: EventCodec;
  /** Reads ct.clinical.study-stored. */
  readonly reads: Pick<EventBus, 'ends' | 'read'>;
  /** Writes anonymise's retry topic: the operator. */
  readonly writes: Pick<EventBus, 'publish'>;
}

export interface Reanonymised {
  /** Handed to the anonymiser. */
  readonly asked: readonly AffectedStudy[];
  /** Their record has left the log (30 days): the centre has to send them again. */
  readonly gone: readonly AffectedStudy[];
}

const STORED = 'ct.clinical.study-stored.v1';

/** Doing it twice is harmless: the second try finds the new manifest and publishes the same event. */
export async function reanonymise({ corrections, codec, reads, writes }: ReanonymisePorts, signal: AbortSignal): Promise<Reanonymised> {
  const due = await corrections.waiting();
  if (due.length === 0) return { asked: [], gone: [] };
  const records = await newestStored(new Set(due.map(keyOf)), codec, reads, signal);
  const asked = due.filter((study) => records.has(keyOf(study)));
  await writes.publish(
    asked.flatMap((study) => againNow(records.get(keyOf(study)))),
    signal,
  );
  await corrections.asked(asked);
  return { asked, gone: due.filter((study) => !records.has(keyOf(study))) };
}

const keyOf = ({ centre, studyInstanceUid }: AffectedStudy): ClinicalKey => clinicalKey(centre, studyInstanceUid);

async function newestStored(
  wanted: ReadonlySet<string>,
  codec: EventCodec,
  reads: ReanonymisePorts['reads'],
  signal: AbortSignal,
): Promise<Map<string, BusRecord>> {
  const newest = new Map<string, { record: BusRecord; sequence: number }>();
  for await (const record of reads.read(await reads.ends([STORED]), signal)) {
    if (!wanted.has(record.key)) continue;
    const event = codec.decode(record);
    if (event.type !== 'ctstream.clinical.v1.StudyStored') continue;
    // The same sequence again is a repetition: the later one is as good.
    const sequence = Number(event.value.sequence);
    if (sequence >= (newest.get(record.key)?.sequence ?? -1)) newest.set(record.key, { record, sequence });
  }
  return new Map([...newest].map(([key, { record }]) => [key, record]));
}

function againNow(record: BusRecord | undefined): OutgoingRecord[] {
  if (record === undefined) return [];
  const theirs = Object.entries(record.headers).filter(([name]) => !name.startsWith('ct-'));
  return [
    {
      topic: retryTopic('clinical', 'anonymise', RETRY_DELAYS[0]?.[0] ?? '30s'),
      key: record.key,
      value: record.value,
      headers: {
        ...Object.fromEntries(theirs),
        [HEADER.originTopic]: record.topic,
        [HEADER.originPartition]: String(record.partition),
        [HEADER.originOffset]: String(record.offset),
        [HEADER.attempt]: '0',
        [HEADER.code]: 'IDENTITY_CORRECTED',
        [HEADER.due]: '0',
      },
    },
  ];
}
