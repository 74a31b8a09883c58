// Preloaded into a stage's own process (NODE_OPTIONS=--import): its main.ts gets adapters that report their steps, everything else
// stays as it is.
import { registerHooks } from 'node:module';

const STEPPED = new URL('./adapters.ts', import.meta.url).href;
const ADAPTER = /\/services\/adapters\/(?:s3-store|dicomweb-client|postgres-vault|postgres-held)\.ts$/;
const MAIN = /\/services\/[a-z-]+\/main\.ts$/;

await import('./kafka.ts');
registerHooks({
  resolve(specifier, context, next) {
    const found = next(specifier, context);
    return MAIN.test(context.parentURL ?? '') && ADAPTER.test(found.url) ? { ...found, url: STEPPED } : found;
  },
});
