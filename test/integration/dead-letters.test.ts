/** Dead letters: what they keep, what brings them back, and what the operator is told. */

import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { P256Keypair } from '@atproto/crypto'
import { getFullRepo, MemoryBlockstore, Repo, WriteOpAction } from '@atproto/repo'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { leaflet } from '../../src/appview/leaflet/index.ts'
import type { CliContext } from '../../src/cli/context.ts'
import { liveAnswers } from '../../src/cli/live-sources.ts'
import { replayForLetters } from '../../src/cli/replay-letters.ts'
import { configFrom } from '../../src/config.ts'
import { type Database, openDatabase } from '../../src/database/client.ts'
import { countDeadLetters, type DeadLetter, readDeadLetters } from '../../src/database/dead-letters.ts'
import type { JsonObject, RecordEvent } from '../../src/events.ts'
import {
  writeBrokenRepo,
  writeDeadLetters,
  writeGap,
  writeUnreadable,
  writeUnreadableRecords,
} from '../../src/indexer/dead-letters.ts'
import { Indexer } from '../../src/indexer/indexer.ts'
import { parseEvent, printEvent } from '../../src/indexer/letter-event.ts'
import { retryDeadLetters } from '../../src/indexer/retry-letters.ts'
import { silentLogger } from '../../src/logger.ts'
import { createFetch } from '../../src/network/fetch.ts'
import { createIdentity } from '../../src/network/identity.ts'
import { createXrpc } from '../../src/network/xrpc.ts'
import { encodeRecord, lexToJson } from '../../src/repo/record.ts'
import { replayAccount } from '../../src/restore/replay.ts'
import { type Account, type Stack, startStack } from '../../src/stack/index.ts'
import { applyWrites } from './account-writes.ts'
import { type Env, jsonOf, runCommand } from './command-line.ts'
import { put, remove } from './record-events.ts'

const AUTHOR = 'did:plc:aaaaaaaaaaaaaaaaaaaaaaaa'
const DOCUMENT = 'site.standard.document'
/** What Supabase Lite makes of most SQLSTATEs. */
const REFUSED = 'SUP'

let stack: Stack
let database: Database
let env: Env
const sql = (text: string) => stack.production.query(text)

beforeAll(async () => {
  stack = await startStack()
  const { url, serviceKey } = stack.production
  database = openDatabase({ url, serviceKey, label: 'production' })
  env = {
    SUPABASE_URL: url,
    SUPABASE_SERVICE_ROLE_KEY: serviceKey,
    FIREHOSE_REPLAY_PLC_URL: stack.plcUrl,
    FIREHOSE_REPLAY_ALLOW_LOCALHOST: '1',
  }
})
afterAll(() => stack?.[Symbol.asyncDispose]())
beforeEach(async () => {
  await sql('alter table documents drop constraint if exists no_13')
  await sql('truncate identities, publications, documents, record_state, parked_events, dead_letters cascade')
})

const uriOf = (rkey: string, did = AUTHOR) => `at://${did}/${DOCUMENT}/${rkey}`
const bodyOf = (title: string): JsonObject => ({
  $type: DOCUMENT,
  site: 'https://notes.example',
  title,
  publishedAt: '2026-01-01T00:00:00.000Z',
})
const document = (rkey: string, title: string, did = AUTHOR) => put(uriOf(rkey, did), bodyOf(title))
async function index(...events: RecordEvent[]): Promise<Indexer> {
  const indexer = new Indexer({ appview: leaflet, database })
  for (const event of events) await indexer.handle(event)
  await indexer.flush()
  return indexer
}
/** The database refuses documents of this title from now on. */
const refuse13 = () =>
  sql(`alter table documents add constraint no_13 check (data->>'title' <> 'month 13') not valid`)
const accept13 = () => sql('alter table documents drop constraint no_13')
const titles = async () =>
  (await sql(`select data->>'title' as title from documents order by 1`)).map(({ title }) => title)
async function letters(): Promise<DeadLetter[]> {
  const found: DeadLetter[] = []
  for await (const page of readDeadLetters(database)) found.push(...page)
  return found
}
const run = (...args: string[]) => runCommand(['dead-letters', ...args], { env, cwd: '/' })
const create = (account: Account, collection: string, rkey: string, body: JsonObject) =>
  applyWrites(account, [
    {
      $type: 'com.atproto.repo.applyWrites#create',
      collection,
      rkey,
      value: { ...body, $type: collection },
    },
  ])
