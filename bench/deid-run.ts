// One run of our side of the bench, as a process of its own: IN OUT VAULT WORKERS.
import { enableCodeCache } from '../services/anonymise/code-cache.ts';

enableCodeCache();
const { openSqliteVault } = await import('../services/adapters/sqlite-vault.ts');
const { deidFolder } = await import('../services/anonymise/deid-folder.ts');

const [inDir = '', outDir = '', vaultFile = '', workers = '1'] = process.argv.slice(2);
const vault = openSqliteVault(vaultFile);
const { written, refused, seconds } = await deidFolder(inDir, outDir, { vault, workers: Number(workers) });
await vault.close();
process.stdout.write(
  `${JSON.stringify({ written, refused: refused.length, seconds, maxRssMb: Math.round(process.resourceUsage().maxRSS / 1024) })}\n`,
);
