/** `serve` as a process of its own: what it may write, and when it says that it is ready. */
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { createInngest, WRITE_RECORDS_EVENT } from '../../src/inngest/index.ts'
import { Cleanup } from '../../src/stack/cleanup.ts'
import { freePort } from '../../src/stack/free-port.ts'
import { type Stack, startStack } from '../../src/stack/index.ts'
import { type EmbeddedInngest, startInngest } from '../../src/stack/inngest/index.ts'
import { type Env, runCommand, startCommand } from './command-line.ts'
import { documents } from './write-world.ts'

let stack: Stack
let folder: string
let cleanup = new Cleanup()
let accountCount = 0

beforeAll(async () => {
  stack = await startStack()
  folder = await mkdtemp(join(tmpdir(), 'firehose-replay-serve-'))
})

afterAll(async () => {
  await stack?.[Symbol.asyncDispose]()
  await rm(folder, { recursive: true, force: true })
})

afterEach(async () => {
  await cleanup[Symbol.asyncDispose]()
  cleanup = new Cleanup()
})

const environment = (): Env => ({
  SUPABASE_URL: stack.production.url,
  SUPABASE_SERVICE_ROLE_KEY: stack.production.serviceKey,
  FIREHOSE_REPLAY_PLC_URL: stack.plcUrl,
  FIREHOSE_REPLAY_APP_PASSWORD: 'some-app-pass-word',
  FIREHOSE_REPLAY_ALLOW_LOCALHOST: '1',
  FIREHOSE_REPLAY_SESSIONS: join(folder, 'sessions'),
  INNGEST_DEV: '1',
})

/** @returns the address of the served functions */
async function serving(env: Env, args: readonly string[] = [], until = cleanup): Promise<string> {
  const command = startCommand(['serve', '--port', '0', ...args], { env, cwd: folder })
  until.defer(async () => {
    command.child.kill('SIGTERM')
    await command.ended
  })
  const [, url = ''] = await command.said(/Serving (\S+);/)
  return url
}

async function readiness(url: string): Promise<[number, string]> {
  const response = await fetch(new URL('/readyz', url))
  return [response.status, await response.text()]
}

test('is ready when database and sessions are there', async () => {
  expect(await readiness(await serving(environment()))).toEqual([200, 'ready\n'])
})

test('is ready without a database where none is configured', async () => {
  const { SUPABASE_URL: _, ...env } = environment()
  expect(await readiness(await serving(env))).toEqual([200, 'ready\n'])
})

test('is not ready while the database does not answer', async () => {
  const url = await serving({ ...environment(), SUPABASE_URL: `http://127.0.0.1:${await freePort()}` })
  expect(await readiness(url)).toEqual([503, expect.stringMatching(/^database: .+\n$/)])
})

test('is not ready without a session for anybody, nor without a signing key in production', async () => {
  const { FIREHOSE_REPLAY_APP_PASSWORD: _, ...noPassword } = environment()
  expect(await readiness(await serving(noPassword))).toEqual([
    503,
    expect.stringMatching(/^sessions: there is no app password.*\n$/),
  ])
  const { INNGEST_DEV: __, ...production } = environment()
  expect(await readiness(await serving(production))).toEqual([503, expect.stringContaining('signing key')])
})

describe('which collections it writes', () => {
  const served = new Cleanup()
  const chosen = ['--collections', 'com.example.page,pub.leaflet.comment']
  /** The executor that each server is registered with, by its arguments. */
  const executors = new Map<string, EmbeddedInngest>()

  beforeAll(async () => {
    await Promise.all(
      [[], chosen].map(async (args) => {
        const inngest = served.use(await startInngest())
        executors.set(args.join(' '), inngest)
        const env = { ...environment(), INNGEST_BASE_URL: inngest.baseUrl }
        await inngest.register(await serving(env, args, served))
      }),
    )
  })

  afterAll(() => served[Symbol.asyncDispose]())

  /** What became of a record of this collection, for an account that there is or for one that there is not. */
  async function runOf(args: readonly string[], collection: string, did: string) {
    const inngest = executors.get(args.join(' '))
    if (inngest === undefined) throw new RangeError(`nothing is served with ${args.join(' ')}`)
    const client = createInngest({ baseUrl: inngest.baseUrl, isDev: true })
    const records = documents(1).map((record) => ({ ...record, collection }))
    const before = inngest.runs().length
    await client.send({ name: WRITE_RECORDS_EVENT, data: { did, records } })
    await inngest.idle()
    // Behind it comes that of what is done about its failure.
    return inngest.runs()[before]
  }

  test.each([
    [[], 'com.example.note'],
    // Of the appview, and nothing that a restore writes.
    [[], 'pub.leaflet.comment'],
    [chosen, 'site.standard.document'],
  ])('with %j no records of %s', async (args, collection) => {
    expect(await runOf(args, collection, 'did:plc:aaaaaaaaaaaaaaaaaaaaaaaa')).toMatchObject({
      status: 'Failed',
      callCount: 1,
      output: { message: expect.stringContaining(`${collection}, which this worker does not write`) },
    })
  })

  test.each([
    [[], 'site.standard.document'],
    [[], 'pub.leaflet.publication'],
    [chosen, 'pub.leaflet.comment'],
  ])('with %j records of %s', async (args, collection) => {
    const { did } = await stack.createAccount(`serve${++accountCount}.test`)
    // As far as opening a session with the wrong password.
    const output = { message: expect.stringContaining('app password') }
    expect(await runOf(args, collection, did)).toMatchObject({ status: 'Failed', output })
  })
})

test('stays up when a request breaks off', async () => {
  const { INNGEST_DEV: _, ...production } = environment()
  const url = await serving({ ...production, INNGEST_SIGNING_KEY: `signkey-test-${'ab'.repeat(32)}` })
  const { hostname, port, pathname } = new URL(url)
  const socket = connect(Number(port), hostname)
  socket.write(`POST ${pathname} HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\n{"a`)
  setTimeout(() => socket.destroy(), 100)
  await once(socket, 'close')
  await wait(300)
  expect((await fetch(new URL('/healthz', url))).status).toBe(200)
})

test('refuses a list of collections that is none', async () => {
  const ended = await runCommand(['serve', '--collections', 'site.standard.document,everything'], {
    env: environment(),
    cwd: folder,
  })
  expect(ended.code).toBe(2)
  expect(ended.stderr).toContain('"everything" is not the name of a collection')
})
