// What the log says in the end, as pure functions over its events: what is missing, what is there twice.
import type { EventType } from '../../schemas/events.gen.ts';
import topicsFile from '../../schemas/topics.json' with { type: 'json' };
import { researchRevision, researchStudyId } from '../../services/anonymise/identity.ts';
import { anonymiseStage } from '../../services/anonymise/stage.ts';
import { assess } from '../../services/assess/stage.ts';
import type { OperatorPorts } from '../../services/cli/deployment.ts';
import { ingestStage } from '../../services/ingest/stage.ts';
import { clinicalKey, type ClinicalKey } from '../../services/kernel/ids.ts';
import { typeOfTopic } from '../../services/kernel/route.ts';
import type { EventIn } from '../../services/kernel/stage.ts';
import { labelQueueStage } from '../../services/label-queue/stage.ts';
import { releaseStage } from '../../services/release/stage.ts';
import { selectStage } from '../../services/select/stage.ts';

export interface WholeLog {
  /** Every record of the event topics, repeated ones too. */
  readonly events: readonly EventIn[];
  /** Dead letters, as `stage code`. */
  readonly dead: readonly string[];
  /** Secret of each study that the vault links. */
  readonly secrets: ReadonlyMap<ClinicalKey, Uint8Array>;
}

const parkedTopics = Object.entries(topicsFile.stages).map(([stage, zone]) => `ct.${zone}.${stage}.*`);

/** Reads everything, with the operator's rights. @throws Fault while a part is away, or for a record that does not decode. */
export async function readLog(ports: OperatorPorts): Promise<WholeLog> {
  const events: EventIn[] = [];
  const dead: string[] = [];
  const topics = await ports.bus.topics([...topicsFile.topics.map((t) => t.name), ...parkedTopics]);
  for await (const record of ports.bus.read(await ports.bus.ends(topics))) {
    if (typeOfTopic(record.topic) !== undefined) events.push(ports.codec.decode(record));
    else if (record.topic.endsWith('.dead')) dead.push(`${record.topic.split('.')[2]} ${record.headers['ct-code'] ?? ''}`);
  }
  const secrets = new Map<ClinicalKey, Uint8Array>();
  for await (const l of ports.vault.lineages()) secrets.set(clinicalKey(l.centre, l.studyInstanceUid), l.secret);
  return { events, dead, secrets };
}

const STAGES = [ingestStage, anonymiseStage, assess, selectStage, labelQueueStage, releaseStage];

/** Partitions of what the stages consume, retry topics too, that hold more than their group has committed, as `<group> <topic>/<partition>`. */
export async function notConsumed({ bus }: OperatorPorts): Promise<string[]> {
  const groups = STAGES.flatMap(({ name, zone, consumes }) => [
    { group: name, patterns: consumes },
    { group: `${name}.retry`, patterns: [`ct.${zone}.${name}.retry.*`] },
  ]);
  const open: string[] = [];
  for (const { group, patterns } of groups) {
    const topics = await bus.topics(patterns);
    // Committed first: what comes meanwhile looks as if it were not consumed, never the other way round.
    const done = new Map((await bus.committed(group, topics)).map((c) => [`${c.topic}/${c.partition}`, c.offset]));
    for (const e of await bus.ends(topics)) {
      const committed = done.get(`${e.topic}/${e.partition}`) ?? e.first;
      if (e.end > (committed < e.first ? e.first : committed)) open.push(`${group} ${e.topic}/${e.partition}`);
    }
  }
  return open;
}

type Of<T extends EventType> = Extract<EventIn, { type: T }>;

export function ofType<T extends EventType>(events: readonly EventIn[], type: T): Of<T>[] {
  return events.filter((e): e is Of<T> => e.type === type);
}

