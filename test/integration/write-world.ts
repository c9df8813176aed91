/** What tests of the write function stand on: an account, the functions served for it, and a PDS with faults. */
import { once } from 'node:events'
import { createServer, type IncomingMessage } from 'node:http'
import { Inngest } from 'inngest'
import type { JsonObject } from '../../src/events.ts'
import {
  createFunctions,
  createInngest,
  type FunctionsOptions,
  type Network,
  serveFunctions,
  WRITE_RECORDS_EVENT,
  type WriteSummary,
  writeThroughInngest,
} from '../../src/inngest/index.ts'
import { createLogger } from '../../src/logger.ts'
import { createFetch } from '../../src/network/fetch.ts'
import { createIdentity } from '../../src/network/identity.ts'
import { createXrpc } from '../../src/network/xrpc.ts'
import { fetchRepo } from '../../src/pds/repo.ts'
import type { SessionProvider } from '../../src/pds/session.ts'
import { appPasswordSessions } from '../../src/pds/sessions/app-password.ts'
import type { RecordToWrite } from '../../src/pds/write.ts'
import { cidOfRecord } from '../../src/repo/record.ts'
import { Cleanup } from '../../src/stack/cleanup.ts'
import type { Account, Stack } from '../../src/stack/index.ts'
import { type EmbeddedInngest, type InngestOptions, startInngest } from '../../src/stack/inngest/index.ts'

export const COLLECTION = 'site.standard.document'

let accountCount = 0

export interface WorldOptions {
  /** A client with the SDK's own settings, which reports each step while a call goes on. */
  checkpointing?: boolean
  functions?: Partial<FunctionsOptions>
  executor?: InngestOptions
  signingKey?: string
  password?: string
  passwordOf?: () => string
  isRegistered?: boolean
  wrap?: (provider: SessionProvider) => SessionProvider
  onLog?: (line: string) => void
}

type Overrides = Partial<Parameters<typeof writeThroughInngest>[0]> & {
  eventKey?: string
  signingKey?: string
}

/** One account, the functions served for it, an executor, and a proxy with faults before the PDS. */
export type World = Awaited<ReturnType<typeof startWorld>>

export async function startWorld(stack: Stack, options: WorldOptions = {}) {
  const cleanup = new Cleanup()
  const account = await stack.createAccount(`writer${++accountCount}.test`)
  const pds = cleanup.use(await startFaultyPds(account.pdsUrl))
  const network = localNetwork(stack)
  const { identity } = network
  const throughProxy = appPasswordSessions(
    () => options.passwordOf?.() ?? options.password ?? account.password,
    {
      identity: { resolve: async (did) => ({ ...(await identity.resolve(did)), pdsUrl: pds.url }) },
      fetch: createFetch({ allowLocalhost: true }),
    },
  )
  const sessionProvider = (options.wrap ?? ((same) => same))(throughProxy)

  const steps: string[] = []
  const retries: number[] = []
  const executor: InngestOptions = {
    // As a real server does: it is the client that turns checkpoints off.
    checkpointing: true,
    backoffMs: () => 10,
    trace: (event) => {
      if (event.kind === 'step-finished') steps.push(event.step)
      if (event.kind === 'retry') retries.push(event.afterMs)
    },
    ...(options.signingKey === undefined ? {} : { signingKey: options.signingKey }),
    ...options.executor,
  }
  const inngest = cleanup.use(await startInngest(executor))
  const settings = settingsFor(inngest)
  const client = options.checkpointing
    ? new Inngest({ id: 'firehose-replay', ...settings, logger: SILENT })
    : createInngest(settings)
  const logger = createLogger('silent')
  if (options.onLog)
    logger.error = ((_: object, line: string) => options.onLog?.(line)) as typeof logger.error
  const functions = createFunctions({
    inngest: client,
    sessionProvider,
    network,
    logger,
    ...options.functions,
  })
  const served = cleanup.use(await serveFunctions({ inngest: client, functions }))
  if (options.isRegistered !== false) await inngest.register(served.url)

  return {
    account,
    pds,
    network,
    sessionProvider,
    inngest,
    retries,
    client,
    functions,
    settings,
    url: served.url,
    steps: () => steps,
    send: (data: object) => client.send({ name: WRITE_RECORDS_EVENT, data }),
    latestCommit: () => network.xrpc.getLatestCommit(account.pdsUrl, account.did),
    bodies: () => bodiesInRepo(account, network),
    write(records: readonly RecordToWrite[], overrides: Overrides = {}): Promise<WriteSummary> {
      const { eventKey, signingKey, ...rest } = overrides
      return writeThroughInngest({
        did: account.did,
        run: 'test',
        records,
        pollMs: 20,
        inngest: { ...settings, ...(eventKey && { eventKey }), ...(signingKey && { signingKey }) },
        ...rest,
      })
    },
    [Symbol.asyncDispose]: () => cleanup[Symbol.asyncDispose](),
  }
}

