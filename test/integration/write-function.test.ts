import { once } from 'node:events'
import { createServer, type IncomingMessage } from 'node:http'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { EXIT, ReplayError } from '../../src/errors.ts'
import type { JsonObject } from '../../src/events.ts'
import {
  createInngest,
  createWriteRecords,
  serveFunctions,
  type WriteSummary,
  writeLocally,
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
import { type Account, type Stack, startStack } from '../../src/stack/index.ts'
import { type EmbeddedInngest, type InngestOptions, startInngest } from '../../src/stack/inngest/index.ts'

const EVENT = 'user/write-records-to-pds'
const COLLECTION = 'site.standard.document'

let stack: Stack
let accountCount = 0

beforeAll(async () => {
  stack = await startStack()
})

afterAll(async () => {
  await stack?.[Symbol.asyncDispose]()
})

describe('records written through Inngest', () => {
  test('450 records make three commits, and a repeated event none', async () => {
    await using world = await startWorld()
    const records = documents(450)
    const progress: number[] = []
    const first = await world.write(records, { onProgress: ({ recordsDone }) => progress.push(recordsDone) })

    expect(first).toMatchObject({ success: true, recordsWritten: 450, batchCount: 3, notWritten: [] })
    expect(progress).toEqual([450])
    expect(world.pds.commits).toBe(3)
    expect(await world.bodies()).toEqual(bodiesOf(records))
    expect(world.steps()).toEqual([
      'verify-session',
      'plan',
      'write-batch-1',
      'write-batch-2',
      'write-batch-3',
    ])

    const stored = JSON.stringify([...(world.inngest.runs()[0]?.finished.values() ?? [])])
    for (const secret of [world.account.password, 'Bearer', 'Jwt', 'Document 7']) {
      expect(stored).not.toContain(secret)
    }

    const before = await world.latestCommit()
    const again = await world.write(records)
    expect(again).toMatchObject({ success: true, recordsWritten: 0, batchCount: 0, outcomes: { same: 450 } })
    expect(await world.latestCommit()).toEqual(before)
  })

  test('what does not fit one event goes out as several, in order', async () => {
    await using world = await startWorld()
    const records = documents(40, { textContent: 'x'.repeat(10_000) })
    const progress: number[] = []
    const summary = await world.write(records, {
      onProgress: ({ recordsDone }) => progress.push(recordsDone),
    })
    expect(summary).toMatchObject({ success: true, recordsWritten: 40, batchCount: 2 })
    expect(progress).toEqual([23, 40])
    const runs = world.inngest.runs()
    expect(runs).toHaveLength(2)
    for (const run of runs) expect(JSON.stringify(run.event).length).toBeLessThan(262_144)
    expect(await world.bodies()).toEqual(bodiesOf(records))
  })

  test('a record that was made again is overwritten, kept or refused, as asked', async () => {
    await using world = await startWorld()
    const [old, lost] = [documents(1, { title: 'made again' }), documents(2)]
    await world.write(old)

    const kept = await world.write(lost, { onConflict: 'keep' })
    expect(kept).toMatchObject({ success: true, recordsWritten: 1, outcomes: { kept: 1, created: 1 } })
    expect(kept.notWritten).toMatchObject([{ rkey: 'doc-0', outcome: 'kept' }])

    const refused = await world.write(lost, { onConflict: 'fail' })
    expect(refused).toMatchObject({ success: false, recordsWritten: 0, outcomes: { refused: 1, same: 1 } })

    const overwritten = await world.write(lost)
    expect(overwritten).toMatchObject({ success: true, recordsWritten: 1, outcomes: { overwritten: 1 } })
    expect(await world.bodies()).toEqual(bodiesOf(lost))
  })

  test('a record that cannot be written is named, and costs only itself', async () => {
    await using world = await startWorld()
    const [good] = documents(1)
    if (good === undefined) throw new Error('no document')
    const bad = { ...good, rkey: 'bad', record: { ...good.record, wordCount: 1.5 } }
    const summary = await world.write([good, bad])
    expect(summary).toMatchObject({ success: false, recordsWritten: 1, outcomes: { refused: 1 } })
    expect(summary.notWritten).toMatchObject([{ rkey: 'bad', outcome: 'refused' }])
    expect(summary.notWritten[0]?.reason).toContain('wordCount')
  })

  test('with a dead session nothing is written, and the client says why', async () => {
    const lines: string[] = []
    await using world = await startWorld({ password: 'wrong', onLog: (line) => lines.push(line) })
    const before = await world.latestCommit()
    const failure = await world.write(documents(3)).catch((error: unknown) => error)
    expect(failure).toMatchObject({ name: 'SessionError', exitCode: 2 })
    expect(String(failure)).toMatch(/no live session.*app password/s)
    expect(String(failure)).not.toContain('wrong')
    expect(await world.latestCommit()).toEqual(before)
    expect(world.steps()).toEqual(['verify-session'])
    await world.inngest.idle()
    expect(lines).toHaveLength(1)
    expect(lines[0]).toContain(`Records of ${world.account.did} were not all written`)
  })

  test('event data that does not fit fails at once and names the path', async () => {
    await using world = await startWorld()
    const [document] = documents(1)
    await world.send({ did: world.account.did, records: [document, { collection: COLLECTION, record: {} }] })
    await world.inngest.idle()
    const [run] = world.inngest.runs()
    expect(run).toMatchObject({ status: 'Failed', callCount: 1 })
    expect(run?.output).toMatchObject({ message: expect.stringContaining('data.records[1].rkey') })
    expect(world.pds.commits).toBe(0)
  })
})

describe('faults of the PDS', () => {
  test('an answer that is lost after the batch landed costs no second commit', async () => {
    await using world = await startWorld()
    world.pds.next = ['lose', 'pass']
    const records = documents(250)
    const summary = await world.write(records)
    expect(summary).toMatchObject({ success: true, recordsWritten: 250, batchCount: 2, notWritten: [] })
    expect(world.pds.commits).toBe(2)
    expect(await world.bodies()).toEqual(bodiesOf(records))
  })

  test('a step that dies after its commit is run again and commits nothing', async () => {
    let isDead = false
    await using world = await startWorld({
      wrap: (provider) => async (did) => {
        const fetch = await provider(did)
        return async (path, init) => {
          const answer = await fetch(path, init)
          if (isDead || !path.includes('applyWrites')) return answer
          isDead = true
          // Not an answer that was lost, which the step would look into by itself.
          throw new WorkerDied('the worker died')
        }
      },
    })
    const records = documents(250)
    const summary = await world.write(records)
    expect(world.retries).toHaveLength(1)
    expect(summary).toMatchObject({ success: true, recordsWritten: 250, batchCount: 2 })
    expect(summary.outcomes).toMatchObject({ created: 250, same: 0 })
    expect(world.pds.commits).toBe(2)
    expect(await world.bodies()).toEqual(bodiesOf(records))
  })

  test('a rate limit is waited out for as long as the PDS says', async () => {
    await using world = await startWorld()
    world.pds.next = ['limit']
    const startMs = Date.now()
    const summary = await world.write(documents(3))
    expect(summary).toMatchObject({ success: true, recordsWritten: 3, batchCount: 1 })
    expect(Date.now() - startMs).toBeGreaterThan(1000)
    // A sleep of the run between two steps, and no retry of one: a worker may be gone meanwhile.
    expect(world.retries).toEqual([])
    expect(world.steps()).toEqual([
      'verify-session',
      'plan',
      'write-batch-1',
      'wait-after-1',
      'write-batch-1-part-2',
    ])
    expect(world.pds.commits).toBe(1)
  })
})

describe('the served endpoint', () => {
  test('in cloud mode answers signed requests only', async () => {
    await using world = await startWorld({ signingKey: `signkey-test-${'ab'.repeat(32)}` })
    const body = JSON.stringify({
      event: { name: EVENT, data: {} },
      events: [],
      steps: {},
      ctx: {},
      version: 2,
    })
    const headers = { 'content-type': 'application/json', 'x-inngest-server-kind': 'dev' }
    const url = `${world.url}?fnId=firehose-replay-write-records-to-pds&stepId=step`
    for (const init of [
      { method: 'POST', headers, body },
      { method: 'POST', headers: { ...headers, 'x-inngest-signature': 't=1&s=00' }, body },
      { method: 'PUT', headers, body: '{}' },
      { method: 'PUT', headers: { ...headers, 'x-inngest-sync-kind': 'in_band' }, body: '{}' },
    ]) {
      const response = await fetch(url, init)
      expect(response.status).toBe(401)
    }
    expect(await world.write(documents(2))).toMatchObject({ success: true, recordsWritten: 2 })
  })

  test('has a health check, nothing else, and a limit', async () => {
    await using world = await startWorld()
    const { origin } = new URL(world.url)
    expect((await fetch(`${origin}/healthz`)).status).toBe(200)
    expect((await fetch(`${origin}/elsewhere`)).status).toBe(404)
    const large = await fetch(world.url, { method: 'POST', body: 'x'.repeat(9 * 1024 ** 2) }).catch(
      () => 'cut off',
    )
    expect(large === 'cut off' || (large instanceof Response && large.status === 413)).toBe(true)
  })
})

describe('the client', () => {
  test('says that Inngest cannot be reached, and which setting names it', async () => {
    await using world = await startWorld()
    await world.inngest[Symbol.asyncDispose]()
    const failure = await world.write(documents(1)).catch((error: unknown) => error)
    expect(failure).toMatchObject({
      name: 'UnavailableError',
      exitCode: 75,
      hint: expect.stringContaining('INNGEST_BASE_URL'),
    })
  })

  test('says that no function started', async () => {
    await using world = await startWorld({ isRegistered: false })
    const failure = await world.write(documents(1), { startTimeoutMs: 200 }).catch((error: unknown) => error)
    expect(failure).toMatchObject({
      name: 'UnavailableError',
      message: expect.stringContaining('no function'),
    })
  })

  test('says that a key is wrong', async () => {
    const signingKey = `signkey-test-${'ab'.repeat(32)}`
    await using world = await startWorld({ signingKey })
    await expect(world.write(documents(1), { eventKey: 'wrong' })).rejects.toMatchObject({
      name: 'ConfigError',
      hint: expect.stringContaining('INNGEST_EVENT_KEY'),
    })
    await expect(
      world.write(documents(1), { signingKey: `signkey-test-${'cd'.repeat(32)}` }),
    ).rejects.toMatchObject({ name: 'ConfigError', hint: expect.stringContaining('INNGEST_SIGNING_KEY') })
  })

  test('stops waiting when told to', async () => {
    await using world = await startWorld({ isRegistered: false })
    const signal = AbortSignal.timeout(200)
    await expect(world.write(documents(1), { signal })).rejects.toMatchObject({ name: 'TimeoutError' })
  })
})

describe('the same without Inngest', () => {
  test('450 records make three commits, and a second call none', async () => {
    await using world = await startWorld()
    const records = documents(450)
    const progress: number[] = []
    const job = {
      did: world.account.did,
      records,
      sessionProvider: world.sessionProvider,
      network: world.network,
    }
    const first = await writeLocally({ ...job, onProgress: ({ recordsDone }) => progress.push(recordsDone) })
    expect(first).toMatchObject({ success: true, recordsWritten: 450, batchCount: 3 })
    expect(progress).toEqual([0, 200, 400, 450])
    expect(world.pds.commits).toBe(3)
    expect(await writeLocally(job)).toMatchObject({ success: true, recordsWritten: 0, batchCount: 0 })
    expect(world.pds.commits).toBe(3)
  })

  test('a call that was stopped is taken up by the next', async () => {
    await using world = await startWorld()
    const stop = new AbortController()
    const records = documents(450)
    const job = {
      did: world.account.did,
      records,
      sessionProvider: world.sessionProvider,
      network: world.network,
    }
    const onProgress = ({ recordsDone }: { recordsDone: number }) => {
      if (recordsDone === 200) stop.abort(new Error('enough'))
    }
    await expect(writeLocally({ ...job, onProgress, signal: stop.signal })).rejects.toThrow('enough')
    expect(world.pds.commits).toBe(1)
    expect(await writeLocally(job)).toMatchObject({ recordsWritten: 250, outcomes: { same: 200 } })
    expect(await world.bodies()).toEqual(bodiesOf(records))
  })

  test('a dead session throws before anything is written', async () => {
    await using world = await startWorld({ password: 'wrong' })
    const { sessionProvider, network } = world
    const job = { did: world.account.did, records: documents(1), sessionProvider, network }
    await expect(writeLocally(job)).rejects.toMatchObject({ name: 'SessionError' })
    expect(world.pds.commits).toBe(0)
  })
})

// ---------------------------------------------------------------- what the tests stand on

class WorkerDied extends ReplayError {
  override readonly exitCode = EXIT.tryLater
}

interface WorldOptions {
  signingKey?: string
  password?: string
  isRegistered?: boolean
  wrap?: (provider: SessionProvider) => SessionProvider
  onLog?: (line: string) => void
}

type Overrides = Partial<Parameters<typeof writeThroughInngest>[0]> & {
  eventKey?: string
  signingKey?: string
}

/** One account, the functions served for it, an executor, and a proxy with faults before the PDS. */
async function startWorld(options: WorldOptions = {}) {
  const cleanup = new Cleanup()
  const account = await stack.createAccount(`writer${++accountCount}.test`)
  const pds = cleanup.use(await startFaultyPds(account.pdsUrl))
  const network = localNetwork()
  const { identity } = network
  const throughProxy = appPasswordSessions(() => options.password ?? account.password, {
    identity: { resolve: async (did) => ({ ...(await identity.resolve(did)), pdsUrl: pds.url }) },
    fetch: createFetch({ allowLocalhost: true }),
  })
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
  }
  const inngest = cleanup.use(await startInngest(executor))
  const settings = settingsFor(inngest)
  const client = createInngest(settings)
  const logger = createLogger('silent')
  if (options.onLog)
    logger.error = ((_: object, line: string) => options.onLog?.(line)) as typeof logger.error
  const functions = [createWriteRecords({ inngest: client, sessionProvider, network, logger })]
  const served = cleanup.use(await serveFunctions({ inngest: client, functions }))
  if (options.isRegistered !== false) await inngest.register(served.url)

  return {
    account,
    pds,
    network,
    sessionProvider,
    inngest,
    retries,
    url: served.url,
    steps: () => steps,
    send: (data: object) => client.send({ name: EVENT, data }),
    latestCommit: () => network.xrpc.getLatestCommit(account.pdsUrl, account.did),
    bodies: () => bodiesInRepo(account),
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

function settingsFor({ baseUrl, eventKey, signingKey }: EmbeddedInngest) {
  const isDev = signingKey === undefined
  return { baseUrl, eventKey, isDev, ...(signingKey === undefined ? {} : { signingKey }) }
}

function localNetwork() {
  return {
    identity: createIdentity({ plcUrl: stack.plcUrl, allowLocalhost: true }),
    xrpc: createXrpc({ fetch: createFetch({ allowLocalhost: true }) }),
  }
}

function documents(count: number, extra: JsonObject = {}): RecordToWrite[] {
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
async function bodiesInRepo(account: Account): Promise<Record<string, string>> {
  const repo = await fetchRepo(account.did, localNetwork())
  const found = [...repo.records()].filter(({ collection }) => collection === COLLECTION)
  return Object.fromEntries(found.map(({ rkey, cid }) => [rkey, cid.toString()]))
}

function bodiesOf(records: readonly RecordToWrite[]): Record<string, string> {
  return Object.fromEntries(records.map(({ rkey, record }) => [rkey, cidOfRecord(record)]))
}

/** What becomes of the next applyWrites: passed on; passed on and its answer lost; or refused with a rate limit. */
type Fate = 'pass' | 'lose' | 'limit'

async function startFaultyPds(pdsUrl: string) {
  const state = { url: '', commits: 0, next: [] as Fate[] }
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
    if (isWrite && upstream.ok) state.commits++
    const text = await upstream.text()
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

async function bodyOf(request: IncomingMessage): Promise<Buffer<ArrayBuffer>> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk)
  return Buffer.concat(chunks)
}

function headersOf({ headers }: IncomingMessage): Record<string, string> {
  const passed = ['content-type', 'authorization']
  return Object.fromEntries(passed.flatMap((name) => (headers[name] ? [[name, String(headers[name])]] : [])))
}
