/** What SIGINT and SIGTERM do, once and twice, to a write that takes several commits and to the live consumer. */

import { createServer } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Cleanup } from '../../src/stack/cleanup.ts'
import { listenOnLoopback } from '../../src/stack/listen.ts'
import { type Env, jsonOf, nameOfProduction, startCommand, startWorld, type World } from './command-line.ts'

/** Two commits: an applyWrites takes 200. */
const DOCUMENTS = 220

const cleanup = new Cleanup()
let world: World
let pds: SlowPds

beforeAll(async () => {
  world = cleanup.use(await startWorld({ documents: DOCUMENTS, readers: 3 }))
  pds = await startSlowPds()
})

afterAll(() => cleanup[Symbol.asyncDispose]())

interface SlowPds {
  env: Env
  /** From now on a commit waits; resolves when the next one does. */
  holdNext(): Promise<void>
  letGo(): void
}

/** The PDS behind a door, and a PLC directory that leads to it. */
async function startSlowPds(): Promise<SlowPds> {
  let arrived = Promise.withResolvers<void>()
  let door = Promise.withResolvers<void>()
  door.resolve()
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk)
    const { url = '', method = 'GET', headers } = request
    if (url.includes('applyWrites')) {
      arrived.resolve()
      await door.promise
      // Whoever sent it is gone: it never came.
      if (response.destroyed) return
    }
    const answer = await fetch(
      new URL(url, url.startsWith('/did') ? world.stack.plcUrl : world.stack.pds.url),
      {
        method,
        headers: {
          ...(headers.authorization === undefined ? {} : { authorization: headers.authorization }),
          ...(headers['content-type'] === undefined ? {} : { 'content-type': headers['content-type'] }),
        },
        ...(chunks.length === 0 ? {} : { body: Buffer.concat(chunks) }),
      },
    )
    const body = Buffer.from(await answer.arrayBuffer())
    const text = url.startsWith('/did') ? body.toString().replaceAll(world.stack.pds.url, own) : body
    response.writeHead(answer.status, { 'content-type': answer.headers.get('content-type') ?? '' }).end(text)
  })
  const own = `http://localhost:${await listenOnLoopback(server, cleanup)}`
  return {
    env: { ...world.env, FIREHOSE_REPLAY_PLC_URL: own },
    holdNext() {
      arrived = Promise.withResolvers()
      door = Promise.withResolvers()
      return arrived.promise
    },
    letGo: () => door.resolve(),
  }
}

async function recordsInRepo(): Promise<number> {
  const { did, pdsUrl } = world.scenario.author
  let count = 0
  let cursor: string | undefined
  do {
    const query = new URLSearchParams({ repo: did, collection: 'site.standard.document', limit: '100' })
    if (cursor !== undefined) query.set('cursor', cursor)
    const answer = await fetch(`${pdsUrl}/xrpc/com.atproto.repo.listRecords?${query}`)
    const page = (await answer.json()) as { records: unknown[]; cursor?: string }
    count += page.records.length
    cursor = page.cursor
  } while (cursor !== undefined)
  return count
}

describe('restore', () => {
  beforeAll(() => world.lose())

  const restore = () =>
    startCommand(
      [
        'restore',
        '--did',
        world.scenario.author.did,
        '--engine',
        'local',
        '--yes',
        nameOfProduction(world),
        '--json',
      ],
      { env: pds.env, cwd: world.folder },
    )

  test('a second signal ends it at once, with nothing written', async () => {
    const writing = pds.holdNext()
    const { child, said, ended } = restore()
    await Promise.race([writing, ended.then(({ stderr }) => Promise.reject(new Error(stderr)))])
    child.kill('SIGINT')
    await said(/SIGINT: stopping after the batch that is under way; once more to stop at once\.\n/)
    // A second one straight away counts as the same: npm passes on what the terminal has sent already.
    child.kill('SIGINT')
    await sleep(700)
    expect(child.exitCode).toBeNull()
    child.kill('SIGINT')
    expect(await ended).toMatchObject({ code: 75, stdout: '' })
    expect(await recordsInRepo()).toBe(0)
  })

  test('the first lets the batch under way finish', async () => {
    pds.letGo()
    const writing = pds.holdNext()
    const { child, said, ended } = restore()
    await Promise.race([writing, ended.then(({ stderr }) => Promise.reject(new Error(stderr)))])
    child.kill('SIGTERM')
    await said(/SIGTERM: stopping/)
    pds.letGo()
    const { code, stdout, stderr } = await ended
    expect(code).toBe(75)
    expect(stdout).toBe('')
    expect(stderr).toMatch(
      /^error: Interrupted by SIGTERM\. What was written stays\.\nhint: Run the same command again to go on\./m,
    )
    expect(stderr).not.toMatch(/^ {4}at /m)
    const written = await recordsInRepo()
    expect(written).toBeGreaterThan(0)
    expect(written).toBeLessThan(DOCUMENTS)
  })

  test('the same command goes on and completes', async () => {
    const ended = await restore().ended
    expect(ended.code).toBe(0)
    expect(jsonOf(ended)).toMatchObject({ verdict: 'complete' })
    expect(await recordsInRepo()).toBe(DOCUMENTS)
  })
})

describe('consume', () => {
  const consume = () => startCommand(['consume'], { env: world.env, cwd: world.folder })

  test('indexes, saves its cursor on SIGTERM, and goes on from there', async () => {
    await world.consumer.stop()
    await world.stack.production.query('delete from firehose_cursors')
    const first = consume()
    await first.said(/^Following ws:\S+ from now on\.$/m)
    // It says so before the socket is open: what is written before that is not its business.
    let subscribed = ''
    while (subscribed === '' || !(await isIndexed(subscribed))) {
      subscribed = await subscribe()
      await sleep(200)
    }
    first.child.kill('SIGTERM')
    const { code, stdout, stderr } = await first.ended
    expect({ code, stdout }).toEqual({ code: 0, stdout: '' })
    const [, cursor] = /^Stopped; the cursor is saved at (\d+)\.$/m.exec(stderr) ?? []
    expect(await savedCursor()).toBe(cursor)

    const missed = await subscribe()
    await sleep(300)
    expect(await isIndexed(missed)).toBe(false)

    const second = consume()
    await second.said(new RegExp(`^Following ws:\\S+ from ${cursor}\\.$`, 'm'))
    while (!(await isIndexed(missed))) await sleep(50)
    second.child.kill('SIGINT')
    expect(await second.ended).toMatchObject({ code: 0 })
    expect(Number(await savedCursor())).toBeGreaterThan(Number(cursor))
  })

  /** The author subscribes to a publication of theirs; returns the record's URI. */
  async function subscribe(): Promise<string> {
    const { did, pdsUrl, accessJwt } = world.scenario.author
    const collection = 'site.standard.graph.subscription'
    const publication = world.scenario.content.publications[0].uri
    const answer = await fetch(`${pdsUrl}/xrpc/com.atproto.repo.createRecord`, {
      method: 'POST',
      headers: { authorization: `Bearer ${accessJwt}`, 'content-type': 'application/json' },
      body: JSON.stringify({ repo: did, collection, record: { $type: collection, publication } }),
    })
    const { uri } = (await answer.json()) as { uri: string }
    return uri
  }

  async function isIndexed(uri: string): Promise<boolean> {
    const rows = await world.stack.production.query('select 1 from record_state where uri = $1', [uri])
    return rows.length > 0
  }

  async function savedCursor(): Promise<string | undefined> {
    const [row] = await world.stack.production.query('select seq from firehose_cursors')
    return row === undefined ? undefined : String(row.seq)
  }
})