const ignore = () => undefined
const SILENT = { info: ignore, warn: ignore, error: ignore, debug: ignore }

function settingsFor({ baseUrl, eventKey, signingKey }: EmbeddedInngest) {
  const isDev = signingKey === undefined
  return { baseUrl, eventKey, isDev, ...(signingKey === undefined ? {} : { signingKey }) }
}

function localNetwork(stack: Stack) {
  return {
    identity: createIdentity({ plcUrl: stack.plcUrl, allowLocalhost: true }),
    xrpc: createXrpc({ fetch: createFetch({ allowLocalhost: true }) }),
  }
}

export function documents(count: number, extra: JsonObject = {}): RecordToWrite[] {
  return Array.from({ length: count }, (_, index) => ({
    collection: COLLECTION,
    rkey: `doc-${index}`,
    record: {
      $type: COLLECTION,
      site: 'https://example.com',
      title: `Document ${index}`,
      publishedAt: '2026-01-01T00:00:00.000Z',
      ...extra,
    },
  }))
}

/** CIDs by name: each record once, and exactly as it was. */
async function bodiesInRepo(account: Account, network: Network): Promise<Record<string, string>> {
  const repo = await fetchRepo(account.did, network)
  const found = [...repo.records()].filter(({ collection }) => collection === COLLECTION)
  return Object.fromEntries(found.map(({ rkey, cid }) => [rkey, cid.toString()]))
}

export function bodiesOf(records: readonly RecordToWrite[]): Record<string, string> {
  return Object.fromEntries(records.map(({ rkey, record }) => [rkey, cidOfRecord(record)]))
}

/** What becomes of the next applyWrites: passed on; passed on and its answer lost; or refused with a rate limit. */
type Fate = 'pass' | 'lose' | 'limit'

async function startFaultyPds(pdsUrl: string) {
  const state = {
    url: '',
    /** Calls of applyWrites that the host took. */
    commits: 0,
    /** What the host counted for applyWrites, refused calls included. */
    points: 0,
    next: [] as Fate[],
    /** When the host has taken a write, and before its answer goes back. */
    onTaken: async (): Promise<void> => undefined,
  }
  const server = createServer(async (request, response) => {
    const body = await bodyOf(request)
    const isWrite = request.url?.endsWith('com.atproto.repo.applyWrites') ?? false
    const fate = isWrite ? (state.next.shift() ?? 'pass') : 'pass'
    if (fate === 'limit') {
      const limited = { error: 'RateLimitExceeded', message: 'Rate Limit Exceeded' }
      response.writeHead(429, { 'content-type': 'application/json', 'retry-after': '1' })
      response.end(JSON.stringify(limited))
      return
    }
    const upstream = await fetch(new URL(request.url ?? '/', pdsUrl), {
      method: request.method ?? 'GET',
      headers: headersOf(request),
      ...(body.length > 0 ? { body } : {}),
    })
    const text = await upstream.text()
    if (isWrite) state.points += pointsOf(body)
    if (isWrite && upstream.ok) {
      state.commits++
      await state.onTaken()
    }
    if (fate === 'lose') {
      response.writeHead(500, { 'content-type': 'application/json' })
      response.end(JSON.stringify({ error: 'InternalServerError', message: 'lost' }))
      return
    }
    response.writeHead(upstream.status, { 'content-type': 'application/json' })
    // The agent goes where the DID document in the answer to its login points.
    response.end(text.replaceAll(pdsUrl, state.url))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('A TCP server has no port.')
  state.url = `http://127.0.0.1:${address.port}`
  return Object.assign(state, {
    async [Symbol.asyncDispose]() {
      const closed = once(server, 'close')
      server.close()
      server.closeAllConnections()
      await closed
    },
  })
}

function pointsOf(body: Buffer): number {
  const { writes } = JSON.parse(body.toString()) as { writes: { $type: string }[] }
  return writes.reduce((sum, { $type }) => sum + ($type.endsWith('#create') ? 3 : 2), 0)
}

async function bodyOf(request: IncomingMessage): Promise<Buffer<ArrayBuffer>> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk)
  return Buffer.concat(chunks)
}

function headersOf({ headers }: IncomingMessage): Record<string, string> {
  const passed = ['content-type', 'authorization']
  return Object.fromEntries(passed.flatMap((name) => (headers[name] ? [[name, String(headers[name])]] : [])))
}