/** What the commands make of the environment, for calls in this process. */
const contextOf = (): CliContext => ({
  config: configFrom({}, env),
  appview: leaflet,
  production: database,
  network: {
    identity: createIdentity({ plcUrl: stack.plcUrl, allowLocalhost: true }),
    xrpc: createXrpc({ fetch: createFetch({ allowLocalhost: true }) }),
  },
  logger: silentLogger,
})

describe('a letter', () => {
  test('keeps the whole event: bytes of the record, prev, rev, seq', async () => {
    await refuse13()
    const odd = 'month 13'
    const { cid, record } = document('b', odd)
    const extra = {
      emoji: '\u{1f600}',
      control: '\u0007',
      nul: 'a\u0000b',
      bytes: { $bytes: 'AAEC' },
      deep: [[{}]],
    }
    const events = [{ ...document('a', odd), prev: cid }, put(uriOf('c'), { ...bodyOf('nul'), ...extra })]
    await index(...events)
    const kept = await letters()
    expect(kept.map(({ code }) => code).sort()).toEqual([REFUSED, 'UNSTORABLE'])
    for (const event of events) {
      const letter = kept.find(({ uri }) => uri === event.uri.toString())
      const parsed = parseEvent(letter?.event ?? '')
      if (parsed.event === 'delete') throw new Error('not a create')
      expect(JSON.parse(printEvent(parsed))).toEqual(JSON.parse(printEvent(event)))
      expect(encodeRecord(lexToJson(parsed.record) as JsonObject).bytes).toEqual(
        encodeRecord(lexToJson(event.record) as JsonObject).bytes,
      )
    }
    expect(record.title).toBe(odd)
  })

  test('of the same event is one, with the last reason', async () => {
    await refuse13()
    const event = document('a', 'month 13')
    await index(event)
    await sql('alter table documents rename constraint no_13 to still_no_13')
    try {
      await index(event)
    } finally {
      await sql('alter table documents rename constraint still_no_13 to no_13')
    }
    expect((await letters()).map(({ error }) => error.includes('still_no_13'))).toEqual([true])
  })
})

describe('again', () => {
  const again = async () => retryDeadLetters(database, leaflet, await letters())

  test('what can be applied by now is, and its letter goes', async () => {
    await refuse13()
    await index(document('a', 'month 13'), document('b', 'a\u0000b'))
    expect((await again()).map(({ outcome }) => outcome)).toEqual(['dead-lettered', 'dead-lettered'])
    await accept13()
    expect((await again()).map(({ outcome }) => outcome).sort()).toEqual(['applied', 'dead-lettered'])
    expect(await titles()).toEqual(['month 13'])
    expect((await letters()).map(({ uri }) => uri)).toEqual([uriOf('b')])
  })

  test('what the index has overtaken does not come back', async () => {
    await refuse13()
    await index(document('a', 'month 13'))
    await index(document('a', 'later'))
    await accept13()
    expect(await again()).toMatchObject([{ outcome: 'stale' }])
    expect(await titles()).toEqual(['later'])
    expect(await letters()).toEqual([])
  })

  test('of two letters about one record the newer one decides', async () => {
    await refuse13()
    const [older, newer] = [document('a', 'month 13'), { ...document('a', 'month 13') }]
    await index(older)
    await index(newer)
    expect(await letters()).toHaveLength(2)
    expect((await again()).map(({ outcome }) => outcome)).toEqual(['dead-lettered', 'dead-lettered'])
    await accept13()
    expect((await again()).map(({ outcome }) => outcome)).toEqual(['stale', 'applied'])
    expect(await letters()).toEqual([])
  })

  test('a delete that was refused', async () => {
    await index(document('a', 'shown'))
    await sql(
      `insert into publications (uri, name, identity_did) select 'at://x/y/z', 'N', atp_did from identities`,
    )
    await sql(`insert into identities (atp_did) values ('${AUTHOR}') on conflict do nothing`)
    await sql(
      `insert into publications (uri, name, identity_did) values ('at://x/y/z', 'N', '${AUTHOR}') on conflict do nothing`,
    )
    await sql(
      `insert into publication_pages (document, publication, sort_order) values ('${uriOf('a')}', 'at://x/y/z', 'a')`,
    )
    expect((await index(remove(uriOf('a')))).counts).toMatchObject({ 'dead-lettered': 1 })
    expect(await titles()).toEqual(['shown'])
    await sql('delete from publication_pages')
    expect(await again()).toMatchObject([{ outcome: 'applied' }])
    expect(await titles()).toEqual([])
  })

  test('a row that waits again, and is refused in the same batch, keeps its letter', async () => {
    const publication = `at://${AUTHOR}/site.standard.publication/p`
    const subscription = `at://${AUTHOR}/site.standard.graph.subscription/s`
    const bodies = {
      [subscription]: { $type: 'site.standard.graph.subscription', publication },
      [publication]: { $type: 'site.standard.publication', name: 'Notes', url: 'https://notes.example' },
    }
    await sql(
      `alter table publication_subscriptions add constraint none check (identity <> '${AUTHOR}') not valid`,
    )
    try {
      for (const [uri, body] of Object.entries(bodies)) {
        await writeDeadLetters(database, [{ event: put(uri, body), code: 'TOO_SLOW', error: 'made up' }])
      }
      expect((await again()).map(({ outcome }) => outcome)).toEqual(['dead-lettered', 'applied'])
    } finally {
      await sql('alter table publication_subscriptions drop constraint none')
    }
    expect((await letters()).map(({ uri }) => uri)).toEqual([subscription])
    expect(await again()).toMatchObject([{ outcome: 'applied' }])
    expect(await sql('select identity from publication_subscriptions')).toHaveLength(1)
  })

  test('without its handler a letter stays', async () => {
    await refuse13()
    await index(document('a', 'month 13'))
    const handlers = leaflet.handlers.filter(({ collection }) => collection !== DOCUMENT)
    const retried = await retryDeadLetters(database, { ...leaflet, handlers }, await letters())
    expect(retried).toMatchObject([
      { outcome: 'dead-lettered', reason: expect.stringContaining('no handler') },
    ])
    expect(await letters()).toHaveLength(1)
  })

  test('a letter that somebody has edited stays', async () => {
    await refuse13()
    await index(document('a', 'month 13'))
    await sql(`update dead_letters set event = replace(event, 'month 13', 'month 12')`)
    expect(await again()).toMatchObject([
      { outcome: 'dead-lettered', reason: expect.stringContaining('its record has the CID') },
    ])
    expect(await letters()).toHaveLength(1)
  })
})

