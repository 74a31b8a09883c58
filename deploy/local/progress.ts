// Shows what is being done: a live list on a terminal, plain lines elsewhere. Always on stderr, so
// that stdout stays free for a command's JSON.
import { DefaultRenderer, Listr, type ListrDefaultRendererLogLevels, ListrLogger, ProcessOutput } from 'listr2';

export type Report = (line: string) => void;

export interface Task {
  title: string;
  run: (report: Report) => Promise<void>;
}

export interface ProgressOptions {
  /** Takes the lines instead of the terminal. */
  log?: ((line: string) => void) | undefined;
  quiet?: boolean | undefined;
  ci?: boolean | undefined;
}

/** Runs all tasks side by side. Every task is left to end; then the first failure is thrown. */
export async function runTasks(tasks: readonly Task[], options: ProgressOptions): Promise<void> {
  // A terminal that does not know its width (some CI) would get one letter a line.
  const live = !options.quiet && options.log === undefined && process.stderr.isTTY && process.stderr.columns > 20 && !options.ci;
  if (live) await runLive(tasks);
  else await runPlain(tasks, options.quiet ? () => {} : (options.log ?? ((line) => process.stderr.write(`${line}\n`))));
}

/** listr2 looks at stdout to see whether there is a terminal; ours is stderr, and is one. */
class StderrRenderer extends DefaultRenderer {
  static override nonTTY = true;
}

async function runLive(tasks: readonly Task[]): Promise<void> {
  const failures: unknown[] = [];
  const list = new Listr(
    tasks.map((task) => ({
      title: task.title,
      task: async (_context: unknown, handle: { output: string; title: string }) => {
        const started = Date.now();
        try {
          await task.run((line) => {
            handle.output = line;
          });
          handle.title = `${task.title} (${seconds(started)})`;
        } catch (error) {
          failures.push(error);
          throw error;
        }
      },
    })),
    {
      concurrent: true,
      exitOnError: false,
      // The platform handles signals itself; the list must not end the process before the cleanup.
      registerSignalListeners: false,
      renderer: StderrRenderer,
      rendererOptions: {
        logger: new ListrLogger<ListrDefaultRendererLogLevels>({
          useIcons: false,
          toStderr: [],
          processOutput: new ProcessOutput(process.stderr, process.stderr, { leaveEmptyLine: false }),
        }),
        collapseErrors: false,
        showErrorMessage: false,
      },
    },
  );
  await list.run();
  if (failures.length > 0) throw failures[0];
}

async function runPlain(tasks: readonly Task[], write: (line: string) => void): Promise<void> {
  const results = await Promise.allSettled(
    tasks.map(async (task) => {
      const started = Date.now();
      let last = 0;
      await task.run((line) => {
        // Installers print hundreds of lines; a log needs a sign of life.
        if (Date.now() - last < 15_000) return;
        last = Date.now();
        write(`[${task.title}] ${line}`);
      });
      write(`[${task.title}] ready (${seconds(started)})`);
    }),
  );
  for (const result of results) if (result.status === 'rejected') throw result.reason;
}

function seconds(since: number): string {
  return `${((Date.now() - since) / 1000).toFixed(1)} s`;
}
