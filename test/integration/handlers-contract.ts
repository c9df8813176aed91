/** What the indexer and any appview's handlers must do together, whatever the tables are. */

import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { type Database, openDatabase } from '../../src/database/client.ts'
import type { AppView, JsonObject, RecordEvent } from '../../src/events.ts'
import { Indexer } from '../../src/indexer/indexer.ts'
import { type Stack, type StackOptions, startStack } from '../../src/stack/index.ts'
import { rowVersions } from './dump.ts'
import { put, remove } from './record-events.ts'

/** A record that can say one thing or another. */
export interface Sample {
  uri: string
  /** @param variant any number: the same record for the same one */
  record: (variant: number) => JsonObject
}

export interface ContractCase {
  appview: AppView
  stack: StackOptions
  /** Emptied before each test, with all that hangs off them. */
  tables: readonly string[]
  parent: Sample
  /** Its rows need the parent's, in every variant. */
  child: Sample
  /** Records of another account on `parent` that compete for one unique key, the winner first. */
  rivals: readonly [winner: Sample, loser: Sample]
  /** The winner's record when it names a parent that is not there. */
  astray: JsonObject
  /** What `child` must not be. */
  unfit: JsonObject
  /** A count of the rivals' rows that a trigger keeps. */
  count?: { table: string; column: string }
  /** Records of several accounts with each other as parents, to be shuffled. */
  samples: readonly Sample[]
}

const OWN_TABLES = ['record_state', 'parked_events', 'dead_letters', 'restore_marks']

