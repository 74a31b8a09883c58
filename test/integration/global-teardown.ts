// Stops the platforms that global-setup.ts started.
export default async function teardown(): Promise<void> {
  await Promise.all((globalThis.ctstreamTestPlatforms ?? []).map((platform) => platform.stop()));
}
