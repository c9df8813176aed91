import { createRequire } from 'node:module'
import { IdResolver, type MemoryCache } from '@atproto/identity'
import { Firehose } from '@atproto/sync'
import { SUBSCRIBE_REPOS } from '../../../src/firehose/frame.ts'
import { openRelaySocket } from '../../../src/firehose/relay-socket.ts'
import { replayRelay } from '../../../src/firehose/replay-relay.ts'
import { createIdentity } from '../../../src/network/identity.ts'
import { COLLECTION, FIRST_SEQ } from './frames.ts'
import type { ScopedFirehose } from './server-process.ts'

/** What a user writes who wants one account: the Firehose has no filter for it. Frames/s over this many frames. */
export async function filteredFirehose(
  firehose: ScopedFirehose,
  { frames, isAuthenticated, cache }: { frames: number; isAuthenticated: boolean; cache: MemoryCache },
): Promise<number> {
  let count = 0
  let own = 0
  const { promise: all, resolve, reject } = Promise.withResolvers<void>()
  const subscription = new Firehose({
    service: firehose.service,
    idResolver: new IdResolver({ plcUrl: firehose.plcUrl, didCache: cache, fetch: globalThis.fetch }),
    unauthenticatedCommits: !isAuthenticated,
    filterCollections: [COLLECTION],
    getCursor: () => FIRST_SEQ,
    handleEvent: (event) => {
      if ('did' in event && event.did === firehose.wanted) own++
      if (++count === frames) resolve()
    },
    onError: reject,
  })
  const startMs = performance.now()
  const running = subscription.start()
  await all
  const ms = performance.now() - startMs
  await subscription.destroy()
  await running
  if (own === 0) throw new Error('Nothing of the wanted account was seen.')
  return (frames / ms) * 1000
}

/** Verified, in order, into a sink that does nothing. */
export async function ourReplay(firehose: ScopedFirehose): Promise<number> {
  let count = 0
  const startMs = performance.now()
  const { window, gaps } = await replayRelay({
    did: firehose.wanted,
    service: firehose.service,
    cursor: FIRST_SEQ,
    until: firehose.lastSeq,
    identity: createIdentity({ plcUrl: firehose.plcUrl, allowLocalhost: true }),
    isWanted: (collection) => collection === COLLECTION,
    sink: {
      async handle() {
        count++
      },
      flush: async () => ({ cursor: undefined }),
    },
  })
  const ms = performance.now() - startMs
  if (count !== firehose.ownFrames || gaps.length > 0 || window.frameCount !== firehose.frames) {
    throw new Error(`Not all frames were handled: ${count}, ${gaps[0]?.reason}, ${window.frameCount}`)
  }
  return (window.frameCount / ms) * 1000
}

/** `ws` as its own types have it, as far as it is used here. */
type WebSocketClass = new (
  url: string,
  options: { perMessageDeflate: boolean },
) => NodeJS.EventEmitter & { terminate(): void }

/** The client under everybody's subscription, which counts messages and does nothing else. */
export async function readingSocket(firehose: ScopedFirehose): Promise<number> {
  const WebSocket = createRequire(import.meta.url)('ws') as WebSocketClass
  const { promise: all, resolve, reject } = Promise.withResolvers<void>()
  let count = 0
  const startMs = performance.now()
  const url = `${firehose.service}/xrpc/${SUBSCRIBE_REPOS}?cursor=${FIRST_SEQ}`
  const socket = new WebSocket(url, { perMessageDeflate: false })
  socket.on('error', reject)
  socket.on('message', () => {
    if (++count === firehose.frames) resolve()
  })
  await all
  const ms = performance.now() - startMs
  socket.terminate()
  return (firehose.frames / ms) * 1000
}

/** Not even messages: bytes of the same connection, counted and thrown away. */
export async function tcpSocket(firehose: ScopedFirehose): Promise<number> {
  let received = 0
  const startMs = performance.now()
  const socket = await openRelaySocket({
    service: firehose.service,
    path: `/xrpc/${SUBSCRIBE_REPOS}?cursor=${FIRST_SEQ}`,
    onBytes: (bytes) => {
      received += bytes.length
      if (received === firehose.bytes) isRead()
      return true
    },
  })
  function isRead(): void {
    socket.wake()
  }
  while ((await socket.wait(10_000)) === 'passed');
  const ms = performance.now() - startMs
  socket.close()
  if (received !== firehose.bytes) throw new Error('The socket ended early.')
  return (firehose.frames / ms) * 1000
}
