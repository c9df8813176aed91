import { IdResolver, MemoryCache } from '@atproto/identity'
import { type Event, Firehose, MemoryRunner } from '@atproto/sync'
import { leaflet } from '../../../src/appview/leaflet/index.ts'
import { type Database, openDatabase } from '../../../src/database/client.ts'
import { saveCursor } from '../../../src/database/cursors.ts'
import type { EventSink } from '../../../src/events.ts'
import { consumeFirehose } from '../../../src/firehose/live.ts'
import { Indexer } from '../../../src/indexer/indexer.ts'
import { createIdentity } from '../../../src/network/identity.ts'
import type { RemoteStack } from '../stack-process.ts'
import type { RemoteFirehose } from './server-process.ts'

const COLLECTION = 'site.standard.document'

/** Accounts whose upserts are under way at one time: as many as our consumer handles. */
const CONCURRENCY = 64

/** Into a handler that does nothing. */
export function theirVerification(firehose: RemoteFirehose): Promise<number> {
  return theirRate(firehose, { handleEvent: () => undefined })
}

export function ourVerification(firehose: RemoteFirehose): Promise<number> {
  const sink: EventSink = { handle: async () => undefined, flush: async () => ({ cursor: undefined }) }
  return ourRate(firehose, sink, async () => undefined)
}

/** One upsert for each event, as an appview's consumer does. */
export async function theirTables(firehose: RemoteFirehose, stack: RemoteStack): Promise<number> {
  const database = await emptied(stack)
  const rate = await theirRate(firehose, {
    concurrency: CONCURRENCY,
    handleEvent: async (event) => {
      if (event.event !== 'create' && event.event !== 'update') return
      const row = { uri: event.uri.toString(), data: event.record }
      const { error } = await database.client.from('documents').upsert(row)
      if (error !== null) throw new Error(error.message)
    },
  })
  await assertThere(database, firehose.frames)
  return rate
}

export async function ourTables(firehose: RemoteFirehose, stack: RemoteStack): Promise<number> {
  const database = await emptied(stack)
  const indexer = new Indexer({ appview: leaflet, database })
  const rate = await ourRate(firehose, indexer, (seq) => saveCursor(database, firehose.service, seq))
  await assertThere(database, firehose.frames)
  return rate
}

/** @atproto/sync's Firehose as its README has it, with the cache on, until the last event is handled. */
async function theirRate(
  firehose: RemoteFirehose,
  { handleEvent, concurrency }: { handleEvent: (event: Event) => Promise<void> | void; concurrency?: number },
): Promise<number> {
  let count = 0
  const { promise: all, resolve, reject } = Promise.withResolvers<void>()
  const subscription = new Firehose({
    service: firehose.service,
    idResolver: new IdResolver({
      plcUrl: firehose.plcUrl,
      didCache: new MemoryCache(),
      // The default refuses to ask this machine.
      fetch: globalThis.fetch,
    }),
    runner: new MemoryRunner({ startCursor: 0, ...(concurrency === undefined ? {} : { concurrency }) }),
    filterCollections: [COLLECTION],
    handleEvent: async (event) => {
      await handleEvent(event)
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
  return (count / ms) * 1000
}

/** Our consumer with its defaults, until the sink has made the last event durable. */
async function ourRate(
  firehose: RemoteFirehose,
  sink: EventSink,
  save: (seq: number) => Promise<void>,
): Promise<number> {
  const stop = new AbortController()
  const startMs = performance.now()
  let count = 0
  let ms = 0
  await consumeFirehose({
    service: firehose.service,
    sink: {
      async handle(event) {
        await sink.handle(event)
        if (++count < firehose.frames) return
        await sink.flush()
        ms = performance.now() - startMs
        stop.abort()
      },
      flush: () => sink.flush(),
    },
    identity: createIdentity({ plcUrl: firehose.plcUrl, allowLocalhost: true }),
    isWanted: (collection) => collection === COLLECTION,
    cursor: 0,
    saveCursor: save,
    onBrokenRepo: ({ reason }) => Promise.reject(new Error(reason)),
    signal: stop.signal,
  })
  return (count / ms) * 1000
}

async function emptied(stack: RemoteStack): Promise<Database> {
  await stack.execute('truncate documents, tag_counts, record_state, parked_events, firehose_cursors cascade')
  await stack.settle()
  return openDatabase({ ...stack.production, label: 'production' })
}

async function assertThere(database: Database, expected: number): Promise<void> {
  const answer = await database.client.from('documents').select('uri', { count: 'exact', head: true })
  database.check(answer)
  if (answer.count !== expected) throw new Error(`${answer.count} rows are there, not ${expected}.`)
}
