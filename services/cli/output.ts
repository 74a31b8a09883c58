// One document on stdout with --json, text for people without.

export interface Printable {
  readonly json?: boolean;
}

/** Writes the value as JSON or, without --json, the text. */
export function print(options: Printable, value: unknown, text: () => string): void {
  const out = options.json === true ? JSON.stringify(value, (_, v: unknown) => (typeof v === 'bigint' ? v.toString() : v), 2) : text();
  process.stdout.write(out.endsWith('\n') ? out : `${out}\n`);
}

/** A line for people while work goes on. */
export function progress(line: string): void {
  process.stderr.write(`${line}\n`);
}

/** A counter that rewrites its line on a terminal and says every tenth part elsewhere. */
export function progressCounter(what: string): (done: number, all: number) => void {
  let lastTenth = -1;
  return (done, all) => {
    if (process.stderr.isTTY) {
      process.stderr.write(`\r${what} ${done}/${all}${done === all ? '\n' : ''}`);
      return;
    }
    const tenth = all === 0 ? 10 : Math.floor((done * 10) / all);
    if (tenth > lastTenth) progress(`${what} ${done}/${all}`);
    lastTenth = tenth;
  };
}
