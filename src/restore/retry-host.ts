import { setTimeout as sleep } from 'node:timers/promises'
import { retrying } from '../database/retry.ts'
import { ReplayError, shouldRetry } from '../errors.ts'

/** A host's window of requests is mostly five minutes; one that asks for more is left for later. */
const MAX_WAIT_MS = 330_000

export interface HostRetry {
  signal: AbortSignal
  /** Attempts in all. @defaultValue 6: with the delays below, about a minute beside what the host asks for */
  attempts?: number
  /** Delay before the second attempt, in milliseconds; doubled each time. @defaultValue 2000 */
  firstDelayMs?: number
  /** A host that asks for more time than this, in milliseconds, is not waited for. @defaultValue 330000 */
  maxWaitMs?: number
}

/** Repeats what a host could not answer just now, not before the moment that it named. */
export async function retryingHost<T>(act: () => Promise<T>, options: HostRetry): Promise<T> {
  const { signal, attempts = 6, firstDelayMs = 2000, maxWaitMs = MAX_WAIT_MS } = options
  let notBeforeMs = 0
  const attempt = async (): Promise<T> => {
    const waitMs = notBeforeMs - Date.now()
    if (waitMs > 0) await sleep(waitMs, undefined, { signal })
    try {
      return await act()
    } catch (error) {
      notBeforeMs = retryAtMsOf(error)
      throw error
    }
  }
  const isTooFar = (error: unknown) => retryAtMsOf(error) - Date.now() > maxWaitMs
  return retrying(attempt, { attempts, firstDelayMs, signal, giveUpOn: isTooFar })
}

/** Waits for each host, but not for each of its thousand accounts again: one that stays away is waited for once. */
export class HostPatience {
  readonly #away = new Set<string>()

  async run<T>(host: string, act: () => Promise<T>, options: HostRetry): Promise<T> {
    const attempts = this.#away.has(host) ? { attempts: 1 } : {}
    try {
      const result = await retryingHost(act, { ...options, ...attempts })
      this.#away.delete(host)
      return result
    } catch (error) {
      if (shouldRetry(error)) this.#away.add(host)
      throw error
    }
  }
}

function retryAtMsOf(error: unknown): number {
  return error instanceof ReplayError ? (error.retryAtMs ?? 0) : 0
}
