import { CredentialSession, XRPCError } from '@atproto/api'
import { z } from 'zod'
import { SessionError } from '../../errors.ts'
import type { AuthenticatedFetch, SessionProvider } from './authenticated-fetch.ts'
import { failureOf } from './failure.ts'
import { type SessionNetwork, standardFetch } from './session-network.ts'

const RENEW = "Get a new app password from the account's owner."

/**
 * Sessions from app passwords: one login each, refreshed in this process for as long as it lives.
 *
 * @param passwordOf an account's app password, undefined when there is none
 */
export function appPasswordSessions(
  passwordOf: (did: string) => string | undefined,
  { identity, fetch }: SessionNetwork,
): SessionProvider {
  return async (did): Promise<AuthenticatedFetch> => {
    const password = passwordOf(did)
    if (password === undefined) {
      throw new SessionError(`There is no app password for ${did}.`, {
        did,
        hint: "Ask the account's owner for an app password and set FIREHOSE_REPLAY_APP_PASSWORD, or name a file with --app-password-file.",
      })
    }
    const { pdsUrl } = await identity.resolve(did)
    const session = new CredentialSession(new URL(pdsUrl), onlyExpiredIs401(standardFetch(fetch)))
    try {
      await session.login({ identifier: did, password })
    } catch (error) {
      throw failureOf({ did, renewHint: RENEW }, error)
    }
    return Object.assign(session.fetchHandler.bind(session), { renewHint: RENEW })
  }
}

/**
 * The library takes every 401 for a token that expired, gets a new one and sends the call again: a call to an account
 * that was deactivated would be counted twice. Those end here.
 */
function onlyExpiredIs401(fetch: typeof globalThis.fetch): typeof globalThis.fetch {
  return async (input, init) => {
    const response = await fetch(input, init)
    if (response.status !== 401) return response
    const { error, message } = refusalSchema.parse(
      await response
        .clone()
        .json()
        .catch(() => ({})),
    )
    if (error === undefined || EXPIRED.has(error)) return response
    await response.body?.cancel()
    throw new XRPCError(response.status, error, message)
  }
}

const EXPIRED: ReadonlySet<string> = new Set(['ExpiredToken', 'InvalidToken'])
const refusalSchema = z.object({ error: z.string().optional(), message: z.string().optional() }).catch({})
