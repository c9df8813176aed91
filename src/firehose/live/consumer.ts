import { setTimeout as sleep } from 'node:timers/promises'
import { messageOf, UnavailableError } from '../../errors.ts'
import { type Logger, silentLogger } from '../../logger.ts'
import { didOf, type Frame } from '../frame.ts'
import { type Message, readMessage } from '../message.ts'
import { MessageTooLongError } from '../message-filter.ts'
import { followFirehose } from './connection.ts'
import { CursorSaver } from './cursor-saver.ts'
import { FrameHandler, MAX_FRAME_BYTES } from './frame-handler.ts'
import { FrameQueue } from './frame-queue.ts'
import { Gaps } from './gaps.ts'
import type { LiveOptions } from './options.ts'
import { SeqTracker } from './seq-tracker.ts'
import { type FrameOutcome, type LiveStatus, newLiveStatus } from './status.ts'

/** Frames that may be finished while one before them is not, as during the replay of its repo: some 10 MB. */
const MAX_AHEAD = 100_000
const READ_AHEAD_BYTES = 1024 ** 2
const DRAIN_MS = 10_000
/** Of the time to drain, what frames under way may take. What hangs must leave time to save what does not. */
const SETTLING_SHARE = 0.75

/** The next message that is wanted, as the connection is told. */
type Next = 'go on' | 'reconnect'

/**
 * One run of the live consumer. States: following (messages are read, queued and handled; the cursor is saved on a
 * clock), ending (the signal aborted, or something failed: nothing further is begun, what is under way settles, the
 * cursor is saved a last time), ended. Gaps are replayed while following, and hold the cursor back.
 */
export class LiveConsumer {
  readonly #options: LiveOptions
  readonly #status: LiveStatus
  readonly #logger: Logger
  readonly #ending = new AbortController()
  readonly #queue: FrameQueue
  readonly #tracker: SeqTracker
  readonly #saver: CursorSaver
  readonly #gaps: Gaps
  readonly #handler: FrameHandler
  #failure: { error: unknown } | undefined
  #received: number | undefined
  #arrivals = 0
  #isFirstOfConnection = true
  /** Where an unreadable message came: met there again, it is what the relay has. */
  #unreadableAfter: number | undefined
  /** As well, where one came that was too long. */
  #tooLongAfter: number | undefined

