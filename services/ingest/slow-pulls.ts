// How many pulls of slow PACSs may go on without one of the process's places. Each holds its part buffers for as long as its
// PACS likes, so that without a limit one thin line to all centres would fill the memory.

export interface SlowPulls {
  /** What one pull does. */
  pull(): SlowPull;
  /** Pulls without a place. */
  count(): number;
}

export interface SlowPull {
  /** True when the pull may go on without a place; it then counts until `back`. */
  leave(): boolean;
  /** It has a place again, or has ended. */
  back(): void;
}

export function slowPulls(most: number): SlowPulls {
  let count = 0;
  return {
    pull: () => {
      let isWithout = false;
      return {
        leave: () => {
          if (!isWithout && count < most) {
            isWithout = true;
            count += 1;
          }
          return isWithout;
        },
        back: () => {
          if (isWithout) count -= 1;
          isWithout = false;
        },
      };
    },
    count: () => count,
  };
}
