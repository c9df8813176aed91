import { describe, expect, test } from 'vitest'
import { addSummaries, summaryOf, tallyOf, writeSummarySchema } from '../../../src/inngest/summary.ts'
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

  test('names every record that is not there, the refused first, also over several requests', () => {
    const many = (outcome: WrittenRecord['outcome']) =>
      Array.from({ length: 600 }, (_, n) => record(outcome, n))
    const one = summaryOf([tallyOf(many('kept')), tallyOf([...many('failed'), ...many('refused')])], 1)
    const all = addSummaries([one, one])
    expect(all.notWritten.map(({ outcome }) => outcome)).toEqual([
      ...Array(1200).fill('refused'),
      ...Array(1200).fill('failed'),
      ...Array(1200).fill('kept'),
    ])
    expect(new Set(all.notWritten.map(({ reason }) => reason))).toEqual(new Set(['because']))
    expect(all).toMatchObject({ batchCount: 2, outcomes: { refused: 1200, failed: 1200, kept: 1200 } })
    expect(writeSummarySchema.parse(JSON.parse(JSON.stringify(all)))).toEqual(all)
  })

  test.each([
    ['of our own runs stays far below what Inngest takes, with all reasons', 1000, 300],
    ['of an event with as many records as fit in one leaves none of them out', 15_000, 33],
  ])('%s', (_, count, length) => {
    const long = Array.from({ length: count }, (_, n) => ({
      ...record('refused', n),
      reason: 'x'.repeat(1000),
    }))
    const halves = [tallyOf(long.slice(count / 2)), tallyOf(long.slice(0, count / 2))]
    const summary = summaryOf(halves, 1)
    expect(summary.notWritten).toHaveLength(count)
    expect(new Set(summary.notWritten.map(({ reason }) => reason.length))).toEqual(new Set([length]))
    expect(JSON.stringify(summary).length).toBeLessThan(2_000_000)
    // Over several runs there is no such limit.
    expect(addSummaries([summary, summary]).notWritten).toEqual([
      ...summary.notWritten,
      ...summary.notWritten,
    ])
  })

  test('says why a record was refused, in the one word and in words', () => {
    const refused = { ...record('refused'), refusal: 'blob-missing' as const }
    const summary = summaryOf([tallyOf([refused]), tallyOf([record('refused', 1)])], 1)
    expect(writeSummarySchema.parse(summary).notWritten).toMatchObject([
      { rkey: 'r0', refusal: 'blob-missing' },
      { rkey: 'r1', reason: 'because' },
    ])
    expect(summary.notWritten[1]).not.toHaveProperty('refusal')
  })

  test('long reasons are cut', () => {
    const [listed] = tallyOf([{ ...record('failed'), reason: 'x'.repeat(10_000) }]).notWritten
    expect(listed?.reason.length).toBeLessThan(1000)
  })

  test('of nothing is a success', () => {
    expect(addSummaries([])).toMatchObject({ success: true, recordsWritten: 0, batchCount: 0 })
  })
})
