import { IdResolver, MemoryCache } from '@atproto/identity'
import { Firehose, MemoryRunner } from '@atproto/sync'
import { createClient } from '@supabase/supabase-js'
import { leaflet } from '../../../src/appview/leaflet/index.ts'
import { type Database, openDatabase } from '../../../src/database/client.ts'
import type { RecordUpsert } from '../../../src/events.ts'
import { replayRepo } from '../../../src/firehose/replay.ts'
import { upsertOf } from '../../../src/firehose/repo-events.ts'
import { type Batch, type BatchPlan, handlersOf, planBatch } from '../../../src/indexer/batch.ts'
import { silentLogger } from '../../../src/logger.ts'
import { createFetch } from '../../../src/network/fetch.ts'
import { createIdentity } from '../../../src/network/identity.ts'
import { createXrpc } from '../../../src/network/xrpc.ts'
import { lexToJson } from '../../../src/repo/record.ts'
import { readVerifiedRepo } from '../../../src/repo/verified-repo.ts'
import { replayIndexer } from '../../../src/restore/replay-indexer.ts'
import type { Account } from '../../../src/stack/index.ts'
import { elapsedMs } from '../rounds.ts'
import type { RemoteStack } from '../stack-process.ts'
import { COLLECTION } from './input.ts'

export interface ReplayBench {
  stack: RemoteStack
  account: Account
  records: number
}

const ranks = new Map(leaflet.handlers.map(({ collection, rank }) => [collection, rank]))
const rankOf = (collection: string) => ranks.get(collection)

/** The account's records are all that the PDS has: its firehose from the beginning is the account's. */
export async function firehoseWithUpserts({ stack, account, records }: ReplayBench): Promise<number> {
  const supabase = createClient(stack.production.url, stack.production.serviceKey)
  const { promise: all, resolve, reject } = Promise.withResolvers<void>()
  let count = 0
  const firehose = new Firehose({
    service: account.pdsUrl.replace(/^http/, 'ws'),
    idResolver: new IdResolver({
      plcUrl: stack.plcUrl,
      didCache: new MemoryCache(),
      // The default refuses to ask this machine.
      fetch: globalThis.fetch,
    }),
    runner: new MemoryRunner({ startCursor: 0 }),
    filterCollections: [COLLECTION],
    excludeAccount: true,
    excludeIdentity: true,
    excludeSync: true,
    handleEvent: async (event) => {
      if (event.event !== 'create' && event.event !== 'update') return
      const { error } = await supabase
        .from('documents')
        .upsert({ uri: event.uri.toString(), data: lexToJson(event.record) })
      if (error !== null) throw new Error(error.message)
      if (++count === records) resolve()
    },
    onError: reject,
  })
  const ms = await elapsedMs(async () => {
    const running = firehose.start()
    await all
    await firehose.destroy()
    await running
  })
  return (records / ms) * 1000
}

export async function ourReplay({ stack, account, records }: ReplayBench): Promise<number> {
  const indexer = replayIndexer({ appview: leaflet, production: databaseOf(stack), logger: silentLogger })
  const network = networkOf(stack)
  const ms = await elapsedMs(() => replayRepo({ did: account.did, sink: indexer.sink, rankOf, ...network }))
  if (indexer.counts().applied !== records) throw new Error('Not all records were applied.')
  return (records / ms) * 1000
}

export interface Parts {
  verificationMs: number
  lexiconMs: number
  applyMs: number
}

/** Each of the hard parts alone, one after the other, with what it needs made beforehand. */
export async function hardParts({ stack, account, records }: ReplayBench): Promise<Parts> {
  const { identity, xrpc } = networkOf(stack)
  const { pdsUrl, signingKey } = await identity.refresh(account.did)
  const chunks: Uint8Array[] = []
  for await (const chunk of await xrpc.getRepoStream(pdsUrl, account.did)) chunks.push(chunk)

  const events: RecordUpsert[] = []
  const verificationMs = await elapsedMs(async () => {
    const repo = await readVerifiedRepo(streamOf(chunks), { did: account.did, signingKey })
    const revision = { did: account.did, rev: repo.rev, commit: repo.commit, time: '' }
    for (const record of repo.records()) {
      const event = upsertOf(revision, record)
      if (!('reason' in event)) events.push(event)
    }
  })

  const handlers = handlersOf(leaflet)
  const lexiconMs = await elapsedMs(async () => {
    for (const event of events) {
      const outcome = handlers.get(event.collection)?.rows(event).outcome
      if (outcome !== 'rows') throw new Error('A record was not valid.')
    }
  })

  const batches: Batch[] = []
  for (let start = 0; start < events.length; start += BATCH_EVENTS) {
    const plan: BatchPlan = planBatch(events.slice(start, start + BATCH_EVENTS), handlers)
    batches.push(plan.batch)
  }
  const database = databaseOf(stack)
  const applyMs = await elapsedMs(async () => {
    for (const batch of batches) await database.call('firehose_replay_apply', batch)
  })
  if (events.length !== records) throw new Error('Not all records were verified.')
  return { verificationMs, lexiconMs, applyMs }
}

/** As the indexer has it. */
const BATCH_EVENTS = 500

async function* streamOf(chunks: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* chunks
}

function databaseOf(stack: RemoteStack): Database {
  return openDatabase({ ...stack.production, label: 'production' })
}

function networkOf(stack: RemoteStack) {
  return {
    identity: createIdentity({ plcUrl: stack.plcUrl, allowLocalhost: true }),
    xrpc: createXrpc({ fetch: createFetch({ allowLocalhost: true }) }),
  }
}
