import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { setTimeout as wait } from 'node:timers/promises'
import type { Fetch } from '../../src/network/fetch.ts'
import { cidOfBytes } from '../../src/repo/blob-cid.ts'

/** What becomes of a call that writes. */
export type Fault =
  | 'pass'
  /** The host makes the commit, and its answer is lost: the connection breaks. */
  | 'lose'
  /** The connection breaks before the host has seen the call. */
  | 'reset'
  /** The proxy answers in place of the host, which does not see the call. */
  | {
      status: number
      error?: string
      message?: string
      headers?: Record<string, string>
      /** In place of `error` and `message`. */
      body?: object
    }

export interface Operation {
  kind: 'create' | 'update' | 'delete' | 'put'
  collection: string
  rkey: string
}

/** A call of com.atproto.repo.applyWrites or putRecord. */
export interface WriteCall {
  operations: Operation[]
  bodyBytes: number
  /** Whether it depends on the commit before it. */
  hasSwapCommit: boolean
  fault: Fault
  /** The host's answer; undefined where it did not see the call. */
  status?: number
  /** The host's name for what was wrong. */
  error?: string
}

/** A call of com.atproto.repo.uploadBlob. */
export interface UploadCall {
  /** Of the bytes. */
  cid: string
  mimeType: string
  fault: Fault
  status?: number
}

export interface FaultProxy extends AsyncDisposable {
  url: string
  /** Sends what is meant for any host through here. */
  fetch(inner: Fetch): Fetch
  /** What becomes of the next writes, in order; `decide` says for all after them. */
  next: Fault[]
  decide: (call: Pick<WriteCall, 'operations' | 'bodyBytes'>) => Fault
  /** Before each write is passed on. */
  delayMs: number
  /** Lifts the host's own rate limits while set. */
  bypassKey: string | undefined
  calls: WriteCall[]
  /** The same for uploads. */
  nextUploads: Fault[]
  uploads: UploadCall[]
  /** Names of the methods called, of both kinds. */
  order: ('applyWrites' | 'putRecord' | 'uploadBlob')[]
  /** Before each write is passed on. */
  beforeWrite: (call: WriteCall) => Promise<unknown>
  /** Writes that the host took. */
  commits(): number
  /** What the host counts: of all calls that it saw with a live session, refused ones included. */
  points(): number
}

/** How a host refuses a call before it counts it. */
const UNCOUNTED: unknown[] = ['ExpiredToken', 'InvalidToken', 'AuthMissing', 'AuthenticationRequired']

const POINTS = { create: 3, update: 2, delete: 1, put: 2 }

