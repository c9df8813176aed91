/** What fails on the way into the tables, and what must not be lost or held up by it. */

import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { leaflet } from '../../src/appview/leaflet/index.ts'
import { type Database, openDatabase } from '../../src/database/client.ts'
import { databaseErrorOf } from '../../src/database/failure.ts'
import { UnavailableError } from '../../src/errors.ts'
import type { AppView, RecordEvent } from '../../src/events.ts'
import { Indexer, type IndexerOptions } from '../../src/indexer/indexer.ts'
import { createLogger } from '../../src/logger.ts'
import { type DatabaseConnection, type Stack, startStack } from '../../src/stack/index.ts'
import { put } from './record-events.ts'

const AUTHOR = 'did:plc:author'
const PUBLICATION = `at://${AUTHOR}/site.standard.publication/3aaaaaaaaaaa2`
/** Waits as they are made, only shorter. */
const QUICK = { firstDelayMs: 1 }

let stack: Stack
let database: Database
let connection: DatabaseConnection
const sql = (text: string) => stack.production.query(text)

beforeAll(async () => {
  stack = await startStack()
  database = openDatabase({ ...stack.production, label: 'production' })
  connection = await stack.production.connect()
  await connection.query(`set role service_role; set statement_timeout = '600ms'`)
  // How slow a document is, it says itself.
  await sql(`create function dawdle() returns trigger language plpgsql as
    $$ begin perform pg_sleep(coalesce((new.data->>'seconds')::float / 100, 0)); return new; end $$;
    create trigger dawdle before insert on documents for each row execute function dawdle()`)
})
afterAll(() => stack?.[Symbol.asyncDispose]())
beforeEach(() =>
  sql('truncate identities, publications, documents, record_state, parked_events, dead_letters cascade'),
)

/** The same database with every SQLSTATE (Supabase Lite keeps only some), and with what it was asked for. */
function watched(): { database: Database; sizes: number[] } {
  const sizes: number[] = []
  const call: Database['call'] = async (name, batch) => {
    sizes.push((batch as { records: unknown[] }).records.length)
    try {
      const rows = await connection.query(`select ${name}($1) as answer`, [JSON.stringify(batch)])
      return rows[0]?.answer
    } catch (error) {
      const { message, code } = error as { message: string; code: string }
      throw databaseErrorOf({ message, code }, 500, 'production')
    }
  }
  return { database: { ...database, call }, sizes }
}

const publication = () =>
  put(PUBLICATION, { $type: 'site.standard.publication', name: 'Notes', url: 'https://notes.example' })
const document = (rkey: string, more = {}) =>
  put(`at://${AUTHOR}/site.standard.document/${rkey}`, {
    $type: 'site.standard.document',
    site: 'https://elsewhere.example',
    title: rkey,
    publishedAt: '2026-01-01T00:00:00.000Z',
    ...more,
  })
/** @param hundredths of a second that writing it takes */
const slow = (rkey: string, hundredths: number) => document(rkey, { seconds: hundredths })
const subscription = (did: string) =>
  put(`at://${did}/site.standard.graph.subscription/3ccccccccccc2`, {
    $type: 'site.standard.graph.subscription',
    publication: PUBLICATION,
  })

async function index(
  events: readonly RecordEvent[],
  options: Partial<IndexerOptions> = {},
): Promise<Indexer> {
  const indexer = new Indexer({ appview: leaflet, database, retry: QUICK, ...options })
  for (const event of events) await indexer.handle(event)
  await indexer.flush()
  return indexer
}
const titles = async () =>
  (await sql(`select data->>'title' as title from documents order by 1`)).map(({ title }) => title)
const letters = () => sql('select uri, code, source from dead_letters order by uri')
const uriOf = (event: RecordEvent) => event.uri.toString()

test('a handler that fails on one record makes it a dead letter; the others go on', async () => {
  const handlers = leaflet.handlers.map((handler) => ({
    ...handler,
    rows: (event: Parameters<typeof handler.rows>[0]) => {
      if (event.rkey === 'b') throw new TypeError('cannot read this')
      return handler.rows(event)
    },
  }))
  const appview: AppView = { ...leaflet, handlers }
  const events = ['a', 'b', 'c'].map((rkey) => document(rkey))
  const { counts } = await index(events, { appview })
  expect(counts).toMatchObject({ applied: 2, 'dead-lettered': 1 })
  expect(await titles()).toEqual(['a', 'c'])
  expect(await letters()).toMatchObject([{ code: 'HANDLER' }])
})

describe('a batch that takes too long', () => {
  test('is halved until each part is small enough; nothing is a dead letter', async () => {
    const { database: over, sizes } = watched()
    const events = Array.from({ length: 8 }, (_, n) => slow(`${n}`, 20))
    const { counts } = await index(events, { database: over })
    expect(counts).toMatchObject({ applied: 8, 'dead-lettered': 0 })
    // Not once more with all eight.
    expect(sizes).toEqual([8, 4, 2, 2, 4, 2, 2])
  })

  test('for one record is halved to it, and that one is a dead letter', async () => {
    const { database: over, sizes } = watched()
    const events = [document('a'), document('b'), slow('c', 90), document('d')]
    expect((await index(events, { database: over })).counts).toMatchObject({ applied: 3, 'dead-lettered': 1 })
    expect(await titles()).toEqual(['a', 'b', 'd'])
    expect(await letters()).toMatchObject([{ code: 'TOO_SLOW' }])
    // Several times alone, and then whether the database answers at all.
    expect(sizes).toEqual([4, 2, 2, 1, 1, 1, 0, 1])
  })

  test('whatever is in it, is the database that is slow: nothing is a dead letter', async () => {
    await sql('select pg_advisory_lock(7020260901)')
    try {
      const { database: over } = watched()
      const retry = { ...QUICK, attempts: 2 }
      await expect(index([document('a'), document('b')], { database: over, retry })).rejects.toThrow(
        UnavailableError,
      )
    } finally {
      await sql('select pg_advisory_unlock(7020260901)')
    }
    expect(await letters()).toEqual([])
    expect(await titles()).toEqual([])
  })
})

