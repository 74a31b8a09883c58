// Who gets which partition. kafkajs' own assigner deals anew at each step and moves most of them; here everyone says
// what they have and keeps it, as far as all get their share.
import kafkajs from 'kafkajs';
import type { PartitionAssigner } from 'kafkajs';
import type { PartitionName } from './lease-board.ts';
import { partitionId } from './kafka-offsets.ts';

export interface Member {
  readonly id: string;
  /** Topics that it has subscribed to: while a new one is being found, members differ. */
  readonly topics: readonly string[];
  readonly owned: readonly PartitionName[];
  /** When it got them, milliseconds since 1970: of two who claim a partition the later one has it. */
  readonly sinceMs: number;
}

/**
 * Deals the partitions: shares differ by one at most (where all know the topics), and no partition leaves a member
 * that has its share or less. One member more takes at most ceil(partitions / members).
 */
export function assignSticky(members: readonly Member[], partitions: readonly PartitionName[]): Map<string, PartitionName[]> {
  const sorted = [...members].sort((a, b) => compare(a.id, b.id));
  const kept = claims(sorted, partitions);
  const shares = sharesOf(sorted, kept, partitions.length);
  const dealt = new Map<string, PartitionName[]>();
  const taken = new Set<string>();
  for (const m of sorted) {
    const keeps = (kept.get(m.id) ?? []).slice(0, shares.get(m.id));
    dealt.set(m.id, keeps);
    for (const p of keeps) taken.add(partitionId(p));
  }
  const free = partitions.filter((p) => !taken.has(partitionId(p))).sort((a, b) => compare(a.topic, b.topic) || a.partition - b.partition);
  for (const p of free) {
    const able = sorted.filter((m) => m.topics.includes(p.topic));
    const short = able.filter((m) => sizeOf(dealt, m) < (shares.get(m.id) ?? 0));
    // Shares are counted as if all knew all topics; where they don't, somebody takes more.
    const next = least(short.length > 0 ? short : able, (m) => sizeOf(dealt, m));
    if (next !== undefined) dealt.get(next.id)?.push(p);
  }
  return dealt;
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function sizeOf(dealt: ReadonlyMap<string, readonly PartitionName[]>, member: Member): number {
  return dealt.get(member.id)?.length ?? 0;
}

function least<T>(items: readonly T[], size: (item: T) => number): T | undefined {
  return items.reduce<T | undefined>((best, item) => (best === undefined || size(item) < size(best) ? item : best), undefined);
}

/** What each has of what there is, low partitions of all topics first: what is given up is then not all of one topic. */
function claims(members: readonly Member[], partitions: readonly PartitionName[]): Map<string, PartitionName[]> {
  const owners = new Map<string, Member>();
  for (const m of members) {
    for (const p of m.owned) {
      const other = owners.get(partitionId(p));
      if (m.topics.includes(p.topic) && (other === undefined || other.sinceMs < m.sinceMs)) owners.set(partitionId(p), m);
    }
  }
  const kept = new Map<string, PartitionName[]>();
  for (const p of [...partitions].sort((a, b) => a.partition - b.partition || compare(a.topic, b.topic))) {
    const owner = owners.get(partitionId(p));
    if (owner !== undefined) kept.set(owner.id, [...(kept.get(owner.id) ?? []), p]);
  }
  return kept;
}

/** Equal shares; what is left over goes to those who have most. */
function sharesOf(members: readonly Member[], kept: ReadonlyMap<string, readonly PartitionName[]>, count: number): Map<string, number> {
  const base = Math.floor(count / members.length);
  const byOwned = [...members].sort((a, b) => sizeOf(kept, b) - sizeOf(kept, a));
  return new Map(byOwned.map((m, i) => [m.id, i < count % members.length ? base + 1 : base]));
}

/** The name by which members of a group agree on this assigner, whichever client they use. */
export const ASSIGNER = 'ctstream-sticky';

export interface Holding {
  readonly partitions: readonly PartitionName[];
  readonly sinceMs: number;
}

/**
 * The assigner of kafkajs' shape. @param holding what this member has; asked at the start of every join, topic names
 * with their prefix.
 */
export function stickyAssigner(holding: () => Holding): PartitionAssigner {
  const { MemberMetadata, MemberAssignment } = kafkajs.AssignerProtocol;
  const version = 0;
  return ({ cluster }) => ({
    name: ASSIGNER,
    version,
    assign: async ({ members, topics }) => {
      const partitions = topics.flatMap((topic) =>
        cluster.findTopicPartitionMetadata(topic).map(({ partitionId: partition }) => ({ topic, partition })),
      );
      const dealt = assignSticky(
        members.map(({ memberId, memberMetadata }) => {
          const said = MemberMetadata.decode(memberMetadata);
          return { id: memberId, topics: said?.topics ?? [], ...holdingIn(said?.userData) };
        }),
        partitions,
      );
      return [...dealt].map(([memberId, list]) => {
        const byTopic = [...Map.groupBy(list, (p) => p.topic)].map(([topic, ps]) => [topic, ps.map((p) => p.partition)] as const);
        const assignment = Object.fromEntries(byTopic);
        return { memberId, memberAssignment: MemberAssignment.encode({ version, assignment, userData: Buffer.alloc(0) }) };
      });
    },
    protocol: ({ topics }) => {
      const metadata = MemberMetadata.encode({ version, topics: [...topics], userData: sayHolding(holding()) });
      return { name: ASSIGNER, metadata };
    },
  });
}

/** What a member says of itself when it joins. Topic names with their prefix. */
export function sayHolding({ partitions, sinceMs }: Holding): Buffer {
  return Buffer.from(JSON.stringify([sinceMs, ...partitions.map((p) => [p.topic, p.partition])]));
}

/** What a member said it has; nothing when it can't be read. */
export function holdingIn(userData: Buffer | undefined): { owned: PartitionName[]; sinceMs: number } {
  try {
    const said: unknown = JSON.parse(userData?.toString('utf8') ?? '[]');
    const [sinceMs, ...rest] = Array.isArray(said) ? (said as unknown[]) : [];
    const owned = rest.flatMap((entry) => {
      const [topic, partition] = Array.isArray(entry) ? (entry as unknown[]) : [];
      return typeof topic === 'string' && typeof partition === 'number' ? [{ topic, partition }] : [];
    });
    return { owned, sinceMs: typeof sinceMs === 'number' ? sinceMs : 0 };
  } catch {
    return { owned: [], sinceMs: 0 };
  }
}
