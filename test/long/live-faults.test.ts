/** `consume` on a real PDS and a real database, with what can go wrong around it. */

import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer, request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { readAccounts } from '../../src/database/accounts.ts'
import { openDatabase } from '../../src/database/client.ts'
import { readCursors, saveCursor } from '../../src/database/cursors.ts'
import type { WriteOp } from '../../src/pds/session.ts'
import { type Account, type Stack, startStack } from '../../src/stack/index.ts'
import { applyWrites, fetchAs } from '../integration/account-writes.ts'
import { type Command, type Env, startCommand } from '../integration/command-line.ts'
import { DOCUMENT, put, remove, titlesOf } from '../integration/documents.ts'
import { type FirehoseProxy, startFirehoseProxy } from '../integration/firehose-proxy.ts'

const SOON = { timeout: 20_000, interval: 50 }

let stack: Stack
let gateway: Awaited<ReturnType<typeof startGateway>>
let proxy: FirehoseProxy
let folder: string
let env: Env
let account: Account
let accountCount = 0
const running: Command[] = []

beforeAll(async () => {
  stack = await startStack()
  gateway = await startGateway(stack.production.url)
  proxy = await startFirehoseProxy(stack.pds.url)
  folder = await mkdtemp(join(tmpdir(), 'firehose-replay-live-'))
  env = {
    SUPABASE_URL: gateway.url,
    SUPABASE_SERVICE_ROLE_KEY: stack.production.serviceKey,
    FIREHOSE_REPLAY_PLC_URL: stack.plcUrl,
    FIREHOSE_REPLAY_RELAY_URL: proxy.url,
    FIREHOSE_REPLAY_ALLOW_LOCALHOST: '1',
  }
})
afterAll(async () => {
  await proxy?.[Symbol.asyncDispose]()
  await gateway?.close()
  await stack?.[Symbol.asyncDispose]()
  if (folder !== undefined) await rm(folder, { recursive: true, force: true })
})
beforeEach(async () => {
  await stack.production.query('delete from firehose_cursors')
  await stack.production.query('delete from dead_letters')
  account = await stack.createAccount(`author${++accountCount}.test`)
})
afterEach(async () => {
  gateway.isAway = false
  for (const { child, ended } of running.splice(0)) {
    child.kill('SIGTERM')
    await ended
  }
})

const write = (...writes: WriteOp[]) => applyWrites(account, writes)
const titles = () => titlesOf(stack, account.did)
const production = () => openDatabase({ ...stack.production, label: 'production' })
const savedCursor = async () => (await readCursors(production())).get(proxy.url)
const letters = () => stack.production.query('select uri, code, source from dead_letters order by id')

/** Running, and connected to the relay. */
async function consume(args: readonly string[] = [], cwd = folder): Promise<Command> {
  const before = proxy.queries.length
  const command = startCommand(['consume', ...args], { env, cwd })
  running.push(command)
  await command.said(/^Following .*$/m)
  await expect.poll(() => proxy.queries.length, SOON).toBeGreaterThan(before)
  await sleep(300)
  return command
}

describe('the database', () => {
  test('away for a moment is waited for', async () => {
    const live = await consume()
    gateway.isAway = true
    await write(put('a'))
    await sleep(1500)
    expect(live.child.exitCode).toBeNull()
    gateway.isAway = false
    await expect.poll(titles, SOON).toEqual(['a'])
  })

  test('away on a quiet stream shows in /healthz, and the consumer goes on by itself', async () => {
    const live = await consume(['--metrics-port', '0'])
    const [, url] = await live.said(/^Metrics: (\S+)\/metrics$/m)
    const health = async () => (await fetch(`${url}/healthz`)).status
    await write(put('a'))
    await expect.poll(titles, SOON).toEqual(['a'])
    expect(await health()).toBe(200)
    gateway.isAway = true
    await write(put('b'))
    await live.said(/Going on in \d+ seconds\.$/m)
    expect(await health()).toBe(503)
    gateway.isAway = false
    await expect.poll(titles, { ...SOON, timeout: 40_000 }).toEqual(['a', 'b'])
    await expect.poll(health, SOON).toBe(200)
  }, 90_000)
})

