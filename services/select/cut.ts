// The cut of a round: how far each partition was seen without a hole. Records of a partition finish in
// any order, so the highest offset alone would name a cut that holds records which have not come.
import type { Transaction } from '../ports/database.ts';

export interface Cut {
  readonly topic: string;
  readonly partition: number;
  /** First offset that is not considered. */
  readonly endOffset: number;
}

/** Offsets below the cut that did not come in time: retried for long, dead, or never decodable. */
export type Hole = readonly [topic: string, partition: number, first: number, last: number];

/**
 * Moves `progress` as far as offsets were seen without a hole, and over a hole when the record behind it
 * has waited longer than `holeWaitMs` (what comes late is a candidate of a later round).
 */
export async function advanceCut(tx: Transaction, holeWaitMs: number): Promise<{ cut: Cut[]; holes: Hole[] }> {
  const rows = await tx.query<{ topic: string; partition: number; end_place: string; holes: [string, string][] }>(
    `WITH stepped AS (
       SELECT s.topic, s.partition, s.place, s.seen_at,
              coalesce(lag(s.place) OVER w + 1, p.next, 0) AS expected
       FROM seen s LEFT JOIN progress p USING (topic, partition)
       WHERE s.place >= coalesce(p.next, 0)
       WINDOW w AS (PARTITION BY s.topic, s.partition ORDER BY s.place)
     ), ended AS (
       SELECT topic, partition,
              coalesce(min(expected) FILTER (WHERE place > expected AND seen_at > clock_timestamp() - $1 * interval '1 millisecond'), max(place) + 1) AS end_place
       FROM stepped GROUP BY topic, partition
     )
     SELECT e.topic, e.partition, e.end_place,
            (SELECT coalesce(json_agg(json_build_array(s.expected::text, (s.place - 1)::text) ORDER BY s.place), '[]')
             FROM stepped s WHERE s.topic = e.topic AND s.partition = e.partition AND s.place > s.expected AND s.place < e.end_place) AS holes
     FROM ended e`,
    [holeWaitMs],
  );
  const [, , all] = await Promise.all([
    tx.query(
      `INSERT INTO progress (topic, partition, next) SELECT * FROM unnest($1::text[], $2::int[], $3::bigint[])
       ON CONFLICT (topic, partition) DO UPDATE SET next = excluded.next`,
      [rows.map((r) => r.topic), rows.map((r) => r.partition), rows.map((r) => r.end_place)],
    ),
    tx.query('DELETE FROM seen s USING progress p WHERE p.topic = s.topic AND p.partition = s.partition AND s.place < p.next'),
    tx.query<{ topic: string; partition: number; next: string }>(
      'SELECT topic, partition, next FROM progress WHERE next > 0 ORDER BY topic, partition',
    ),
  ]);
  return {
    cut: all.map((r) => ({ topic: r.topic, partition: r.partition, endOffset: Number(r.next) })),
    holes: rows.flatMap((r) => r.holes.map(([first, last]): Hole => [r.topic, r.partition, Number(first), Number(last)])),
  };
}
