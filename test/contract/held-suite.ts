// What every keeper of held studies does: the one in memory and the one in the vault's database.
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { centreId } from '../../services/kernel/ids.ts';
import type { HeldBook, HeldNote, HeldReview } from '../../services/ports/held-decisions.ts';

export interface HeldUnderTest {
  readonly held: HeldBook & HeldReview;
  /** The token of a study that the vault knows. */
  readonly token: string;
  close(): Promise<void>;
}

export function heldSuite(name: string, open: () => Promise<HeldUnderTest>): void {
  describe(`held studies, ${name}`, () => {
    let under: HeldUnderTest;
    beforeAll(async () => {
      under = await open();
    });
    afterAll(async () => under?.close());

    const noteOf = (heldId: string, digest: string): HeldNote => ({
      heldId,
      token: under.token,
      centre: centreId('c01'),
      code: 'HELD_BY_VERIFIER',
      digest,
      checks: ['element'],
      findings: 2,
      objects: [`${heldId}/x/findings.json`],
      eventId: 'e',
    });
    const asked = (heldId: string, digest: string, kind: 'released' | 'refused') => ({ heldId, digest, kind, by: 'Anna', reason: 'none' });

    test('what is held is listed until it ends, and remembered afterwards', async () => {
      const { held } = under;
      expect(await held.standing('h1')).toBeUndefined();
      await held.hold(noteOf('h1', 'd'));
      const { token: _, ...told } = noteOf('h1', 'd');
      expect((await held.list()).find(({ heldId }) => heldId === 'h1')).toEqual({ ...told, heldAtMs: expect.any(Number) });
      await held.decide(asked('h1', 'd', 'refused'));
      await held.end('h1', 'BURNED_IN_TEXT');
      expect(await held.find('h1')).toBeUndefined();
      expect((await held.list()).map(({ heldId }) => heldId)).not.toContain('h1');
      expect(await held.standing('h1')).toMatchObject({ decision: { kind: 'refused', digest: 'd' } });
    });

    test('a decision is for the findings of now: others undo it, the same ones keep it', async () => {
      const { held } = under;
      await held.hold(noteOf('h2', 'd'));
      expect(await held.decide(asked('h2', 'other', 'released'))).toBe(false);
      expect(await held.decide(asked('h2', 'd', 'released'))).toBe(true);
      expect((await held.find('h2'))?.decision).toMatchObject({ kind: 'released', digest: 'd', by: 'Anna', reason: 'none' });
      await held.hold(noteOf('h2', 'd'));
      expect(await held.standing('h2')).toMatchObject({ decision: { kind: 'released' } });
      await held.hold(noteOf('h2', 'e'));
      expect((await held.standing('h2'))?.decision).toBeUndefined();
      expect(await held.decide(asked('h9', 'd', 'released'))).toBe(false);
    });

    test('a look is of one person at one set of findings', async () => {
      const { held } = under;
      await held.hold(noteOf('h3', 'd'));
      await held.noteLook('h3', 'd', 'Anna');
      expect(await held.hasLooked('h3', 'd', 'Anna')).toBe(true);
      expect(await held.hasLooked('h3', 'd', 'Boris')).toBe(false);
      expect(await held.hasLooked('h3', 'e', 'Anna')).toBe(false);
      expect(await held.hasLooked('h2', 'd', 'Anna')).toBe(false);
    });
  });
}
