import type { IncomingMessage, ServerResponse } from 'node:http'
import { describe, expect, it } from 'vitest'
import { PdsError, UnavailableError, VerificationError } from '../../../src/errors.ts'
import { createFetch } from '../../../src/network/fetch.ts'
import { retryAtMsOf } from '../../../src/network/retry-after.ts'
import { createXrpc } from '../../../src/network/xrpc.ts'
import { serve } from './loopback-server.ts'

const DID = 'did:plc:aaaaaaaaaaaaaaaaaaaaaaaa'
const xrpc = createXrpc({ fetch: createFetch({ allowLocalhost: true }), maxRepoBytes: 1000 })

async function pds(answer: (response: ServerResponse, request: IncomingMessage) => void) {
  const urls: string[] = []
  const server = await serve((request, response) => {
    urls.push(request.url ?? '')
    answer(response, request)
  })
  return { url: server.url, urls, [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() }
}

const json = (body: unknown, status = 200, headers = {}) => {
  return (response: ServerResponse) => response.writeHead(status, headers).end(JSON.stringify(body))
}

describe('createXrpc', () => {
  it('gets the latest commit', async () => {
    await using host = await pds(json({ cid: 'bafy', rev: '3jzfcijpj2z2a' }))
    expect(await xrpc.getLatestCommit(host.url, DID)).toEqual({ cid: 'bafy', rev: '3jzfcijpj2z2a' })
    expect(host.urls).toEqual([`/xrpc/com.atproto.sync.getLatestCommit?did=${encodeURIComponent(DID)}`])
  })

  it('streams a repository, whole or since a rev, up to the limit', async () => {
    await using host = await pds((response) => response.end('x'.repeat(900)))
    const chunks: Uint8Array[] = []
    for await (const chunk of await xrpc.getRepoStream(host.url, DID)) chunks.push(chunk)
    expect(Buffer.concat(chunks)).toHaveLength(900)
    for await (const _ of await xrpc.getRepoStream(host.url, DID, '3jzfcijpj2z2a')) break
    expect(host.urls.map((url) => new URL(url, host.url).searchParams.get('since'))).toEqual([
      null,
      '3jzfcijpj2z2a',
    ])

    await using large = await pds((response) => response.end('x'.repeat(1001)))
    const reading = (async () => {
      for await (const chunk of await xrpc.getRepoStream(large.url, DID)) chunks.push(chunk)
    })()
    await expect(reading).rejects.toBeInstanceOf(VerificationError)
  })

  it('gets a proof', async () => {
    await using host = await pds((response) => response.end('proof'))
    const proof = await xrpc.getRecordProof(host.url, DID, 'com.example.note', 'a')
    expect(Buffer.from(proof).toString()).toBe('proof')
  })

  it.each(['RepoNotFound', 'RepoDeactivated', 'RepoTakendown', 'RepoSuspended'])(
    'passes %s on',
    async (error) => {
      await using host = await pds(json({ error, message: 'because' }, 400))
      const refused = await xrpc.getLatestCommit(host.url, DID).catch((error: unknown) => error)
      expect(refused).toBeInstanceOf(PdsError)
      expect(refused).toMatchObject({ error, did: DID, message: expect.stringContaining('because') })
      expect((refused as PdsError).hint).toMatch(/account|host/)
    },
  )

  it('takes an error page for a refusal', async () => {
    await using host = await pds((response) => response.writeHead(404).end('<html>'))
    await expect(xrpc.getLatestCommit(host.url, DID)).rejects.toMatchObject({
      constructor: PdsError,
      error: 'HTTP 404',
    })
  })

  it('refuses an answer of the wrong shape', async () => {
    await using host = await pds(json({ cid: 5 }))
    await expect(xrpc.getLatestCommit(host.url, DID)).rejects.toBeInstanceOf(VerificationError)
  })

  it('may try later when limited or the host is broken', async () => {
    await using limited = await pds(
      json({ error: 'RateLimitExceeded' }, 429, { 'ratelimit-reset': '2000000000' }),
    )
    await expect(xrpc.getLatestCommit(limited.url, DID)).rejects.toMatchObject({
      constructor: UnavailableError,
      retryAtMs: 2_000_000_000_000,
    })
    await using broken = await pds(json({ error: 'InternalServerError' }, 502))
    await expect(xrpc.getLatestCommit(broken.url, DID)).rejects.toBeInstanceOf(UnavailableError)
  })
})

describe('retryAtMsOf', () => {
  it.each([
    [{ 'retry-after': '5' }, { retryAtMs: 6_000 }],
    [{ 'retry-after': 'Thu, 01 Jan 1970 00:01:00 GMT' }, { retryAtMs: 60_000 }],
    [{ 'retry-after': '5', 'ratelimit-reset': '9' }, { retryAtMs: 6_000 }],
    [{ 'retry-after': 'soon' }, {}],
    [{}, {}],
  ])('reads %j', (headers, expected) => {
    expect(retryAtMsOf(new Headers(headers), 1_000)).toEqual(expected)
  })
})
