// What a configuration is refused for.
import { ConfigError } from '../../services/runtime/env.ts';

/** The problems of the ConfigError that the work throws; none when it throws nothing. @throws any other error */
export function problemsOf(work: () => unknown): readonly string[] {
  try {
    work();
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
  return [];
}
