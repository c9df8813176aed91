import { IdResolver, MemoryCache } from '@atproto/identity'
import { Firehose, MemoryRunner } from '@atproto/sync'
import { consumeFirehose } from '../../../src/firehose/live.ts'
import { createIdentity } from '../../../src/network/identity.ts'
import type { RemoteFirehose } from './server-process.ts'

const COLLECTION = 'site.standard.document'

/** @atproto/sync's Firehose as its README has it, with the cache on, into a handler that does nothing. */
export async function theirVerification(firehose: RemoteFirehose): Promise<number> {
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
    runner: new MemoryRunner({ startCursor: 0 }),
    filterCollections: [COLLECTION],
    handleEvent: () => {
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

export async function ourVerification(firehose: RemoteFirehose): Promise<number> {
  let count = 0
  const stop = new AbortController()
  const startMs = performance.now()
  let ms = 0
  await consumeFirehose({
    service: firehose.service,
    sink: {
      async handle() {
        if (++count < firehose.frames) return
        ms = performance.now() - startMs
        stop.abort()
      },
      flush: async () => ({ cursor: undefined }),
    },
    identity: createIdentity({ plcUrl: firehose.plcUrl, allowLocalhost: true }),
    isWanted: (collection) => collection === COLLECTION,
    cursor: 0,
    saveCursor: async () => undefined,
    onBrokenRepo: ({ reason }) => Promise.reject(new Error(reason)),
    signal: stop.signal,
  })
  return (count / ms) * 1000
}