export function describeHandlersContract(given: ContractCase): void {
  const { appview, parent, child, rivals } = given
  let stack: Stack
  let database: Database

  beforeAll(async () => {
    stack = await startStack(given.stack)
    const { url, serviceKey } = stack.production
    database = openDatabase({ url, serviceKey, label: 'production' })
  })
  afterAll(() => stack[Symbol.asyncDispose]())
  beforeEach(() => empty())

  const empty = () =>
    stack.production.query(
      `truncate ${[...given.tables, ...OWN_TABLES].map((name) => `"${name}"`).join(', ')} cascade`,
    )

  async function index(...events: RecordEvent[]): Promise<Indexer> {
    const indexer = new Indexer({ appview, database })
    for (const event of events) await indexer.handle(event)
    await indexer.flush()
    return indexer
  }
  async function indexOneByOne(...events: RecordEvent[]): Promise<void> {
    for (const event of events) await index(event)
  }
  const said = ({ uri, record }: Sample, variant = 0): RecordEvent => put(uri, record(variant))
  const gone = ({ uri }: Sample): RecordEvent => remove(uri)
  /** URIs of the records that a sample's table has rows of. */
  async function indexed({ uri }: Sample): Promise<string[]> {
    const collection = uri.split('/')[3]
    const own = appview.handlers.find((handler) => handler.collection === collection)?.derives[0]
    if (own === undefined) throw new Error(`nothing is derived from ${collection}`)
    const rows = await stack.production.query(`select "${own.of}" as uri from "${own.table}" order by 1`)
    return rows.map((row) => String(row.uri))
  }
  const waiting = () => stack.production.query('select uri, waits_on from parked_events')

  /** Everything that handlers write, and what waits: nothing of it may depend on the order of events. */
  async function derivedState(): Promise<Record<string, unknown[]>> {
    const tables = new Map(appview.handlers.flatMap(({ derives }) => derives).map((d) => [d.table, d]))
    const state: Record<string, unknown[]> = {}
    for (const { table, columns } of tables.values()) {
      const list = columns.map((column) => `"${column}"::text`).join(', ')
      state[table] = await stack.production.query(`select ${list} from "${table}" order by ${list}`)
    }
    // Which winner a loser waits for may differ: each of them brings it when its own record goes.
    state.waiting = await stack.production.query('select uri, target from parked_events order by uri, target')
    state.records = await stack.production.query('select uri, cid, deleted from record_state order by uri')
    return state
  }

  describe('rows', () => {
    test('are written parents first, whatever the order of the events', async () => {
      const { counts } = await index(said(rivals[0]), said(child), said(parent))
      expect(counts).toMatchObject({ applied: 3, parked: 0 })
      for (const sample of [parent, child, rivals[0]]) expect(await indexed(sample)).toEqual([sample.uri])
    })

    test('that say the same keep their row versions', async () => {
      const events = [said(parent), said(child), said(rivals[0])]
      await index(...events)
      const versions = await rowVersions(stack.production, [])
      expect((await index(...events)).counts).toMatchObject({ unchanged: 3, applied: 0 })
      expect(await rowVersions(stack.production, [])).toEqual(versions)
    })

    test('are left alone by a record that is not fit', async () => {
      await index(said(parent), said(child))
      const state = (await derivedState())[tableOf(appview, child.uri)]
      expect((await index(put(child.uri, given.unfit))).counts).toMatchObject({ invalid: 1 })
      expect((await derivedState())[tableOf(appview, child.uri)]).toEqual(state)
    })
  })

  describe('rows of a record that was deleted, and then written in a shape that is not fit', () => {
    const unfit = () => put(child.uri, given.unfit)

    test('are gone, in one batch as in three', async () => {
      await index(said(parent), said(child))
      await index(gone(child), unfit())
      const state = await derivedState()
      expect(await indexed(child)).toEqual([])
      await empty()
      await index(said(parent), said(child))
      await indexOneByOne(gone(child), unfit())
      expect(await derivedState()).toEqual(state)
    })

    test('are gone also where the record was made in the same batch, and stay gone for older events', async () => {
      const older = said(child, 1)
      await index(said(parent), said(child), gone(child), unfit())
      expect(await indexed(child)).toEqual([])
      expect((await index(older)).counts).toMatchObject({ stale: 1 })
    })
  })

  describe('revisions', () => {
    test('an older event never wins, nor an older delete', async () => {
      const [older, olderDelete] = [said(child, 1), gone(child)]
      await indexOneByOne(said(parent), said(child, 2))
      const state = await derivedState()
      expect((await index(older)).counts).toMatchObject({ stale: 1 })
      expect((await index(olderDelete)).counts).toMatchObject({ stale: 1 })
      expect(await derivedState()).toEqual(state)
    })

    test('a tombstone keeps the CID that was deleted and beats what is older', async () => {
      const created = said(child)
      await index(said(parent), created)
      await index(remove(child.uri, child.record(0)))
      expect((await index(created)).counts).toMatchObject({ stale: 1 })
      expect(await indexed(child)).toEqual([])
      const cid = created.event === 'create' ? created.cid.toString() : undefined
      expect(
        await stack.production.query('select cid, deleted from record_state where uri = $1', [child.uri]),
      ).toEqual([{ cid, deleted: true }])
    })
  })

  describe('what waits', () => {
    test('comes with its parent', async () => {
      await index(said(rivals[0]))
      expect(await indexed(rivals[0])).toEqual([])
      expect(await waiting()).toHaveLength(1)
      await index(said(parent))
      expect(await indexed(rivals[0])).toEqual([rivals[0].uri])
      expect(await waiting()).toEqual([])
    })

    test('does not come when it was withdrawn meanwhile', async () => {
      await indexOneByOne(said(rivals[0]), gone(rivals[0]), said(parent))
      expect(await indexed(rivals[0])).toEqual([])
      expect(await waiting()).toEqual([])
    })

    test('leaves no row from when its record named another parent', async () => {
      await index(said(parent), said(rivals[0]))
      await index(put(rivals[0].uri, given.astray))
      expect(await indexed(rivals[0])).toEqual([])
      expect(await waiting()).toHaveLength(1)
    })

    test('is also what a cascade takes in one batch with an old delete of its record', async () => {
      const old = gone(rivals[0])
      await index(said(parent), said(rivals[0]))
      await index(gone(parent), old)
      await index(said(parent))
      expect(await indexed(rivals[0])).toEqual([rivals[0].uri])
    })

    test('is what a cascade takes, until the parent is back', async () => {
      await index(said(parent), said(child), said(rivals[0]))
      const state = await derivedState()
      await index(gone(parent))
      expect(await indexed(rivals[0])).toEqual([])
      await index(said(parent))
      expect(await derivedState()).toEqual(state)
      expect(await waiting()).toEqual([])
      if (given.count !== undefined) {
        const { table, column } = given.count
        expect(await stack.production.query(`select "${column}" as count from "${table}"`)).toEqual([
          { count: 1 },
        ])
      }
    })
  })

  describe('a contested key', () => {
    const [winner, loser] = rivals

    test.each([
      ['in order', [loser, winner]],
      ['in reverse', [winner, loser]],
    ])('belongs to the same record, whatever the order: %s', async (_, order) => {
      await index(said(parent))
      await indexOneByOne(...order.map((rival) => said(rival)))
      expect(await indexed(winner)).toEqual([winner.uri])
    })

    test('is settled the same among those that waited', async () => {
      await index(said(winner), said(loser))
      await index(said(parent))
      expect(await indexed(winner)).toEqual([winner.uri])
    })

    test('falls to the next when its holder goes', async () => {
      await indexOneByOne(said(parent), said(loser), said(winner), gone(winner))
      expect(await indexed(winner)).toEqual([loser.uri])
      expect(await waiting()).toEqual([])
    })
  })

  test.each(Array.from({ length: 12 }, (_, seed) => seed))(
    'rows are a function of the current records: shuffle %i',
    async (seed) => {
      const random = randomOf(seed)
      const events = history(given.samples, random)
      await indexOneByOne(...events)
      const inOrder = await derivedState()
      await empty()
      for (const batch of inBatches(shuffled(events, random), random)) await index(...batch)
      expect(await derivedState()).toEqual(inOrder)
      expect(await stack.production.query('select uri, error from dead_letters')).toEqual([])
    },
  )
}

function tableOf(appview: AppView, uri: string): string {
  const collection = uri.split('/')[3]
  return appview.handlers.find((handler) => handler.collection === collection)?.derives[0].table ?? ''
}

/** Each record is written up to three times, and may be deleted in between or at the end. */
function history(samples: readonly Sample[], random: () => number): RecordEvent[] {
  const now = new Map<string, JsonObject>()
  const turns = shuffled([...samples, ...samples, ...samples], random)
  return turns.map(({ uri, record }) => {
    const present = now.get(uri)
    if (present !== undefined && random() < 0.3) {
      now.delete(uri)
      return remove(uri, present)
    }
    const written = record(Math.floor(random() * 12))
    now.set(uri, written)
    return put(uri, written)
  })
}

/** mulberry32: the same numbers for the same seed. */
function randomOf(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

function shuffled<T>(items: readonly T[], random: () => number): T[] {
  return items
    .map((item) => ({ item, place: random() }))
    .sort((a, b) => a.place - b.place)
    .map(({ item }) => item)
}

function inBatches<T>(items: readonly T[], random: () => number): T[][] {
  const batches: T[][] = []
  let start = 0
  while (start < items.length) {
    const end = start + 1 + Math.floor(random() * 8)
    batches.push(items.slice(start, end))
    start = end
  }
  return batches
}