describe('a relay', () => {
  test('that restarts is found again, and nothing is lost', async () => {
    await consume()
    await write(put('first'))
    await expect.poll(titles, SOON).toEqual(['first'])
    for (let n = 0; n < 3; n++) {
      await write(put(`before-${n}`))
      proxy.cut()
      await write(put(`after-${n}`))
    }
    await expect.poll(async () => (await titles()).length, SOON).toBe(7)
  })

  test('whose cursor is from elsewhere: the known accounts are replayed, then it goes on from there', async () => {
    const live = await consume()
    await write(put('known'), put('gone'))
    await expect.poll(titles, SOON).toEqual(['gone', 'known'])
    live.child.kill('SIGTERM')
    await live.ended
    await write(put('missed'), remove('gone'))
    await saveCursor(production(), proxy.url, 9_000_000_000)
    const next = await consume()
    await next.said(/^Frames were missed \(future-cursor\)/m)
    await next.said(/^Replayed \d+ accounts; \d+ were unchanged, 0 are left as dead letters\.$/m)
    expect(await titles()).toEqual(['known', 'missed'])
    await write(put('later'))
    await expect.poll(titles, SOON).toEqual(['known', 'later', 'missed'])
    await expect.poll(savedCursor, SOON).toBeLessThan(9_000_000_000)
  })

  test('that was not followed before, while another was: what passed meanwhile is not lost', async () => {
    const live = await consume()
    await write(put('known'))
    await expect.poll(titles, SOON).toEqual(['known'])
    live.child.kill('SIGTERM')
    await live.ended
    await write(put('missed'))
    const relay = stack.pds.url.replace(/^http/, 'ws')
    const next = startCommand(['consume', '--relay', relay], { env, cwd: folder })
    running.push(next)
    await next.said(/^Another relay was followed before/m)
    await next.said(/^Replayed \d+ accounts/m)
    expect(await titles()).toEqual(['known', 'missed'])
  })
})

test('accounts are found however many records each has', async () => {
  await stack.production.query(`
    insert into record_state (uri, rev) select format('at://did:plc:many%s/c.o.l/%s', lpad((n % 1500)::text, 5, '0'), n), '3a'
    from generate_series(1, 6000) n`)
  const found: string[] = []
  for await (const page of readAccounts(production())) found.push(...page)
  const many = found.filter((did) => did.startsWith('did:plc:many'))
  expect(many.length).toBe(1500)
  expect(new Set(found).size).toBe(found.length)
  await stack.production.query(`delete from record_state where uri like 'at://did:plc:many%'`)
})

describe('an account', () => {
  const call = async (name: 'activateAccount' | 'deactivateAccount') => {
    const answer = await fetchAs(account, `/xrpc/com.atproto.server.${name}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: name === 'deactivateAccount' ? '{}' : '',
    })
    expect(answer.status).toBe(200)
  }

  test('that goes and comes back: its rows stay, and what it wrote is there', async () => {
    await consume()
    await write(put('a'))
    await expect.poll(titles, SOON).toEqual(['a'])
    await call('deactivateAccount')
    await call('activateAccount')
    await write(put('b'))
    await expect.poll(titles, SOON).toEqual(['a', 'b'])
    expect(await letters()).toEqual([])
  })

  test('is taken away and brought back where the description says so', async () => {
    const cwd = await mkdtemp(join(folder, 'forgetful-'))
    const leaflet = join(import.meta.dirname, '../../src/appview/leaflet/index.ts')
    await writeFile(
      join(cwd, 'firehose-replay.config.ts'),
      `import { leaflet } from ${JSON.stringify(leaflet)}
       export const appview = { ...leaflet, onAccount: ({ active }) => (active ? 'keep' : 'delete') }`,
    )
    await consume([], cwd)
    await write(put('a'), put('b'))
    await expect.poll(titles, SOON).toEqual(['a', 'b'])
    await call('deactivateAccount')
    await expect.poll(titles, SOON).toEqual([])
    await call('activateAccount')
    await expect.poll(titles, SOON).toEqual(['a', 'b'])
    await write(put('c'))
    await expect.poll(titles, SOON).toEqual(['a', 'b', 'c'])
    expect(await letters()).toEqual([])
  })
})

describe("the operator's own handler", () => {
  /** A working folder with a handler that writes a line for each event, and fails as its name says. */
  const folderFailing = async (failing: string): Promise<string> => {
    const cwd = await mkdtemp(join(folder, 'own-'))
    await writeFile(
      join(cwd, 'firehose-replay.config.ts'),
      `import { appendFileSync } from 'node:fs'
       let calls = 0
       export async function handleEvent({ event, rkey }) {
         calls++
         if ('${failing}' === 'once' && calls === 1) throw new Error('deadlock')
         if ('${failing}' === 'for one' && rkey === 'poison') throw new Error('cannot')
         if ('${failing}' === 'always') throw new Error('disk full')
         appendFileSync('seen.log', event + ' ' + rkey + '\\n')
       }`,
    )
    return cwd
  }
  const seen = async (cwd: string) =>
    (await readFile(join(cwd, 'seen.log'), 'utf8').catch(() => '')).trim().split('\n')

  test('failing once: the event comes again', async () => {
    const cwd = await folderFailing('once')
    await consume([], cwd)
    await write(put('a'), put('b'))
    await expect.poll(() => seen(cwd), SOON).toEqual(['create a', 'create b'])
    expect(await letters()).toEqual([])
  })

  test('failing for one record: that one is a dead letter, the others come', async () => {
    const cwd = await folderFailing('for one')
    await consume([], cwd)
    await write(put('a'), put('poison'), put('z'))
    await expect.poll(() => seen(cwd), SOON).toEqual(['create a', 'create z'])
    await expect
      .poll(letters, SOON)
      .toEqual([{ uri: `at://${account.did}/${DOCUMENT}/poison`, code: 'HANDLER', source: 'firehose' }])
    await expect.poll(savedCursor, SOON).toBeTypeOf('number')
  })

  test('failing always: stops before the firehose is a heap of dead letters', async () => {
    const live = await consume([], await folderFailing('always'))
    const others = await Promise.all(
      Array.from({ length: 14 }, (_, n) => stack.createAccount(`other${accountCount}-${n}.test`)),
    )
    for (const other of others) await applyWrites(other, [put('a')])
    await live.said(/10 events in a row failed, the last with: .*disk full/)
    const { length } = await letters()
    expect(length).toBe(10)
  })
})

