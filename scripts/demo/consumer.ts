import { setTimeout as sleep } from 'node:timers/promises'
import { saveCursor } from '../../src/database/cursors.ts'
import type { AppliedRecord } from '../../src/events.ts'
import { consumeFirehose } from '../../src/firehose/live.ts'
import { Indexer } from '../../src/indexer/indexer.ts'
import type { RestoreContext } from '../../src/restore/context.ts'
import { replayAccount } from '../../src/restore/replay.ts'
import { ranksOf } from '../../src/restore/write.ts'
import type { Stack } from '../../src/stack/index.ts'

/** The appview's live ingestion: on from the first account to the last, also while the account is restored. */
export interface LiveConsumer {
  /** How often subscribers would have been mailed about a record, by URI. */
  mails: ReadonlyMap<string, number>
  /** Resolves when everything that the PDS has sent by now is in the tables. */
  caughtUp(): Promise<void>
  /** Ends it and says what it died of, if it did. */
  stop(): Promise<void>
}

export function startConsumer(stack: Stack, context: RestoreContext): LiveConsumer {
  const mails = new Map<string, number>()
  const seen = new Set<string>()
  const stopping = new AbortController()
  const { production: database, appview, logger, network } = context
  const afterApplied = ({ uri, event }: AppliedRecord): void => {
    if (event === 'create') mails.set(uri, (mails.get(uri) ?? 0) + 1)
  }
  const sink = new Indexer({ appview, database, logger, afterApplied })
  const service = stack.pds.url.replace(/^http/, 'ws')
  const rankOf = ranksOf(context)
  const running = consumeFirehose({
    service,
    sink,
    identity: network.identity,
    isWanted: (collection) => rankOf(collection) !== undefined,
    cursor: 0,
    saveCursor: (seq) => saveCursor(database, service, seq),
    onBrokenRepo: async ({ did }) => void (await replayAccount(context, did, { withDeletes: true })),
    onFrame: ({ did }) => void seen.add(did),
    signal: stopping.signal,
    logger,
  })
  let markers = 0
  return {
    mails,
    async caughtUp() {
      // An account of its own: once its announcement has come through, so has everything before it.
      const { did } = await stack.createAccount(`marker-${++markers}.test`)
      while (!seen.has(did)) await Promise.race([sleep(10), running])
      await sink.flush()
    },
    async stop() {
      stopping.abort()
      await running
    },
  }
}
