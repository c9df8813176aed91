import { expect, test } from 'vitest'
import { durationMs } from '../../../../src/stack/inngest/duration.ts'

const NOW_MS = Date.parse('2026-11-23T12:00:00Z')

test.each([
  ['2m', 120_000],
  ['1w1d1h1m1s', 694_861_000],
  ['2026-11-23T12:00:05.000Z', 5_000],
  ['2026-11-23T11:00:00.000Z', 0],
])('%s is %i ms', (text, ms) => {
  expect(durationMs(text, NOW_MS)).toBe(ms)
})

test.each(['', 'tomorrow', '5', '5 minutes'])('%j is refused', (text) => {
  expect(() => durationMs(text, NOW_MS)).toThrow('Not a duration')
})
