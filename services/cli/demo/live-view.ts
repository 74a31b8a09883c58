// What the demo shows while studies flow: the funnel redrawn on a terminal, a line now and then in a log.
import { createLogUpdate } from 'log-update';
import type { Account } from '../../kernel/accounting.ts';
import { funnelLine, funnelTable } from './funnel.ts';

export interface LiveView {
  show(account: Account): void;
  /** A line that stays: what the demo does now. */
  note(line: string): void;
  end(): void;
}

const LINE_EVERY_MS = 5000;

/** Draws on stderr; stdout stays free. */
export function liveView(): LiveView {
  if (!process.stderr.isTTY) return plainView();
  const draw = createLogUpdate(process.stderr);
  let last = '';
  let noted = '';
  return {
    show(account) {
      last = funnelTable(account);
      draw(`${noted}\n${last}`);
    },
    note(line) {
      noted = line;
      draw(`${noted}\n${last}`);
    },
    end: () => draw.done(),
  };
}

function plainView(): LiveView {
  let lastAt = 0;
  let lastLine = '';
  return {
    show(account) {
      const line = funnelLine(account);
      if (line === lastLine || Date.now() - lastAt < LINE_EVERY_MS) return;
      lastAt = Date.now();
      lastLine = line;
      process.stderr.write(`${line}\n`);
    },
    note: (line) => void process.stderr.write(`${line}\n`),
    end: () => undefined,
  };
}
