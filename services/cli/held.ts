// What `ctstream held` does: list what is held, show it to a person of the security role, note their decision and
// hand the parked study back to the anonymiser, which alone publishes or rejects it.
import { mkdir, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { openPostgresHeld } from '../adapters/postgres-held.ts';
import { s3Store } from '../adapters/s3-store.ts';
import { QUARANTINE_BUCKET, type QuarantineNote } from '../anonymise/quarantine.ts';
import { deadTopic } from '../kernel/route.ts';
import type { BusRecord, EventBus } from '../ports/event-bus.ts';
import type { DecisionKind, HeldReview, HeldStudy } from '../ports/held-decisions.ts';
import type { ObjectStore } from '../ports/object-store.ts';
import type { Person } from '../runtime/people-file.ts';
import { codeOfFailure, replayRecord } from '../runtime/retry.ts';
import { allOf, openQuietBus, type Access } from './access.ts';

export type HeldErrorCode = 'NOT_HELD' | 'EXPIRED' | 'NOT_LOOKED_AT' | 'FINDINGS_CHANGED' | 'NOTHING_PARKED' | 'BAD_REASON';

/** Why a hold can't be shown or decided. */
export class HeldError extends Error {
  readonly code: HeldErrorCode;

  constructor(code: HeldErrorCode, detail: string) {
    super(`${code}: ${detail}`);
    this.name = 'HeldError';
    this.code = code;
  }
}

export interface HeldPorts {
  readonly review: HeldReview;
  /** As the security role: nobody else reads ct-quarantine. */
  readonly quarantine: Pick<ObjectStore, 'getBytes'>;
  /** As the operator, who may read dead letters and replay them. */
  readonly bus: EventBus;
  close(): Promise<void>;
}

export async function heldPorts(access: Access): Promise<HeldPorts> {
  const { kafka, store, url } = allOf({
    kafka: () => access.kafka('operator'),
    store: () => access.store('security'),
    url: () => access.vaultUrl('security'),
  });
  const bus = await openQuietBus(kafka, 'ctstream-held');
  const quarantine = s3Store(store);
  const review = openPostgresHeld(url);
  return {
    review,
    quarantine,
    bus,
    close: async () => {
      await Promise.allSettled([bus.close(), review.close()]);
    },
  };
}

async function openHold({ review }: HeldPorts, heldId: string): Promise<HeldStudy> {
  const study = await review.find(heldId);
  if (study === undefined) throw new HeldError('NOT_HELD', `nothing is held as ${heldId}: see 'ctstream held list'`);
  return study;
}

const NOTE_LIMIT_BYTES = 16 * 1024 * 1024;
const PICTURE_LIMIT_BYTES = 64 * 1024 * 1024;

export interface HeldShown {
  readonly study: HeldStudy;
  readonly note: QuarantineNote;
  /** Paths of the saved pictures, or their names in ct-quarantine. */
  readonly pictures: readonly string[];
}

/** Shows a hold to a person and notes that they saw it; saves its pictures (mode 600) when a folder is given. @throws HeldError */
export async function showHeld(ports: HeldPorts, heldId: string, person: Person, picturesDir?: string): Promise<HeldShown> {
  const study = await openHold(ports, heldId);
  const note = await readNote(ports, study);
  const pictures: string[] = [];
  if (picturesDir !== undefined) await mkdir(picturesDir, { recursive: true, mode: 0o700 });
  for (const { object } of note.pictures) {
    if (picturesDir === undefined) {
      pictures.push(`${QUARANTINE_BUCKET}/${object}`);
      continue;
    }
    const bytes = await ports.quarantine.getBytes(QUARANTINE_BUCKET, object, PICTURE_LIMIT_BYTES);
    if (bytes === undefined) throw expired(heldId);
    const path = join(picturesDir, `${heldId}-${basename(object)}`);
    await writeFile(path, bytes, { mode: 0o600 });
    pictures.push(path);
  }
  await ports.review.noteLook(heldId, study.digest, person.name);
  return { study, note, pictures };
}

async function readNote(ports: HeldPorts, study: HeldStudy): Promise<QuarantineNote> {
  const object = study.objects.find((name) => name.endsWith('/findings.json')) ?? '';
  const bytes = await ports.quarantine.getBytes(QUARANTINE_BUCKET, object, NOTE_LIMIT_BYTES);
  if (bytes === undefined) throw expired(study.heldId);
  const note = JSON.parse(Buffer.from(bytes).toString()) as QuarantineNote;
  if (note.digest !== study.digest) throw changed(study.heldId);
  return note;
}

const expired = (heldId: string): HeldError =>
  new HeldError('EXPIRED', `what was held of ${heldId} is gone (14 days): 'ctstream held again ${heldId}' has it looked at anew`);
const changed = (heldId: string): HeldError =>
  new HeldError('FINDINGS_CHANGED', `${heldId} has ended or was held anew with other findings: show it again`);

export interface HeldDecided {
  readonly heldId: string;
  readonly decision: DecisionKind;
  readonly by: string;
}

/**
 * Notes a decision and replays the parked record; the anonymiser acts on it. A release is for exactly the findings
 * that this person was shown. Doing it twice is harmless. @throws HeldError
 */
export async function decideHeld(
  ports: HeldPorts,
  o: { readonly heldId: string; readonly kind: DecisionKind; readonly reason: string; readonly person: Person },
  signal: AbortSignal,
): Promise<HeldDecided> {
  const reason = checkReason(o.reason);
  const { name } = o.person;
  const study = await openHold(ports, o.heldId);
  if (o.kind === 'released' && !(await ports.review.hasLooked(o.heldId, study.digest, name)))
    throw new HeldError('NOT_LOOKED_AT', `${name} has not been shown what is held as ${o.heldId} now: 'ctstream held show' comes first`);
  const parked = await parkedRecord(ports.bus, study, signal);
  const isNoted = await ports.review.decide({ heldId: o.heldId, kind: o.kind, digest: study.digest, by: name, reason });
  if (!isNoted) throw changed(o.heldId);
  await ports.bus.publish([replayRecord('clinical', parked, Date.now())], signal);
  return { heldId: o.heldId, decision: o.kind, by: name };
}

/** Has the anonymiser look at the study again, without a decision: after a fix, or when the pictures have expired. @throws HeldError */
export async function lookAgain(ports: HeldPorts, heldId: string, signal: AbortSignal): Promise<void> {
  const parked = await parkedRecord(ports.bus, await openHold(ports, heldId), signal);
  await ports.bus.publish([replayRecord('clinical', parked, Date.now())], signal);
}

/** The reason goes into the audit, which names nobody. */
function checkReason(text: string): string {
  const reason = text.trim();
  if (reason.length < 3 || reason.length > 300 || /\p{Cc}/u.test(reason))
    throw new HeldError('BAD_REASON', 'give a reason of 3 to 300 characters in one line');
  if (/\d[\d\s.-]{4,}\d/.test(reason))
    throw new HeldError('BAD_REASON', 'the reason holds a long number: it may name no patient and no study');
  return reason;
}

/** The newest dead letter of the event that the hold names. */
async function parkedRecord(bus: EventBus, study: HeldStudy, signal: AbortSignal): Promise<BusRecord> {
  let newest: BusRecord | undefined;
  for await (const record of bus.read(await bus.ends([deadTopic('clinical', 'anonymise')]), signal)) {
    if (record.headers['ce_id'] !== study.eventId || codeOfFailure(record)?.startsWith('HELD_') !== true) continue;
    if (newest === undefined || record.timestampMs >= newest.timestampMs) newest = record;
  }
  if (newest === undefined) throw nothingParked(study, Date.now());
  return newest;
}

const HOUR_MS = 3_600_000;

/** A hold and its letter are written one after the other; a letter is kept for 90 days, and ingest has a new one made every 30. */
export function nothingParked({ heldId, centre, heldAtMs }: HeldStudy, nowMs: number): HeldError {
  const remedy =
    nowMs - heldAtMs < HOUR_MS
      ? 'yet: try again in a moment'
      : `any more. Ingest tells of it again every 30 days after it was stored, and then it is held anew; to decide sooner, have the gateway of ${centre} announce its studies again ('ctstream announce-again --centre ${centre}')`;
  return new HeldError('NOTHING_PARKED', `no dead letter of ${heldId} ${remedy}`);
}
