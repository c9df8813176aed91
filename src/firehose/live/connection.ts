import { setTimeout as sleep } from 'node:timers/promises'
import { websocket } from '@atproto/ws-client'
import { UnavailableError } from '../../errors.ts'
import { SUBSCRIBE_REPOS } from '../frame.ts'

export interface ConnectionOptions {
  /** Relay or PDS, as `wss://bsky.network`. */
  service: string
  /** Asked before each connection: where to go on; undefined: from now. */
  cursor: () => number | undefined
  /** Bytes that may be received and not read before the socket is paused. */
  readAheadBytes: number
  /** Told when a connection is open, before its first message. */
  onConnect: () => void
  /** Told when one has ended or could not be opened, with what happens next. */
  onDisconnect: (ended: { error: unknown; attempt: number; delayMs: number }) => void
  /** The next message is read when it has resolved. */
  onMessage: (bytes: Uint8Array) => Promise<'go on' | 'reconnect'>
  /** How long an attempt may take until the relay has agreed to send, in milliseconds. @defaultValue 30000 */
  handshakeTimeoutMs?: number
  signal: AbortSignal
}

const HANDSHAKE_TIMEOUT_MS = 30_000
const FIRST_DELAY_MS = 1000
/** A relay that comes back is found within a minute. */
const MAX_DELAY_MS = 60_000

/**
 * The messages of a firehose, over as many connections as it takes. Resolves when the signal aborts; what `onMessage`
 * throws ends it.
 *
 * The socket is paused while messages are not read, so that a slow consumer slows the relay down and not its own
 * memory grows: @atproto/ws-client does that where the platform can. Its own reconnecting is not used because it ends
 * for good when a host closes in the normal way, as one that restarts does.
 */
export async function followFirehose(options: ConnectionOptions): Promise<void> {
  const { signal } = options
  for (let attempt = 0; !signal.aborted; attempt++) {
    const ended = await readConnection(options, () => {
      attempt = 0
    })
    if (signal.aborted) return
    if (ended instanceof ConsumerError) throw ended.cause
    const delayMs = delayBefore(attempt)
    options.onDisconnect({ error: ended, attempt, delayMs })
    await sleep(delayMs, undefined, { signal }).catch(() => undefined) // Rejects only because of the signal.
  }
}

/** What `onMessage` threw, told apart from what the connection did. */
class ConsumerError extends Error {}

/** Reads until the connection ends or is to be opened anew. @returns why; undefined: on our own account */
async function readConnection(options: ConnectionOptions, onRead: () => void): Promise<unknown> {
  const { onConnect, onMessage, handshakeTimeoutMs = HANDSHAKE_TIMEOUT_MS } = options
  // A relay that accepts a connection and then says nothing ends neither with an error nor by closing.
  const unanswered = new AbortController()
  const timer = setTimeout(() => unanswered.abort(noAnswer(options, handshakeTimeoutMs)), handshakeTimeoutMs)
  try {
    const messages = websocket(urlOf(options), {
      dataMode: 'binary',
      shouldReconnect: false,
      highWaterMark: options.readAheadBytes,
      signal: AbortSignal.any([options.signal, unanswered.signal]),
      onConnect: () => {
        clearTimeout(timer)
        onConnect()
      },
    })
    for await (const bytes of messages) {
      const next = await onMessage(bytes).catch((cause: unknown) => new ConsumerError('', { cause }))
      if (next instanceof ConsumerError) return next
      if (next === 'reconnect') return undefined
      onRead()
    }
    return undefined
  } catch (error) {
    return unanswered.signal.aborted ? unanswered.signal.reason : error
  } finally {
    clearTimeout(timer)
  }
}

function noAnswer({ service }: ConnectionOptions, timeoutMs: number): UnavailableError {
  const { host } = new URL(service)
  return new UnavailableError(`${host} did not answer the handshake within ${timeoutMs} ms`, {
    hint: `Check from this machine that ${host} answers; it is tried again.`,
  })
}

function urlOf({ service, cursor }: ConnectionOptions): URL {
  const url = new URL(`/xrpc/${SUBSCRIBE_REPOS}`, service)
  const position = cursor()
  if (position !== undefined) url.searchParams.set('cursor', String(position))
  return url
}

/** Doubled each time, with jitter between half and whole: a relay's consumers should not all come back at once. */
export function delayBefore(attempt: number, random = Math.random()): number {
  const delayMs = Math.min(FIRST_DELAY_MS * 2 ** attempt, MAX_DELAY_MS)
  return Math.round(delayMs * (0.5 + random / 2))
}
