import fc from 'fast-check'

export interface Effort {
  /** Runs of each property, if there is time. */
  runs: number
  /** What one property may take, in milliseconds; what has failed is shrunk for longer. */
  timeLimitMs: number
}

/** What has failed may be shrunk for so many times the time limit. */
const SHRINKING = 8

/** For the test around it: so long that it is never what ends a failed property, or nobody sees what it has found. */
export function timeoutMsOf({ timeLimitMs }: Effort): number {
  return timeLimitMs * (SHRINKING + 2) + 60_000
}

/** Not by fast-check's own limits: these leave the run that is under way to the next test. */
export async function assertFor<Made>(
  { runs, timeLimitMs }: Effort,
  arbitrary: fc.Arbitrary<Made>,
  holds: (made: Made) => Promise<void>,
): Promise<void> {
  let deadlineMs = Date.now() + timeLimitMs
  let hasFailed = false
  const property = fc.asyncProperty(arbitrary, async (made) => {
    if (Date.now() > deadlineMs) return
    try {
      await holds(made)
    } catch (error) {
      if (!hasFailed) deadlineMs = Date.now() + timeLimitMs * SHRINKING
      hasFailed = true
      throw error
    }
  })
  await fc.assert(property, { numRuns: runs })
}
