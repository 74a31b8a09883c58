// De-identifies every hostile file in this process, so that its memory can be limited; prints what went wrong.
import { judge, newRow, workbench } from './edge-and-fuzz.ts';
import { HOSTILE } from './edge-and-fuzz-hostile.ts';

const bench = workbench();
const row = newRow('hostile');
for (const [name, make] of Object.entries(HOSTILE)) {
  const fault = await judge(bench, make(), row);
  if (fault !== undefined) row.faults.push(`${name}: ${fault}`);
}
await bench.close();
process.stdout.write(JSON.stringify({ faults: row.faults, tried: row.tried }));