/** What there may be once only, told by a name. The same event may lie in Kafka twice, under one id; two ids are two events. */
function onceOnly(e: EventIn): string | undefined {
  switch (e.type) {
    case 'ctstream.clinical.v1.StudyStored':
      return `${e.value.centre} ${e.value.studyInstanceUid} ${e.value.revision}`;
    case 'ctstream.research.v1.StudyAnonymised':
    case 'ctstream.research.v1.StudyAssessed':
    case 'ctstream.research.v1.StudySelected':
    case 'ctstream.research.v1.StudyLabelled':
      return `${e.value.studyId} ${e.value.revision}`;
    case 'ctstream.research.v1.SelectionRoundClosed':
      return String(e.value.round);
    case 'ctstream.research.v1.DatasetReleased':
      return e.value.version;
    default:
      return undefined;
  }
}

/** Events that say the same of the same thing under several ids. */
export function doubledEvents(events: readonly EventIn[]): string[] {
  const ids = new Map<string, Set<string>>();
  for (const e of events) {
    const name = onceOnly(e);
    if (name === undefined) continue;
    const what = `${e.type} ${name}`;
    ids.set(what, (ids.get(what) ?? new Set()).add(e.id));
  }
  return [...ids].filter(([, set]) => set.size > 1).map(([what, set]) => `${set.size} events instead of one: ${what}`);
}

/** Consumed events that nothing came of: neither the next stage's event nor a word why not. */
export function missingEvents({ events, secrets }: WholeLog): string[] {
  const said = new Set<string>();
  for (const e of events) {
    const v = e.value;
    if ('studyInstanceUid' in v && 'revision' in v) said.add(`${e.type} ${clinicalKey(v.centre, v.studyInstanceUid)} ${v.revision}`);
    if ('studyId' in v && 'revision' in v) said.add(`${e.type} ${v.studyId} ${v.revision}`);
  }
  const follows = (e: EventIn, name: string, types: readonly EventType[]): string[] =>
    types.some((type) => said.has(`${type} ${name}`)) ? [] : [`nothing came of ${e.type} ${name}`];
  const clinicalVerdicts = ['ctstream.clinical.v1.StudyRejected', 'ctstream.clinical.v1.StudySkipped'] as const;
  const researchVerdicts = ['ctstream.research.v1.StudyRejected', 'ctstream.research.v1.StudySkipped'] as const;
  const missing = events.flatMap((e) => {
    switch (e.type) {
      case 'ctstream.clinical.v1.StudyAvailable':
        // The status names the revision that was announced, also when the study is stored under another.
        return follows(e, `${clinicalKey(e.value.centre, e.value.studyInstanceUid)} ${e.value.revision}`, [
          'ctstream.clinical.v1.StudyStatus',
          ...clinicalVerdicts,
        ]);
      case 'ctstream.clinical.v1.StudyStored': {
        const key = clinicalKey(e.value.centre, e.value.studyInstanceUid);
        const secret = secrets.get(key);
        const crossed =
          secret !== undefined &&
          said.has(`ctstream.research.v1.StudyAnonymised ${researchStudyId(secret)} ${researchRevision(secret, e.value.revision)}`);
        return crossed ? [] : follows(e, `${key} ${e.value.revision}`, clinicalVerdicts);
      }
      case 'ctstream.research.v1.StudyAnonymised':
        return follows(e, `${e.value.studyId} ${e.value.revision}`, ['ctstream.research.v1.StudyAssessed', ...researchVerdicts]);
      case 'ctstream.research.v1.StudyAssessed':
        return follows(e, `${e.value.studyId} ${e.value.revision}`, [
          'ctstream.research.v1.StudySelected',
          'ctstream.research.v1.StudyExcluded',
          ...researchVerdicts,
        ]);
      case 'ctstream.research.v1.StudySelected':
        return follows(e, `${e.value.studyId} ${e.value.revision}`, ['ctstream.research.v1.StudyLabelled', ...researchVerdicts]);
      default:
        return [];
    }
  });
  return [...new Set(missing)];
}
