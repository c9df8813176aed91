import { setTimeout as sleep } from 'node:timers/promises'
import { messageOf, UnavailableError } from '../errors.ts'
import type { Logger } from '../logger.ts'
import { SUBSCRIBE_REPOS } from './frame.ts'
import { readMessage, seqOf } from './message.ts'
import { MessageFilter } from './message-filter.ts'
import { connectionClosed, openRelaySocket } from './relay-socket.ts'

/** Before a relay's position is one that cannot be learnt. */
const MAX_ATTEMPTS = 5
/** After so long without a byte a relay is asked for a sign of life, and has as long to give it. */
const HEARTBEAT_MS = 10_000

/**
 * The first seq of a subscription without cursor: newer than all that the relay had before. On a quiet relay it may
 * be long in coming.
 *
 * @param everyMs pause between two attempts
 * @param heartbeatMs silence after which the relay must answer a ping, within as long again
 * @throws what the last attempt ended in; the signal's reason
 */
export async function newestSeq(
  service: string,
  {
    everyMs,
    heartbeatMs = HEARTBEAT_MS,
    signal,
    logger,
  }: { everyMs: number; heartbeatMs?: number; signal: AbortSignal; logger: Logger },
): Promise<number> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await firstSeq(service, signal, heartbeatMs)
    } catch (error) {
      signal.throwIfAborted()
      if (attempt >= MAX_ATTEMPTS) throw error
      logger.warn({ error, attempt }, 'the newest seq of the relay is not known yet')
    }
    await sleep(everyMs, undefined, { signal })
  }
}

async function firstSeq(service: string, signal: AbortSignal, heartbeatMs: number): Promise<number> {
  let seq: number | undefined
  let isClosed = false
  const pings: Buffer[] = []
  const filter = new MessageFilter(Buffer.alloc(0), {
    onMatch: (message) => {
      seq ??= seqOf(readMessage(message))
    },
    onPing: (payload) => {
      pings[0] = payload
    },
    onPong: () => undefined,
    onClose: () => {
      isClosed = true
    },
  })
  let wake: () => void = () => undefined
  const socket = await openRelaySocket({
    service,
    path: `/xrpc/${SUBSCRIBE_REPOS}`,
    onBytes: (bytes) => {
      if (seq === undefined) filter.push(bytes)
      wake()
      return seq === undefined
    },
    signal,
  })
  wake = () => socket.wake()
  try {
    for (let isAsked = false; seq === undefined; ) {
      for (const payload of pings.splice(0)) socket.pong(payload)
      const waited = isClosed ? 'ended' : await socket.wait(heartbeatMs)
      // What came before the end counts.
      if (seq !== undefined) break
      if (waited === 'ended' || (waited === 'silent' && isAsked)) throw connectionClosed()
      isAsked = waited === 'silent'
      if (isAsked) socket.ping()
    }
    return seq
  } finally {
    socket.close()
  }
}

export function unknownEnd(cause: unknown): UnavailableError {
  return new UnavailableError(
    `How far the relay is cannot be learnt: it ended ${MAX_ATTEMPTS} connections that asked (${messageOf(cause)}).`,
    { hint: 'It may allow one connection only. Name the last seq with --until, or try again later.', cause },
  )
}
