import { defineConfig } from 'vitest/config'

/** What takes longer than `npm test` should: needs the package registry, minutes, or both. */
export default defineConfig({
  test: {
    include: ['test/long/**/*.test.ts'],
    pool: 'forks',
    maxWorkers: 1,
    testTimeout: 300_000,
    hookTimeout: 300_000,
  },
})
