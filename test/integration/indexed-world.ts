/** A database that histories are indexed into, again and again. */

import { type Database, openDatabase } from '../../src/database/client.ts'
import type { AppView, RecordEvent } from '../../src/events.ts'
import { Indexer, type IndexerOptions } from '../../src/indexer/indexer.ts'
import { type Stack, type StackOptions, startStack } from '../../src/stack/index.ts'
import { type RepoState, replayOf } from './histories.ts'

const OWN_TABLES = ['record_state', 'parked_events', 'dead_letters', 'restore_marks']

export interface IndexedWorld {
  stack: Stack
  appview: AppView
  /** Each with connections of its own. */
  databases: readonly [Database, Database]
  /** Takes everything away, as fast as that can be done. */
  empty(): Promise<void>
  /** Batches end where `flush` is called, and nowhere else, unless the options say so. */
  indexer(options?: Partial<IndexerOptions>): Indexer
  /** The repos, one after the other, into what is there. */
  replay(repos: readonly RepoState[]): Promise<void>
  /** Records that the index takes to be there. */
  standing(): Promise<string[]>
  /** Everything that handlers write, what waits, and which records stand: nothing of it may depend on the order. */
  derived(): Promise<Record<string, unknown[]>>
}

/** @param tables emptied with all that hangs off them */
export async function startIndexedWorld(
  appview: AppView,
  options: StackOptions,
  tables: readonly string[],
): Promise<IndexedWorld & AsyncDisposable> {
  const stack = await startStack(options)
  return {
    ...indexedWorldOn(stack, appview, tables),
    [Symbol.asyncDispose]: () => stack[Symbol.asyncDispose](),
  }
}

/** @param tables as `startIndexedWorld` */
export function indexedWorldOn(stack: Stack, appview: AppView, tables: readonly string[]): IndexedWorld {
  const { url, serviceKey, query } = stack.production
  const open = () => openDatabase({ url, serviceKey, label: 'production' })
  const databases = [open(), open()] as const
  const ranks = new Map(appview.handlers.map(({ collection, rank }) => [collection, rank]))
  const truncate = `truncate ${[...tables, ...OWN_TABLES].map((name) => `"${name}"`).join(', ')} cascade`
  const indexer = (given: Partial<IndexerOptions> = {}) =>
    new Indexer({
      appview,
      database: databases[0],
      maxBatchEvents: 10_000,
      flushAfterMs: 60_000,
      ...given,
    })
  return {
    stack,
    appview,
    databases,
    indexer,
    empty: async () => void (await query(truncate)),
    async replay(repos) {
      for (const repo of repos)
        await index(
          indexer(),
          replayOf(repo, (name) => ranks.get(name) ?? 0),
        )
    },
    standing: async () =>
      (await query('select uri from record_state where not deleted')).map(({ uri }) => String(uri)),
    derived: () => derivedState(stack, appview),
  }
}

export async function index(indexer: Indexer, events: Iterable<RecordEvent>): Promise<Indexer> {
  for (const event of events) await indexer.handle(event)
  await indexer.flush()
  return indexer
}

async function derivedState(stack: Stack, appview: AppView): Promise<Record<string, unknown[]>> {
  const { query } = stack.production
  const tables = new Map(appview.handlers.flatMap(({ derives }) => derives).map((one) => [one.table, one]))
  const state: Record<string, unknown[]> = {}
  for (const { table, columns } of tables.values()) {
    const list = columns.map((column) => `"${column}"::text`).join(', ')
    state[table] = await query(`select ${list} from "${table}" order by ${list}`)
  }
  // Which winner a loser waits for may differ: each of them brings it when its own record goes.
  state.waiting = await query('select uri, target from parked_events order by uri, target')
  state.records = await query('select uri, cid from record_state where not deleted order by uri')
  state.deadLetters = await query('select uri, error from dead_letters order by uri')
  return state
}
