import { setTimeout as sleep } from 'node:timers/promises'
import { UnavailableError } from '../../errors.ts'
import { createHostQueues, createLimit } from '../../network/host-queues.ts'

export interface HostsOptions {
  /** Requests at one time to one host. @defaultValue 4 */
  perHost?: number
  /** Requests at one time to all hosts. @defaultValue 32 */
  total?: number
  /** Of one request, in all. @defaultValue 3 */
  attempts?: number
  /** Before the second attempt, in milliseconds; doubled each time. @defaultValue 500 */
  firstDelayMs?: number
  /**
   * The longest that a host may ask us to wait, in milliseconds: past it, it counts as away.
   * @defaultValue 330000: windows of requests are mostly five minutes
   */
  maxWaitMs?: number
  /** Requests in a row that a host may leave without an answer, attempts and all, before it counts as away. @defaultValue 3 */
  maxFailures?: number
  /** How long a host that is away is not asked, in milliseconds. @defaultValue 300000 */
  awayMs?: number
  signal?: AbortSignal
}

interface Host {
  /** Earliest moment of the next request. */
  notBeforeMs: number
  failures: number
  awayUntilMs: number
  why: UnavailableError | undefined
}

/**
 * Asks hosts within bounds. What a host says about when to come back holds for all requests to it, and one that stays
 * away is waited for a few times, not once for each of its thousand accounts.
 */
export class Hosts {
  readonly #options: Required<Omit<HostsOptions, 'signal'>> & Pick<HostsOptions, 'signal'>
  readonly #queues: ReturnType<typeof createHostQueues>
  readonly #limit: ReturnType<typeof createLimit>
  readonly #hosts = new Map<string, Host>()

  constructor(options: HostsOptions) {
    this.#options = {
      perHost: 4,
      total: 32,
      attempts: 3,
      firstDelayMs: 500,
      maxWaitMs: 330_000,
      maxFailures: 3,
      awayMs: 300_000,
      ...options,
    }
    this.#queues = createHostQueues({ concurrency: this.#options.perHost })
    this.#limit = createLimit(this.#options.total)
  }

  /**
   * Waits in the place at the host, and takes one among all hosts only for the request itself: a slow host holds up
   * nobody else.
   *
   * @throws UnavailableError when the host is away; what `request` throws
   */
  ask<Result>(url: string, request: () => Promise<Result>): Promise<Result> {
    return this.#queues.run(url, async () => {
      const host = this.#host(url)
      for (let attempt = 1; ; attempt++) {
        if (host.why !== undefined && Date.now() < host.awayUntilMs) throw host.why
        await this.#pause(host.notBeforeMs - Date.now())
        try {
          const result = await this.#limit(request)
          host.failures = 0
          host.why = undefined
          return result
        } catch (error) {
          if (!(error instanceof UnavailableError)) {
            host.failures = 0
            throw error
          }
          this.#delay(host, error, attempt)
          if (attempt >= this.#options.attempts || host.why !== undefined) throw error
        }
      }
    })
  }

  #delay(host: Host, error: UnavailableError, attempt: number): void {
    const { attempts, firstDelayMs, maxWaitMs, maxFailures, awayMs } = this.#options
    const nowMs = Date.now()
    const retryAtMs = error.retryAtMs ?? nowMs + firstDelayMs * 2 ** (attempt - 1)
    host.notBeforeMs = Math.max(host.notBeforeMs, Math.min(retryAtMs, nowMs + maxWaitMs))
    if (attempt >= attempts) host.failures++
    if (retryAtMs - nowMs <= maxWaitMs && host.failures < maxFailures) return
    host.why = error
    host.awayUntilMs = nowMs + awayMs
  }

  #host(url: string): Host {
    const { host: name } = new URL(url)
    const known = this.#hosts.get(name)
    if (known !== undefined) return known
    const made: Host = { notBeforeMs: 0, failures: 0, awayUntilMs: 0, why: undefined }
    this.#hosts.set(name, made)
    return made
  }

  async #pause(ms: number): Promise<void> {
    const { signal } = this.#options
    signal?.throwIfAborted()
    if (ms <= 0) return
    try {
      await sleep(ms, undefined, signal === undefined ? {} : { signal })
    } catch (error) {
      signal?.throwIfAborted()
      throw error
    }
  }
}
