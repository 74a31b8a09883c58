// Withdrawals: the clinical half. The vault has already cut the links; what they led to is erased here, at once and
// again after the longest job, and the reports of the research stages are noted for the receipt.
import { clinicalKey } from '../kernel/ids.ts';
import type { ResearchStudyId } from '../kernel/ids.ts';
import { Fault } from '../kernel/fault.ts';
import { emit } from '../kernel/outcome.ts';
import type { NewEvent, Outcome } from '../kernel/outcome.ts';
import type { EventIn, Job, Stage } from '../kernel/stage.ts';
import { doneKeyOf } from '../kernel/sweep.ts';
import type { Clock } from '../ports/clock.ts';
import type { ObjectStore } from '../ports/object-store.ts';
import { ERASING_STAGES } from '../ports/withdrawals.ts';
import type { ToErase, Withdrawals, WithdrawnStudy } from '../ports/withdrawals.ts';
import { CLINICAL_BUCKET } from './clinical-series.ts';
import { QUARANTINE_BUCKET } from './quarantine.ts';
import { RESEARCH_BUCKET } from './research-events.ts';
import { anonymiseStage } from './stage.ts';
import type { AnonymisePorts } from './stage.ts';
import { eraseByPrefix, eraseOriginals } from './withdrawn.ts';

type Stored = 'ctstream.clinical.v1.StudyStored';
type PatientWithdrawn = 'ctstream.clinical.v1.PatientWithdrawn';
type SubjectWithdrawn = 'ctstream.research.v1.SubjectWithdrawn';
type ErasureDone = 'ctstream.research.v1.ErasureDone';

export interface WithdrawPorts {
  readonly store: ObjectStore;
  readonly withdrawals: Withdrawals;
  readonly clock: Clock;
  /** After what time nothing can be writing that did not know of the withdrawal: longer than the longest job. */
  readonly eraseAgainAfterMs: number;
}

/** Anonymise with the withdrawals that concern it. Its own subject-withdrawn event is what makes it erase again. */
export const anonymiseAndWithdraw: Stage<Stored | PatientWithdrawn | SubjectWithdrawn | ErasureDone, AnonymisePorts & WithdrawPorts> = {
  ...anonymiseStage,
  consumes: [
    ...anonymiseStage.consumes,
    'ct.clinical.patient-withdrawn.v1',
    'ct.research.subject-withdrawn.v1',
    'ct.research.erasure-done.v1',
  ],
  produces: [...anonymiseStage.produces, 'ct.research.subject-withdrawn.v1'],
  told: async (event, outcome, ports, signal) => {
    if (event.type === 'ctstream.clinical.v1.StudyStored') await anonymiseStage.told?.(event, outcome, ports, signal);
  },
  handle: (event, ports, signal, job) => {
    switch (event.type) {
      case 'ctstream.clinical.v1.StudyStored':
        return handleAnew(event, ports, signal, job);
      case 'ctstream.clinical.v1.PatientWithdrawn':
        return eraseAndTell(event, ports, signal);
      case 'ctstream.research.v1.SubjectWithdrawn':
        return eraseAgain(event, ports, signal);
      case 'ctstream.research.v1.ErasureDone':
        return noteReport(event, ports);
    }
  },
};

/**
 * A study that comes again, after a merge of patients or from the dead letters, has no outcome until it is told: an old
 * mark would let the sweeper free its originals meanwhile.
 */
async function handleAnew(event: EventIn<Stored>, ports: AnonymisePorts, signal: AbortSignal, job?: Job): Promise<Outcome> {
  await ports.store.remove(CLINICAL_BUCKET, [doneKeyOf(event.value.manifestKey)], signal);
  return await anonymiseStage.handle(event, ports, signal, job);
}

/** Erases, then says of each study that it is withdrawn, and tells the research stages, by research ids only. */
async function eraseAndTell({ value }: EventIn<PatientWithdrawn>, ports: WithdrawPorts, signal: AbortSignal): Promise<Outcome> {
  const toErase = await ports.withdrawals.toErase(value.requestId);
  // The receipt is complete, so all of this was told: an event that comes again long after.
  if (toErase === undefined) return emit([]);
  const objects = await erase(toErase, ports.store, signal);
  await ports.withdrawals.note(value.requestId, 'anonymise', { objects, rows: 0 }, false);
  const { subjectId } = toErase;
  // Named, because a stage may know a study by another subject's revisions alone: those of before a merge in the PACS.
  const studies = researchStudies(toErase).sort();
  // The pseudonym is the cause: no clinical id is an ancestor of the event's id, and every attempt gives the same.
  const told: NewEvent = { type: 'ctstream.research.v1.SubjectWithdrawn', value: { subjectId, studies }, cause: subjectId };
  return emit([...toErase.studies.map(rejection), told]);
}

const researchStudies = ({ studies, retiredStudies = [] }: ToErase): ResearchStudyId[] => [
  ...studies.map(({ studyId }) => studyId),
  ...retiredStudies,
];

const rejection = ({ centre, studyInstanceUid, revision }: WithdrawnStudy): NewEvent => ({
  type: 'ctstream.clinical.v1.StudyRejected',
  value: {
    centre,
    studyInstanceUid,
    revision,
    stage: anonymiseStage.name,
    code: 'PATIENT_WITHDRAWN',
    detail: 'the patient withdrew; the study was erased',
  },
});

/** @throws Fault ERASURE_PENDING until the time has come: the retry topics make the delay */
async function eraseAgain({ value, timeMs }: EventIn<SubjectWithdrawn>, ports: WithdrawPorts, signal: AbortSignal): Promise<Outcome> {
  const requestId = await ports.withdrawals.requestOf(value.subjectId);
  const toErase = requestId === undefined ? undefined : await ports.withdrawals.toErase(requestId);
  if (requestId === undefined || toErase === undefined) return emit([]);
  if (ports.clock.nowMs() < timeMs + ports.eraseAgainAfterMs)
    throw new Fault('ERASURE_PENDING', true, 'jobs that began before the withdrawal may still be writing');
  const objects = await erase(toErase, ports.store, signal);
  await ports.withdrawals.note(requestId, 'anonymise', { objects, rows: 0 }, true);
  return emit([]);
}

async function noteReport({ value }: EventIn<ErasureDone>, { withdrawals }: WithdrawPorts): Promise<Outcome> {
  const stage = ERASING_STAGES.find((one) => one === value.stage);
  const requestId = await withdrawals.requestOf(value.subjectId);
  // A research stage speaks for itself alone, and anonymise for nobody but itself.
  if (stage === undefined || stage === 'anonymise' || requestId === undefined) return emit([]);
  await withdrawals.note(requestId, stage, { objects: value.objects, rows: value.rows }, true);
  return emit([]);
}

/** Everything of the patient in ct-clinical, ct-quarantine and ct-research. How many objects there were. */
async function erase(toErase: ToErase, store: ObjectStore, signal: AbortSignal): Promise<number> {
  let objects = 0;
  for (const { centre, studyInstanceUid } of toErase.studies)
    objects += await eraseOriginals(store, clinicalKey(centre, studyInstanceUid), signal);
  for (const studyId of researchStudies(toErase)) objects += await eraseByPrefix(store, RESEARCH_BUCKET, `${studyId}/`, signal);
  for (const heldId of toErase.heldIds) objects += await eraseByPrefix(store, QUARANTINE_BUCKET, `${heldId}/`, signal);
  return objects;
}
