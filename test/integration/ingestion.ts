/** Two accounts' repos on a real PDS, on their way into the tables: live, by their CARs, by the relay's window. */

import { readdir } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { expect } from 'vitest'
import type { Database } from '../../src/database/client.ts'
import { readCursor, saveCursor } from '../../src/database/cursors.ts'
import type { AppView, EventSink } from '../../src/events.ts'
import { consumeFirehose, type LiveOptions } from '../../src/firehose/live.ts'
import { replayRepo } from '../../src/firehose/replay.ts'
import { replayRelay } from '../../src/firehose/replay-relay.ts'
import { Indexer } from '../../src/indexer/indexer.ts'
import { createFetch } from '../../src/network/fetch.ts'
import { createIdentity } from '../../src/network/identity.ts'
import { createXrpc } from '../../src/network/xrpc.ts'
import { ranksOf } from '../../src/restore/write.ts'
import { assemble } from '../../src/stack/cleanup.ts'
import { type Stack, startStack } from '../../src/stack/index.ts'
import { GARDENS_MIGRATION } from '../fixtures/gardens/index.ts'
import { type IndexedWorld, indexedWorldOn } from './indexed-world.ts'
import { CASE_OF } from './indexing-cases.ts'
import type { PropertyCase } from './indexing-properties.ts'
import { openWrittenRepos, type WrittenRepos } from './written-repos.ts'

export type Source = 'repo' | 'relay'

export interface Replay {
  source: Source
  did: string
  /** Where a relay's window begins and ends. */
  window: { cursor: number; until: number }
  batch: number
}

/** A database, two repos and a network: for several appviews, one after the other. */
export interface IngestionStack extends AsyncDisposable {
  stack: Stack
  repos: WrittenRepos
  ingestionOf(appview: keyof typeof CASE_OF): Ingestion
}

/** One appview's part of it. */
export interface Ingestion {
  given: PropertyCase
  stack: Stack
  repos: WrittenRepos
  world: IndexedWorld
  rankOf: (collection: string) => number
  follow(options: FollowOptions): Following
  /** @param turn what it has read waits for it */
  replay(replay: Replay, turn?: Promise<void>): Promise<void>
  cursor(): Promise<number | undefined>
  /** What replay and live ingestion agree on, see `IndexedWorld.derived`. */
  derived(): Promise<Record<string, unknown[]>>
  /** All that is known of records: only live ingestion and the relay's window tell of the deleted ones. */
  states(): Promise<unknown[]>
}

export interface FollowOptions {
  cursor: number
  batch: number
  /** In place of the first connection. */
  database?: Database
  /** Around what is written besides the rows. */
  guarded?: <T>(work: () => Promise<T>) => Promise<T>
  /** Before each event; the sink waits for it. */
  onEvent?: (count: number) => Promise<void> | undefined
  drainMs?: number
}

export interface Following {
  /** Resolves when all up to this seq is handled. */
  reached(seq: number): Promise<void>
  /** Lets it finish what is under way. */
  stop(): Promise<void>
  /** Ends it as it is, whatever it is in the middle of. */
  abandon(): Promise<void>
}

/** Both appviews' tables side by side: their names differ. */
export function startIngestionStack(): Promise<IngestionStack> {
  return assemble(async (cleanup) => {
    const stack = cleanup.use(
      await startStack({ migrations: [...(await leafletMigrations()), GARDENS_MIGRATION] }),
    )
    const identity = createIdentity({ plcUrl: stack.plcUrl, allowLocalhost: true })
    const repos = cleanup.use(await openWrittenRepos(stack, identity))
    const network = { identity, xrpc: createXrpc({ fetch: createFetch({ allowLocalhost: true }) }) }
    return {
      stack,
      repos,
      ingestionOf: (name: keyof typeof CASE_OF) => {
        const [first, second] = repos.accounts
        return ingestionOf(stack, repos, network, withoutTwins(CASE_OF[name]([first.did, second.did])))
      },
    }
  })
}

