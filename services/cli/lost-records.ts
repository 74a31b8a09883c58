// What a stage's groups have lost of their topics (LOG_TRUNCATED), and what finds the lost studies again.
import topicsFile from '../../schemas/topics.json' with { type: 'json' };
import { lossOf, type Loss } from '../kernel/lost-place.ts';
import { centreOfTopic, typeOfTopic } from '../kernel/route.ts';
import type { Zone } from '../kernel/stage.ts';
import type { GroupOffsets } from '../ports/group-offsets.ts';
import { retryTopics } from '../runtime/retry.ts';
import { GATEWAY_USER } from './access.ts';
import { CONSUMED_TOPICS } from './consumed-topics.ts';

/** A consumer group and what it consumes; logical names. */
export interface ConsumerGroup {
  readonly group: string;
  /** `<centre>` stands for every centre. */
  readonly topics: readonly string[];
}

const ZONES = new Map(Object.entries(topicsFile.stages) as [string, Zone][]);

/** The groups of a stage (`ingest`) or of a centre's gateway (`gateway-c01`); undefined for another name. */
export function groupsOf(name: string): readonly ConsumerGroup[] | undefined {
  const centre = GATEWAY_USER.exec(name)?.[1];
  if (centre !== undefined) return [{ group: name, topics: [`ct.clinical.${centre}.study-status.v1`] }];
  const [topics, zone] = [CONSUMED_TOPICS.get(name), ZONES.get(name)];
  if (topics === undefined || zone === undefined) return undefined;
  return [
    { group: name, topics },
    { group: `${name}.retry`, topics: retryTopics(zone, name) },
  ];
}

export interface LostPlace extends Loss {
  readonly group: string;
  readonly topic: string;
  readonly partition: number;
  readonly committed: bigint;
}

/** Every partition in which a group can't go on where it was. */
export async function lostPlaces(offsets: GroupOffsets, groups: readonly ConsumerGroup[]): Promise<LostPlace[]> {
  const found: LostPlace[] = [];
  for (const { group, topics } of groups) {
    const there = await offsets.topics(topics);
    // Before the ends: a group that runs goes on meanwhile.
    const committed = await offsets.committed(group, there);
    const ends = new Map((await offsets.ends(there)).map((e) => [`${e.topic}/${e.partition}`, e]));
    for (const { topic, partition, offset } of committed) {
      const end = ends.get(`${topic}/${partition}`);
      const loss = end === undefined ? undefined : lossOf(offset, end);
      if (loss !== undefined) found.push({ group, topic, partition, committed: offset, ...loss });
    }
  }
  return found;
}

/**
 * - `RESTORE_INSTEAD`: an event of the research zone lies in the event log whole (records in retry topics don't);
 * - `WITHDRAWALS`: a withdrawal is erased late, when anonymise tells it again at its start. It takes the topic's name to go on.
 */
export type AcceptRefusal = 'RESTORE_INSTEAD' | 'WITHDRAWALS';

const PATIENT_WITHDRAWN = 'ctstream.clinical.v1.PatientWithdrawn';

/** Why a topic's loss is not accepted; undefined when it may be. @param named whether the operator named this topic */
export function acceptRefusal(topic: string, named: boolean): AcceptRefusal | undefined {
  const type = typeOfTopic(topic);
  if (type?.startsWith('ctstream.research.') === true) return 'RESTORE_INSTEAD';
  return type === PATIENT_WITHDRAWN && !named ? 'WITHDRAWALS' : undefined;
}

const byCentre = (centre: string): string => `'ctstream announce-again --centre ${centre}', with --since as old as what was lost`;

/** What is to be done after the stage has started, one line each. */
export function nextSteps(stage: string, topics: readonly string[]): string[] {
  const centres = [...new Set(topics.map(centreOfTopic).filter((c) => c !== undefined))].sort();
  const ofAllCentres = topics.some((t) => centreOfTopic(t) === undefined && typeOfTopic(t) !== PATIENT_WITHDRAWN);
  return [
    `Start ${GATEWAY_USER.test(stage) ? 'the gateway' : stage}.`,
    ...centres.map((centre) => `Centre ${centre}: ${byCentre(centre)}.`),
    ...(ofAllCentres
      ? [
          `'ctstream account --studies --json' lists what is unaccounted, with its centre (identified). Of each such centre: ${byCentre('ID')}.`,
        ]
      : []),
    ...(topics.some((t) => typeOfTopic(t) === PATIENT_WITHDRAWN)
      ? [
          "Tell the privacy role: withdrawals may have been lost. anonymise tells each that is not complete again when it starts; 'ctstream withdraw receipt' has to say complete some hours later.",
        ]
      : []),
    "Then 'ctstream account' has to say 0 unaccounted.",
  ];
}
