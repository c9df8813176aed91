import { setTimeout as wait } from 'node:timers/promises'
import { UnavailableError } from '../../errors.ts'
import { available, type Budget, believe, charge, close, type RateLimit, readyAtMs } from '../budget.ts'
import { rateLimitOf } from '../sessions/rate-limits.ts'
import { UPLOADS_PER_DAY } from './plan.ts'

/** What a host made of an upload. */
export interface UploadedBlob {
  cid: string
  /** By the host's own look at the bytes: what was sent counts only where it recognises nothing. */
  mimeType: string
  size: number
}

/** The part of a session that uploads need. */
export interface UploadSession {
  did: string
  /** @throws PdsError: refused for good (too large, taken down); SessionError; UnavailableError */
  uploadBlob(bytes: Uint8Array, mimeType: string): Promise<UploadedBlob & { limits?: RateLimit }>
}

export interface UploaderOptions {
  session: UploadSession
  /** What the host still takes. @defaultValue a new day's 1,000 */
  budget?: Budget
  /** Told whenever an upload was counted. */
  onBudget?: (budget: Budget) => void
  /** In milliseconds since 1970. @defaultValue Date.now */
  now?: () => number
  /** Before an upload with unknown outcome is repeated; doubled each time. @defaultValue 500 */
  pauseMs?: number
}

const DAY_MS = 24 * 60 * 60 * 1000
/** Of one blob: to repeat an upload that arrived does no harm, a host knows a blob by its bytes. */
const MAX_TRIES = 3
const PAUSE_MS = 500

/**
 * A day's uploads, at a point each. Apart from the points of records: a host limits the two apart, and speaks of both
 * in the same headers, in windows of the same length.
 */
export function newUploadBudget(perDay = UPLOADS_PER_DAY): Budget {
  return {
    windows: [{ lengthMs: DAY_MS, limit: perDay, spent: 0, startMs: null }],
    closedUntilMs: 0,
  }
}

/** Sends blobs to an account's PDS, within what it takes in a day. */
export class Uploader {
  readonly #options: UploaderOptions
  readonly #now: () => number
  #budget: Budget
  #bytes = 0
  #count = 0

  constructor(options: UploaderOptions) {
    this.#options = options
    this.#now = options.now ?? Date.now
    this.#budget = options.budget ?? newUploadBudget()
  }

  /** Taken by the host so far. */
  get sent(): { count: number; bytes: number } {
    return { count: this.#count, bytes: this.#bytes }
  }

  /** Blobs, in the shorter of its windows: a host that says nothing else has one, a day. */
  get mostInAWindow(): number {
    return Math.min(...this.#budget.windows.map(({ limit }) => limit))
  }

  /** Nothing is sent before then. */
  closeUntil(untilMs: number): void {
    this.#learn(close(this.#budget, untilMs))
  }

  /**
   * @throws PdsError: refused for good; SessionError; UnavailableError, with `retryAtMs` when the host takes no more
   *   uploads until then
   */
  async send(bytes: Uint8Array, mimeType: string): Promise<UploadedBlob> {
    for (let tries = 1; ; tries++) {
      this.#charge()
      try {
        const { limits, ...uploaded } = await this.#options.session.uploadBlob(bytes, mimeType)
        this.#believe(limits)
        this.#count++
        this.#bytes += bytes.length
        return uploaded
      } catch (error) {
        this.#believe(rateLimitOf(error))
        const isUnknown = error instanceof UnavailableError && error.retryAtMs === undefined
        if (!isUnknown || tries === MAX_TRIES) throw error
        await wait((this.#options.pauseMs ?? PAUSE_MS) * 2 ** (tries - 1))
      }
    }
  }

  /** Before the call, since a refused upload counts as well. */
  #charge(): void {
    const nowMs = this.#now()
    if (available(this.#budget, nowMs) >= 1) {
      this.#learn(charge(this.#budget, 1, nowMs))
      return
    }
    const { did } = this.#options.session
    throw new UnavailableError(`The PDS takes no more blobs of ${did} for now.`, {
      did,
      hint: 'Run the same command again then; it goes on where it stopped.',
      retryAtMs: readyAtMs(this.#budget, 1, nowMs),
    })
  }

  #believe(limits: RateLimit | undefined): void {
    if (limits !== undefined) this.#learn(believe(this.#budget, limits, this.#now()))
  }

  #learn(budget: Budget): void {
    this.#budget = budget
    this.#options.onBudget?.(budget)
  }
}
