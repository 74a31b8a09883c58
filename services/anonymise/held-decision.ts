// What a person's decision does when the held study comes again: a release counts for exactly the findings
// that the person saw, a refusal for the study whatever is found in it.
import type { Code } from '../kernel/codes.ts';
import { Fault } from '../kernel/fault.ts';
import type { CentreId } from '../kernel/ids.ts';
import { reject } from '../kernel/outcome.ts';
import type { Outcome } from '../kernel/outcome.ts';
import type { HeldBook, HeldCode, HeldStanding } from '../ports/held-decisions.ts';
import type { ObjectStore } from '../ports/object-store.ts';
import { quarantine, QUARANTINE_BUCKET } from './quarantine.ts';
import type { StudyFindings } from './quarantine.ts';

/** The code that a refused study is rejected with. */
export const codeOfRefusal = (held: HeldCode): Code => (held === 'HELD_BURNED_IN_TEXT' ? 'BURNED_IN_TEXT' : 'REFUSED_BY_REVIEW');

/** The rejection, when a person refused the study. */
export const refusalOf = (standing: HeldStanding | undefined): Outcome | undefined =>
  standing?.decision?.kind === 'refused' ? reject(codeOfRefusal(standing.code), 'refused by the security role') : undefined;

/** True when nothing was found, or a person released exactly this. */
export const mayPublish = (findings: Pick<StudyFindings, 'isHeld' | 'digest'>, standing: HeldStanding | undefined): boolean =>
  !findings.isHeld() || (standing?.decision?.kind === 'released' && standing.decision.digest === findings.digest());

export interface Holding {
  readonly heldId: string;
  /** The study's token in the vault. */
  readonly token: string;
  readonly centre: CentreId;
  readonly eventId: string;
  readonly standing: HeldStanding | undefined;
}

export interface HoldingPorts {
  readonly store: ObjectStore;
  readonly held: HeldBook;
}

/**
 * Puts note and pictures into the quarantine, notes the hold, and parks the study: a person decides.
 * @throws Fault HELD_BY_VERIFIER or HELD_BURNED_IN_TEXT, always; its text names checks and places
 */
export const hold = async (of: Holding, findings: StudyFindings, { store, held }: HoldingPorts, signal: AbortSignal): Promise<never> => {
  const objects = await quarantine(store, of, findings, signal);
  const list = findings.list();
  const note = {
    heldId: of.heldId,
    token: of.token,
    centre: of.centre,
    code: findings.code(),
    digest: findings.digest(),
    checks: [...new Set(list.map(({ check }) => check))],
    findings: list.reduce((sum, { count }) => sum + count, 0),
    objects,
    eventId: of.eventId,
  };
  await held.hold(note, signal);
  const old = (of.standing?.objects ?? []).filter((object) => !objects.includes(object));
  if (old.length > 0) await store.remove(QUARANTINE_BUCKET, old, signal);
  const places = list.slice(0, 5).map(({ check, where, count }) => `${check} ${where} (${count})`);
  throw new Fault(note.code, false, `${of.heldId}: ${places.join('; ')}`);
};

/** The study's way has ended: what was held of it goes. Nothing to do for one that was never held. */
export const endHold = async (of: Holding, outcome: Outcome, { store, held }: HoldingPorts, signal: AbortSignal): Promise<void> => {
  if (of.standing === undefined) return;
  await store.remove(QUARANTINE_BUCKET, of.standing.objects, signal);
  await held.end(of.heldId, outcome.kind === 'emit' ? 'published' : outcome.code, signal);
};
