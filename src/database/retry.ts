import { setTimeout as sleep } from 'node:timers/promises'
import { shouldRetry } from '../errors.ts'

export interface RetryOptions {
  /** Attempts in all. @defaultValue 8: with the delays below, about 25 seconds */
  attempts?: number
  /** Delay before the second attempt, in milliseconds; doubled each time, with jitter. @defaultValue 100 */
  firstDelayMs?: number
}

/** Repeats what may pass by itself (deadlock, time-out, network), waiting longer each time; all else is thrown. */
export async function retrying<T>(act: () => Promise<T>, options: RetryOptions = {}): Promise<T> {
  const attempts = options.attempts ?? 8
  for (let attempt = 1; ; attempt++) {
    try {
      return await act()
    } catch (error) {
      if (attempt >= attempts || !shouldRetry(error)) throw error
      // Full jitter between half and whole: writers that collided once should not collide again.
      const delayMs = (options.firstDelayMs ?? 100) * 2 ** (attempt - 1)
      await sleep(delayMs * (0.5 + Math.random() / 2))
    }
  }
}
