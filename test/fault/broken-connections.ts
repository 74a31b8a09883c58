// node test/fault/broken-connections.ts: each connection of each service broken in each way, and the table for docs/faults.md.
import { breakConnections } from './connections/run.ts';
import { runOneByOne } from './one-by-one-command.ts';

await runOneByOne({
  name: 'broken-connections',
  description: 'Breaks each connection of each service in each way, a study for each.',
  with: ['toxiproxy'],
  title: 'On every connection',
  note: 'Toxiproxy stood in each connection of each service, in both directions, with a study for each fault: broken from before the study was sent until it had come through the service, or until 5 s after it had come to it. Simulated readers graded all the time; for a fault of release a version was built and approved while it lasted, for one of an archiver the archive had to come to the end of the log.',
  run: (o) => breakConnections(o),
});
