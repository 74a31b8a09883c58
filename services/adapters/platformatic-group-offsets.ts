// A group's offsets for an operator (@platformatic/kafka). kafkajs' `setOffsets` joins the group as a member that fetches, to
// commit; here one plain commit without a member goes out, which the broker takes only for a group that has none.
import { Admin } from '@platformatic/kafka';
import { Fault } from '../kernel/fault.ts';
import type { GroupOffsets } from '../ports/group-offsets.ts';
import { askGroup } from './group-patience.ts';
import { busFault, saysGroupActive, saysGroupUnknown } from './kafka-client.ts';
import type { KafkaBusOptions } from './kafka-offsets.ts';
import { clientOptions, openAsking } from './platformatic-client.ts';

/** Connects at the first question. */
export function kafkaGroupOffsets(options: KafkaBusOptions): GroupOffsets {
  const { prefix } = options;
  const asking = openAsking(options);
  const admin = new Admin(clientOptions(options));
  return {
    topics: (patterns) => asking.find(patterns),
    ends: (topics) => asking.ends(topics),
    committed: (group, topics) => asking.committed(group, topics),
    members: (group) =>
      askGroup(`asking for the members of ${group}`, async () => {
        try {
          return (await admin.describeGroups({ groups: [prefix + group] })).get(prefix + group)?.members.size ?? 0;
        } catch (error) {
          if (saysGroupUnknown(error)) return 0;
          throw error;
        }
      }),
    set: async (group, points) => {
      const topics = [...Map.groupBy(points, (p) => p.topic)].map(([topic, of]) => ({
        name: prefix + topic,
        partitionOffsets: of.map(({ partition, offset }) => ({ partition, offset })),
      }));
      if (topics.length === 0) return;
      const set = (): Promise<void> => admin.alterConsumerGroupOffsets({ groupId: prefix + group, topics });
      await askGroup(`setting offsets of ${group}`, set, (error, what) =>
        saysGroupActive(error)
          ? new Fault('GROUP_ACTIVE', false, `the group ${group} has members`, { cause: error })
          : busFault(error, what),
      );
    },
    close: async () => {
      await Promise.allSettled([asking.close(), admin.close()]);
    },
  };
}
