/** Where the functions are mounted: apps of one's own by the SDK's adapters, and our own server. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import { connect } from 'node:net'
import { getRequestListener } from '@hono/node-server'
import { Hono } from 'hono'
import type { InngestFunction } from 'inngest'
import { serve as serveEdge } from 'inngest/edge'
import { serve as serveHono } from 'inngest/hono'
import { serve as serveNext } from 'inngest/next'
import { createServer as createInngestServer } from 'inngest/node'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { ConfigError } from '../../src/errors.ts'
import {
  createFunctions,
  createInngest,
  serveFunctions,
  WRITE_RECORDS_EVENT,
  WRITE_RECORDS_ID,
  writeRecordsEvent,
} from '../../src/inngest/index.ts'
import { createLogger } from '../../src/logger.ts'
import { Cleanup } from '../../src/stack/cleanup.ts'
import { type Stack, startStack } from '../../src/stack/index.ts'
import { listenOnLoopback } from '../../src/stack/listen.ts'
import { bodiesOf, documents, startWorld, type World } from './write-world.ts'

const SIGNING_KEY = `signkey-test-${'ab'.repeat(32)}`
const PATH = '/api/inngest'

let stack: Stack
let cleanup = new Cleanup()

beforeAll(async () => {
  stack = await startStack()
})

afterAll(async () => {
  await stack?.[Symbol.asyncDispose]()
})

afterEach(async () => {
  await cleanup[Symbol.asyncDispose]()
  cleanup = new Cleanup()
})

/** How apps of different kinds serve functions, each as a server for node. */
const apps = {
  node: ({ client, functions }: Mounted) => createInngestServer({ client, functions }),
  hono: ({ client, functions }: Mounted) => {
    const app = new Hono()
    app.on(['GET', 'PUT', 'POST'], PATH, serveHono({ client, functions }))
    return createServer(getRequestListener(app.fetch))
  },
  'fetch handler': ({ client, functions }: Mounted) =>
    createServer(getRequestListener(serveEdge({ client, functions }))),
  next: ({ client, functions }: Mounted) => {
    // As a route module exports them.
    const route = serveNext({ client, functions })
    return createServer(
      getRequestListener(async (request) => {
        const { method } = request
        const handler = method === 'GET' || method === 'POST' || method === 'PUT' ? route[method] : undefined
        return handler === undefined
          ? new Response(null, { status: 405 })
          : handler(request as never, undefined)
      }),
    )
  },
}

interface Mounted {
  client: World['client']
  functions: InngestFunction.Any[]
}

describe("an app of one's own", () => {
  test.each(Object.keys(apps) as (keyof typeof apps)[])('mounted by %s', async (kind) => {
    await using world = await startWorld(stack, { isRegistered: false })
    const server = apps[kind](world)
    await world.inngest.register(`http://127.0.0.1:${await listenOnLoopback(server, cleanup)}${PATH}`)
    const records = documents(3)
    // By the client of the app, with the event's own type.
    await world.client.send(writeRecordsEvent.create({ did: world.account.did, records }))
    await world.inngest.idle()
    const [run] = world.inngest.runs()
    expect(run).toMatchObject({
      functionId: `firehose-replay-${WRITE_RECORDS_ID}`,
      event: { name: WRITE_RECORDS_EVENT },
      status: 'Completed',
      output: { success: true, recordsWritten: 3, batchCount: 1, outcomes: { created: 3 }, notWritten: [] },
    })
    expect(await world.bodies()).toEqual(bodiesOf(records))
  })

  test('the event type refuses what does not fit before it is sent', async () => {
    await using world = await startWorld(stack)
    const event = writeRecordsEvent.create({ did: 'alice.test', records: documents(1) })
    await expect(world.client.send(event)).rejects.toThrow()
    expect(world.inngest.runs()).toEqual([])
  })
})

