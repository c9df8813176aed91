import { setTimeout as sleep } from 'node:timers/promises'
import { SUBSCRIBE_REPOS } from '../frame.ts'
import { MessageFilter } from '../message-filter.ts'
import { connectionClosed, openRelaySocket, type RelaySocket } from '../relay-socket.ts'

export interface ConnectionOptions {
  /** Relay or PDS, as `wss://bsky.network`. */
  service: string
  /** Asked before each connection: where to go on; undefined: from now. */
  cursor: () => number | undefined
  /** Bytes that may be received and not read before the socket is paused. */
  readAheadBytes: number
  /** A longer message ends the connection before it is received. */
  maxMessageBytes: number
  /** Told when a connection is open, before its first message. */
  onConnect: () => void
  /** Told when one has ended or could not be opened, with what happens next. */
  onDisconnect: (ended: { error: unknown; attempt: number; delayMs: number }) => void
  /** The next message is read when it has resolved. */
  onMessage: (bytes: Uint8Array) => Promise<'go on' | 'reconnect'>
  /** How long an attempt may take until the relay has agreed to send, in milliseconds. @defaultValue 30000 */
  handshakeTimeoutMs?: number
  /** Silence after which the relay must answer a ping, within as long again, in milliseconds. @defaultValue 10000 */
  heartbeatMs?: number
  signal: AbortSignal
}

const FIRST_DELAY_MS = 1000
/** A relay that comes back is found within a minute. */
const MAX_DELAY_MS = 60_000
/** A relay of any size has something to say sooner. */
const HEARTBEAT_MS = 10_000

/**
 * The messages of a firehose, over as many connections as it takes. Resolves when the signal aborts; what `onMessage`
 * throws ends it.
 *
 * The socket is paused while messages are not read, so that a slow consumer slows the relay down and not its own
 * memory grows. Over our own socket and not over @atproto/ws-client because that one takes messages of up to 100 MiB,
 * which cannot be set: a relay would decide how much memory we need.
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
  const { heartbeatMs = HEARTBEAT_MS } = options
  const messages = new ReadAhead(options.readAheadBytes)
  let isClosed = false
  let isPaused = false
  let socket: RelaySocket | undefined
  const filter = new MessageFilter(
    Buffer.alloc(0),
    {
      onMatch: (message) => messages.add(message),
      onPing: (payload) => socket?.pong(payload),
      onPong: () => undefined,
      onClose: () => {
        isClosed = true
      },
    },
    options.maxMessageBytes,
  )
  try {
    const opened = await open(options, (bytes) => {
      filter.push(bytes)
      socket?.wake()
      isPaused = messages.isFull
      return !isPaused
    })
    socket = opened
    const resume = (paused: RelaySocket): void => {
      isPaused = false
      paused.resume()
    }
    options.onConnect()
    for (let isAsked = false; ; ) {
      // What came before the end counts: first it is read, then the end is looked at.
      const waited = messages.isEmpty && !isClosed ? await settled(opened.wait(heartbeatMs)) : 'passed'
      for (let bytes = messages.take(); bytes !== undefined; bytes = messages.take()) {
        const next = await options
          .onMessage(bytes)
          .catch((cause: unknown) => new ConsumerError('', { cause }))
        if (next instanceof ConsumerError) return next
        if (next === 'reconnect' || options.signal.aborted) return undefined
        onRead()
        if (isPaused && messages.isLow) resume(opened)
      }
      if (isPaused) resume(opened)
      if (typeof waited === 'object') return waited.error
      if (waited === 'ended' || isClosed) return undefined
      if (waited === 'silent' && isAsked) return connectionClosed()
      isAsked = waited === 'silent'
      if (isAsked) opened.ping()
    }
  } catch (error) {
    return error
  } finally {
    socket?.close()
  }
}

function open(options: ConnectionOptions, onBytes: (bytes: Buffer) => boolean): Promise<RelaySocket> {
  const { service, cursor, handshakeTimeoutMs, signal } = options
  const position = cursor()
  const query = position === undefined ? '' : `?cursor=${position}`
  return openRelaySocket({
    service,
    path: `/xrpc/${SUBSCRIBE_REPOS}${query}`,
    onBytes,
    ...(handshakeTimeoutMs === undefined ? {} : { handshakeTimeoutMs }),
    signal,
  })
}

/** What a wait ended in, as a value: messages may have come before it failed. */
async function settled<T>(wait: Promise<T>): Promise<T | { error: unknown }> {
  try {
    return await wait
  } catch (error) {
    return { error }
  }
}

/** What a message takes beside its bytes: a relay may send any number of empty ones. */
const OVERHEAD_BYTES = 200

/** Messages that have been received and not read. */
class ReadAhead {
  readonly #maxBytes: number
  #messages: Buffer[] = []
  #next = 0
  #bytes = 0

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  get isEmpty(): boolean {
    return this.#next === this.#messages.length
  }

  get isFull(): boolean {
    return this.#bytes >= this.#maxBytes
  }

  /** Low enough for the socket to go on: not at the first byte that is free, or it would stop again at the next. */
  get isLow(): boolean {
    return this.#bytes <= this.#maxBytes / 2
  }

  add(message: Buffer): void {
    this.#messages.push(message)
    this.#bytes += message.length + OVERHEAD_BYTES
  }

  take(): Uint8Array | undefined {
    const message = this.#messages[this.#next++]
    if (message === undefined) {
      this.#messages = []
      this.#next = 0
      return undefined
    }
    this.#bytes -= message.length + OVERHEAD_BYTES
    // A Buffer is no Uint8Array to whoever compares or prints it.
    return new Uint8Array(message.buffer, message.byteOffset, message.length)
  }
}

/** Doubled each time, with jitter between half and whole: a relay's consumers should not all come back at once. */
export function delayBefore(attempt: number, random = Math.random()): number {
  const delayMs = Math.min(FIRST_DELAY_MS * 2 ** attempt, MAX_DELAY_MS)
  return Math.round(delayMs * (0.5 + random / 2))
}
