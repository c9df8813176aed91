import { CredentialSession } from '@atproto/api'
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
    const session = new CredentialSession(new URL(pdsUrl), standardFetch(fetch))
    try {
      await session.login({ identifier: did, password })
    } catch (error) {
      throw failureOf({ did, renewHint: RENEW }, error)
    }
    return Object.assign(session.fetchHandler.bind(session), { renewHint: RENEW })
  }
}
