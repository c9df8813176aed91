/** The same properties as in test/integration, with far more histories. */

import { describe } from 'vitest'
import { INDEXING_CASES } from '../integration/indexing-cases.ts'
import { describeIndexingProperties } from '../integration/indexing-properties.ts'

describe.each(INDEXING_CASES)('$appview.name', (given) => {
  describeIndexingProperties(given, { runs: 1_000, timeLimitMs: 60_000 })
})