  constructor(options: LiveOptions) {
    this.#options = options
    this.#status = options.status ?? newLiveStatus()
    this.#logger = options.logger ?? silentLogger
    this.#received = options.cursor
    this.#tracker = new SeqTracker(options.cursor)
    this.#queue = new FrameQueue({
      maxFrames: options.maxQueuedFrames ?? 1000,
      maxBytes: options.maxQueuedBytes ?? 64 * 1024 ** 2,
      concurrency: options.concurrency ?? 64,
      onFailure: (error) => this.#fail(error),
      onSize: (frames, bytes) => {
        this.#status.queuedFrames = frames
        this.#status.queuedBytes = bytes
      },
    })
    const eventsBefore = this.#status.events
    this.#saver = new CursorSaver({
      sink: options.sink,
      saveCursor: async (seq) => {
        await options.saveCursor(seq)
        this.#status.savedSeq = seq
      },
      handled: () => ({ seq: this.#tracker.safe, events: this.#status.events - eventsBefore }),
      onFlush: options.onFlush,
      saved: options.cursor,
    })
    this.#gaps = new Gaps(options, {
      status: this.#status,
      saver: this.#saver,
      signal: this.#ending.signal,
      logger: this.#logger,
      onFailure: (error) => this.#fail(error),
    })
    this.#handler = new FrameHandler(options, this.#status, () => this.#arrivals, this.#ending.signal)
    // Whoever waits for room in the queue must hear of the end.
    this.#ending.signal.addEventListener('abort', () => void this.#queue.close())
    Object.assign(this.#status, { handledSeq: options.cursor, savedSeq: options.cursor })
    this.#status.startedAfterSeq ??= options.cursor
  }

  /** @throws what ended it, unless that was the signal */
  async run(): Promise<void> {
    const { signal, saveEveryMs = 1000 } = this.#options
    const end = () => this.#ending.abort()
    signal.addEventListener('abort', end)
    if (signal.aborted) end()
    const saving = this.#saver.run(saveEveryMs, this.#ending.signal).catch((error) => this.#fail(error))
    try {
      await this.#follow()
    } catch (error) {
      this.#fail(error)
    }
    end()
    signal.removeEventListener('abort', end)
    this.#status.isConnected = false
    await this.#drain(saving, this.#options.drainMs ?? DRAIN_MS)
    if (this.#failure !== undefined) throw this.#failure.error
  }

  /** Takes no longer than it may, whatever hangs: a process manager kills what does not end. */
  async #drain(saving: Promise<void>, drainMs: number): Promise<void> {
    const deadlineMs = performance.now() + drainMs
    await withinMs(this.#queue.close(), drainMs * SETTLING_SHARE)
    const saved = saving.then(() => this.#saveLast())
    if (await withinMs(saved, deadlineMs - performance.now())) return
    this.#saver.close()
    this.#failure ??= { error: notSavedInTime(drainMs) }
  }

  #follow(): Promise<void> {
    const {
      service,
      handshakeTimeoutMs,
      maxMessageBytes,
      maxFrameBytes,
      logger = silentLogger,
    } = this.#options
    return followFirehose({
      service,
      cursor: () => this.#received,
      readAheadBytes: READ_AHEAD_BYTES,
      maxMessageBytes: maxMessageBytes ?? 2 * (maxFrameBytes ?? MAX_FRAME_BYTES),
      ...(handshakeTimeoutMs === undefined ? {} : { handshakeTimeoutMs }),
      signal: this.#ending.signal,
      onConnect: () => this.#connected(),
      onDisconnect: ({ error, attempt, delayMs }) => {
        this.#status.isConnected = false
        const reason = error === undefined ? 'closed' : reasonOf(error)
        logger.warn({ service, attempt, delayMs, reason }, 'not connected to the relay')
        if (error instanceof MessageTooLongError) this.#tooLong()
      },
      onMessage: (bytes) => this.#read(bytes),
    })
  }

  /** Behind the same cursor the relay would send it again, for ever. */
  #tooLong(): void {
    const after = this.#received
    const isSecond = this.#tooLongAfter === after
    this.#tooLongAfter = after
    if (after === undefined || !isSecond) return
    this.#gaps.expect({ from: after, to: undefined, reason: 'too-long' })
    this.#received = undefined
  }

  async #saveLast(): Promise<void> {
    try {
      await this.#saver.save()
    } catch (error) {
      // Where something failed before, that is the cause and this its consequence.
      if (this.#failure === undefined) throw error
      this.#logger.debug({ error: messageOf(error) }, 'cursor not saved')
    }
  }

  #fail(error: unknown): void {
    // What was under way when the end was asked for is met again by the next run.
    if (this.#ending.signal.aborted && isAbort(error)) return
    this.#failure ??= { error }
    this.#ending.abort()
  }

  #connected(): void {
    const { service } = this.#options
    this.#status.isConnected = true
    this.#status.connections++
    this.#isFirstOfConnection = true
    this.#logger.info({ service, cursor: this.#received }, 'connected to the relay')
    this.#gaps.connected(this.#received)
  }

  async #read(bytes: Uint8Array): Promise<Next> {
    const message = readMessage(bytes)
    switch (message.kind) {
      case 'frame':
        return this.#take(message.frame.seq, message.frame, bytes.length)
      case 'other':
        this.#logger.debug({ type: message.type, seq: message.seq }, 'frame left out')
        return message.seq === undefined ? 'go on' : this.#take(message.seq, undefined, bytes.length)
      case 'notice':
        this.#logger.warn({ name: message.name, text: message.text }, 'the relay says')
        if (message.name === 'OutdatedCursor') {
          this.#isFirstOfConnection = false
          this.#gaps.replay({ from: this.#received, to: undefined, reason: 'outdated-cursor' })
        }
        return 'go on'
      case 'refusal':
        return this.#refused(message)
      case 'unreadable':
        return this.#unreadable(bytes, message)
    }
  }

  /** Queues a frame once there is room for it. @param frame undefined: one that says nothing to us */
  async #take(seq: number, frame: Frame | undefined, bytes: number): Promise<Next> {
    if (this.#isFirstOfConnection) this.#gaps.lookBefore(seq, this.#received)
    this.#isFirstOfConnection = false
    await this.#room()
    this.#received = seq
    this.#status.receivedSeq = seq
    // Saved with the next turn of the clock: a crash before the first frame is durable must not begin from now again.
    this.#tracker.startAfter(seq - 1)
    this.#status.startedAfterSeq ??= seq - 1
    if (frame === undefined) {
      this.#count('other')
      this.#tracker.begin(seq, () => this.#passed(seq))()
      return 'go on'
    }
    const arrival = ++this.#arrivals
    const did = didOf(frame)
    const done = this.#tracker.begin(seq, this.#passing(seq, { did, time: frame.time }))
    this.#handler.arrived(frame)
    this.#queue.add(did, bytes, async () => {
      const outcome = await this.#handler.handle({ frame, bytes, arrival })
      this.#count(outcome)
      done()
    })
    return 'go on'
  }

  async #room(): Promise<void> {
    await this.#queue.room()
    while (this.#tracker.aheadCount >= MAX_AHEAD && !this.#ending.signal.aborted) await sleep(10)
  }

  /** Made here, where it can hold no frame: its blocks would be kept for as long as one before it is under way. */
  #passing(seq: number, frame: { did: string; time: string }): () => void {
    return () => this.#passed(seq, frame)
  }

  #passed(seq: number, frame?: { did: string; time: string }): void {
    this.#status.handledSeq = seq
    if (frame === undefined) return
    const timeMs = Date.parse(frame.time)
    if (!Number.isNaN(timeMs)) {
      this.#status.handledTimeMs = timeMs
      this.#status.handledLagMs = Math.max(0, Date.now() - timeMs)
    }
    this.#options.onFrame?.({ seq, did: frame.did })
  }

  #count(outcome: FrameOutcome): void {
    this.#status.frames[outcome]++
  }

  #refused({ name, text }: Extract<Message, { kind: 'refusal' }>): Next {
    this.#logger.warn({ name, text, cursor: this.#received }, 'the relay refuses')
    if (name === 'FutureCursor') {
      this.#gaps.expect({ from: this.#received, to: undefined, reason: 'future-cursor' })
      this.#received = undefined
    }
    return 'reconnect'
  }

  /** Asked for once more, in case it was spoilt on its way; then what it can be about is replayed or kept. */
  async #unreadable(
    bytes: Uint8Array,
    { reason, dids }: Extract<Message, { kind: 'unreadable' }>,
  ): Promise<Next> {
    const seq = this.#received ?? 0
    this.#logger.error({ after: seq, bytes: bytes.length, reason, dids }, 'message cannot be read')
    if (this.#received !== undefined && this.#unreadableAfter !== seq) {
      this.#unreadableAfter = seq
      return 'reconnect'
    }
    await this.#room()
    const arrival = ++this.#arrivals
    const done = this.#tracker.begin(this.#received)
    // Where nobody is named it waits for nobody: a lane of its own, which no DID has.
    this.#queue.add(dids.join(' '), bytes.length, async () => {
      for (const did of dids)
        await this.#handler.replayLost(did, seq, arrival, `a frame could not be read: ${reason}`)
      if (dids.length === 0)
        await this.#options.onUnreadable?.({ uri: undefined, rev: '', seq, bytes, reason })
      this.#count('unreadable')
      done()
    })
    return 'go on'
  }
}

/** @returns whether it resolved in time; rejects as it does */
async function withinMs(work: Promise<unknown>, ms: number): Promise<boolean> {
  const passed = new AbortController()
  // Where the time is over first nobody awaits the work any more.
  work.catch(() => undefined)
  try {
    return await Promise.race([
      work.then(() => true),
      sleep(Math.max(ms, 0), false, { signal: passed.signal }),
    ])
  } finally {
    passed.abort()
  }
}

function notSavedInTime(drainMs: number): UnavailableError {
  return new UnavailableError(`What was under way could not be made durable within ${drainMs} ms.`, {
    hint: 'Nothing is lost: the next run goes on at the last cursor that was saved. Check the database.',
  })
}

/** The WebSocket client only says that there was an error, and what it was in the cause. */
function reasonOf(error: unknown): string {
  const { cause } = Object(error)
  if (cause === undefined) return messageOf(error)
  // An address that resolves to several fails with one error for all, which has a code and no message.
  return `${messageOf(error)}: ${messageOf(cause) || String(Object(cause).code)}`
}

function isAbort(error: unknown): boolean {
  return error instanceof Error && error.name === 'AbortError'
}