describe('the command', () => {
  test('lists, for people and for programs', async () => {
    expect(await run('list')).toEqual({ code: 0, stdout: '', stderr: 'no dead letters.\n' })
    await refuse13()
    await index(document('a', 'month 13'), document('b', 'month 13', 'did:plc:aaaaaaaaaaaaaaaaaaaaaaab'))
    const all = await run('list')
    expect(all).toMatchObject({ code: 0, stderr: '2 dead letters.\n' })
    expect(all.stdout.trim().split('\n')).toHaveLength(2)
    expect(all.stdout).toContain(uriOf('a'))
    const one = jsonOf(await run('list', '--json', '--did', AUTHOR))
    expect(one).toMatchObject({
      deadLetters: [
        { uri: uriOf('a'), code: REFUSED, event: { event: 'create', record: { title: 'month 13' } } },
      ],
    })
    const [letter] = one.deadLetters as { id: number }[]
    expect(jsonOf(await run('list', '--json', '--id', `${letter?.id}`)).deadLetters).toHaveLength(1)
    expect(jsonOf(await run('list', '--json', '--id', '0')).deadLetters).toEqual([])
  })

  test('tries again, and says what is left', async () => {
    await refuse13()
    await index(document('a', 'month 13'), document('b', 'a\u0000b'))
    await accept13()
    const ended = await run('retry')
    expect(ended).toMatchObject({ code: 1, stdout: '' })
    expect(ended.stderr).toContain(uriOf('b'))
    expect(await titles()).toEqual(['month 13'])
    expect(jsonOf(await run('retry', '--json', '--did', AUTHOR))).toMatchObject({
      tried: 1,
      outcomes: { 'dead-lettered': 1 },
      left: [{ uri: uriOf('b') }],
    })
    await sql('truncate dead_letters')
    expect(await run('retry')).toMatchObject({ code: 0, stderr: expect.stringContaining('there was none') })
  })

  test('drops only the number that was confirmed', async () => {
    await refuse13()
    await index(document('a', 'month 13'), document('b', 'month 13'), document('c', 'month 13'))
    const asked = await run('drop')
    expect(asked.code).toBe(2)
    expect(asked.stderr).toContain('add --yes 3')
    expect((await run('drop', '--yes', '2')).code).toBe(2)
    expect((await run('drop', '--yes', 'all')).code).toBe(2)
    expect(await countDeadLetters(database)).toBe(3)
    const [first] = await letters()
    expect(jsonOf(await run('drop', '--id', `${first?.id}`, '--yes', '1', '--json'))).toEqual({ dropped: 1 })
    expect(await run('drop', '--did', AUTHOR, '--yes', '2')).toMatchObject({ code: 0 })
    expect(await run('drop')).toMatchObject({ code: 0 })
    expect(await letters()).toEqual([])
  })

  describe('of a repo that could not be read', () => {
    let account: Account
    const write = (...rkeys: string[]) =>
      applyWrites(
        account,
        rkeys.map((rkey) => ({
          $type: 'com.atproto.repo.applyWrites#create',
          collection: DOCUMENT,
          rkey,
          value: bodyOf(rkey),
        })),
      )

    beforeAll(async () => {
      account = await stack.createAccount('broken.test')
      await write('one', 'two')
    })

    test('replays it', async () => {
      const { did } = account
      await writeBrokenRepo(database, { did, seq: 7, rev: '3aaaaaaaaaaa2', reason: 'a made-up reason' })
      // The index knows a record that the repo has not got any more.
      await index({ ...document('gone', 'gone', did), rev: '3aaaaaaaaaaa2' })
      const ended = await run('retry', '--did', did, '--json')
      expect(jsonOf(ended)).toEqual({ tried: 1, outcomes: { applied: 1 }, left: [] })
      expect(ended.code).toBe(0)
      expect(await titles()).toEqual(['one', 'two'])
      expect(await letters()).toEqual([])
    })

    test('keeps the letter while its account cannot be found', async () => {
      await writeBrokenRepo(database, {
        did: AUTHOR,
        seq: 7,
        rev: '3aaaaaaaaaaa2',
        reason: 'a made-up reason',
      })
      const ended = await run('retry')
      expect(ended.code).toBe(1)
      expect(ended.stderr).toContain(`at://${AUTHOR}`)
      expect(await letters()).toHaveLength(1)
    })
  })
})

