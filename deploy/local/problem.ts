// What a person can do something about: the parts that are missing or did not start, in plain words.

/** EX_CONFIG of sysexits: something on this machine has to be set up first. */
export const EXIT_CONFIG = 78;

export interface MissingTool {
  tool: string;
  why: string;
  /** What to type, or where to get it. */
  remedy: string;
}

/** One or more tools are missing; lists all of them at once. */
export class MissingToolsError extends Error {
  readonly exitCode = EXIT_CONFIG;
  readonly missing: readonly MissingTool[];

  constructor(missing: readonly MissingTool[]) {
    const lines = missing.map((m) => `  ${m.tool}: ${m.why}\n    ${m.remedy}`);
    super(`The local platform needs ${missing.length === 1 ? 'a tool that is' : 'tools that are'} not here:\n${lines.join('\n')}`);
    this.name = 'MissingToolsError';
    this.missing = missing;
  }
}

/** A part could not be fetched, built or started; the message ends with the tail of its own log. */
export class PartFailedError extends Error {
  readonly exitCode = 1;
  readonly part: string;

  constructor(part: string, what: string, logTail: string) {
    super(`${part} ${what}${logTail.trim() === '' ? '' : `. The end of its log:\n${indent(logTail)}`}`);
    this.name = 'PartFailedError';
    this.part = part;
  }
}

/** Another platform is using the same run folder. */
export class PlatformRunningError extends Error {
  readonly exitCode = 1;

  constructor(dir: string, pid: number | null) {
    const who = pid === null ? 'a detached platform' : `the platform of process ${pid}`;
    super(`${who} is running in ${dir}. Stop it first (npm run -s ctstream -- down), or use another folder.`);
    this.name = 'PlatformRunningError';
  }
}

function indent(text: string): string {
  return text
    .trimEnd()
    .split('\n')
    .slice(-25)
    .map((line) => `    ${line}`)
    .join('\n');
}
