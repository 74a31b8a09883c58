// The one place where the local platform reads the environment: where the cache is, which Java to
// use, and the few variables that its child processes may inherit.
import { homedir } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';

const schema = z.object({
  CTSTREAM_CACHE: z.string().min(1).optional(),
  XDG_CACHE_HOME: z.string().min(1).optional(),
  JAVA_HOME: z.string().min(1).optional(),
  CI: z.string().optional(),
  CTSTREAM_KAFKA_HEAP_MB: z.coerce.number().int().min(256).default(768),
});

// What a server may see of the user's environment. Not more: a stray MINIO_*, PG* or KAFKA_* variable
// of the shell would change the part that is started.
const inheritedNames = ['PATH', 'HOME', 'LANG', 'TZ', 'TMPDIR', 'LD_LIBRARY_PATH', 'USER', 'LOGNAME'];

export interface LocalEnv {
  /** Folder that holds everything fetched or built, shared by all checkouts of the user. */
  cacheDir: string;
  javaHome: string | undefined;
  ci: boolean;
  kafkaHeapMb: number;
  /** Environment of the parts' processes. */
  childEnv: Record<string, string>;
}

/** Reads the environment once; throws with all problems at a time (a caller ends with exit code 78). */
export function readLocalEnv(source: NodeJS.ProcessEnv = process.env): LocalEnv {
  const parsed = schema.safeParse(source);
  if (!parsed.success) {
    const lines = parsed.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`);
    throw new Error(`The environment is not usable:\n  ${lines.join('\n  ')}`);
  }
  const env = parsed.data;
  const childEnv: Record<string, string> = {};
  for (const name of inheritedNames) {
    const value = source[name];
    if (value !== undefined) childEnv[name] = value;
  }
  return {
    cacheDir: env.CTSTREAM_CACHE ?? join(env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'ctstream'),
    javaHome: env.JAVA_HOME,
    ci: env.CI !== undefined && env.CI !== '' && env.CI !== 'false',
    kafkaHeapMb: env.CTSTREAM_KAFKA_HEAP_MB,
    childEnv,
  };
}