describe('a row that waited', () => {
  let reader: Account
  let author: Account

  beforeAll(async () => {
    reader = await stack.createAccount('letterreader.test')
    author = await stack.createAccount('letterauthor.test')
    await create(author, 'site.standard.publication', '3ccccccccccc2', {
      name: 'Notes',
      url: 'https://notes.example',
    })
    await create(reader, 'site.standard.graph.subscription', '3ccccccccccc2', {
      publication: `at://${author.did}/site.standard.publication/3ccccccccccc2`,
    })
  })

  test('and is refused again keeps its letter, until it is not', async () => {
    await sql('alter table publication_subscriptions drop constraint if exists no_reader')
    await replayAccount(contextOf(), reader.did)
    expect(await sql('select uri from parked_events')).toHaveLength(1)
    await sql(
      `alter table publication_subscriptions add constraint no_reader check (identity <> '${reader.did}') not valid`,
    )
    const subscription = `at://${reader.did}/site.standard.graph.subscription/3ccccccccccc2`
    try {
      await replayAccount(contextOf(), author.did)
      expect(await letters()).toMatchObject([{ uri: subscription, source: 'parked' }])
      for (let time = 0; time < 2; time++) {
        const ended = await run('retry', '--json')
        expect(ended.code).toBe(1)
        expect(jsonOf(ended)).toMatchObject({
          tried: 1,
          outcomes: { 'dead-lettered': 1 },
          left: [{ uri: subscription, reason: expect.stringContaining('no_reader') }],
        })
        expect((await letters()).map(({ uri }) => uri)).toEqual([subscription])
      }
    } finally {
      await sql('alter table publication_subscriptions drop constraint no_reader')
    }
    expect(await run('retry')).toMatchObject({ code: 0 })
    expect(await letters()).toEqual([])
    expect(await sql('select identity from publication_subscriptions')).toEqual([{ identity: reader.did }])
  })
})

