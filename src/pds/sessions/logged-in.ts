import type { NodeOAuthClient, NodeSavedSessionStore } from '@atproto/oauth-client-node'
import { SessionError } from '../../errors.ts'
import type { AuthenticatedFetch, SessionProvider } from './authenticated-fetch.ts'
import { failureOf, isDeadToken } from './failure.ts'
import type { LoginFolder, SavedLogin } from './login-folder.ts'
import { createOAuthClient, type OAuthNetwork } from './oauth-client.ts'

export interface LoginSource {
  folder: LoginFolder
  network: OAuthNetwork
}

/** Sessions of the accounts that have logged in with `logIn`. @returns a provider that throws SessionError for others */
export function loggedInSessions({ folder, network }: LoginSource): SessionProvider {
  return async (did): Promise<AuthenticatedFetch> => {
    const login = await folder.read(did)
    if (login === undefined) {
      throw new SessionError(`${did} has not logged in here.`, {
        did,
        hint: `${renewHintOf(did)} Or give an app password: FIREHOSE_REPLAY_APP_PASSWORD, or --app-password-file.`,
      })
    }
    const renewHint = renewHintOf(did)
    try {
      const client = await clientOf(login, { folder, network })
      const session = await client.restore(did, false)
      const { scope } = await session.getTokenInfo(false)
      return Object.assign(session.fetchHandler.bind(session), { scope, renewHint })
    } catch (error) {
      throw failureOf({ did, renewHint }, error)
    }
  }
}

/** The client that this login was made with, over the folder that it is kept in. */
export function clientOf(
  { clientMetadata }: SavedLogin,
  { folder, network }: LoginSource,
): Promise<NodeOAuthClient> {
  const isSame = (login: SavedLogin | undefined): login is SavedLogin =>
    login?.clientMetadata.client_id === clientMetadata.client_id
  const sessionStore: NodeSavedSessionStore = {
    async get(did) {
      const login = await folder.read(did)
      if (login === undefined || isSame(login)) return login?.session
      throw new SessionError(`${did} has logged in anew in the meantime.`, {
        did,
        hint: 'Run the same command again: it takes the new login.',
      })
    },
    set: (did, session) => folder.write(did, { clientMetadata, session }),
    // The library also gives up a session over errors that pass; see onSessionDeleted.
    del: async () => undefined,
  }
  return createOAuthClient({
    clientMetadata,
    sessionStore,
    lock: (name, act) => folder.lock(name.slice(name.indexOf('did:')), async () => act()),
    network,
    async onSessionDeleted(did, cause) {
      if (isDeadToken(cause) && isSame(await folder.read(did))) await folder.remove(did)
    },
  })
}

function renewHintOf(did: string): string {
  return `Run "firehose-replay login --did ${did}".`
}
