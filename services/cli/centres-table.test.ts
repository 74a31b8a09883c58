import { expect, test } from '@jest/globals';
import { centresTable } from './centres-table.ts';

test('a centre is one row with its counts, reasons and the state of its PACS', () => {
  const row = { centre: 'c01', sent: 7, acknowledged: 4, waiting: 1, refused: 2, outOfScope: 3, outbox: 5, census: null };
  const text = centresTable([
    { ...row, reasons: { GANTRY_TILT: 1, TRUNCATED: 2 }, pacs: { usable: true, code: null } },
    {
      ...row,
      centre: 'c02',
      reasons: {},
      toAnnounceAgain: 12,
      pacs: { usable: false, code: 'SOURCE_UNAVAILABLE' },
      census: { takenAt: '2026-01-02T03:04:05.678Z' },
    },
  ]);
  const lines = text.split('\n');
  const c01 = lines.find((l) => l.includes('c01')) ?? '';
  expect(c01.match(/[\w.]+( \w+)*/g)).toEqual(['c01', '7', '4', '1', '2', '3', '5', 'answers', 'none yet', 'TRUNCATED 2']);
  expect(lines[lines.indexOf(c01) + 1]).toContain('GANTRY_TILT 1');
  expect(lines.find((l) => l.includes('c02'))).toMatch(/SOURCE_UNAVAILABLE.*2026-01-02 03:04:05.*to announce again: 12/);
});