describe("an event that the operator's own function refused", () => {
  test('is given to that function, and to no table', async () => {
    const cwd = await mkdtemp(join(tmpdir(), 'firehose-replay-letters-'))
    try {
      await writeFile(
        join(cwd, 'firehose-replay.config.ts'),
        `import { appendFileSync, existsSync } from 'node:fs'
         export function handleEvent({ uri, rkey }) {
           if (rkey === 'poison' && !existsSync('mended')) throw new Error('cannot')
           appendFileSync('seen.log', uri + '\\n')
         }`,
      )
      const events = [document('fine', 'fine'), document('poison', 'poison')]
      await writeDeadLetters(
        database,
        events.map((event) => ({ event, code: 'HANDLER', error: 'disk full' })),
      )
      const without = await run('retry')
      expect(without.code).toBe(1)
      expect(without.stderr).toContain('handleEvent')
      expect(await letters()).toHaveLength(2)

      const again = () => runCommand(['dead-letters', 'retry', '--json'], { env, cwd })
      const first = await again()
      expect(first.code).toBe(1)
      expect(jsonOf(first)).toMatchObject({
        outcomes: { applied: 1, 'dead-lettered': 1 },
        left: [{ uri: uriOf('poison'), reason: expect.stringContaining('cannot') }],
      })
      expect((await letters()).map(({ uri }) => uri)).toEqual([uriOf('poison')])
      await writeFile(join(cwd, 'mended'), '')
      expect((await again()).code).toBe(0)
      expect(await readFile(join(cwd, 'seen.log'), 'utf8')).toBe(`${uriOf('fine')}\n${uriOf('poison')}\n`)
      expect([await letters(), await titles()]).toEqual([[], []])
    } finally {
      await rm(cwd, { recursive: true, force: true })
    }
  })
})

/** A network in which AUTHOR's repo holds one document, of which the data model allows no JSON. */
async function servingUnreadable(rkey: string): Promise<CliContext> {
  const keypair = await P256Keypair.create()
  const storage = new MemoryBlockstore()
  const odd = { $link: 'bafyreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hpm' }
  const repo = await Repo.create(storage, AUTHOR, keypair, [
    { action: WriteOpAction.Create, collection: DOCUMENT, rkey, record: { $type: DOCUMENT, odd } },
  ])
  const known = {
    did: AUTHOR,
    handle: 'a.test',
    pdsUrl: 'https://pds.example',
    signingKey: keypair.did(),
  }
  const { network, ...context } = contextOf()
  return {
    ...context,
    network: {
      identity: { resolve: async () => known, refresh: async () => known, clear: async () => undefined },
      xrpc: {
        ...network.xrpc,
        getRepoStream: async () => getFullRepo(storage, repo.cid),
        getLatestCommit: async () => ({ cid: repo.cid.toString(), rev: repo.commit.rev }),
      },
    },
  }
}

describe('what could not be read', () => {
  const RELAY = 'wss://relay.example'

  test('of a relay: each message is kept, cut to a size, and what helps is said', async () => {
    const { onUnreadable } = liveAnswers(contextOf(), RELAY)
    const message = { uri: undefined, rev: '', seq: 5, reason: 'garbage\u0000' }
    await onUnreadable({ ...message, bytes: Buffer.from('first') })
    await onUnreadable({ ...message, bytes: Buffer.from('second') })
    await onUnreadable({ ...message, bytes: Buffer.from('second') })
    await onUnreadable({ ...message, bytes: Buffer.alloc(200_000, 1) })
    await writeGap(database, RELAY, { from: 1, to: 9, reason: 'outdated-cursor' })
    const kept = (await letters()).map(({ event }) => JSON.parse(event))
    expect(kept.map(({ lengthBytes }) => lengthBytes)).toEqual([5, 6, 200_000, undefined])
    expect(Buffer.from(kept[1].base64, 'base64').toString()).toBe('second')
    expect(Buffer.from(kept[2].base64, 'base64')).toHaveLength(65_536)

    const ended = await run('retry')
    expect(ended.code).toBe(1)
    expect(ended.stderr).toContain('No account can be told')
    expect(ended.stderr).toContain('Frames were missed')
    expect(ended.stderr).toMatch(/dead-letters drop --id \d+/)
    expect(await letters()).toHaveLength(4)
  })

  test('in a repo: kept by the replay that found it, for as long as it is there', async () => {
    const uri = uriOf('odd')
    const context = await servingUnreadable('odd')
    const broken = { did: AUTHOR, seq: 9, rev: '', reason: 'made up' }
    const { signal } = new AbortController()
    for (let time = 0; time < 2; time++) await liveAnswers(context, RELAY).onBrokenRepo(broken, signal)
    expect(await letters()).toMatchObject([{ uri, code: 'UNREADABLE' }])

    await sql('truncate dead_letters')
    await writeUnreadable(database, { uri, rev: 'r', seq: 3, bytes: Buffer.from('x'), reason: 'no record' })
    const [{ id } = { id: 0 }] = await letters()
    const retried = await replayForLetters(context, AUTHOR, await letters(), signal)
    expect(retried).toMatchObject([{ id, uri, outcome: 'dead-lettered' }])
    expect(await letters()).toMatchObject([{ id, seq: 3 }])
  })

  test('in a gap: who was new in it is for a person to find out', async () => {
    const gap = { from: 1, to: 9, reason: 'outdated-cursor' } as const
    await liveAnswers(contextOf(), RELAY).onGap(gap, new AbortController().signal)
    expect(await letters()).toMatchObject([{ uri: RELAY, code: 'GAP', error: 'outdated-cursor' }])
  })

  test('of an account: its letter goes with a replay that finds nothing unreadable', async () => {
    const account = await stack.createAccount('unreadable.test')
    await create(account, DOCUMENT, 'one', bodyOf('one'))
    const uri = uriOf('one', account.did)
    await writeUnreadable(database, { uri, rev: 'r', seq: 3, bytes: Buffer.from('x'), reason: 'no record' })
    await writeUnreadableRecords(database, [{ uri, reason: 'no record' }])
    expect(await letters()).toHaveLength(2)
    expect(await run('retry')).toMatchObject({ code: 0 })
    expect(await titles()).toEqual(['one'])
    expect(await letters()).toEqual([])
  })

  test('an event that is no JSON any more is listed as it is, and says what helps', async () => {
    await refuse13()
    await index(document('a', 'month 13'))
    await sql(`update dead_letters set event = '{cut'`)
    expect(jsonOf(await run('list', '--json'))).toMatchObject({ deadLetters: [{ event: '{cut' }] })
    expect((await run('retry')).stderr).toContain('Replay the account')
  })
})