test('metrics say what has become of events, and how far the cursor is', async () => {
  const live = await consume(['--metrics-port', '0'])
  const [, url] = await live.said(/^Metrics: (http:\/\/127\.0\.0\.1:\d+)\/metrics$/m)
  await write(put('a'), put('b'))
  await expect.poll(titles, SOON).toEqual(['a', 'b'])
  const metric = async (name: string) => {
    const text = await (await fetch(`${url}/metrics`)).text()
    const line = text.split('\n').find((each) => each.startsWith(`firehose_replay_${name} `))
    return line === undefined ? undefined : Number(line.split(' ')[1])
  }
  expect(await metric('events_total{outcome="applied"}')).toBe(2)
  expect(await metric('frames_total{outcome="handled"}')).toBe(1)
  expect(await metric('connected')).toBe(1)
  expect(await metric('dead_letters')).toBe(0)
  expect(await metric('lag_seconds')).toBeLessThan(60)
  await expect.poll(() => metric('flush_events_sum'), SOON).toBe(2)
  await expect.poll(() => metric('lag_seqs'), SOON).toBe(0)
  expect(await metric('saved_seq')).toBe(await savedCursor())
  expect((await fetch(`${url}/other`)).status).toBe(404)
})

test('a port that is taken is said, with what to do', async () => {
  const { port } = new URL(proxy.url)
  const { code, stderr } = await startCommand(['consume', '--metrics-port', port], { env, cwd: folder }).ended
  expect(code).toBe(2)
  expect(stderr).toMatch(/^error: Metrics cannot be served on 127\.0\.0\.1:\d+: .*\nhint: .+$/m)
})

/** An HTTP proxy before the database's API that can be as if it were not there. */
async function startGateway(target: string) {
  const { hostname, port } = new URL(target)
  const server = createServer((incoming, outgoing) => {
    if (gate.isAway) {
      incoming.socket.destroy()
      return
    }
    const { url: path, method, headers } = incoming
    const upstream = request({ hostname, port, path, method, headers }, (answer) => {
      outgoing.writeHead(answer.statusCode ?? 500, answer.headers)
      answer.pipe(outgoing)
    })
    upstream.on('error', () => outgoing.destroy())
    incoming.pipe(upstream)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('A TCP server has no port.')
  const gate = {
    url: `http://127.0.0.1:${address.port}`,
    isAway: false,
    async close() {
      server.closeAllConnections()
      const closed = once(server, 'close')
      server.close()
      await closed
    },
  }
  return gate
}
