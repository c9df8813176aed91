import { VerificationError } from '../../errors.ts'
import { bodyBytes } from '../../network/body.ts'
import { concurrently } from './concurrently.ts'
import { type BlobNetwork, getBlobUrl, refusalOf } from './http-source.ts'

/** Which of these blobs an account's PDS serves now: a record that refers to them needs no upload. */
export type ServedBlobs = (cids: Iterable<string>) => Promise<ReadonlySet<string>>

const PAGE = 1000
const MAX_PAGE_BYTES = 1024 ** 2
const CHECKS_AT_ONCE = 8

/**
 * Asks com.atproto.sync.listBlobs, a call per thousand blobs of the account, and then for the head of each blob that
 * is wanted and listed: a list says what records refer to, and after a migration that may be more than there is.
 *
 * @throws UnavailableError, PdsError, VerificationError
 */
export function servedBlobs(pdsUrl: string, did: string, network: BlobNetwork): ServedBlobs {
  return async (cids) => {
    const wanted = new Set(cids)
    const served = new Set<string>()
    if (wanted.size === 0) return served
    const listed = await listedAmong(wanted, pdsUrl, did, network)
    await concurrently(listed, CHECKS_AT_ONCE, async (cid) => {
      if (await isServed(getBlobUrl(pdsUrl, did, cid), network)) served.add(cid)
    })
    return served
  }
}

async function listedAmong(
  wanted: ReadonlySet<string>,
  pdsUrl: string,
  did: string,
  network: BlobNetwork,
): Promise<Set<string>> {
  const listed = new Set<string>()
  const cursors = new Set<string>()
  let cursor: string | undefined
  do {
    const page = await listPage(pdsUrl, { did, limit: String(PAGE), ...(cursor && { cursor }) }, network)
    for (const cid of page.cids) if (wanted.has(cid)) listed.add(cid)
    cursor = page.cids.length === 0 ? undefined : page.cursor
    if (cursor !== undefined && cursors.has(cursor)) {
      throw new VerificationError(`${pdsUrl} lists the blobs of ${did} without end.`, {
        did,
        hint: 'Ask the operator of the PDS: its listBlobs returns a cursor twice.',
      })
    }
    if (cursor !== undefined) cursors.add(cursor)
  } while (cursor !== undefined && listed.size < wanted.size)
  return listed
}

interface Page {
  cids: string[]
  cursor?: string
}

function listPage(
  pdsUrl: string,
  params: Record<string, string>,
  { fetch, queues }: BlobNetwork,
): Promise<Page> {
  const url = new URL('/xrpc/com.atproto.sync.listBlobs', pdsUrl)
  url.search = new URLSearchParams(params).toString()
  return queues.run(url.href, async () => {
    const response = await fetch(url)
    if (!response.ok) {
      await response.body?.cancel()
      throw refusalOf(response, url.host)
    }
    return pageOf(await bodyBytes(response, url.host, { maxBytes: MAX_PAGE_BYTES }), url.host)
  })
}

function pageOf(bytes: Uint8Array, host: string): Page {
  const page = parsed(Buffer.from(bytes).toString())
  if (page === null || typeof page !== 'object' || !('cids' in page) || !Array.isArray(page.cids)) {
    throw new VerificationError(`${host} answered listBlobs with something that is no list.`)
  }
  const cids = page.cids.filter((cid): cid is string => typeof cid === 'string')
  return 'cursor' in page && typeof page.cursor === 'string' ? { cids, cursor: page.cursor } : { cids }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}

/** A GET where the host knows no HEAD; its body is not read. */
function isServed(url: URL, { fetch, queues }: BlobNetwork): Promise<boolean> {
  return queues.run(url.href, async () => {
    let response = await fetch(url, { method: 'HEAD' })
    if (response.status === 405 || response.status === 501) {
      response = await fetch(url)
      await response.body?.cancel()
    }
    if (response.ok) return true
    if (response.status === 400 || response.status === 404) return false
    throw refusalOf(response, url.host)
  })
}