/** An HTTP proxy before a PDS that makes writes fail in the ways that networks, proxies and hosts have. */
export async function startFaultProxy(pdsUrl: string): Promise<FaultProxy> {
  const server = createServer((request, response) => {
    handle(proxy, pdsUrl, request, response).catch((error: unknown) => {
      response.destroy(error instanceof Error ? error : new Error(String(error)))
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('A TCP server has no port.')
  const url = `http://127.0.0.1:${address.port}`
  const proxy: FaultProxy = {
    url,
    fetch: (inner) => (input, init) => {
      const { pathname, search } = new URL(input)
      return inner(new URL(pathname + search, url), init)
    },
    next: [],
    decide: () => 'pass',
    delayMs: 0,
    bypassKey: undefined,
    calls: [],
    nextUploads: [],
    uploads: [],
    order: [],
    beforeWrite: async () => undefined,
    commits: () => proxy.calls.filter(({ status }) => status === 200).length,
    points: () =>
      proxy.calls
        .filter(({ status, error }) => status !== undefined && !UNCOUNTED.includes(error))
        .flatMap(({ operations }) => operations)
        .reduce((sum, { kind }) => sum + POINTS[kind], 0),
    async [Symbol.asyncDispose]() {
      const closed = once(server, 'close')
      server.close()
      server.closeAllConnections()
      await closed
    },
  }
  return proxy
}

async function handle(
  proxy: FaultProxy,
  pdsUrl: string,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const body = await bodyOf(request)
  const { url = '' } = request
  const method = url.slice(url.lastIndexOf('.') + 1)
  if (method !== 'applyWrites' && method !== 'putRecord' && method !== 'uploadBlob')
    return answer(response, await passOn(proxy, pdsUrl, request, body))
  proxy.order.push(method)
  const call = method === 'uploadBlob' ? takeUpload(proxy, request, body) : takeWrite(proxy, method, body)
  if (call.fault === 'reset') return cut(request)
  if (typeof call.fault === 'object') {
    const { status, error = 'InternalServerError', message = 'Internal Server Error', headers } = call.fault
    response.writeHead(status, { 'content-type': 'application/json', ...headers })
    response.end(JSON.stringify(call.fault.body ?? { error, message }))
    return
  }
  if ('operations' in call) {
    if (proxy.delayMs > 0) await wait(proxy.delayMs)
    await proxy.beforeWrite(call)
  }
  const upstream = await passOn(proxy, pdsUrl, request, body)
  call.status = upstream.status
  if ('operations' in call && !upstream.ok) call.error = await errorOf(upstream.clone())
  if (call.fault === 'lose') return cut(request)
  await answer(response, upstream)
}

async function errorOf(response: Response): Promise<string> {
  const { error }: { error?: unknown } = JSON.parse(await response.text())
  return String(error)
}

function takeUpload(proxy: FaultProxy, { headers }: IncomingMessage, body: Buffer): UploadCall {
  const fault = proxy.nextUploads.shift() ?? 'pass'
  const call = { cid: cidOfBytes(body), mimeType: headers['content-type'] ?? '', fault }
  proxy.uploads.push(call)
  return call
}

function takeWrite(proxy: FaultProxy, method: string, body: Buffer): WriteCall {
  const call = writeCallOf(method, body)
  call.fault = proxy.next.shift() ?? proxy.decide(call)
  proxy.calls.push(call)
  return call
}

function cut(request: IncomingMessage): void {
  request.socket.resetAndDestroy()
}

async function passOn(
  { bypassKey }: FaultProxy,
  pdsUrl: string,
  request: IncomingMessage,
  body: Buffer<ArrayBuffer>,
): Promise<Response> {
  const headers = new Headers()
  for (const name of ['content-type', 'authorization', 'dpop']) {
    const value = request.headers[name]
    if (typeof value === 'string') headers.set(name, value)
  }
  if (bypassKey !== undefined) headers.set('x-ratelimit-bypass', bypassKey)
  return fetch(new URL(request.url ?? '/', pdsUrl), {
    method: request.method ?? 'GET',
    headers,
    ...(body.length > 0 ? { body } : {}),
  })
}

async function answer(response: ServerResponse, upstream: Response): Promise<void> {
  const passed = [...upstream.headers].filter(([name]) => !HOP_BY_HOP.has(name))
  response.writeHead(upstream.status, Object.fromEntries(passed))
  response.end(Buffer.from(await upstream.arrayBuffer()))
}

const HOP_BY_HOP = new Set([
  'connection',
  'keep-alive',
  'transfer-encoding',
  'content-length',
  'content-encoding',
])

const KINDS: Readonly<Record<string, Operation['kind']>> = {
  'com.atproto.repo.applyWrites#create': 'create',
  'com.atproto.repo.applyWrites#update': 'update',
  'com.atproto.repo.applyWrites#delete': 'delete',
}

function writeCallOf(method: string, body: Buffer): WriteCall {
  const input = JSON.parse(body.toString())
  const writes: { $type?: string; collection: string; rkey: string }[] =
    method === 'putRecord' ? [input] : input.writes
  return {
    operations: writes.map(({ $type = '', collection, rkey }) => ({
      kind: KINDS[$type] ?? 'put',
      collection,
      rkey,
    })),
    bodyBytes: body.length,
    hasSwapCommit: input.swapCommit !== undefined,
    fault: 'pass',
  }
}

async function bodyOf(request: IncomingMessage): Promise<Buffer<ArrayBuffer>> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk)
  return Buffer.concat(chunks)
}
