// What the account needs of the censuses, kept while the log is read. Each lists its whole PACS every hour: the lines of 30 days
// are 720 times the studies, and the fold asks for four of each study's at most. Pure but for what it has noted.
import { faultOfEvent, type Census } from './account-facts.ts';
import { clinicalKey, type ClinicalKey } from './ids.ts';

type Study = Census['value']['studies'][number];

interface Line {
  /** The census, without its lines. */
  readonly of: Census;
  readonly study: Study;
}

/** Lines of one study in one partition, in the order of the log. */
interface Kept {
  readonly first: Line;
  /** The last that listed another number of instances than the newest. */
  other: Line | undefined;
  /** The first since when every one listed the newest's number. */
  since: Line;
  newest: Line;
}

export interface CensusLines {
  /** To be called in the order of each partition. */
  note(e: Census): void;
  /** The censuses with the lines that count: their account is that of all that was noted. An envelope stays of each page. */
  events(): Iterable<Census>;
  /** Every study that was listed. */
  keys(): Iterable<ClinicalKey>;
}

export function censusLines(): CensusLines {
  const pages: Census[] = [];
  const ids = new Map<string, Set<string>>();
  const partitions = new Map<string, Map<ClinicalKey, Kept>>();

  /** Kafka may hold an id twice: the first counts, as in the fold. */
  const isFirst = ({ topic, id }: Census): boolean => {
    const seen = mapIn(ids, topic, () => new Set<string>());
    return seen.size < seen.add(id).size;
  };

  return {
    note(e) {
      const of: Census = { ...e, value: { ...e.value, studies: [] } };
      pages.push(of);
      if (faultOfEvent(e) !== undefined || !isFirst(e)) return;
      const studies = mapIn(partitions, `${e.topic}/${e.partition}`, () => new Map<ClinicalKey, Kept>());
      for (const study of e.value.studies) keepLine(studies, clinicalKey(e.value.centre, study.studyInstanceUid), { of, study });
    },
    *events() {
      const lines = new Map<Census, Study[]>();
      for (const studies of partitions.values())
        for (const { first, other, since, newest } of studies.values())
          for (const line of new Set([first, other, since, newest]))
            if (line !== undefined) mapIn(lines, line.of, () => []).push(line.study);
      for (const page of pages) yield { ...page, value: { ...page.value, studies: lines.get(page) ?? [] } };
    },
    *keys() {
      for (const studies of partitions.values()) yield* studies.keys();
    },
  };
}

function keepLine(studies: Map<ClinicalKey, Kept>, key: ClinicalKey, line: Line): void {
  const kept = studies.get(key);
  if (kept === undefined) {
    studies.set(key, { first: line, other: undefined, since: line, newest: line });
    return;
  }
  if (kept.newest.study.instanceCount !== line.study.instanceCount) {
    kept.other = kept.newest;
    kept.since = line;
  }
  kept.newest = line;
}

function mapIn<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  const found = map.get(key) ?? make();
  map.set(key, found);
  return found;
}
