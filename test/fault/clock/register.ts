// Preloaded into a stage's own process: its wall clock is off by what a file says, as on a host whose clock jumped. Timers and
// `performance.now()` go on as they do on such a host: they count from its start.
import { readFileSync } from 'node:fs';

const file = process.env['CTSTREAM_CLOCK_FILE'] ?? '';
const real = Date.now.bind(Date);
let readAt = -Infinity;
let shiftMs = 0;

function shift(): number {
  if (performance.now() - readAt < 50) return shiftMs;
  readAt = performance.now();
  try {
    shiftMs = Number(readFileSync(file, 'utf8'));
  } catch {
    shiftMs = 0;
  }
  return shiftMs;
}

const now = (): number => real() + shift();
globalThis.Date = new Proxy(Date, {
  construct: (of, args, target) => Reflect.construct(of, args.length === 0 ? [now()] : args, target),
  apply: () => new Date().toString(),
  get: (of, name) => (name === 'now' ? now : Reflect.get(of, name)),
});
