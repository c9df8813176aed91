import { AtpAgent, type ComAtprotoRepoApplyWrites, XRPCError } from '@atproto/api'
import { PdsError, type ReplayError, SessionError, UnavailableError } from '../errors.ts'

/** One operation on one record, as com.atproto.repo.applyWrites takes it. */
export type WriteOp = ComAtprotoRepoApplyWrites.InputSchema['writes'][number]

/** A session that may write one account's repo. */
export interface Session {
  did: string
  /** @throws SessionError when the session is no longer alive. */
  verify(): Promise<void>
  /**
   * One atomic commit with these operations, lexicon validation off: what is restored was there before.
   *
   * @param swapCommit CID of the commit this is to follow; another one in between is an InvalidSwap
   * @throws PdsError `InvalidSwap`; SessionError; UnavailableError (also for an unknown outcome)
   */
  applyWrites(writes: WriteOp[], swapCommit: string): Promise<{ commit: string; rev: string }>
}

/** Gives sessions: our own from app passwords, or an operator's from wherever theirs are kept. */
export type SessionProvider = (did: string, pdsUrl: string) => Promise<Session>

/** Sessions from app passwords. @param passwordOf an account's app password, undefined when there is none */
export function appPasswordSessions(passwordOf: (did: string) => string | undefined): SessionProvider {
  return async (did, pdsUrl) => {
    const password = passwordOf(did)
    if (password === undefined) {
      throw new SessionError(`There is no app password for ${did}.`, {
        did,
        hint: "Ask the account's owner for an app password and set FIREHOSE_REPLAY_APP_PASSWORD, or name a file with --app-password-file.",
      })
    }
    const agent = new AtpAgent({ service: pdsUrl })
    await attempt(did, () => agent.login({ identifier: did, password }))
    return sessionOf(did, agent)
  }
}

function sessionOf(did: string, agent: AtpAgent): Session {
  return {
    did,
    async verify() {
      const { data } = await attempt(did, () => agent.com.atproto.server.getSession())
      if (data.did === did && data.active !== false) return
      throw new SessionError(
        data.did === did
          ? `The account ${did} is not active (${data.status ?? 'deactivated'}).`
          : `The session is of ${data.did}, not of ${did}.`,
        { did, hint: 'Log in as the account that is to be restored; it must be active.' },
      )
    },
    async applyWrites(writes, swapCommit) {
      const { data } = await attempt(did, () =>
        agent.com.atproto.repo.applyWrites({ repo: did, validate: false, writes, swapCommit }),
      )
      if (data.commit === undefined) {
        throw new UnavailableError('The PDS took the writes but named no commit.', { did })
      }
      return { commit: data.commit.cid, rev: data.commit.rev }
    },
  }
}

async function attempt<T>(did: string, call: () => Promise<T>): Promise<T> {
  try {
    return await call()
  } catch (error) {
    throw errorOf(did, error)
  }
}

/** XRPC errors that mean that nobody is logged in (any more), whatever the status. */
const DEAD_SESSION = new Set([
  'ExpiredToken',
  'InvalidToken',
  'AuthMissing',
  'AuthenticationRequired',
  'AccountDeactivated',
  'AccountTakedown',
])

function errorOf(did: string, error: unknown): ReplayError {
  if (!(error instanceof XRPCError)) {
    return new UnavailableError(`The PDS of ${did} could not be asked.`, {
      did,
      hint: 'Check that it is running and reachable from here, then run the same command again.',
      cause: error,
    })
  }
  if (error.status === 401 || DEAD_SESSION.has(error.error)) {
    return new SessionError(`The PDS does not accept the session of ${did}: ${error.message}`, {
      did,
      hint: "Nothing was written. Get a new app password from the account's owner and run the same command again.",
      cause: error,
    })
  }
  if (error.status === 429) {
    const seconds = Number(error.headers?.['retry-after'])
    return new UnavailableError(`The PDS limits writes for ${did}.`, {
      did,
      hint: 'Run the same command again later; it goes on where it stopped.',
      ...(Number.isFinite(seconds) ? { retryAtMs: Date.now() + seconds * 1000 } : {}),
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
  return new PdsError(`The PDS refused a write for ${did}: ${error.error}: ${error.message}`, {
    did,
    error: error.error,
    cause: error,
  })
}
