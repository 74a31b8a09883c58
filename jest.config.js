// Jest runs the .ts files as ES modules; @swc/jest only strips the types.
export default {
  testEnvironment: 'node',
  extensionsToTreatAsEsm: ['.ts'],
  transform: {
    '^.+\\.ts$': ['@swc/jest', { jsc: { parser: { syntax: 'typescript' }, target: 'es2024', experimental: { keepImportAttributes: true } } }],
  },
  testMatch: ['**/*.test.ts'],
  modulePathIgnorePatterns: ['<rootDir>/.cache/'],
};
