import { type DidDocument, IdResolver, parseToAtprotoDocument } from '@atproto/identity'
import { isValidDid } from '@atproto/syntax'
import {
  ConfigError,
  type ErrorContext,
  messageOf,
  ReplayError,
  UnavailableError,
  VerificationError,
} from '../errors.ts'
import { bodyBytes } from './body.ts'
import { createDidCache } from './did-cache.ts'
import { createFetch, type Fetch } from './fetch.ts'
import { retryAtMsOf } from './retry-after.ts'

export interface AccountIdentity {
  did: string
  /** The handle the DID document claims, unverified; `handle.invalid` when it claims none. For people to read. */
  handle: string
  pdsUrl: string
  /** `did:key:…` of the key that signs the repository. */
  signingKey: string
}

/** There is no repository to be asked: the DID is unknown or a tombstone, or its document names no PDS. */
export class NoRepositoryError extends VerificationError {}

/** The directory or host knows no such DID, or holds its tombstone. */
export class NoSuchDidError extends NoRepositoryError {}

export interface IdentityOptions {
  /** @defaultValue 'https://plc.directory' */
  plcUrl?: string
  /** Lets a PLC directory, did:web hosts and the like on this machine be used, over http. @defaultValue false */
  allowLocalhost?: boolean
  /** For one DID document. @defaultValue 10000 */
  timeoutMs?: number
}

export interface Identity {
  /**
   * From the cache where it is younger than a day; past an hour it is fetched again, for the next call.
   *
   * @throws {@link ConfigError}: not a DID of a method atproto has. {@link UnavailableError}: the directory or host
   *   does not answer. {@link NoRepositoryError}: no such DID, a tombstone, or a document without PDS.
   *   {@link VerificationError}: a document without key, or none that can be read
   */
  resolve(did: string): Promise<AccountIdentity>
  /** As resolve, without the cache: after a signature did not fit, or before a write. */
  refresh(did: string): Promise<AccountIdentity>
  /** Forgets one account, as when it says that its identity has changed, or all of them. */
  clear(did?: string): Promise<void>
}

const DEFAULT_PLC_URL = 'https://plc.directory'
const DEFAULT_TIMEOUT_MS = 10_000
/** PLC bounds an operation to 7,500 bytes; a did:web document may be longer, but not by orders of magnitude. */
const MAX_DOCUMENT_BYTES = 512 * 1024

export function createIdentity(options: IdentityOptions = {}): Identity {
  const { plcUrl = DEFAULT_PLC_URL, allowLocalhost = false, timeoutMs = DEFAULT_TIMEOUT_MS } = options
  const cache = createDidCache()
  const { did: resolver } = new IdResolver({
    plcUrl,
    didCache: cache,
    timeout: timeoutMs,
    fetch: documentFetch(createFetch({ allowLocalhost, headersTimeoutMs: timeoutMs })),
  })
  // Reading a key out of a document costs as much as checking a signature with it; the cache hands out one object
  // for as long as it holds a document.
  const read = new WeakMap<DidDocument, AccountIdentity>()
  const lookUp = async (did: string, isFresh: boolean): Promise<AccountIdentity> => {
    checkDid(did)
    try {
      const document = await resolver.resolve(did, isFresh)
      const known = document === null ? undefined : read.get(document)
      const identity = known ?? identityOf(did, document)
      if (document !== null) read.set(document, identity)
      return identity
    } catch (error) {
      throw identityError(did, error)
    }
  }
  return {
    resolve: (did) => lookUp(did, false),
    refresh: (did) => lookUp(did, true),
    clear: (did) => (did === undefined ? cache.clear() : cache.clearEntry(did)),
  }
}

/**
 * Does what the resolver leaves out: bounds the document's size, and tells apart the answers that say nothing about
 * the DID (for did:web it takes any failure for "not found", and of a PLC answer it keeps no Retry-After).
 */
function documentFetch(fetch: Fetch): typeof globalThis.fetch {
  return async (input, init) => {
    const url = new URL(input instanceof Request ? input.url : input)
    const response = await fetch(url, init)
    if (response.ok)
      return new Response(await bodyBytes(response, url.host, { maxBytes: MAX_DOCUMENT_BYTES }))
    if (response.status !== 429 && response.status < 500) return response
    await response.body?.cancel()
    throw new UnavailableError(`${url.host} answered ${response.status} when asked for a DID document`, {
      hint: `Try again later; ${url.host} is overloaded, limits requests, or is broken.`,
      ...retryAtMsOf(response.headers),
    })
  }
}

function checkDid(did: string): void {
  const isSupported = isValidDid(did) && (did.startsWith('did:plc:') || did.startsWith('did:web:'))
  if (isSupported) return
  throw new ConfigError(`${JSON.stringify(did)} is not the DID of an account`, {
    hint: 'Give a did:plc or did:web identifier, as did:plc:abc….',
  })
}

function identityOf(did: string, document: DidDocument | null): AccountIdentity {
  if (document === null) {
    throw new NoSuchDidError(`${did} does not exist, as far as its directory or host knows`, {
      did,
      hint: 'Check the DID, and that the PLC directory in use is the one it is registered with.',
    })
  }
  const { handle = 'handle.invalid', pds, signingKey } = parseToAtprotoDocument(document)
  if (pds === undefined) throw new NoRepositoryError(...incomplete(did, 'no PDS'))
  if (signingKey === undefined) throw new VerificationError(...incomplete(did, 'no signing key'))
  return { did, handle, pdsUrl: pds, signingKey }
}

function incomplete(did: string, lack: string): [message: string, context: ErrorContext] {
  const hint = 'The account has no repository at present. Its owner must put its DID document in order first.'
  return [`The DID document of ${did} names ${lack}`, { did, hint }]
}

function identityError(did: string, error: unknown): ReplayError {
  if (error instanceof ReplayError) return error
  const status = error instanceof Error && 'status' in error ? error.status : undefined
  if (status === 410) {
    return new NoSuchDidError(`${did} has been deleted: the directory holds a tombstone`, {
      did,
      hint: 'The account is gone for good and cannot be restored.',
      cause: error,
    })
  }
  // The resolver's own timer, which covers the body too.
  if (error instanceof DOMException && error.name === 'TimeoutError') {
    return new UnavailableError(`The DID document of ${did} could not be fetched: ${error.message}`, {
      did,
      hint: 'Try again later; if it stays so, check from this machine that the directory or host answers.',
      cause: error,
    })
  }
  return new VerificationError(`The DID document of ${did} could not be read: ${messageOf(error)}`, {
    did,
    hint: 'The directory or host gave a wrong answer: check its address, and look at the document yourself.',
    cause: error,
  })
}
