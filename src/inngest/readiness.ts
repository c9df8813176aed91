import { setTimeout as wait } from 'node:timers/promises'
import type { Inngest } from 'inngest'
import { ConfigError, messageOf, UnavailableError } from '../errors.ts'

/** Something without which the functions cannot do their work. */
export interface ReadinessCheck {
  /** What is looked at, for the line that says why not. */
  name: string
  /** Resolves when it is there. @throws an error whose message says what is wrong, in words for an operator */
  check(): Promise<void>
}

const CHECK_TIMEOUT_MS = 5000
/** Whoever asks more often gets the last answer: a flood of questions is none for what is behind. */
const ANSWER_KEPT_MS = 5000

/** Undefined: ready. Otherwise one line that says what is missing. */
export type Readiness = () => Promise<string | undefined>

export function readinessOf(checks: readonly ReadinessCheck[], now: () => number = Date.now): Readiness {
  let last: { reason: Promise<string | undefined>; answeredAtMs: number } | undefined
  return () => {
    if (last !== undefined && now() - last.answeredAtMs < ANSWER_KEPT_MS) return last.reason
    // Held from the question on, and for some seconds from the answer: questions that come meanwhile share it.
    const reason = firstReason(checks)
    const current = { reason, answeredAtMs: Number.POSITIVE_INFINITY }
    last = current
    return reason.finally(() => {
      current.answeredAtMs = now()
    })
  }
}

/** In cloud mode each call is checked against the signing key; without one every call ends in a 500. */
export function signingCheck(inngest: Inngest.Any): ReadinessCheck {
  return {
    name: 'signing key',
    async check() {
      if (inngest.mode === 'dev' || inngest.signingKey !== undefined) return
      throw new ConfigError(
        'there is none: set INNGEST_SIGNING_KEY, or INNGEST_DEV=1 for a development server',
      )
    },
  }
}

async function firstReason(checks: readonly ReadinessCheck[]): Promise<string | undefined> {
  const reasons = await Promise.all(checks.map(reasonOf))
  return reasons.find((reason) => reason !== undefined)
}

async function reasonOf({ name, check }: ReadinessCheck): Promise<string | undefined> {
  const stop = new AbortController()
  const late = async (): Promise<never> => {
    await wait(CHECK_TIMEOUT_MS, undefined, { signal: stop.signal })
    throw new UnavailableError(`no answer within ${CHECK_TIMEOUT_MS / 1000} s`)
  }
  try {
    const checked = check()
    await Promise.race([checked, late()])
    return undefined
  } catch (error) {
    return `${name}: ${messageOf(error).split('\n', 1)[0]}`
  } finally {
    stop.abort()
  }
}
