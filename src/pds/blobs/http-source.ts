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
 * Blobs under a URL each, as `https://blobs.example/{did}/{cid}`.
 *
 * @throws ConfigError when the template has no {cid}, or is no URL
 */
export function urlSource(template: string, network: BlobNetwork): BlobSource {
  refuseTemplate(template)
  if (!URL.canParse(filled(template, 'cid', 'did'))) {
    throw new ConfigError(`${template} is no URL.`, { hint: 'Give one such as https://HOST/{did}/{cid}.' })
  }
  const isAbsent = (status: number): boolean => status === 404 || status === 410
  return {
    name: template,
    fetch: (cid, did) => download(new URL(filled(template, cid, did)), network, isAbsent),
  }
}

/** What a PDS serves of an account's blobs (com.atproto.sync.getBlob). */
export function pdsSource(pdsUrl: string, network: BlobNetwork): BlobSource {
  // 400 is how a PDS says that it has no such blob, and also that it has no such account (any more).
  const isAbsent = (status: number): boolean => status === 400 || status === 404
  return {
    name: new URL(pdsUrl).origin,
    fetch: (cid, did) => download(getBlobUrl(pdsUrl, did, cid), network, isAbsent),
  }
}

export function getBlobUrl(pdsUrl: string, did: string, cid: string): URL {
  const url = new URL('/xrpc/com.atproto.sync.getBlob', pdsUrl)
  url.search = new URLSearchParams({ did, cid }).toString()
  return url
}

function download(
  url: URL,
  { fetch, queues, maxBytes = MAX_BLOB_BYTES }: BlobNetwork,
  isAbsent: (status: number) => boolean,
): Promise<Uint8Array | undefined> {
  return queues.run(url.href, async () => {
    const response = await fetch(url)
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
