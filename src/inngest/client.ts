import { Inngest } from 'inngest'
import { type Logger, silentLogger } from '../logger.ts'

export interface InngestOptions {
  /** The app's id in Inngest; it is part of every function's id there. @defaultValue 'firehose-replay' */
  id?: string
  /**
   * Talks to a development server and checks no signatures. @defaultValue what the SDK makes of INNGEST_DEV,
   * which is false where that is not set
   */
  isDev?: boolean
  /** Of an Inngest server of one's own. @defaultValue the SDK's: INNGEST_BASE_URL, else Inngest's cloud */
  baseUrl?: string
  /** @defaultValue INNGEST_EVENT_KEY */
  eventKey?: string
  /** @defaultValue INNGEST_SIGNING_KEY */
  signingKey?: string
  /** Gets the SDK's own messages, which otherwise go to the console. @defaultValue none are logged */
  logger?: Logger
  /** Every outgoing request. @defaultValue the global fetch, 30 seconds a request */
  fetch?: typeof globalThis.fetch
}

/** The SDK sets no time limit of its own: a server that never answers would hold a send for ever. */
const REQUEST_TIMEOUT_MS = 30_000

/**
 * The Inngest client of this app. Checkpointing, the SDK's default, is off: it reports finished steps in requests of
 * their own and has repeated steps when those were lost or late. Our functions have few steps and gain nothing by it.
 */
export function createInngest(options: InngestOptions = {}): Inngest {
  const { id = 'firehose-replay', logger = silentLogger, fetch = boundedFetch(), ...rest } = options
  const log = {
    debug: (...args: unknown[]) => logger.debug(...messageFrom(args)),
    info: (...args: unknown[]) => logger.info(...messageFrom(args)),
    warn: (...args: unknown[]) => logger.warn(...messageFrom(args)),
    error: (...args: unknown[]) => logger.error(...messageFrom(args)),
  }
  return new Inngest({ ...rest, id, fetch, checkpointing: false, logger: log })
}

/** @param signal ends requests early, beside the time limit */
export function boundedFetch(signal?: AbortSignal): typeof globalThis.fetch {
  return (input, init) => {
    const signals = [signal, init?.signal, AbortSignal.timeout(REQUEST_TIMEOUT_MS)]
    return globalThis.fetch(input, { ...init, signal: AbortSignal.any(signals.filter((one) => one != null)) })
  }
}

/** The SDK calls loggers both as (message) and as (fields, message). */
function messageFrom(args: readonly unknown[]): [object, string] {
  const [first, second] = args
  if (typeof first === 'object' && first !== null) return [first, String(second ?? '')]
  return [{}, args.map(String).join(' ')]
}
