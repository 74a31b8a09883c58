import { expect, test } from '@jest/globals';
import { ERASING_STAGES, type Receipt } from '../ports/withdrawals.ts';
import { EXPIRES, receiptShown, receiptText } from './withdraw-receipt.ts';

const receipt = (more: Partial<Receipt> = {}): Receipt => ({
  requestId: 'q1',
  kind: 'withdrawal',
  requestedAtMs: 0,
  completedAtMs: undefined,
  reports: ERASING_STAGES.map((stage, i) => ({ stage, doneAtMs: i === 0 ? 1000 : undefined, objects: i, rows: 2 * i })),
  ...more,
});

test('a receipt says who has erased what, what only expires, and that later studies are refused', () => {
  const shown = receiptShown(receipt());
  expect(shown).toMatchObject({
    requestId: 'q1',
    state: 'erasing',
    requestedAt: '1970-01-01T00:00:00.000Z',
    completedAt: null,
    refusal: 'in force',
  });
  expect(shown.stages[0]).toEqual({ stage: 'anonymise', state: 'done', at: '1970-01-01T00:00:01.000Z', objects: 0, rows: 0 });
  expect(shown.stages[1]).toMatchObject({ stage: 'assess', state: 'pending', at: null });
  expect(receiptText(shown)).toContain('Later studies of this person are refused');
  for (const { what } of EXPIRES) expect(receiptText(shown)).toContain(what);
  expect(receiptShown(receipt({ completedAtMs: 5000 }))).toMatchObject({ state: 'complete', completedAt: '1970-01-01T00:00:05.000Z' });
});

test('retiring a pseudonym refuses nobody, and says so', () => {
  const shown = receiptShown(receipt({ kind: 'correction' }));
  expect(shown.refusal).toBe('none');
  expect(receiptText(shown)).not.toContain('are refused.');
});

test('of a person nobody knows there is no request, but later studies are refused', () => {
  expect(receiptShown('denied')).toMatchObject({ requestId: null, state: 'denied', stages: [], refusal: 'in force' });
  expect(receiptText(receiptShown('denied'))).toMatch(/Later studies under it are refused[^]*withdraw that id too/);
});
