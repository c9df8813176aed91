import { describe, expect, test } from 'vitest'
import { keepBudgets } from '../../../src/inngest/kept-budgets.ts'
import { newUploadBudget } from '../../../src/pds/blobs/uploader.ts'
import { available, type Budget, charge, close } from '../../../src/pds/budget.ts'

const DAY_MS = 86_400_000
const NOW = 1_750_000_000_000
const ALICE = 'did:plc:aaaaaaaaaaaaaaaaaaaaaaaa'
const [HOST, OTHER] = ['https://pds.example', 'https://other.example']

/** A run that begins with what is kept, and tells of each upload. */
function running(kept: ReturnType<typeof keepBudgets>, host = HOST) {
  let mine = kept.uploadsTo(host, NOW)
  const learn = (after: Budget) => {
    kept.keepUploads(host, mine, after, NOW)
    mine = after
  }
  return {
    upload(count: number) {
      for (let n = 0; n < count; n++) learn(charge(mine, 1, NOW))
    },
    learn: (change: (mine: Budget) => Budget) => learn(change(mine)),
  }
}

const left = (kept: ReturnType<typeof keepBudgets>, host = HOST, nowMs = NOW) =>
  available(kept.uploadsTo(host, nowMs), nowMs)

describe('uploads', () => {
  test('count for the process, over its runs, until the day is over', () => {
    const kept = keepBudgets()
    running(kept).upload(400)
    running(kept).upload(500)
    expect(left(kept)).toBe(100)
    expect(left(kept, HOST, NOW + DAY_MS - 1)).toBe(100)
    expect(left(kept, HOST, NOW + DAY_MS)).toBe(1000)
    expect(left(kept, OTHER)).toBe(1000)
  })

  test('of runs at the same time add up; what the host said to each of them does not', () => {
    const kept = keepBudgets()
    const [one, other] = [running(kept), running(kept)]
    one.upload(1)
    other.upload(3)
    one.upload(6)
    expect(left(kept)).toBe(990)
    const told = (mine: Budget): Budget => ({
      ...mine,
      windows: mine.windows.map((window) => ({ ...window, spent: 800, startMs: NOW })),
    })
    one.learn(told)
    other.learn(told)
    expect(left(kept)).toBe(200)
  })

  test('that were refused until some time are refused for all', () => {
    const kept = keepBudgets()
    running(kept).learn((mine) => close(mine, NOW + 1000))
    expect([left(kept), left(kept, HOST, NOW + 1000)]).toEqual([0, 1000])
  })

  test('that a run carries count where this process knows less', () => {
    const kept = keepBudgets()
    const carried = charge(newUploadBudget(), 900, NOW)
    expect(available(kept.uploadsTo(HOST, NOW, carried), NOW)).toBe(100)
    running(kept).upload(950)
    expect(available(kept.uploadsTo(HOST, NOW, carried), NOW)).toBe(50)
  })

  test('are no points, though both have a window of a day', () => {
    const kept = keepBudgets({ perHour: 5000, perDay: 35_000 })
    running(kept).upload(1000)
    expect(available(kept.of(ALICE, NOW), NOW)).toBe(5000)
    kept.keep(ALICE, charge(kept.of(ALICE, NOW), 3000, NOW))
    expect(available(kept.of(ALICE, NOW), NOW)).toBe(2000)
    expect(left(kept)).toBe(0)
  })
})
