/** From the PDS to the tables, with a few histories; test/long has more of them, and processes that are killed. */

import { afterAll, beforeAll, describe } from 'vitest'
import { type IngestionStack, startIngestionStack } from './ingestion.ts'
import { describeIngestionProperties } from './ingestion-properties.ts'

let ingested: IngestionStack

beforeAll(async () => {
  ingested = await startIngestionStack()
})
afterAll(() => ingested?.[Symbol.asyncDispose]())

describe('leaflet', () => {
  describeIngestionProperties(() => ingested.ingestionOf('leaflet'), { runs: 12, timeLimitMs: 5_000 })
})
describe('gardens', () => {
  describeIngestionProperties(() => ingested.ingestionOf('gardens'), { runs: 3, timeLimitMs: 1_000 })
})
