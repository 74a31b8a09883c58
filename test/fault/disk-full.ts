// node test/fault/disk-full.ts: MinIO without room while ingest or anonymise has to write, and the table for docs/faults.md. Needs root.
import { fillDisk } from './disk/run.ts';
import { runOneByOne } from './one-by-one-command.ts';

await runOneByOne({
  name: 'disk-full',
  description: "Fills MinIO's disk, a study for each time. Only root may mount the small disk.",
  title: "When MinIO's disk is full",
  note: 'MinIO lay on a disk of 192 MB that held not a block more from the moment that the row names on.',
  run: (o) => fillDisk(o),
});
