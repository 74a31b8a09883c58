// node test/fault/broken-connections.ts: each connection of each service broken in each way, and the table for docs/faults.md.
import { breakConnections } from './connections/run.ts';
import { runOneByOne } from './one-by-one-command.ts';

await runOneByOne({
  name: 'broken-connections',
  with: ['toxiproxy'],
  title: 'On every connection',
  note: 'Toxiproxy stood in both directions of each connection, with a study for each fault, and was broken from before the study was sent until it had come through the service, or for 5 s after it had come to it. Readers graded and, at release, a version was built and approved meanwhile.',
  run: (o) => breakConnections(o),
});
