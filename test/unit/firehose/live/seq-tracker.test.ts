import fc from 'fast-check'
import { expect, test } from 'vitest'
import { SeqTracker } from '../../../../src/firehose/live/seq-tracker.ts'

test('is safe up to the last frame before which nothing is unfinished', () => {
  const tracker = new SeqTracker(10)
  const passed: number[] = []
  const [first, second, third] = [11, 15, 16].map((seq) => tracker.begin(seq, () => passed.push(seq)))
  second?.()
  expect([tracker.safe, tracker.aheadCount, passed]).toEqual([10, 3, []])
  first?.()
  expect([tracker.safe, tracker.aheadCount, passed]).toEqual([15, 1, [11, 15]])
  third?.()
  expect([tracker.safe, tracker.aheadCount, passed]).toEqual([16, 0, [11, 15, 16]])
})

test('follows a relay that counts anew', () => {
  const tracker = new SeqTracker(1000)
  tracker.begin(1)()
  expect(tracker.safe).toBe(1)
})

test('waits for what came before any position was known, which is none itself', () => {
  const tracker = new SeqTracker(undefined)
  const unplaced = tracker.begin(undefined)
  tracker.startAfter(6)
  const placed = tracker.begin(7)
  placed()
  expect([tracker.safe, tracker.aheadCount]).toEqual([undefined, 2])
  unplaced()
  expect([tracker.safe, tracker.aheadCount]).toEqual([7, 0])
  tracker.begin(undefined)()
  expect(tracker.safe).toBe(7)
})

test('whatever the order of finishing: never past an unfinished frame, and all passed in order at the end', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 3000 }).chain((count) =>
        fc.shuffledSubarray(
          Array.from({ length: count }, (_, index) => index),
          { minLength: count, maxLength: count },
        ),
      ),
      (order) => {
        const tracker = new SeqTracker(undefined)
        const passed: number[] = []
        const done = order.map((_, seq) => tracker.begin(seq, () => passed.push(seq)))
        const finished = new Set<number>()
        for (const seq of order) {
          done[seq]?.()
          finished.add(seq)
          const safe = tracker.safe ?? -1
          expect(finished.has(safe + 1)).toBe(false)
          expect(passed.length).toBe(safe + 1)
        }
        expect(passed).toEqual(passed.toSorted((a, b) => a - b))
        expect(tracker.safe).toBe(order.length - 1)
        expect(tracker.aheadCount).toBe(0)
      },
    ),
    { numRuns: 20 },
  )
})

test('begins before its first frame, where it had no cursor to begin with', () => {
  const tracker = new SeqTracker(undefined)
  tracker.startAfter(41)
  tracker.begin(42)
  expect(tracker.safe).toBe(41)
  tracker.startAfter(50)
  expect(tracker.safe).toBe(41)
})
