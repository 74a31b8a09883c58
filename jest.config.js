// Three projects: unit tests beside the code, checks by other people's tools, and tests on the real parts, with a
// platform for each worker.
// Jest runs the .ts files as ES modules; @swc/jest only strips the types.
const common = {
  testEnvironment: 'node',
  extensionsToTreatAsEsm: ['.ts'],
  transform: {
    '^.+\\.ts$': [
      '@swc/jest',
      { jsc: { parser: { syntax: 'typescript' }, target: 'es2024', experimental: { keepImportAttributes: true } } },
    ],
  },
  modulePathIgnorePatterns: ['<rootDir>/.cache/', '<rootDir>/.ctstream/'],
};

export default {
  // A busy machine must fail no test: nothing here asserts how long something takes, and one limit for all ends what hangs.
  // What a test waits for has a limit of its own, which says what did not come.
  testTimeout: 600_000,
  projects: [
    {
      ...common,
      displayName: 'unit',
      testMatch: ['<rootDir>/{services,schemas,deploy,bench}/**/*.test.ts', '<rootDir>/test/{rules,shared,contract}/**/*.test.ts'],
    },
    { ...common, displayName: 'oracle', testMatch: ['<rootDir>/test/oracle/**/*.test.ts'] },
    {
      ...common,
      displayName: 'integration',
      testMatch: ['<rootDir>/test/{integration,fault}/**/*.test.ts'],
      globalSetup: '<rootDir>/test/integration/global-setup.ts',
      globalTeardown: '<rootDir>/test/integration/global-teardown.ts',
    },
  ],
};
