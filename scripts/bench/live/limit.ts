import { websocket } from '@atproto/ws-client'
import { isCommit } from '../../../src/firehose/frame.ts'
import { readMessage } from '../../../src/firehose/message.ts'
import { createIdentity } from '../../../src/network/identity.ts'
import { verifyCommitFrame } from '../../../src/repo/commit-frame.ts'
import { recordFromBytes } from '../../../src/repo/record.ts'
import type { RemoteFirehose } from './server-process.ts'

/** The messages themselves, for who does not want to measure a socket. */
export async function readMessages(firehose: RemoteFirehose): Promise<Uint8Array[]> {
  const messages: Uint8Array[] = []
  for await (const bytes of websocket(`${firehose.service}/xrpc/any`, { dataMode: 'binary' })) {
    if (messages.push(bytes) === firehose.frames) break
  }
  return messages
}

/** Decoding and checking alone, one frame after the other in one thread, from memory. */
export async function bareVerification(
  firehose: RemoteFirehose,
  messages: readonly Uint8Array[],
): Promise<number> {
  const identity = createIdentity({ plcUrl: firehose.plcUrl, allowLocalhost: true })
  const keys = new Map<string, string>()
  const startMs = performance.now()
  let count = 0
  for (const bytes of messages) {
    const message = readMessage(bytes)
    if (message.kind !== 'frame' || !isCommit(message.frame)) throw new Error('That is no commit.')
    const { repo: did, ...frame } = message.frame
    const signingKey = keys.get(did) ?? (await identity.resolve(did)).signingKey
    keys.set(did, signingKey)
    for (const op of verifyCommitFrame({ ...frame, did, signingKey }).ops) {
      if (op.action !== 'delete') recordFromBytes(op.bytes)
      count++
    }
  }
  return (count / (performance.now() - startMs)) * 1000
}
