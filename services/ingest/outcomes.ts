// How ingest ends a study that it does not store, and what the centre is told of it.
import type { Code } from '../kernel/codes.ts';
import type { CentreId } from '../kernel/ids.ts';
import { emit, reject, skip } from '../kernel/outcome.ts';
import type { Outcome } from '../kernel/outcome.ts';
import { statusEvent } from './events.ts';
import type { Available } from './events.ts';

export const superseded = (): Outcome => skip('SUPERSEDED', 'a later revision is stored');

/** A forged or broken event must not touch the study of the centre that it names: the rejection is under the topic's own centre. */
export function mismatch(event: Available, centre: string): Outcome {
  const { studyInstanceUid, revision } = event.value;
  const value = {
    centre: centre as CentreId,
    studyInstanceUid,
    revision,
    stage: 'ingest',
    code: 'CENTRE_MISMATCH' as const,
    detail: 'the value names another centre than the topic',
  };
  return emit([{ type: 'ctstream.clinical.v1.StudyRejected', value }, statusEvent(event, centre, 'rejected', 'CENTRE_MISMATCH')]);
}

export function refused(event: Available, code: Code, detail: string): Outcome {
  return reject(code, detail, [statusEvent(event, event.value.centre, 'rejected', code)]);
}

export function changed(event: Available, detail: string): Outcome {
  // The status makes the gateway look again and announce what is there now, so nothing waits for a chance.
  return skip('STUDY_CHANGED', detail, [statusEvent(event, event.value.centre, 'waiting', 'STUDY_CHANGED')]);
}

export function duplicate(event: Available): Outcome {
  return skip('DUPLICATE_OF', 'another centre has stored the same instances', [
    statusEvent(event, event.value.centre, 'rejected', 'DUPLICATE_OF'),
  ]);
}