describe('a broken frame', () => {
  const never = new AbortController().signal

  test('is not mended by a host that serves the repo from before it', async () => {
    const account = await stack.createAccount('behind.test')
    await create(account, DOCUMENT, 'one', bodyOf('one'))
    const { network, ...context } = contextOf()
    const { pdsUrl } = await network.identity.resolve(account.did)
    const old: Uint8Array[] = []
    for await (const chunk of await network.xrpc.getRepoStream(pdsUrl, account.did)) old.push(chunk)
    const oldHead = await network.xrpc.getLatestCommit(pdsUrl, account.did)
    await create(account, DOCUMENT, 'two', bodyOf('two'))
    const { rev } = await network.xrpc.getLatestCommit(pdsUrl, account.did)
    const stale: CliContext = {
      ...context,
      network: {
        ...network,
        xrpc: {
          ...network.xrpc,
          getLatestCommit: async () => oldHead,
          getRepoStream: async () =>
            (async function* () {
              yield* old
            })(),
        },
      },
    }
    const broken = { did: account.did, seq: 9, rev, reason: 'a block is missing' }
    await liveAnswers(stale, 'wss://relay.example').onBrokenRepo(broken, never)
    expect(await letters()).toMatchObject([{ uri: `at://${account.did}`, code: 'BROKEN_REPO', rev }])
    expect(await run('retry')).toMatchObject({ code: 0 })
    expect([await titles(), await letters()]).toEqual([['one', 'two'], []])
  })

  test('may claim a revision from the future: no repo is held to that', async () => {
    const account = await stack.createAccount('future.test')
    await create(account, DOCUMENT, 'one', bodyOf('one'))
    for (const rev of ['bzzzzzzzzzzzz', 'no revision', '']) {
      const broken = { did: account.did, seq: 9, rev, reason: 'made up' }
      await liveAnswers(contextOf(), 'wss://relay.example').onBrokenRepo(broken, never)
    }
    expect([await titles(), await letters()]).toEqual([['one'], []])
  })

  test('whose repo is read, but not all that is in it, leaves the letters of what is left', async () => {
    const account = await stack.createAccount('partly.test')
    await create(account, DOCUMENT, 'good', bodyOf('good'))
    await create(account, DOCUMENT, 'bad', bodyOf('month 13'))
    await refuse13()
    await writeBrokenRepo(database, { did: account.did, seq: 7, rev: '', reason: 'a made-up reason' })
    const ended = await run('retry', '--json')
    expect(ended.code).toBe(1)
    expect(jsonOf(ended)).toMatchObject({
      outcomes: { applied: 1, 'dead-lettered': 1 },
      left: [{ uri: uriOf('bad', account.did) }],
    })
    expect(await letters()).toMatchObject([{ uri: uriOf('bad', account.did), code: REFUSED }])
  })
})
