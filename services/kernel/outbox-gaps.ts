// Which numbers of a source's outbox the log lacks: contiguous by construction, so a gap is a lost event. Pure.
import topicsFile from '../../schemas/topics.json' with { type: 'json' };
import { centreOfTopic } from './route.ts';

/** A number that a source drew, where it was found. */
export interface DrawnNumber {
  readonly source: string;
  readonly sequence: bigint;
  readonly topic: string;
  readonly partition: number;
  readonly timeMs: number;
  /** False for a number that a census only names. */
  readonly seen: boolean;
}

/** Partitions (`<topic>/<partition>`) that have lost their oldest records to retention, and since when all are kept
 * (milliseconds since 1970). */
export type MovedStarts = ReadonlyMap<string, number>;

interface Source {
  readonly name: string;
  /** Centre whose topics it writes; undefined for a writer of the city's. */
  readonly centre: string | undefined;
  readonly seen: Map<bigint, number>;
  /** Lowest number per partition. */
  readonly lowest: Map<string, bigint>;
  highest: bigint;
}

const GATEWAY_ENDINGS = topicsFile.topics
  .filter((t) => t.writers.includes('gateway-<centre>'))
  .map((t) => t.name.replace('ct.clinical.<centre>.', ''));

function gatewayTopic(topic: string, centre: string): boolean {
  return GATEWAY_ENDINGS.some((ending) => topic === `ct.clinical.${centre}.${ending}`);
}

/** A source as it is shown; one that is not the centre's own gateway shows whose topic it was found in. */
function nameOf(source: string, centre: string | undefined): string {
  const own = centre === undefined || `${source}/`.startsWith(`centre-gateway/${centre}/`);
  return (own ? source : `${centre}/${source}`).slice(0, 100);
}

function collect(numbers: Iterable<DrawnNumber>): Source[] {
  const sources = new Map<string, Source>();
  for (const n of numbers) {
    const centre = centreOfTopic(n.topic);
    // A gateway can write any source into its headers: what it writes counts for its own topics only.
    const at = `${centre ?? ''}|${n.source}`;
    const s = sources.get(at) ?? { name: nameOf(n.source, centre), centre, seen: new Map(), lowest: new Map(), highest: 0n };
    sources.set(at, s);
    if (n.sequence > s.highest) s.highest = n.sequence;
    if (!n.seen) continue;
    s.seen.set(n.sequence, Math.min(n.timeMs, s.seen.get(n.sequence) ?? Infinity));
    const place = `${n.topic}/${n.partition}`;
    const lowest = s.lowest.get(place);
    if (lowest === undefined || n.sequence < lowest) s.lowest.set(place, n.sequence);
  }
  return [...sources.values()];
}

/** Lowest number of the source that must still be in the log: 1 where nothing has expired. */
function firstJudged(s: Source, moved: MovedStarts): bigint {
  let first = 1n;
  for (const [place, keptSinceMs] of moved) {
    const topic = place.slice(0, place.lastIndexOf('/'));
    const writes = s.centre === undefined ? s.lowest.has(place) : gatewayTopic(topic, s.centre);
    if (!writes) continue;
    // An emptied partition may have held any number that was drawn before the time since when all is kept.
    let bound = s.lowest.get(place);
    if (bound === undefined) {
      bound = s.highest + 1n;
      for (const [n, timeMs] of s.seen) if (timeMs >= keptSinceMs && n < bound) bound = n;
    }
    if (bound > first) first = bound;
  }
  return first;
}

/** Gaps as `<source>#<number>` or `<source>#<first>-<last>`, sorted. */
export function outboxGaps(numbers: Iterable<DrawnNumber>, moved: MovedStarts): string[] {
  const gaps: string[] = [];
  for (const s of collect(numbers)) {
    let next = firstJudged(s, moved);
    const until = (end: bigint): void => {
      if (next < end) gaps.push(next + 1n === end ? `${s.name}#${next}` : `${s.name}#${next}-${end - 1n}`);
    };
    for (const n of [...s.seen.keys()].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0))) {
      until(n);
      if (n >= next) next = n + 1n;
    }
    until(s.highest + 1n);
  }
  return gaps.sort();
}
