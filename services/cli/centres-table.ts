// What the gateway says of each centre, as a table for people.
import Table from 'cli-table3';
import { z } from 'zod';

/** The part of /status.json that the table shows. */
export const centresAnswer = z.object({
  centres: z.array(
    z.object({
      centre: z.string(),
      sent: z.number(),
      acknowledged: z.number(),
      waiting: z.number(),
      refused: z.number(),
      outOfScope: z.number(),
      reasons: z.record(z.string(), z.number()),
      pacs: z.object({ usable: z.boolean(), code: z.string().nullable() }),
      census: z.object({ takenAt: z.string() }).nullable(),
      toAnnounceAgain: z.number().optional(),
      outbox: z.number(),
    }),
  ),
});
type CentreRow = z.infer<typeof centresAnswer>['centres'][number];

function reasonsOf(row: CentreRow): string {
  const again = row.toAnnounceAgain ?? 0;
  const lines = Object.entries(row.reasons)
    .toSorted(([a, n], [b, m]) => m - n || a.localeCompare(b))
    .map(([code, n]) => `${code} ${n}`);
  return [...lines, ...(again > 0 ? [`to announce again: ${again}`] : [])].join('\n');
}

/** One row a centre: its counts, why studies wait or were refused, and whether its PACS answers. */
export function centresTable(rows: readonly CentreRow[]): string {
  const table = new Table({
    head: ['centre', 'sent', 'acknowledged', 'waiting', 'refused', 'out of scope', 'to publish', 'PACS', 'last census', 'why'],
    colAligns: ['left', 'right', 'right', 'right', 'right', 'right', 'right'],
    style: { head: [], border: [], compact: true },
  });
  for (const r of rows)
    table.push([
      r.centre,
      r.sent,
      r.acknowledged,
      r.waiting,
      r.refused,
      r.outOfScope,
      r.outbox,
      r.pacs.usable ? 'answers' : (r.pacs.code ?? 'NO'),
      r.census?.takenAt.slice(0, 19).replace('T', ' ') ?? 'none yet',
      reasonsOf(r),
    ]);
  return table.toString();
}
