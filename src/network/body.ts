import { VerificationError } from '../errors.ts'
import { unreachable } from './fetch.ts'

export interface BodyLimits {
  /** Size at which reading stops with a VerificationError. */
  maxBytes: number
  /** Longest silence between two chunks. @defaultValue 60000 */
  idleTimeoutMs?: number
}

const DEFAULT_IDLE_TIMEOUT_MS = 60_000

/**
 * The body as it arrives. Leaving the loop early closes the connection.
 *
 * @param host named in errors
 * @throws {@link VerificationError} when it is larger than `maxBytes`; {@link UnavailableError} when it breaks off or
 *   falls silent
 */
export async function* bodyChunks(
  response: Response,
  host: string,
  { maxBytes, idleTimeoutMs = DEFAULT_IDLE_TIMEOUT_MS }: BodyLimits,
): AsyncGenerator<Uint8Array, void, undefined> {
  if (response.body === null) return
  const reader = response.body.getReader()
  let receivedBytes = 0
  try {
    for (;;) {
      const chunk = await readChunk(reader, host, idleTimeoutMs)
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
  idleTimeoutMs: number,
): Promise<Uint8Array | undefined> {
  let timer: NodeJS.Timeout | undefined
  const silence = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => reject(unreachable(host, `it sent nothing for ${idleTimeoutMs} ms`)),
      idleTimeoutMs,
    )
  })
  try {
    return (await Promise.race([broken(reader.read(), host), silence])).value
  } finally {
    clearTimeout(timer)
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
