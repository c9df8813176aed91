import { describe, expect, test } from 'vitest'
import {
  addSummaries,
  MAX_NOT_WRITTEN,
  summaryOf,
  tallyOf,
  writeSummarySchema,
} from '../../../src/inngest/summary.ts'
import type { WrittenRecord } from '../../../src/pds/write.ts'

function record(outcome: WrittenRecord['outcome'], index = 0): WrittenRecord {
  return { collection: 'com.example.post', rkey: `r${index}`, outcome, reason: 'because' }
}

describe('summaryOf', () => {
  test('counts as written what is there by us', () => {
    const tally = tallyOf([record('created'), record('overwritten'), record('same'), record('kept')])
    expect(summaryOf([tally], 1)).toMatchObject({ success: true, recordsWritten: 2, batchCount: 1 })
  })

  test.each(['refused', 'failed'] as const)('is no success with a record that was %s', (outcome) => {
    const summary = summaryOf([tallyOf([record('created')]), tallyOf([record(outcome, 1)])], 2)
    expect(summary.success).toBe(false)
    expect(summary.notWritten).toEqual([
      { collection: 'com.example.post', rkey: 'r1', outcome, reason: 'because' },
    ])
  })

  test('lists so many and counts the rest, also over several requests', () => {
    const many = Array.from({ length: MAX_NOT_WRITTEN - 1 }, (_, index) => record('failed', index))
    const one = summaryOf([tallyOf(many)], 1)
    const all = addSummaries([one, one])
    expect(one.notWrittenOmitted).toBe(0)
    expect(all.notWritten).toHaveLength(MAX_NOT_WRITTEN)
    expect(all.notWrittenOmitted).toBe(MAX_NOT_WRITTEN - 2)
    expect(all.outcomes.failed).toBe(2 * (MAX_NOT_WRITTEN - 1))
    expect(all.batchCount).toBe(2)
    expect(writeSummarySchema.parse(JSON.parse(JSON.stringify(all)))).toEqual(all)
  })

  test('long reasons are cut', () => {
    const [listed] = tallyOf([{ ...record('failed'), reason: 'x'.repeat(10_000) }]).notWritten
    expect(listed?.reason.length).toBeLessThan(1000)
  })

  test('of nothing is a success', () => {
    expect(addSummaries([])).toMatchObject({ success: true, recordsWritten: 0, batchCount: 0 })
  })
})
