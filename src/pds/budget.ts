/**
 * What an account may still write. A PDS counts points: by default 5,000 an hour and 35,000 a day for each account,
 * 3 for a create, 2 for an update or a putRecord, 1 for a delete; refused calls count, and one that asks for more
 * than is left takes what is left with it. Hosts may enforce this and send no `RateLimit-*` headers, so that we count
 * ourselves; what a host says is believed where it is the stricter, and 429 is the last word.
 *
 * A window begins with the first call after the last one has ended, as in the reference PDS.
 *
 * Plain JSON, so that durable steps can carry it. Functions return a new budget.
 */

export const POINTS = { create: 3, update: 2, put: 2, delete: 1 } as const

export interface PointLimits {
  perHour: number
  perDay: number
}

/** Of the reference PDS and of Bluesky's own hosts (https://docs.bsky.app/docs/advanced-guides/rate-limits). */
export const DEFAULT_POINT_LIMITS: PointLimits = { perHour: 5000, perDay: 35_000 }

export interface PointWindow {
  lengthMs: number
  limit: number
  /** Points spent since `startMs`. */
  spent: number
  /** When the window began, in milliseconds since 1970; null: with the next call. */
  startMs: number | null
}

export interface Budget {
  windows: PointWindow[]
  /** A 429 said so: nothing before then. 0: none did. */
  closedUntilMs: number
}

/** What a host says in its `RateLimit-*` headers, of whichever of its limits is the closest to its end. */
export interface RateLimit {
  limit: number
  remaining: number
  /** When `remaining` is `limit` again, in milliseconds since 1970. */
  resetMs: number
  /** Length of the window, `w` of `RateLimit-Policy`. */
  windowSeconds: number
}

const HOUR_MS = 60 * 60 * 1000

/** @throws RangeError for limits below one create, with which nothing could ever be written */
export function newBudget({ perHour, perDay }: PointLimits = DEFAULT_POINT_LIMITS): Budget {
  if (!(Math.min(perHour, perDay) >= POINTS.create)) {
    throw new RangeError(`Point limits must be at least ${POINTS.create}, the cost of one create.`)
  }
  return {
    windows: [
      { lengthMs: HOUR_MS, limit: perHour, spent: 0, startMs: null },
      { lengthMs: 24 * HOUR_MS, limit: perDay, spent: 0, startMs: null },
    ],
    closedUntilMs: 0,
  }
}

/** Points that may be spent now. */
export function available(budget: Budget, nowMs: number): number {
  if (nowMs < budget.closedUntilMs) return 0
  return Math.min(...budget.windows.map((window) => remainingOf(window, nowMs)))
}

/** When these points, or as many of them as a window can ever hold, may be spent. `nowMs` when it is now. */
export function readyAtMs(budget: Budget, points: number, nowMs: number): number {
  const ends = budget.windows
    .filter((window) => remainingOf(window, nowMs) < Math.min(points, window.limit))
    .map((window) => endOf(window) ?? nowMs)
  return Math.max(nowMs, budget.closedUntilMs, ...ends)
}

/** To be called before each request, since refused ones count as well. */
export function charge(budget: Budget, points: number, nowMs: number): Budget {
  return {
    ...budget,
    windows: budget.windows.map((window) => {
      const current = currentOf(window, nowMs)
      return { ...current, spent: current.spent + points, startMs: current.startMs ?? nowMs }
    }),
  }
}

/**
 * Takes over what the host says, if it speaks of one of our windows and leaves less than we thought. Its other
 * limits (3,000 requests in five minutes for an address) end in a 429 that says until when.
 */
export function believe(budget: Budget, told: RateLimit, nowMs: number): Budget {
  if (told.resetMs <= nowMs) return budget
  return {
    ...budget,
    windows: budget.windows.map((window) => {
      if (window.lengthMs !== told.windowSeconds * 1000) return window
      const limit = Math.max(POINTS.create, Math.min(window.limit, told.limit))
      if (told.remaining >= remainingOf(window, nowMs)) return { ...window, limit }
      return { ...window, limit, spent: limit - told.remaining, startMs: told.resetMs - window.lengthMs }
    }),
  }
}

/** A 429 came: nothing goes before `untilMs`. */
export function close(budget: Budget, untilMs: number): Budget {
  return { ...budget, closedUntilMs: Math.max(budget.closedUntilMs, untilMs) }
}

/** Of two counts of one account, made apart, in each window the one that leaves less. */
export function stricter(one: Budget, other: Budget, nowMs: number): Budget {
  return {
    windows: one.windows.map((window) => {
      const twin = other.windows.find(({ lengthMs }) => lengthMs === window.lengthMs)
      return twin !== undefined && remainingOf(twin, nowMs) < remainingOf(window, nowMs) ? twin : window
    }),
    closedUntilMs: Math.max(one.closedUntilMs, other.closedUntilMs),
  }
}

function endOf({ startMs, lengthMs }: PointWindow): number | undefined {
  return startMs === null ? undefined : startMs + lengthMs
}

/** The window as it is now: begun anew when it has ended. */
function currentOf(window: PointWindow, nowMs: number): PointWindow {
  const endMs = endOf(window)
  return endMs !== undefined && endMs <= nowMs ? { ...window, spent: 0, startMs: null } : window
}

function remainingOf(window: PointWindow, nowMs: number): number {
  const { limit, spent } = currentOf(window, nowMs)
  return Math.max(0, limit - spent)
}
