import type { NodeOAuthClientOptions, NodeSavedSession, OAuthSession } from '@atproto/oauth-client-node'
import { messageOf, SessionError } from '../../errors.ts'
import { type Logger, silentLogger } from '../../logger.ts'
import { type CallbackServer, startCallbackServer } from './callback-server.ts'
import { failureOf } from './failure.ts'
import { clientOf, type LoginSource } from './logged-in.ts'
import type { SavedLogin } from './login-folder.ts'
import { createOAuthClient, loadOAuthLibrary } from './oauth-client.ts'
import { missingScopes, restoreScope } from './scopes.ts'

export interface LoginOptions extends LoginSource {
  did: string
  /** That the session is to write. */
  collections: readonly string[]
  /** Shows the account's owner the address to open in a browser on this machine. */
  onUrl: (url: URL) => void
  /** From the address to the browser's return. @defaultValue 300000: a PDS forgets the request after five minutes */
  timeoutMs?: number
  /** Its reason is thrown. */
  signal?: AbortSignal
  /** @defaultValue nothing is logged */
  logger?: Logger
}

export interface LoggedIn {
  did: string
  /** What was granted. */
  scope: string
}

const DEFAULT_TIMEOUT_MS = 5 * 60 * 1000

/**
 * Has the account's owner log in at their PDS in a browser on this machine (OAuth, as a loopback client), and keeps
 * the session in the folder. Such a session lives for two weeks at most.
 *
 * @throws SessionError when the owner declines, takes too long, logs in as another account or does not grant
 *   everything: nothing is kept then, and what was granted is given back
 */
export async function logIn(options: LoginOptions): Promise<LoggedIn> {
  const server = await startCallbackServer()
  try {
    const login = await logInThrough(server, options)
    const { did, folder } = options
    await endLoginBefore(options)
    await folder.lock(did, () => folder.write(did, login))
    return { did, scope: login.session.tokenSet.scope }
  } finally {
    await server[Symbol.asyncDispose]()
  }
}

async function logInThrough(server: CallbackServer, options: LoginOptions): Promise<SavedLogin> {
  const { did, collections, network, signal, timeoutMs = DEFAULT_TIMEOUT_MS, onUrl } = options
  const { buildAtprotoLoopbackClientMetadata, requestLocalLock } = await loadOAuthLibrary()
  const clientMetadata = buildAtprotoLoopbackClientMetadata({
    scope: restoreScope(collections),
    redirect_uris: [server.redirectUri as `http://127.0.0.1:${string}`],
  })
  const states: StateMap = new Map()
  const sessions = new Map<string, NodeSavedSession>()
  try {
    const client = await createOAuthClient({
      clientMetadata,
      stateStore: inMemory(states),
      sessionStore: inMemory(sessions),
      lock: requestLocalLock,
      network,
      // The login form then shows the account's handle and not its DID.
      handleHost: (await network.identity.resolve(did)).pdsUrl,
    })
    onUrl(await client.authorize(did, signal === undefined ? {} : { signal }))
    const tooLate = AbortSignal.timeout(timeoutMs)
    const params = await server.callback(
      (state) => states.has(state),
      signal === undefined ? tooLate : AbortSignal.any([signal, tooLate]),
    )
    const { session } = await client.callback(params)
    await assertAsAsked(session, options)
    const saved = sessions.get(did)
    if (saved === undefined) throw new TypeError('A login leaves a session.')
    return { clientMetadata, session: saved }
  } catch (error) {
    if (signal?.aborted && error === signal.reason) throw error
    throw loginFailure(did, error)
  }
}

async function assertAsAsked(session: OAuthSession, { did, collections }: LoginOptions): Promise<void> {
  const { scope } = await session.getTokenInfo(false)
  const missing = missingScopes(scope, { collections, blobs: true })
  if (session.did === did && missing.length === 0) return
  await session.signOut()
  throw new SessionError(
    session.did === did
      ? `The PDS of ${did} did not grant ${missing.join(', ')}.`
      : `The login was made as ${session.did}, not as ${did}.`,
    {
      did,
      hint:
        session.did === did
          ? 'Log in again and grant what is asked for; if the PDS does not know these scopes, use an app password.'
          : 'Log in again as the account that is to be restored.',
    },
  )
}

/** Two logins would both live on for two weeks. That the old one cannot be ended is no reason to refuse the new. */
async function endLoginBefore({ did, folder, network, logger = silentLogger }: LoginOptions): Promise<void> {
  try {
    const before = await folder.read(did)
    if (before !== undefined) await (await clientOf(before, { folder, network })).revoke(did)
  } catch (error) {
    logger.warn({ did }, `The login before this one could not be ended at the PDS: ${messageOf(error)}`)
  }
}

/** Without the library's error as its cause: that carries the code and the state of the login. */
function loginFailure(did: string, error: unknown): Error {
  const name = error instanceof Error ? error.constructor.name : ''
  if (error instanceof DOMException && error.name === 'TimeoutError') {
    return new SessionError(`Nobody logged in as ${did} in time.`, {
      did,
      hint: 'Run the same command again and open the new address: the old one is no longer good.',
    })
  }
  if (error instanceof Error && /^(OAuthCallbackError|OAuthResponseError)$/.test(name)) {
    return new SessionError(`The login of ${did} failed: ${error.message}.`, {
      did,
      hint: 'Run the same command again and grant what is asked for, or use an app password.',
    })
  }
  return failureOf({ did }, error)
}

type StateMap = Map<string, Awaited<ReturnType<NodeOAuthClientOptions['stateStore']['get']>> & object>

function inMemory<V>(map: Map<string, V>) {
  return {
    get: async (key: string) => map.get(key),
    set: async (key: string, value: V) => void map.set(key, value),
    del: async (key: string) => void map.delete(key),
  }
}
