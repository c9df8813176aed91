import { VerificationError } from '../errors.ts'
import { unreachable } from './fetch.ts'

export interface BodyLimits {
  /** Size at which reading stops with a VerificationError. */
  maxBytes: number
  /** Longest silence between two chunks. @defaultValue 60000 */
  idleTimeoutMs?: number
  /**
   * Lowest rate that is waited for. A byte now and then is no silence, and would hold up for days whoever waits for a
   * large body. Time in which the caller does not read does not count. @defaultValue 1024
   */
  minBytesPerSecond?: number
  /** How long the body may be behind that rate, in milliseconds. @defaultValue 60000 */
  slackMs?: number
}

const DEFAULT_IDLE_TIMEOUT_MS = 60_000
/** A thousandth of what the slowest host in use sends. */
const DEFAULT_MIN_BYTES_PER_SECOND = 1024
const DEFAULT_SLACK_MS = 60_000

/**
 * The body as it arrives. Leaving the loop early closes the connection.
 *
 * @param host named in errors
 * @throws {@link VerificationError} when it is larger than `maxBytes`; {@link UnavailableError} when it breaks off,
 *   falls silent or comes too slowly
 */
export async function* bodyChunks(
  response: Response,
  host: string,
  limits: BodyLimits,
): AsyncGenerator<Uint8Array, void, undefined> {
  const { maxBytes } = limits
  if (response.body === null) return
  const reader = response.body.getReader()
  const patience = new Patience(host, limits)
  let receivedBytes = 0
  try {
    for (;;) {
      const chunk = await readChunk(reader, host, patience)
      if (chunk === undefined) return
      receivedBytes += chunk.length
      if (receivedBytes > maxBytes) throw tooLarge(host, maxBytes)
      yield chunk
    }
  } finally {
    // After an error of the stream itself this rejects with that error, which is already on its way to the caller.
    await reader.cancel().catch(() => undefined)
  }
}

/** The whole body. @throws as bodyChunks does */
export async function bodyBytes(response: Response, host: string, limits: BodyLimits): Promise<Uint8Array> {
  const chunks: Uint8Array[] = []
  for await (const chunk of bodyChunks(response, host, limits)) chunks.push(chunk)
  return Buffer.concat(chunks)
}

async function readChunk(
  reader: ReadableStreamDefaultReader<Uint8Array>,
  host: string,
  patience: Patience,
): Promise<Uint8Array | undefined> {
  let timer: NodeJS.Timeout | undefined
  const { ms, error } = patience.next()
  const end = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(error()), ms)
  })
  const startMs = performance.now()
  try {
    const { value } = await Promise.race([broken(reader.read(), host), end])
    patience.waited(performance.now() - startMs, value?.length ?? 0)
    return value
  } finally {
    clearTimeout(timer)
  }
}

/** How long the next chunk is waited for. What was sent fast earns no right to stop sending for long. */
class Patience {
  readonly #host: string
  readonly #idleTimeoutMs: number
  readonly #bytesPerSecond: number
  readonly #slackMs: number
  #leftMs: number

  constructor(host: string, limits: BodyLimits) {
    this.#host = host
    this.#idleTimeoutMs = limits.idleTimeoutMs ?? DEFAULT_IDLE_TIMEOUT_MS
    this.#bytesPerSecond = limits.minBytesPerSecond ?? DEFAULT_MIN_BYTES_PER_SECOND
    this.#slackMs = limits.slackMs ?? DEFAULT_SLACK_MS
    this.#leftMs = this.#slackMs
  }

  next(): { ms: number; error: () => Error } {
    const isSilence = this.#idleTimeoutMs <= this.#leftMs
    const problem = isSilence
      ? `it sent nothing for ${this.#idleTimeoutMs} ms`
      : `it sent less than ${this.#bytesPerSecond} bytes a second`
    const ms = Math.max(0, Math.min(this.#idleTimeoutMs, this.#leftMs))
    return { ms, error: () => unreachable(this.#host, problem) }
  }

  waited(ms: number, bytes: number): void {
    const earnedMs = (bytes / this.#bytesPerSecond) * 1000
    this.#leftMs = Math.min(this.#slackMs, this.#leftMs - ms + earnedMs)
  }
}

async function broken<Result>(read: Promise<Result>, host: string): Promise<Result> {
  try {
    return await read
  } catch (cause) {
    throw unreachable(host, 'the connection broke off', cause)
  }
}

function tooLarge(host: string, maxBytes: number): VerificationError {
  return new VerificationError(`${host} sent more than the limit of ${maxBytes} bytes`, {
    hint: 'Raise the size limit if so much is to be expected, otherwise ask the operator of the host.',
  })
}
