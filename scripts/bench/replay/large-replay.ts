/** A replay in a process of its own, which says how much memory it took at most. */

import { leaflet } from '../../../src/appview/leaflet/index.ts'
import { openDatabase } from '../../../src/database/client.ts'
import { replayRepo } from '../../../src/firehose/replay.ts'
import { silentLogger } from '../../../src/logger.ts'
import { createFetch } from '../../../src/network/fetch.ts'
import type { Identity } from '../../../src/network/identity.ts'
import { createXrpc } from '../../../src/network/xrpc.ts'
import { replayIndexer } from '../../../src/restore/replay-indexer.ts'
import type { RepoReady } from './repo-server.ts'

export interface LargeReplayRequest extends RepoReady {
  did: string
  production: { url: string; serviceKey: string }
}
export interface LargeReplayed {
  applied: number
  seconds: number
  peakMemoryBytes: number
}

async function replay({ did, pdsUrl, signingKey, production }: LargeReplayRequest): Promise<LargeReplayed> {
  const known = { did, handle: 'large.test', pdsUrl, signingKey }
  const identity: Identity = {
    resolve: async () => known,
    refresh: async () => known,
    clear: async () => undefined,
  }
  const database = openDatabase({ ...production, label: 'production' })
  const indexer = replayIndexer({ appview: leaflet, production: database, logger: silentLogger })
  const ranks = new Map(leaflet.handlers.map(({ collection, rank }) => [collection, rank]))
  const startMs = performance.now()
  await replayRepo({
    did,
    sink: indexer.sink,
    rankOf: (collection) => ranks.get(collection),
    identity,
    xrpc: createXrpc({ fetch: createFetch({ allowLocalhost: true }) }),
  })
  return {
    applied: indexer.counts().applied,
    seconds: (performance.now() - startMs) / 1000,
    // In kilobytes on every platform.
    peakMemoryBytes: process.resourceUsage().maxRSS * 1024,
  }
}

process.on('message', async (request: LargeReplayRequest) => {
  process.send?.(await replay(request))
})
process.on('disconnect', () => process.exit(0))
