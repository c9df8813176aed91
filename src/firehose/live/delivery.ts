import { setTimeout as sleep } from 'node:timers/promises'
import { EXIT, messageOf, ReplayError, UnavailableError } from '../../errors.ts'
import type { EventSink, RecordEvent } from '../../events.ts'
import { type Logger, silentLogger } from '../../logger.ts'

export interface DeliveryOptions {
  sink: EventSink
  /** @see LiveOptions.attempts */
  attempts: number
  onFailedEvent: ((event: RecordEvent, error: unknown) => Promise<void>) | undefined
  onFailure: () => void
  /** Told of each event that the sink took. */
  onHandled?: () => void
  signal: AbortSignal
  logger?: Logger
}

const FIRST_DELAY_MS = 200

/**
 * Events that may fail one after the other before it is not them that is to blame: a handler whose own database is
 * away refuses everything, and that must stop the consumer, not turn the firehose into dead letters.
 */
const MAX_FAILED_IN_A_ROW = 10

/**
 * Gives events to the sink. One that is rejected for a reason of its own is tried again, while its account waits, and
 * then kept as failed; what fails the sink as a whole (the database away, a wrong key) is thrown at once.
 */
export class Delivery {
  readonly #options: DeliveryOptions
  readonly #logger: Logger
  #failedInARow = 0

  constructor(options: DeliveryOptions) {
    this.#options = options
    this.#logger = options.logger ?? silentLogger
  }

  async deliver(event: RecordEvent): Promise<void> {
    const { sink, attempts, signal } = this.#options
    for (let attempt = 1; ; attempt++) {
      try {
        await sink.handle(event)
        this.#failedInARow = 0
        this.#options.onHandled?.()
        return
      } catch (error) {
        if (failsAll(error)) throw error
        if (attempt >= attempts) return this.#keep(event, error)
        this.#logger.warn({ uri: event.uri.toString(), attempt, error: messageOf(error) }, 'event failed')
        await sleep(FIRST_DELAY_MS * 2 ** (attempt - 1), undefined, { signal })
      }
    }
  }

  async #keep(event: RecordEvent, error: unknown): Promise<void> {
    const { onFailedEvent, onFailure } = this.#options
    if (onFailedEvent === undefined) throw error
    if (++this.#failedInARow > MAX_FAILED_IN_A_ROW) {
      throw new UnavailableError(
        `${MAX_FAILED_IN_A_ROW} events in a row failed, the last with: ${messageOf(error)}`,
        { hint: 'Mend the handler or what it needs; the consumer goes on before them.', cause: error },
      )
    }
    this.#logger.error({ uri: event.uri.toString(), error: messageOf(error) }, 'event given up')
    await onFailedEvent(event, error)
    onFailure()
  }
}

/** Errors with another exit code than `failed` are about the configuration or the hour, not about the event. */
function failsAll(error: unknown): boolean {
  return error instanceof ReplayError && error.exitCode !== EXIT.failed
}
