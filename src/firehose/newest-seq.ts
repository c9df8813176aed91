import { setTimeout as sleep } from 'node:timers/promises'
import { messageOf, UnavailableError } from '../errors.ts'
import type { Logger } from '../logger.ts'
import { SUBSCRIBE_REPOS } from './frame.ts'
import { readMessage, seqOf } from './message.ts'
import { MessageFilter } from './message-filter.ts'
import { connectionClosed, openRelaySocket } from './relay-socket.ts'

/** Before a relay's position is one that cannot be learnt. */
const MAX_ATTEMPTS = 5
/** Between two looks at whether the first frame has come. */
const FIRST_SEQ_EVERY_MS = 50

/**
 * The first seq of a subscription without cursor: newer than all that the relay had before. On a quiet relay it may
 * be long in coming.
 *
 * @param everyMs pause between two attempts
 * @throws what the last attempt ended in; the signal's reason
 */
export async function newestSeq(
  service: string,
  { everyMs, signal, logger }: { everyMs: number; signal: AbortSignal; logger: Logger },
): Promise<number> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await firstSeq(service, signal)
    } catch (error) {
      signal.throwIfAborted()
      if (attempt >= MAX_ATTEMPTS) throw error
      logger.warn({ error, attempt }, 'the newest seq of the relay is not known yet')
    }
    await sleep(everyMs, undefined, { signal })
  }
}

async function firstSeq(service: string, signal: AbortSignal): Promise<number> {
  let seq: number | undefined
  let isClosed = false
  const pings: Buffer[] = []
  const filter = new MessageFilter(Buffer.alloc(0), {
    onMatch: (message) => {
      seq ??= seqOf(readMessage(message))
    },
    onPing: (payload) => void pings.push(payload),
    onPong: () => undefined,
    onClose: () => {
      isClosed = true
    },
  })
  const socket = await openRelaySocket({
    service,
    path: `/xrpc/${SUBSCRIBE_REPOS}`,
    onBytes: (bytes) => {
      if (seq === undefined) filter.push(bytes)
      return seq === undefined
    },
    signal,
  })
  try {
    while (seq === undefined) {
      const waited = await socket.wait(FIRST_SEQ_EVERY_MS)
      // What came before the end counts.
      if (seq === undefined && (waited === 'ended' || isClosed)) throw connectionClosed()
      for (const payload of pings.splice(0)) socket.pong(payload)
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
