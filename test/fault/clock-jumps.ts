// node test/fault/clock-jumps.ts: the wall clock of services jumps, and the table for docs/faults.md.
import { jumpClocks } from './clock/run.ts';
import { runOneByOne } from './one-by-one-command.ts';

await runOneByOne({
  name: 'clock-jumps',
  description: 'Lets the wall clock of services jump, a study for each jump.',
  title: 'When the clock jumps',
  note: "The process's wall clock was off; timers count from the start of the host and do not jump. An S3 server refuses requests whose clock is off by more than 15 minutes, so the longer jumps are over before the study comes through.",
  run: (o) => jumpClocks(o),
});
