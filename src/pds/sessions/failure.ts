import { XRPCError } from '@atproto/api'
import { PdsError, ReplayError, SessionError, UnavailableError } from '../../errors.ts'
import { retryAtMsOf } from '../../network/retry-after.ts'
import { headersOf } from './rate-limits.ts'

/** Whose session it was, and what its owner does to get another. */
export interface SessionOwner {
  did: string
  renewHint?: string | undefined
}

const GO_ON = 'Then run the same command again; what is there already is not written twice.'
const RENEW = 'Log in again, or have the account log in again.'

/** XRPC errors that mean that nobody is logged in (any more), whatever the status. */
const DEAD_SESSION = new Set([
  'ExpiredToken',
  'InvalidToken',
  'AuthMissing',
  'AuthenticationRequired',
  'AccountDeactivated',
  'AccountTakedown',
])

/**
 * By name and not by class: what an operator injects brings its own copy of the OAuth client library.
 * (Its `isExpectedSessionError` is of no use: it holds for any TypeError, as of a failed fetch.)
 */
const DEAD_TOKEN = new Set([
  'TokenRefreshError',
  'TokenRevokedError',
  'TokenInvalidError',
  'AuthMethodUnsatisfiableError',
])

export function isDeadToken(error: unknown): error is Error {
  return error instanceof Error && DEAD_TOKEN.has(error.constructor.name)
}

/** Where a host does not say when: never at once, which would be one more request that is counted. */
const UNTOLD_WAIT_MS = 60_000

/** What was thrown by a call with a session, as one of ours. Bodies of requests and answers are left out of it. */
export function failureOf(owner: SessionOwner, error: unknown): ReplayError {
  const { did } = owner
  const own = inCauses(error, (at): at is ReplayError => at instanceof ReplayError)
  if (own !== undefined) return own
  const dead = inCauses(error, isDeadToken)
  if (dead !== undefined) return deadSession(owner, dead.message, dead)
  if (error instanceof XRPCError) return refusalOf(owner, error)
  return new UnavailableError(`The PDS of ${did} could not be asked.`, {
    did,
    hint: 'Check that it is running and reachable from here, then run the same command again.',
    cause: error,
  })
}

/** Of what an operator's provider throws, all that is no trouble of the network means: no session. */
export function openFailureOf(owner: SessionOwner, error: unknown): ReplayError {
  const failure = failureOf(owner, error)
  const isOfNetwork = error instanceof XRPCError || (error instanceof Error && NETWORK.test(namesOf(error)))
  if (failure.cause !== error || isOfNetwork || !(failure instanceof UnavailableError)) return failure
  const reason = error instanceof Error ? error.message : String(error)
  return deadSession(owner, reason, error)
}

/** Of the OAuth client library and of undici. */
const NETWORK = /OAuthResolverError|FetchError|FetchRequestError|FetchResponseError|fetch failed/

export function deadSession({ did, renewHint = RENEW }: SessionOwner, reason: string, cause?: unknown) {
  return new SessionError(`There is no live session for ${did}: ${reason}`, {
    did,
    hint: `${renewHint} ${GO_ON}`,
    cause,
  })
}

function refusalOf(owner: SessionOwner, error: XRPCError): ReplayError {
  const { did } = owner
  // A missing scope is named in the message.
  if (error.status === 401 || error.error === 'ScopeMissingError' || DEAD_SESSION.has(error.error))
    return deadSession(owner, `the PDS says ${error.error}: ${error.message}`, error)
  if (error.status === 429) {
    return new UnavailableError(`The PDS limits writes for ${did}.`, {
      did,
      hint: 'Run the same command again later; it goes on where it stopped.',
      retryAtMs: Date.now() + UNTOLD_WAIT_MS,
      ...retryAtMsOf(headersOf(error)),
      cause: error,
    })
  }
  // 500 is how the reference PDS says "create of a key that exists": the outcome is unknown, the state is read again.
  // Below 100 the response itself was lost.
  if (error.status >= 500 || error.status < 100) {
    return new UnavailableError(`The PDS of ${did} answered ${error.status} ${error.error}.`, {
      did,
      hint: 'Run the same command again; what is there already is not written twice.',
      cause: error,
    })
  }
  return new PdsError(`The PDS refused a call for ${did}: ${error.error}: ${error.message}`, {
    did,
    error: error.error,
    cause: error,
  })
}

function inCauses<T extends Error>(error: unknown, is: (at: Error) => at is T): T | undefined {
  for (let at = error; at instanceof Error; at = causeOf(at)) if (is(at)) return at
  return undefined
}

/** The OAuth client library reports a session that it could not store together with what it tried to undo that. */
function causeOf(error: Error): unknown {
  return error instanceof AggregateError ? error.errors[0] : error.cause
}

function namesOf(error: Error): string {
  const names: string[] = []
  for (let at: unknown = error; at instanceof Error; at = causeOf(at))
    names.push(at.constructor.name, at.message)
  return names.join(' ')
}
