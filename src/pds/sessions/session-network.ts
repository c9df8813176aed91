import type { Fetch } from '../../network/fetch.ts'
import type { Identity } from '../../network/identity.ts'

/** What sessions reach hosts with. PDS addresses come from DID documents, hence a fetch with SSRF protection. */
export interface SessionNetwork {
  identity: Pick<Identity, 'resolve'>
  fetch: Fetch
}

/** As libraries call fetch: with a Request as well. Its body is held in memory, as it was before. */
export function standardFetch(fetch: Fetch): typeof globalThis.fetch {
  return async (input, init) => {
    if (!(input instanceof Request)) return fetch(input, init)
    const { url, method, headers, redirect, signal, body } = new Request(input, init)
    const content = body === null ? {} : { body: await new Response(body).arrayBuffer() }
    return fetch(url, { method, headers, redirect, signal, ...content })
  }
}
