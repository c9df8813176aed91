import { setTimeout as sleep } from 'node:timers/promises'
import { ConfigError, shouldRetry, UnavailableError } from '../errors.ts'
import { type Logger, silentLogger } from '../logger.ts'
import { didOf, type Frame, SUBSCRIBE_REPOS } from './frame.ts'
import { type Message, readMessage, seqOf } from './message.ts'
import { MessageFilter } from './message-filter.ts'
import { newestSeq, unknownEnd } from './newest-seq.ts'
import { connectionClosed, openRelaySocket } from './relay-socket.ts'
import { Silence } from './silence.ts'

export interface WindowOptions {
  did: string
  /** Relay or PDS, as `wss://bsky.network`. */
  service: string
  /** The window begins after this seq. */
  cursor: number
  /** The window's last seq. @defaultValue the newest that the relay has when the replay starts */
  until?: number
  /**
   * For so long nothing may come, and the relay must answer a ping meanwhile, before the window counts as drained: a
   * quiet relay sends nothing that would show how far it is. In milliseconds. @defaultValue 10000
   */
  quietMs?: number
  /** Told now and then which seq has been reached, and the window's last where that is known. */
  onPosition?: (seq: number, until: number | undefined) => void
  signal?: AbortSignal
  logger?: Logger
}

/** What the window holds of the account. */
export type WindowEntry =
  | { kind: 'frame'; frame: Frame }
  /** A message that seems to be about the account and cannot be read. */
  | { kind: 'unreadable'; reason: string; afterSeq: number }

export interface WindowEnd {
  /** The newest seq that was looked at. */
  seq: number
  /** All frames of the window, of whatever account. */
  frameCount: number
  /** Set when the relay no longer held the beginning of the window: what it said. */
  outdated?: string
}

const DEFAULT_QUIET_MS = 10_000
/** How often the seq of a frame that is dropped otherwise is decoded. */
const POSITION_EVERY_MS = 50
/** Connections in a row that bring nothing new before the relay counts as away. */
const MAX_ATTEMPTS = 5
const FIRST_DELAY_MS = 500
/** Of the account's frames, how many may wait to be handed over before the relay has to. */
const MAX_WAITING = 64

/**
 * One account's frames in a window of a relay's firehose, in order. Those of other accounts are dropped before they
 * are decoded. Where the connection breaks it is taken up again behind what was seen; no frame is given twice.
 *
 * @returns how far the window was read
 * @throws ConfigError when the relay has never reached the cursor. UnavailableError when it stays away
 */
export async function* readWindow(options: WindowOptions): AsyncGenerator<WindowEntry, WindowEnd, undefined> {
  const reader = new WindowReader(options)
  const stopHead = reader.findEnd()
  try {
    yield* reader.read()
  } finally {
    stopHead()
  }
  return reader.end
}

class WindowReader {
  readonly #options: WindowOptions
  readonly #logger: Logger
  readonly #quietMs: number
  #until: number | undefined
  /** Why the window's end cannot be found. */
  #endless: UnavailableError | undefined
  /** Nothing up to here has to be seen again. */
  #position: number
  #frameCount = 0
  #outdated: string | undefined
  #isDone = false

  constructor(options: WindowOptions) {
    this.#options = options
    this.#logger = options.logger ?? silentLogger
    this.#quietMs = options.quietMs ?? DEFAULT_QUIET_MS
    this.#until = options.until
    this.#position = options.cursor
  }

