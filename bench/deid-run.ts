// One run of our side of the bench, as a process of its own: the command as people type it, and then its
// greatest memory on a line of its own.
process.on('exit', () => process.stdout.write(`${JSON.stringify({ maxRssMb: Math.round(process.resourceUsage().maxRSS / 1024) })}\n`));
await import('../services/cli/main.ts');
