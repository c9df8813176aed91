import { describe } from 'vitest'
import { INDEXING_CASES } from './indexing-cases.ts'
import { describeIndexingProperties } from './indexing-properties.ts'

// Some seconds for each property; test/long has minutes.
describe.each(INDEXING_CASES)('$appview.name', (given) => {
  describeIndexingProperties(given, { runs: 40, timeLimitMs: 2_000 })
})
