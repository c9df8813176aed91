import { IdResolver, MemoryCache } from '@atproto/identity'
import { Firehose, MemoryRunner } from '@atproto/sync'
import { leaflet } from '../../../src/appview/leaflet/index.ts'
import { type Database, openDatabase } from '../../../src/database/client.ts'
import { consumeFirehose } from '../../../src/firehose/live.ts'
import { Indexer } from '../../../src/indexer/indexer.ts'
import { createIdentity } from '../../../src/network/identity.ts'
import type { RemoteStack } from '../stack-process.ts'
import type { RemoteFirehose } from './server-process.ts'

const COLLECTION = 'site.standard.document'

/** Accounts whose upserts are under way at one time: as many as our consumer handles. */
const CONCURRENCY = 64

/** @atproto/sync's Firehose and one upsert for each event, as an appview's consumer does. */
export async function theirTables(firehose: RemoteFirehose, stack: RemoteStack): Promise<number> {
  const database = await emptied(stack)
  let count = 0
  const { promise: all, resolve, reject } = Promise.withResolvers<void>()
  const subscription = new Firehose({
    service: firehose.service,
    idResolver: new IdResolver({
      plcUrl: firehose.plcUrl,
      didCache: new MemoryCache(),
      fetch: globalThis.fetch,
    }),
    runner: new MemoryRunner({ startCursor: 0, concurrency: CONCURRENCY }),
    filterCollections: [COLLECTION],
    handleEvent: async (event) => {
      if (event.event !== 'create' && event.event !== 'update') return
      const row = { uri: event.uri.toString(), data: event.record }
      const { error } = await database.client.from('documents').upsert(row)
      if (error !== null) throw new Error(error.message)
      if (++count === firehose.frames) resolve()
    },
    onError: reject,
  })
  const startMs = performance.now()
  const running = subscription.start()
  await all
  const ms = performance.now() - startMs
  await subscription.destroy()
  await running
  await assertThere(database, firehose.frames)
  return (count / ms) * 1000
}

export async function ourTables(firehose: RemoteFirehose, stack: RemoteStack): Promise<number> {
  const database = await emptied(stack)
  const indexer = new Indexer({ appview: leaflet, database })
  const stop = new AbortController()
  const startMs = performance.now()
  let ms = 0
  await consumeFirehose({
    service: firehose.service,
    sink: indexer,
    identity: createIdentity({ plcUrl: firehose.plcUrl, allowLocalhost: true }),
    isWanted: (collection) => collection === COLLECTION,
    cursor: 0,
    saveCursor: async (seq) => {
      if (seq < firehose.frames) return
      ms = performance.now() - startMs
      stop.abort()
    },
    // What is not durable does not count: looked at more often than an operator would, for so short a run.
    saveEveryMs: 200,
    onBrokenRepo: ({ reason }) => Promise.reject(new Error(reason)),
    signal: stop.signal,
  })
  await assertThere(database, firehose.frames)
  return (firehose.frames / ms) * 1000
}

async function emptied(stack: RemoteStack): Promise<Database> {
  const database = openDatabase({ ...stack.production, label: 'production' })
  for (const table of ['documents', 'record_state', 'parked_events']) {
    database.check(await database.client.from(table).delete().neq('uri', ''))
  }
  await stack.settle()
  return database
}

async function assertThere(database: Database, expected: number): Promise<void> {
  const answer = await database.client.from('documents').select('uri', { count: 'exact', head: true })
  database.check(answer)
  if (answer.count !== expected) throw new Error(`${answer.count} rows are there, not ${expected}.`)
}
