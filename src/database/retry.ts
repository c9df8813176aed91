import { setTimeout as sleep } from 'node:timers/promises'
import { shouldRetry } from '../errors.ts'

export interface RetryOptions {
  /** Attempts in all. @defaultValue 8: with the delays below, about 25 seconds */
  attempts?: number
  /** Delay before the second attempt, in milliseconds; doubled each time, with jitter. @defaultValue 100 */
  firstDelayMs?: number
  /** The longest delay, in milliseconds. @defaultValue 30000 */
  maxDelayMs?: number
  /** Ends the waiting: what failed last is thrown at once. */
  signal?: AbortSignal
  /** True for an error that may pass but is not to be waited for after this many attempts. */
  giveUpOn?: (error: unknown, attempt: number) => boolean
}

/** Repeats what may pass by itself (deadlock, time-out, network), waiting longer each time; all else is thrown. */
export async function retrying<T>(act: () => Promise<T>, options: RetryOptions = {}): Promise<T> {
  const { attempts = 8, firstDelayMs = 100, maxDelayMs = 30_000, signal, giveUpOn } = options
  for (let attempt = 1; ; attempt++) {
    try {
      return await act()
    } catch (error) {
      if (attempt >= attempts || !shouldRetry(error) || giveUpOn?.(error, attempt)) throw error
      // Between half and whole: writers that collided once should not collide again.
      const delayMs = Math.min(firstDelayMs * 2 ** (attempt - 1), maxDelayMs) * (0.5 + Math.random() / 2)
      await pause(delayMs, signal)
      if (signal?.aborted) throw error
    }
  }
}

/** Resolves early when the signal aborts. */
async function pause(delayMs: number, signal: AbortSignal | undefined): Promise<void> {
  try {
    await sleep(delayMs, undefined, signal === undefined ? {} : { signal })
  } catch (error) {
    if (!signal?.aborted) throw error
  }
}
