import type {
  NodeSavedSession,
  NodeSavedSessionStore,
  OAuthClientMetadataInput,
} from '@atproto/oauth-client-node'
import type { Database } from '../../database/client.ts'
import { retrying } from '../../database/retry.ts'
import { ConfigError, messageOf, SessionError } from '../../errors.ts'
import type { AuthenticatedFetch, SessionProvider } from './authenticated-fetch.ts'
import { failureOf } from './failure.ts'
import { createOAuthClient, loadOAuthLibrary, type OAuthNetwork } from './oauth-client.ts'
import { clientIdOf, savedSessionOf, usableUntilMs } from './saved-session.ts'

/** Runs `act` while nobody else holds the lock of that name, in any process of the appview's or ours. */
export type SharedLock = <T>(name: string, act: () => Promise<T>) => Promise<T>

export interface OAuthStoreOptions {
  /** The appview's database. */
  database: Database
  /** Its table of sessions, as `oauth_session_store`, with the columns `key` (text) and `session` (jsonb). */
  sessionTable: string
  /** What the appview puts before the DID in `key`. @defaultValue nothing */
  keyPrefix?: string
  /** The appview's own, exactly: a refresh under another client ends the session, for the appview as well. */
  clientMetadata: Readonly<OAuthClientMetadataInput>
  /** The appview's private keys, as JWK or PKCS #8 text; needed where its metadata says `private_key_jwt`. */
  privateKeys?: readonly string[]
  /**
   * The lock that the appview holds around its own refreshes: the `requestLock` of its OAuth client, with the same
   * names. A refresh token that is used twice ends the session for both. @defaultValue none: nothing is ever refreshed
   */
  lock?: SharedLock
  /**
   * Takes sessions whose access token does not say which client it is of, because you know that it is this one.
   * @defaultValue false
   */
  acceptUnknownClient?: boolean
  network: OAuthNetwork
}

const RENEW = 'Have the account log in to the appview again.'

/**
 * Sessions that the appview keeps for its accounts. A good access token is used as it is; one that has run out is
 * refreshed only under the lock that the appview shares. Entries are never deleted from here, and without the lock
 * neither written nor their refresh tokens so much as given to the OAuth client.
 *
 * @returns a provider that throws SessionError where there is no entry, it is another client's or account's, or it
 *   has run out and may not be refreshed; ConfigError for metadata or keys that are none
 */
export function oauthStoreSessions(options: OAuthStoreOptions): SessionProvider {
  const store = appviewStore(options)
  let client: ReturnType<typeof openClient> | undefined
  return async (did): Promise<AuthenticatedFetch> => {
    client ??= openClient(options, store)
    const owner = { did, renewHint: RENEW }
    try {
      const session = await (await client).restore(did, false)
      const { scope } = await session.getTokenInfo(false)
      const fetch = session.fetchHandler.bind(session)
      return Object.assign(options.lock === undefined ? rereading(fetch) : fetch, {
        scope,
        renewHint: RENEW,
      })
    } catch (error) {
      throw failureOf(owner, error)
    }
  }
}

/** The appview may refresh between our reading of its token and the call: then the next reading has the new one. */
function rereading(fetch: AuthenticatedFetch): AuthenticatedFetch {
  return async (path, init) => {
    const response = await fetch(path, init)
    if (response.status !== 401) return response
    await response.body?.cancel()
    return fetch(path, init)
  }
}

async function openClient(
  { clientMetadata, privateKeys, lock, network }: OAuthStoreOptions,
  store: NodeSavedSessionStore,
) {
  const { JoseKey, requestLocalLock } = await loadOAuthLibrary()
  try {
    const keys = await Promise.all((privateKeys ?? []).map((key) => JoseKey.fromImportable(key)))
    return await createOAuthClient({
      clientMetadata,
      ...(keys.length === 0 ? {} : { keys }),
      sessionStore: store,
      lock: lock === undefined ? requestLocalLock : (name, act) => lock(name, async () => act()),
      network,
    })
  } catch (error) {
    // The library names what is wrong with metadata; of a key it could not read, it might repeat some.
    const reason = error instanceof TypeError ? `: ${messageOf(error)}` : ''
    throw new ConfigError(`The appview's client metadata and keys make no OAuth client${reason}.`, {
      hint: "Give the appview's own client metadata, and its private keys as JWK or PKCS #8 text.",
    })
  }
}

function appviewStore(options: OAuthStoreOptions): NodeSavedSessionStore {
  const { database, sessionTable: table, keyPrefix = '', lock } = options
  const keyOf = (did: string) => `${keyPrefix}${did}`
  const read = async (did: string): Promise<NodeSavedSession> => {
    const query = database.client.from(table).select('session').eq('key', keyOf(did)).maybeSingle()
    const row: unknown = database.check(await query, { table, did })
    const session = savedSessionOf((row as { session?: unknown } | null)?.session)
    if (session !== undefined) return session
    throw refused(did, row === null ? `${table} has no entry ${keyOf(did)}` : `its entry in ${table} is none`)
  }
  return {
    async get(did) {
      const session = await retrying(() => read(did))
      assertOwn(did, session, options)
      return lock === undefined ? withoutRefresh(did, session) : session
    },
    async set(did, session) {
      if (lock === undefined) throw new TypeError('Without the shared lock nothing is written.')
      const entry = { ...(await read(did)), ...session }
      const rows = await retrying(async () =>
        database.check(
          await database.client.from(table).update({ session: entry }).eq('key', keyOf(did)).select('key'),
          { table, did },
        ),
      )
      if (rows?.length === 0) throw refused(did, 'the appview has ended it')
    },
    // What the library takes for dead is left to the appview, which will find the same, or knows better.
    del: async () => undefined,
  }
}

function assertOwn(
  did: string,
  session: NodeSavedSession,
  { clientMetadata, acceptUnknownClient = false }: OAuthStoreOptions,
): void {
  if (session.tokenSet.sub !== did) throw refused(did, `its entry is of ${session.tokenSet.sub}`)
  const clientId = clientIdOf(session)
  if (clientId === clientMetadata.client_id || (clientId === undefined && acceptUnknownClient)) return
  const reason =
    clientId === undefined ? 'its token does not say of which client it is' : `it is of client ${clientId}`
  throw new SessionError(`The appview's session of ${did} is not used: ${reason}.`, {
    did,
    hint: `The client metadata in use are of ${clientMetadata.client_id ?? 'no client'}. Give those of the client that the account logged in with: a refresh as another one would end the session.`,
  })
}

/** Good for calls and for nothing else: what the library does not have it can neither use nor use up. */
function withoutRefresh(did: string, session: NodeSavedSession): NodeSavedSession {
  if (usableUntilMs(session) <= Date.now()) {
    throw new SessionError(`The appview's session of ${did} is due for a refresh, which is the appview's.`, {
      did,
      hint: 'Use the account in the appview once, or have it log in again there, then run the same command again; or give us the lock that the appview refreshes under.',
    })
  }
  const { refresh_token: _, ...tokenSet } = session.tokenSet
  return { ...session, tokenSet }
}

function refused(did: string, reason: string): SessionError {
  return new SessionError(`The appview has no session of ${did}: ${reason}.`, { did, hint: RENEW })
}