describe('our own server', () => {
  const served = async (isDev: boolean, options: Partial<Parameters<typeof serveFunctions>[0]> = {}) => {
    const inngest = createInngest({ isDev, ...(isDev ? {} : { signingKey: SIGNING_KEY }) })
    const { url } = cleanup.use(await serveFunctions({ inngest, functions: unused(inngest), ...options }))
    const { origin } = new URL(url)
    return { url, get: (path: string) => fetch(`${origin}${path}`) }
  }
  const unused = (inngest: World['client']) =>
    createFunctions({
      inngest,
      sessionProvider: () => Promise.reject(new Error('no session is asked for')),
      network: stackNetwork(),
    })

  test('in production mode answers no request without a signature, whatever it asks for', async () => {
    const { url } = await served(false)
    const query = `?fnId=firehose-replay-${WRITE_RECORDS_ID}&stepId=step`
    const event = { name: WRITE_RECORDS_EVENT, data: { did: 'did:plc:a', records: documents(1) } }
    const body = JSON.stringify({ event, events: [event], steps: {}, ctx: {}, version: 2 })
    const headers = { 'content-type': 'application/json', 'x-inngest-server-kind': 'dev' }
    const stale = `t=${Math.floor(Date.now() / 1000) - 3600}&s=${'0'.repeat(64)}`
    const requests: [string, RequestInit][] = [
      [url, { method: 'GET' }],
      [`${url}?probe=trust`, { method: 'POST', headers, body: '{}' }],
      [`${url}${query}`, { method: 'POST', headers, body }],
      [`${url}${query}`, { method: 'POST', headers: { ...headers, 'x-inngest-signature': stale }, body }],
      [url, { method: 'PUT', headers, body: '{}' }],
      [url, { method: 'PUT', headers: { ...headers, 'x-inngest-sync-kind': 'in_band' }, body: '{}' }],
    ]
    for (const [target, init] of requests) {
      const response = await fetch(target, init)
      expect({ init, status: response.status }).toEqual({ init, status: 401 })
      expect(await response.text()).not.toContain(WRITE_RECORDS_ID)
    }
  })

  test.each([
    ['production', false],
    ['development', true],
  ])('in %s mode survives requests that cannot be read, and says so', async (_, isDev) => {
    const lines: string[] = []
    const logger = createLogger('silent')
    logger.warn = ((fields: object, line: string) => {
      lines.push(`${line} ${JSON.stringify(fields)}`)
    }) as typeof logger.warn
    const { url, get } = await served(isDev, { logger })
    const query = `fnId=firehose-replay-${WRITE_RECORDS_ID}&stepId=step`
    const head = (host: string, length: number) =>
      `POST ${PATH}?${query} HTTP/1.1\r\nhost: ${host}\r\ncontent-length: ${length}\r\n\r\n`
    expect(await sendRaw(url, `${head('a', 1000)}{"a`, { cutAfterMs: 50 })).toBe('')
    expect(await sendRaw(url, `${head('a', 9)}{"secret"`)).toMatch(/^HTTP\/1\.1 400 /)
    expect(await sendRaw(url, `${head('[[[', 2)}{}`)).toMatch(/^HTTP\/1\.1 400 /)
    await expect.poll(() => lines.length).toBe(3)
    expect(lines.join()).not.toContain('secret')
    expect((await get('/healthz')).status).toBe(200)
  })

  test('is alive without being ready', async () => {
    const inngest = createInngest({ isDev: false })
    const { get } = await served(false, { inngest, functions: unused(inngest) })
    expect((await get('/healthz')).status).toBe(200)
    const response = await get('/readyz')
    expect(response.status).toBe(503)
    expect(await response.text()).toMatch(/^signing key: .*INNGEST_SIGNING_KEY.*\n$/)
  })

  test('is ready when all that it needs is there, and asks for it once in some seconds', async () => {
    let asked = 0
    const readiness = [
      {
        name: 'database',
        check: async () => {
          asked++
        },
      },
    ]
    const { get } = await served(false, { readiness })
    const answers = await Promise.all(Array.from({ length: 20 }, () => get('/readyz')))
    expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200))
    expect((await get('/readyz')).status).toBe(200)
    expect(asked).toBe(1)
  })

  test('says in one line why it is not', async () => {
    const check = () => Promise.reject(new ConfigError('nobody has logged in\nand a second line'))
    const { get } = await served(true, { readiness: [{ name: 'sessions', check }] })
    const response = await get('/readyz')
    expect([response.status, await response.text()]).toEqual([503, 'sessions: nobody has logged in\n'])
  })

  test('does not wait long for what does not answer', async () => {
    const check = () => new Promise<void>(() => undefined)
    const { get } = await served(true, { readiness: [{ name: 'database', check }] })
    const response = await get('/readyz')
    expect([response.status, await response.text()]).toEqual([503, 'database: no answer within 5 s\n'])
  })
})

/** @returns the answer, as far as it comes */
async function sendRaw(url: string, text: string, { cutAfterMs = 0 } = {}): Promise<string> {
  const { hostname, port } = new URL(url)
  const socket = connect(Number(port), hostname)
  socket.write(text)
  if (cutAfterMs > 0) setTimeout(() => socket.destroy(), cutAfterMs)
  let answer = ''
  socket.on('data', (chunk) => {
    answer += chunk
  })
  await once(socket, 'close')
  return answer
}

function stackNetwork(): World['network'] {
  const unasked = () => Promise.reject(new Error('nothing is asked for'))
  return {
    identity: { resolve: unasked, refresh: unasked, clear: unasked },
    xrpc: { getLatestCommit: unasked, getRepoStream: unasked, getRecordProof: unasked },
  }
}
