import { describe, expect, it } from 'vitest'
import { UnavailableError, VerificationError } from '../../../src/errors.ts'
import { bodyBytes, bodyChunks } from '../../../src/network/body.ts'
import { createFetch } from '../../../src/network/fetch.ts'
import { publicLookup } from '../../../src/network/url-policy.ts'
import { serve } from './loopback-server.ts'

const guarded = createFetch()
const local = createFetch({ allowLocalhost: true, headersTimeoutMs: 200 })

describe('createFetch', () => {
  it.each([
    'http://pds.example.net/',
    'https://127.0.0.1/',
    'https://[::1]/',
    'https://10.0.0.1/',
    'https://169.254.169.254/latest/meta-data/',
    'https://[::ffff:192.168.0.1]/',
    'https://localhost/',
    'https://metadata.local/',
    'file:///etc/passwd',
    'data:text/plain,hello',
  ])('refuses %s', async (url) => {
    await expect(guarded(url)).rejects.toBeInstanceOf(VerificationError)
  })

  it.each(['http://192.168.0.1/', 'https://10.0.0.1/', 'http://pds.example.net/'])(
    'refuses %s even where localhost is allowed',
    async (url) => {
      await expect(local(url)).rejects.toBeInstanceOf(VerificationError)
    },
  )

  it('reaches this machine only where that is allowed', async () => {
    await using server = await serve((_, response) => response.end('hello'))
    expect(await (await local(server.url)).text()).toBe('hello')
    await expect(guarded(server.url)).rejects.toBeInstanceOf(VerificationError)
  })

  it('does not follow a redirect away from this machine', async () => {
    await using server = await serve((_, response) => {
      response.writeHead(302, { location: 'http://169.254.169.254/latest/meta-data/' }).end()
    })
    await expect(local(server.url)).rejects.toThrow(/not allowed: a local address/)
  })

  it('gives up on a host that does not answer, and names only the host', async () => {
    await using server = await serve(() => undefined)
    const error = await local(`${server.url}/path?token=secret`).catch((error: unknown) => error)
    expect(error).toBeInstanceOf(UnavailableError)
    expect(error).toMatchObject({ message: expect.stringMatching(/127\.0\.0\.1:\d+ .*200 ms/) })
    expect(JSON.stringify([(error as Error).message, (error as UnavailableError).hint])).not.toMatch(
      /path|secret/,
    )
  })

  it('says when a host refuses connections', async () => {
    const server = await serve(() => undefined)
    await server[Symbol.asyncDispose]()
    await expect(local(server.url)).rejects.toBeInstanceOf(UnavailableError)
  })

  it('lets the caller abort', async () => {
    await using server = await serve(() => undefined)
    const fetching = local(server.url, { signal: AbortSignal.timeout(10) })
    await expect(fetching).rejects.toMatchObject({ name: 'TimeoutError' })
  })
})

describe('publicLookup', () => {
  it('refuses names of this machine and of local networks', async () => {
    for (const name of ['localhost', 'printer.local', 'intranet']) {
      const error = await new Promise((resolve) => publicLookup(name, { all: true }, resolve))
      expect(error).toBeInstanceOf(VerificationError)
    }
  })
})

describe('bodyChunks', () => {
  it('refuses a body over the limit', async () => {
    const response = new Response('x'.repeat(100))
    await expect(bodyBytes(response, 'host', { maxBytes: 99 })).rejects.toThrow('limit of 99 bytes')
    expect(await bodyBytes(new Response('x'.repeat(99)), 'host', { maxBytes: 99 })).toHaveLength(99)
  })

  it('gives up on a body that falls silent', async () => {
    await using server = await serve((_, response) => response.write('x'))
    const response = await local(server.url)
    const reading = bodyBytes(response, 'host', { maxBytes: 99, idleTimeoutMs: 50 })
    await expect(reading).rejects.toBeInstanceOf(UnavailableError)
  })

  it('is not cut off by the limit on headers', async () => {
    await using server = await serve((_, response) => {
      response.write('a')
      setTimeout(() => response.end('b'), 400)
    })
    const response = await local(server.url)
    expect(Buffer.from(await bodyBytes(response, 'host', { maxBytes: 99 })).toString()).toBe('ab')
  })

  it('says when the connection breaks off', async () => {
    await using server = await serve((_, response) => {
      response.writeHead(200, { 'content-length': '10' }).write('x')
      setTimeout(() => response.destroy(), 20)
    })
    const response = await local(server.url)
    await expect(bodyBytes(response, 'host', { maxBytes: 99 })).rejects.toBeInstanceOf(UnavailableError)
  })

  it('closes the connection when the loop is left', async () => {
    let closed: (value: unknown) => void = () => undefined
    const closing = new Promise((resolve) => {
      closed = resolve
    })
    await using server = await serve((_, response) => {
      response.on('close', closed)
      response.write('x')
    })
    for await (const _ of bodyChunks(await local(server.url), 'host', { maxBytes: 99 })) break
    await closing
  })
})
