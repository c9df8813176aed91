import { setTimeout as sleep } from 'node:timers/promises'
import { RestoreError } from '../../errors.ts'
import type { Logger } from '../../logger.ts'
import type { CursorSaver } from './cursor-saver.ts'
import type { Gap, LiveOptions } from './options.ts'
import type { LiveStatus } from './status.ts'

/** Time for a relay to begin sending, once it has accepted a connection that names no cursor. */
const SETTLE_MS = 1000
const MAX_SKIPPED_SEQS = 10_000

interface GapsParts {
  status: LiveStatus
  saver: CursorSaver
  /** Ends the replays under way. */
  signal: AbortSignal
  logger: Logger
  onFailure: (error: unknown) => void
}

/** Notices where frames were missed, and has that answered; the cursor stays before a gap until it is. */
export class Gaps {
  readonly #options: Pick<LiveOptions, 'onGap' | 'maxSkippedSeqs'>
  readonly #parts: GapsParts
  /** To be announced once the next connection stands. */
  #expected: Gap | undefined
  #connections = 0

  constructor(options: Pick<LiveOptions, 'gap' | 'onGap' | 'maxSkippedSeqs'>, parts: GapsParts) {
    this.#options = options
    this.#parts = parts
    this.#expected = options.gap
  }

  /** The next connection begins behind a gap. */
  expect(gap: Gap): void {
    this.#expected = gap
  }

  /** @param received the last seq, by which the connection was asked for; undefined: from now */
  connected(received: number | undefined): void {
    this.#connections++
    const isAnew = this.#connections > 1 && received === undefined
    const gap =
      this.#expected ??
      (isAnew ? { from: undefined, to: undefined, reason: 'no-position' as const } : undefined)
    this.#expected = undefined
    if (gap !== undefined) this.replay(gap, SETTLE_MS)
  }

  /** Whether frames are missing between the last one received and the first of a connection. */
  lookBefore(seq: number, received: number | undefined): void {
    if (received === undefined) return
    const { maxSkippedSeqs = MAX_SKIPPED_SEQS } = this.#options
    // Some relays send the frame at the cursor once more; a lower one means that they count anew.
    const reason = seq < received ? 'future-cursor' : seq - received > maxSkippedSeqs ? 'skipped' : undefined
    if (reason !== undefined) this.replay({ from: received, to: seq, reason })
  }

  replay(gap: Gap, delayMs = 0): void {
    const { logger, status, saver, onFailure } = this.#parts
    logger.warn(gap, 'frames were missed: the accounts are replayed')
    status.gaps++
    const work = saver.holdBackFor(this.#answer(gap, delayMs))
    work.catch(onFailure)
  }

  async #answer(gap: Gap, delayMs: number): Promise<void> {
    const { onGap } = this.#options
    const { status, signal } = this.#parts
    if (onGap === undefined) {
      throw new RestoreError(`Frames after ${gap.from ?? 'the start'} are missing (${gap.reason}).`, {
        hint: 'Replay the accounts that may have changed, then start without a cursor; or give onGap.',
      })
    }
    await sleep(delayMs, undefined, { signal })
    status.replays++
    await onGap(gap, signal).finally(() => status.replays--)
  }
}
