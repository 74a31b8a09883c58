// node test/fault/broken-connections.ts: each connection of ingest and anonymise broken in each way, and the table for docs/faults.md.
import { breakConnections } from './connections/run.ts';
import { runOneByOne } from './one-by-one-command.ts';

await runOneByOne({
  name: 'broken-connections',
  with: ['toxiproxy'],
  title: 'On every connection of ingest and anonymise',
  note: 'Toxiproxy stood in both directions of each connection, with a study for each fault. Kafka has one proxied listener for both stages.',
  run: (o) => breakConnections(o),
});
