import type {
  JoseKey,
  NodeOAuthClient,
  NodeOAuthClientOptions,
  NodeSavedSessionStore,
  OAuthClientMetadataInput,
  RuntimeLock,
} from '@atproto/oauth-client-node'
import { type SessionNetwork, standardFetch } from './session-network.ts'

export interface OAuthNetwork extends SessionNetwork {
  plcUrl: string
  /** OAuth servers on this machine may be asked, over http. */
  allowLocalhost: boolean
}

export interface OAuthClientOptions {
  clientMetadata: Readonly<OAuthClientMetadataInput>
  keys?: readonly JoseKey[]
  sessionStore: NodeSavedSessionStore
  /** Held around every use of an account's entry, a refresh included. */
  lock: RuntimeLock
  network: OAuthNetwork
  /** Keeps what a login in progress needs. @defaultValue no login is possible */
  stateStore?: NodeOAuthClientOptions['stateStore']
  /** PDS that is asked which account a handle is of. @defaultValue none is asked: DIDs do for all but a login form */
  handleHost?: string
  onSessionDeleted?: NodeOAuthClientOptions['onSessionDeleted']
}

/** Loaded with the first OAuth session: it takes a quarter of a second, which no other command should pay. */
export const loadOAuthLibrary = () => import('@atproto/oauth-client-node')

export async function createOAuthClient(options: OAuthClientOptions): Promise<NodeOAuthClient> {
  const { clientMetadata, keys, sessionStore, stateStore, lock, network, handleHost, onSessionDeleted } =
    options
  const { NodeOAuthClient } = await loadOAuthLibrary()
  return new NodeOAuthClient({
    clientMetadata,
    ...(keys === undefined ? {} : { keyset: [...keys] }),
    sessionStore,
    stateStore: stateStore ?? NO_LOGIN,
    requestLock: lock,
    plcDirectoryUrl: network.plcUrl,
    handleResolver: handleHost ?? { resolve: async () => null },
    allowHttp: network.allowLocalhost,
    fetch: standardFetch(network.fetch),
    ...(onSessionDeleted === undefined ? {} : { onSessionDeleted }),
  })
}

const NO_LOGIN: NodeOAuthClientOptions['stateStore'] = {
  get: async () => undefined,
  set: async () => {
    throw new TypeError('This client restores sessions and begins none.')
  },
  del: async () => undefined,
}