describe('what may pass', () => {
  /** The database, away for some calls. */
  function flaky(isAway: (call: number) => boolean) {
    const asked: string[][] = []
    const call: Database['call'] = async (name, batch) => {
      asked.push(
        (batch as { records: { uri: string }[] }).records.map(({ uri }) => uri.split('/').at(-1) ?? ''),
      )
      if (isAway(asked.length)) throw new UnavailableError('away')
      return database.call(name, batch)
    }
    return { database: { ...database, call }, asked }
  }

  test('is waited for, in order: nothing overtakes what is held', async () => {
    const { database: over, asked } = flaky((call) => call <= 3)
    const events = ['a', 'b', 'c', 'd', 'e'].map((rkey) => document(rkey))
    const { counts } = await index(events, { database: over, maxBatchEvents: 2 })
    expect(counts).toMatchObject({ applied: 5, 'dead-lettered': 0 })
    expect(asked.slice(0, 4)).toEqual(Array.from({ length: 4 }, () => ['a', 'b']))
    // The next was made ready meanwhile, and had to wait all the same.
    expect(asked.slice(4).flat()).toEqual(['c', 'd', 'e'])
  })

  test('and does not, ends the indexer; the cursor stays before it', async () => {
    const { database: over } = flaky((call) => call > 1)
    const retry = { ...QUICK, attempts: 3 }
    const indexer = new Indexer({ appview: leaflet, database: over, retry })
    const [first, second] = [document('a'), document('b')]
    await indexer.handle(first)
    expect(await indexer.flush()).toEqual({ cursor: first.seq })
    await indexer.handle(second)
    await expect(indexer.flush()).rejects.toThrow(UnavailableError)
    await expect(indexer.handle(document('c'))).rejects.toThrow(UnavailableError)
    expect(await titles()).toEqual(['a'])
  })

  test('ends at once when it is asked to', async () => {
    const stop = new AbortController()
    const { database: over, asked } = flaky(() => true)
    const retry = { firstDelayMs: 60_000, signal: stop.signal }
    const ended = index([document('a')], { database: over, retry })
    while (asked.length === 0) await new Promise((resolve) => setTimeout(resolve, 5))
    stop.abort()
    await expect(ended).rejects.toThrow('away')
    expect(asked).toHaveLength(1)
  })
})

describe('a row that waits', () => {
  test('and is refused when its turn comes keeps neither its parent away nor the others', async () => {
    const { database: over } = watched()
    const waiting = ['did:plc:one', 'did:plc:two', 'did:plc:three'].map(subscription)
    expect((await index(waiting, { database: over })).counts).toMatchObject({ parked: 3 })
    await sql(
      `alter table publication_subscriptions add constraint not_two check (identity <> 'did:plc:two')`,
    )
    try {
      const { counts } = await index([publication()], { database: over })
      expect(counts).toMatchObject({ applied: 1, 'dead-lettered': 0 })
    } finally {
      await sql('alter table publication_subscriptions drop constraint not_two')
    }
    expect(await sql('select identity from publication_subscriptions order by 1')).toEqual([
      { identity: 'did:plc:one' },
      { identity: 'did:plc:three' },
    ])
    expect(await letters()).toEqual([
      {
        uri: 'at://did:plc:two/site.standard.graph.subscription/3ccccccccccc2',
        code: '23514',
        source: 'parked',
      },
    ])
    expect(await sql('select uri from parked_events')).toEqual([])
  })

  test('comes when the parent does, also where the appview itself had brought the row', async () => {
    const parent = publication()
    await index([subscription('did:plc:one')])
    await index([parent])
    await sql('create table saved as select * from publications')
    await sql('delete from publications')
    await sql('truncate publication_subscriptions, record_state, parked_events')
    await index([subscription('did:plc:one')])
    await sql('insert into publications select * from saved')
    await sql('drop table saved')
    expect((await index([parent])).counts).toMatchObject({ unchanged: 1 })
    expect(await sql('select identity from publication_subscriptions')).toEqual([{ identity: 'did:plc:one' }])
    expect(await sql('select uri from parked_events')).toEqual([])
  })
})

test('a hook that fails stops nothing', async () => {
  const logger = createLogger('silent')
  const afterApplied = () => Promise.reject(new Error('the mailer is down'))
  const events = [document('a'), document('b')]
  const indexer = await index(events, { afterApplied, logger, maxBatchEvents: 1 })
  expect(indexer.counts).toMatchObject({ applied: 2 })
  expect(await indexer.flush()).toEqual({ cursor: events.at(-1)?.seq })
  expect(uriOf(events[0] ?? publication())).toContain('/a')
})
