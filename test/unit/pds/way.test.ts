import { describe, expect, test } from 'vitest'
import { charge, newBudget } from '../../../src/pds/budget.ts'
import { chooseWay, durationText, nextCount, type Operation } from '../../../src/pds/way.ts'

const NOW = 1_800_000_000_000
const HOUR = 3_600_000
const DAY = 24 * HOUR

function operations(creates: number, updates = 0): Operation[] {
  return Array.from({ length: creates + updates }, (_, index) => ({
    isCreate: index < creates,
    jsonBytes: 1000,
    blockBytes: 900,
  }))
}

describe('chooseWay', () => {
  test('few records go by applyWrites: no wait either way, and far fewer commits', () => {
    const { way, estimates } = chooseWay(operations(1000), newBudget(), NOW)
    expect(way).toBe('applyWrites')
    expect(estimates.applyWrites).toMatchObject({ commits: 5, points: 3000 })
    expect(estimates.putRecord).toMatchObject({ commits: 1000, points: 2000 })
    expect(estimates.applyWrites.durationMs).toBeLessThan(2000)
  })

  test('2,000 creates are 6,000 points by one way and 4,000 by the other, which fit the hour', () => {
    const { way, why, estimates } = chooseWay(operations(2000), newBudget(), NOW)
    expect(way).toBe('putRecord')
    expect(estimates.putRecord.durationMs).toBeLessThan(60_000)
    expect(estimates.applyWrites.durationMs).toBeGreaterThan(HOUR)
    // 8 full batches and one of 66 in the first hour; then 334.
    expect(estimates.applyWrites.commits).toBe(11)
    expect(why).toBe(
      'putRecord ends in 44 s (4000 points, 2000 commits), applyWrites in 1 h (6000 points, 11 commits)',
    )
  })

  test('with the same number of waits applyWrites ends sooner', () => {
    expect(chooseWay(operations(3000), newBudget(), NOW).way).toBe('applyWrites')
  })

  test('what has been spent counts', () => {
    const spent = charge(newBudget(), 3000, NOW - 60_000)
    expect(chooseWay(operations(900), spent, NOW).way).toBe('putRecord')
    expect(chooseWay(operations(600), spent, NOW).way).toBe('applyWrites')
  })

  test('overwrites cost the same both ways', () => {
    const { way, estimates } = chooseWay(operations(0, 2000), newBudget(), NOW)
    expect(way).toBe('applyWrites')
    expect(estimates.applyWrites.points).toBe(estimates.putRecord.points)
  })

  test('a large account takes days, and the waits are counted', () => {
    const { way, estimates } = chooseWay(operations(17_000), newBudget(), NOW)
    expect(way).toBe('putRecord')
    // 17,500 by putRecord a day, 11,666 by applyWrites.
    expect(estimates.putRecord.durationMs).toBeLessThan(7 * HOUR)
    expect(estimates.applyWrites.durationMs).toBeGreaterThan(DAY)
  })

  test('nothing to write costs nothing', () => {
    const { estimates, why } = chooseWay([], newBudget(), NOW)
    expect(estimates.applyWrites).toEqual({ points: 0, commits: 0, durationMs: 0 })
    expect(why).toBe('nothing is to be written')
  })
})

describe('nextCount', () => {
  test('a batch is cut to the points that are left', () => {
    expect(nextCount(operations(300), { way: 'applyWrites', points: 200 })).toBe(66)
    expect(nextCount(operations(1, 10), { way: 'applyWrites', points: 8 })).toBe(3)
    expect(nextCount(operations(300), { way: 'applyWrites', points: 2 })).toBe(0)
  })

  test('putRecord takes one', () => {
    expect(nextCount(operations(300), { way: 'putRecord', points: 200 })).toBe(1)
    expect(nextCount(operations(300), { way: 'putRecord', points: 1 })).toBe(0)
  })
})

test.each([
  [400, '1 s'],
  [44_400, '44 s'],
  [90_000, '2 min'],
  [HOUR + 300_000, '1 h 5 min'],
  [3 * HOUR, '3 h'],
])('%d ms is %s', (ms, text) => {
  expect(durationText(ms)).toBe(text)
})
