import { describe, expect, test } from 'vitest'
import {
  available,
  believe,
  charge,
  close,
  newBudget,
  type RateLimit,
  readyAtMs,
  stricter,
} from '../../../src/pds/budget.ts'

const NOW = 1_800_000_000_000
const HOUR = 3_600_000
const DAY = 24 * HOUR

function told(changes: Partial<RateLimit> = {}): RateLimit {
  return { limit: 5000, remaining: 1000, resetMs: NOW + HOUR / 2, windowSeconds: 3600, ...changes }
}

describe('a budget', () => {
  test('begins with what a PDS allows an hour', () => {
    expect(available(newBudget(), NOW)).toBe(5000)
  })

  test('is spent, and whole again an hour after the first call', () => {
    const spent = charge(charge(newBudget(), 600, NOW), 4400, NOW + 60_000)
    expect(available(spent, NOW + 60_000)).toBe(0)
    expect(readyAtMs(spent, 3, NOW + 60_000)).toBe(NOW + HOUR)
    expect(available(spent, NOW + HOUR - 1)).toBe(0)
    expect(available(spent, NOW + HOUR)).toBe(5000)
  })

  test('the next hour begins with the next call, not with the end of the last', () => {
    const first = charge(newBudget(), 5000, NOW)
    const second = charge(first, 5000, NOW + 3 * HOUR)
    expect(readyAtMs(second, 3, NOW + 3 * HOUR)).toBe(NOW + 4 * HOUR)
  })

  test('a day holds seven full hours, and then nothing until it ends', () => {
    let budget = newBudget()
    for (let hour = 0; hour < 7; hour++) budget = charge(budget, 5000, NOW + hour * HOUR)
    expect(available(budget, NOW + 7 * HOUR)).toBe(0)
    expect(readyAtMs(budget, 3, NOW + 7 * HOUR)).toBe(NOW + DAY)
    expect(available(budget, NOW + DAY)).toBe(5000)
  })

  test('what a refused call took is gone: it cannot go below nothing', () => {
    const spent = charge(newBudget(), 5600, NOW)
    expect(available(spent, NOW)).toBe(0)
    expect(available(spent, NOW + HOUR)).toBe(5000)
  })

  test('is ready at once where enough is left, and never waits for more than a window can hold', () => {
    const spent = charge(newBudget(), 4000, NOW)
    expect(readyAtMs(spent, 1000, NOW)).toBe(NOW)
    expect(readyAtMs(newBudget(), 9000, NOW)).toBe(NOW)
  })

  test('goes through JSON, and leaves what it came from as it was', () => {
    const before = newBudget()
    const spent = close(charge(before, 600, NOW), NOW + 1)
    expect(JSON.parse(JSON.stringify(spent))).toEqual(spent)
    expect(before).toEqual(newBudget())
  })

  test('limits below one create are refused', () => {
    expect(() => newBudget({ perHour: 2, perDay: 100 })).toThrow(RangeError)
    expect(() => newBudget({ perHour: Number.NaN, perDay: 100 })).toThrow(RangeError)
  })
})

describe("a host's headers", () => {
  test('are believed where they leave less, with their own end of the hour', () => {
    const budget = believe(charge(newBudget(), 600, NOW), told(), NOW)
    expect(available(budget, NOW)).toBe(1000)
    expect(readyAtMs(budget, 1001, NOW)).toBe(NOW + HOUR / 2)
    expect(available(budget, NOW + HOUR / 2)).toBe(5000)
  })

  test('are not where they leave more: others may not count refused calls', () => {
    const spent = charge(newBudget(), 4900, NOW)
    expect(believe(spent, told(), NOW)).toEqual(spent)
  })

  test('are not of another window: a PDS tells of whichever of its limits is closest', () => {
    const spent = charge(newBudget(), 600, NOW)
    expect(believe(spent, told({ windowSeconds: 300, limit: 3000, remaining: 10 }), NOW)).toEqual(spent)
  })

  test('of the day bind the day', () => {
    const day = told({ windowSeconds: 86_400, limit: 35_000, remaining: 90, resetMs: NOW + 5 * HOUR })
    const budget = believe(newBudget(), day, NOW)
    expect(available(budget, NOW)).toBe(90)
    expect(readyAtMs(budget, 91, NOW)).toBe(NOW + 5 * HOUR)
  })

  test('teach a lower limit for the hours to come', () => {
    const budget = believe(newBudget(), told({ limit: 1000, remaining: 990 }), NOW)
    expect(available(budget, NOW)).toBe(990)
    expect(available(budget, NOW + HOUR)).toBe(1000)
  })

  test('of an hour that is over say nothing', () => {
    expect(believe(newBudget(), told({ resetMs: NOW }), NOW)).toEqual(newBudget())
  })
})

test('after a 429 nothing goes until it says', () => {
  const closed = close(close(newBudget(), NOW + 5000), NOW + 2000)
  expect(available(closed, NOW + 4999)).toBe(0)
  expect(readyAtMs(closed, 3, NOW)).toBe(NOW + 5000)
  expect(available(closed, NOW + 5000)).toBe(5000)
})

test('of two counts the stricter holds, window by window', () => {
  const one = charge(newBudget(), 4000, NOW)
  const other = close(charge(newBudget(), 600, NOW), NOW + 10)
  expect(available(stricter(one, other, NOW), NOW + 10)).toBe(1000)
  expect(available(stricter(other, one, NOW), NOW + 10)).toBe(1000)
  expect(available(stricter(one, other, NOW), NOW)).toBe(0)
})