async function leafletMigrations(): Promise<string[]> {
  const folder = new URL('../../supabase/migrations/', import.meta.url)
  const names = (await readdir(folder)).filter((name) => /_appview_.*\.sql$/.test(name)).toSorted()
  return names.map((name) => fileURLToPath(new URL(name, folder)))
}

/**
 * No two records with the same bytes. A PDS that writes and deletes such in one commit loses the block of both
 * (measured, @atproto/pds 0.5.35), and its repo is broken for everybody from then on.
 */
function withoutTwins(given: PropertyCase): PropertyCase {
  const samples = given.samples.map((sample, index) => ({
    ...sample,
    record: (variant: number) => ({ ...sample.record(variant), sample: index }),
    unfit: { ...sample.unfit, sample: index },
  }))
  return { ...given, samples }
}

type Network = Required<Pick<Parameters<typeof replayRepo>[0], 'identity' | 'xrpc'>>

function ingestionOf(stack: Stack, repos: WrittenRepos, network: Network, given: PropertyCase): Ingestion {
  const { appview } = given
  const world = indexedWorldOn(stack, appview, given.tables)
  const [first, second] = world.databases
  const rank = ranksOf({ appview })
  const { service } = repos
  return {
    given,
    stack,
    repos,
    world,
    rankOf: (collection) => rank(collection) ?? 0,
    derived: () => world.derived(),
    states: () => stack.production.query('select uri, rev, cid, deleted from record_state order by uri'),
    cursor: () => readCursor(first, service),
    follow: (options) => follow(appview, repos, network, { database: first, ...options }),
    async replay({ source, did, window, batch }, turn) {
      // Its own connections and its own indexer, as a process of its own has.
      const indexer = new Indexer({ appview, database: second, maxBatchEvents: batch })
      const sink: EventSink = {
        async handle(event) {
          await turn
          await indexer.handle(event)
        },
        flush: () => indexer.flush(),
      }
      if (source === 'repo') {
        await replayRepo({ did, sink, rankOf: rank, ...network })
        return
      }
      const isWanted = (collection: string) => rank(collection) !== undefined
      const { gaps } = await replayRelay({ did, sink, service, isWanted, ...network, ...window })
      expect(gaps).toEqual([])
    },
  }
}

function follow(
  appview: AppView,
  { service }: WrittenRepos,
  { identity }: Network,
  {
    cursor,
    batch,
    database,
    guarded = (work) => work(),
    onEvent,
    drainMs,
  }: FollowOptions & { database: Database },
): Following {
  const rankOf = ranksOf({ appview })
  const indexer = new Indexer({ appview, database, maxBatchEvents: batch, flushAfterMs: 5 })
  const stopping = new AbortController()
  let handled = cursor
  let count = 0
  let moved = Promise.withResolvers<void>()
  const sink: EventSink = {
    async handle(event) {
      await onEvent?.(count++)
      await indexer.handle(event)
    },
    flush: () => indexer.flush(),
  }
  const options: LiveOptions = {
    service,
    sink,
    identity,
    isWanted: (collection) => rankOf(collection) !== undefined,
    cursor,
    saveCursor: (seq) => guarded(() => saveCursor(database, service, seq)),
    // Nothing is wrong with these repos: a consumer that thinks so would mend by a replay what it must not break.
    onBrokenRepo: ({ did, reason }) => Promise.reject(new Error(`${did} is said to be broken: ${reason}`)),
    onFrame: ({ seq }) => {
      handled = seq
      moved.resolve()
      moved = Promise.withResolvers()
    },
    saveEveryMs: 5,
    signal: stopping.signal,
    ...(drainMs === undefined ? {} : { drainMs }),
  }
  const running = consumeFirehose(options)
  // Whoever waits for it hears of a failure.
  running.catch(() => undefined)
  return {
    async reached(seq) {
      while (handled < seq) {
        await Promise.race([
          moved.promise,
          running.then(() => Promise.reject(new Error('the consumer has ended'))),
        ])
      }
    },
    async stop() {
      stopping.abort()
      await running
    },
    async abandon() {
      stopping.abort()
      await running.catch(() => undefined)
    },
  }
}
