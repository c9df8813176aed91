import { expect, test } from 'vitest'
import { delayBefore } from '../../../../src/firehose/live/connection.ts'

test('waits longer each time, up to a minute, with jitter down to half', () => {
  expect([0, 1, 2, 10].map((attempt) => delayBefore(attempt, 1))).toEqual([1000, 2000, 4000, 60_000])
  expect([0, 10].map((attempt) => delayBefore(attempt, 0))).toEqual([500, 30_000])
})
