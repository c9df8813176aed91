import { describe } from 'vitest'
import { INDEXING_CASES } from './indexing-cases.ts'
import { describeIndexingProperties } from './indexing-properties.ts'

// About ten seconds for each property; test/long has minutes.
describe.each(INDEXING_CASES)('$appview.name', (given) => {
  describeIndexingProperties(given, { runs: 40, timeLimitMs: 10_000 })
})
