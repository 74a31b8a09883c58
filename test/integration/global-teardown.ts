// Stops the platform that global-setup.ts started.
export default async function teardown(): Promise<void> {
  await globalThis.ctstreamTestPlatform?.stop();
}
