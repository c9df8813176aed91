import { ConfigError, PdsError, UnavailableError } from '../../errors.ts'
import { bodyBytes } from '../../network/body.ts'
import type { Fetch } from '../../network/fetch.ts'
import type { HostQueues } from '../../network/host-queues.ts'
import { retryAtMsOf } from '../../network/retry-after.ts'
import { type BlobSource, MAX_BLOB_BYTES } from './source.ts'
import { filled, refuseTemplate } from './template.ts'

/** How hosts are asked. */
export interface BlobNetwork {
  /** Guarded: both templates' and DID documents' URLs come through it. */
  fetch: Fetch
  queues: HostQueues
  /** @defaultValue 100 MiB */
  maxBytes?: number
}

/**
 * Blobs under a URL each, as `https://blobs.example/{did}/{cid}`. A user and password in it are sent as basic
 * authorization. They and the query, which may hold a token, are in no name and in no error.
 *
 * @throws ConfigError when the template has no {cid}, or is no URL of the web
 */
export function urlSource(template: string, network: BlobNetwork): BlobSource {
  refuseTemplate(template, 'The URL template for blobs')
  const request = (cid: string, did: string): BlobRequest => requestOf(filled(template, cid, did))
  request('cid', 'did')
  const isAbsent = (status: number): boolean => status === 404 || status === 410
  return {
    name: nameOf(template),
    async fetch(cid, did) {
      try {
        return await download(request(cid, did), network, isAbsent)
      } catch (error) {
        throw error instanceof UnavailableError ? withoutCause(error) : error
      }
    },
  }
}

interface BlobRequest {
  url: URL
  init?: RequestInit
}

/** `fetch` takes no URL with credentials in it, and names the URL when it says so. */
function requestOf(text: string): BlobRequest {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url === undefined || !/^https?:$/.test(url.protocol)) {
    throw new ConfigError('The URL template for blobs is no URL.', { hint: TEMPLATE_HINT })
  }
  const { username, password } = url
  if (username === '' && password === '') return { url }
  url.username = ''
  url.password = ''
  return { url, init: { headers: { authorization: basic(username, password) } } }
}

const TEMPLATE_HINT = 'Give one such as https://HOST/{did}/{cid}.'

function basic(username: string, password: string): string {
  try {
    const pair = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`
    return `Basic ${Buffer.from(pair).toString('base64')}`
  } catch (error) {
    if (!(error instanceof URIError)) throw error
    throw new ConfigError('The URL template for blobs has a user or password that cannot be read.', {
      hint: 'Write a percent sign in it as %25.',
    })
  }
}

function nameOf(template: string): string {
  const { origin, pathname } = new URL(template)
  return `${origin}${pathname}`.replaceAll(/%7B(cid|did)%7D/g, '{$1}')
}

/** The cause of what is thrown for a host that does not answer holds the request, headers and query included. */
function withoutCause({ message, hint, retryAtMs }: UnavailableError): UnavailableError {
  return new UnavailableError(message, {
    ...(hint !== undefined && { hint }),
    ...(retryAtMs !== undefined && { retryAtMs }),
  })
}

/** What a PDS serves of an account's blobs (com.atproto.sync.getBlob). */
export function pdsSource(pdsUrl: string, network: BlobNetwork): BlobSource {
  // 400 is how a PDS says that it has no such blob, and also that it has no such account (any more).
  const isAbsent = (status: number): boolean => status === 400 || status === 404
  return {
    name: new URL(pdsUrl).origin,
    fetch: (cid, did) => download({ url: getBlobUrl(pdsUrl, did, cid) }, network, isAbsent),
  }
}

export function getBlobUrl(pdsUrl: string, did: string, cid: string): URL {
  const url = new URL('/xrpc/com.atproto.sync.getBlob', pdsUrl)
  url.search = new URLSearchParams({ did, cid }).toString()
  return url
}

function download(
  { url, init }: BlobRequest,
  { fetch, queues, maxBytes = MAX_BLOB_BYTES }: BlobNetwork,
  isAbsent: (status: number) => boolean,
): Promise<Uint8Array | undefined> {
  return queues.run(url.href, async () => {
    const response = await fetch(url, init)
    if (response.ok) return bodyBytes(response, url.host, { maxBytes })
    await response.body?.cancel()
    if (isAbsent(response.status)) return undefined
    throw refusalOf(response, url.host)
  })
}

/** Neither a blob nor "there is none": of those, only what may pass by itself is worth another try. */
export function refusalOf({ status, headers }: Response, host: string): PdsError | UnavailableError {
  if (status === 429 || status >= 500) {
    return new UnavailableError(`${host} answered ${status} when asked for blobs.`, {
      hint: `Try again later; ${host} ${status === 429 ? 'limits requests' : 'is overloaded or broken'}.`,
      ...retryAtMsOf(headers),
    })
  }
  return new PdsError(`${host} answered ${status} when asked for blobs.`, {
    error: `HTTP ${status}`,
    hint: `Check that ${host} lets anybody read them.`,
  })
}
