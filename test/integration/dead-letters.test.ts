/** Dead letters: what they keep, what brings them back, and what the operator is told. */

import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { leaflet } from '../../src/appview/leaflet/index.ts'
import { type Database, openDatabase } from '../../src/database/client.ts'
import { countDeadLetters, type DeadLetter, readDeadLetters } from '../../src/database/dead-letters.ts'
import type { JsonObject, RecordEvent } from '../../src/events.ts'
import { writeBrokenRepo } from '../../src/indexer/dead-letters.ts'
import { Indexer } from '../../src/indexer/indexer.ts'
import { parseEvent, printEvent } from '../../src/indexer/letter-event.ts'
import { retryDeadLetters } from '../../src/indexer/retry-letters.ts'
import { encodeRecord, lexToJson } from '../../src/repo/record.ts'
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