  get end(): WindowEnd {
    const end = { seq: this.#position, frameCount: this.#frameCount }
    return this.#outdated === undefined ? end : { ...end, outdated: this.#outdated }
  }

  /**
   * The first frame of a subscription without cursor is newer than all that the relay had before: the window ends
   * there. A quiet relay may never send it; then silence ends the window. @returns a function that stops looking
   */
  findEnd(): () => void {
    if (this.#until !== undefined) return () => undefined
    const stop = new AbortController()
    const looking = newestSeq(this.#options.service, {
      everyMs: this.#quietMs,
      signal: stop.signal,
      logger: this.#logger,
    }).then((seq) => {
      this.#until = seq
    })
    looking.catch((error: unknown) => {
      if (stop.signal.aborted) this.#logger.trace({ error }, 'no longer looking for the newest seq')
      else this.#endless = unknownEnd(error)
    })
    return () => stop.abort()
  }

  async *read(): AsyncGenerator<WindowEntry, void, undefined> {
    const { signal } = this.#options
    let attempt = 0
    while (!this.#isDone) {
      const before = this.#position
      try {
        yield* this.#readConnection()
        if (!this.#isDone) throw connectionClosed()
      } catch (error) {
        // Of a busy relay there would be no end otherwise.
        if (this.#endless !== undefined) throw this.#endless
        attempt = this.#position > before ? 1 : attempt + 1
        if (!shouldRetry(error) || attempt >= MAX_ATTEMPTS) throw error
        this.#logger.warn({ error, cursor: this.#position }, 'connecting to the relay again')
        const delayMs = FIRST_DELAY_MS * 2 ** (attempt - 1) * (0.5 + Math.random() / 2)
        await sleep(delayMs, undefined, signal === undefined ? {} : { signal })
      }
    }
  }

  async *#readConnection(): AsyncGenerator<WindowEntry, void, undefined> {
    const { service, did, signal } = this.#options
    const matches: Buffer[] = []
    const filter = new MessageFilter(Buffer.from(did), {
      onMatch: (message) => void matches.push(message),
      // Only the last is answered, which is enough: as many as come would be kept while entries are handed over.
      onPing: (payload) => {
        pings[0] = payload
      },
      onPong: () => silence.onPong(),
      onClose: () => silence.onClose(),
    })
    const pings: Buffer[] = []
    const silence = new Silence()
    let isWorthALook: () => void = () => undefined
    const socket = await openRelaySocket({
      service,
      path: `/xrpc/${SUBSCRIBE_REPOS}?cursor=${this.#position}`,
      onBytes: (bytes) => {
        const before = filter.messageCount
        const wasBusy = silence.isBusy
        filter.push(bytes)
        if (filter.messageCount > before) silence.onMessage()
        // Dropping frames is no reason to wake anybody: what that costs would be felt at a million of them a second.
        const isNews = matches.length > 0 || pings.length > 0 || before === 0
        if (isNews || !wasBusy || silence.isOver) isWorthALook()
        return matches.length < MAX_WAITING
      },
      ...(signal === undefined ? {} : { signal }),
    })
    isWorthALook = () => socket.wake()
    if (filter.messageCount > 0) socket.wake()
    let counted = 0
    let nextPositionMs = 0
    try {
      while (!this.#isDone) {
        const waited = await socket.wait(silence.waitMs(this.#quietMs, POSITION_EVERY_MS))
        if (this.#endless !== undefined) throw this.#endless
        if (counted === 0 && filter.first !== undefined) this.#hear(readMessage(filter.first))
        for (const payload of pings.splice(0)) socket.pong(payload)
        // What comes while these are handed over is behind them, and counted the next time.
        const { messageCount } = filter
        const isDue = waited !== 'woken' || silence.isOver || performance.now() >= nextPositionMs
        const last = isDue && filter.last !== undefined ? readMessage(filter.last) : undefined
        for (const match of matches.splice(0)) yield* this.#entryOf(match)
        this.#frameCount += messageCount - counted
        counted = messageCount
        if (last !== undefined) {
          this.#note(last)
          nextPositionMs = performance.now() + POSITION_EVERY_MS
        }
        if (waited === 'silent' && silence.next() === 'ping') socket.ping()
        if (waited === 'ended') silence.onClose()
        this.#isDone ||= silence.isDrained
        if (silence.isOver) return
        socket.resume()
      }
    } finally {
      socket.close()
    }
  }

  /** The account's, and of the window, and not seen before. */
  *#entryOf(message: Buffer): Generator<WindowEntry, void, undefined> {
    const decoded = readMessage(message)
    if (decoded.kind === 'unreadable' && decoded.dids.includes(this.#options.did)) {
      yield { kind: 'unreadable', reason: decoded.reason, afterSeq: this.#position }
    }
    if (decoded.kind !== 'frame') return
    const { frame } = decoded
    if (this.#until !== undefined && frame.seq > this.#until) {
      this.#isDone = true
      return
    }
    // Others mention the account: who follows it, or replies to it.
    if (didOf(frame) !== this.#options.did || frame.seq <= this.#position) return
    yield { kind: 'frame', frame }
    this.#position = frame.seq
  }

  /** What a message says about the subscription as such. */
  #hear(message: Message): void {
    if (message.kind === 'refusal') throw relayError(this.#options, message)
    if (message.kind !== 'notice') return
    const { name, text } = message
    this.#logger.warn({ name, text }, 'the relay says')
    if (name === 'OutdatedCursor') this.#outdated = text || name
  }

  /** How far the stream is; only called when the account's frames up to there have been handed over. */
  #note(message: Message): void {
    this.#hear(message)
    const seq = seqOf(message)
    if (seq === undefined) return
    this.#position = Math.max(this.#position, Math.min(seq, this.#until ?? seq))
    this.#options.onPosition?.(this.#position, this.#until)
    if (this.#until !== undefined && seq >= this.#until) this.#isDone = true
  }
}

function relayError(
  { service, cursor }: WindowOptions,
  { name, text }: Extract<Message, { kind: 'refusal' }>,
): Error {
  const said = text === '' ? name : `${name}: ${text}`
  if (name === 'FutureCursor') {
    return new ConfigError(`${service} has not come as far as cursor ${cursor} (${said}).`, {
      hint: 'The cursor is of another relay, or this one has begun anew. Replay from the repo instead.',
    })
  }
  return new UnavailableError(`${service} ended the subscription: ${said}`, {
    hint: 'Try again later, or replay from the repo.',
  })
}
