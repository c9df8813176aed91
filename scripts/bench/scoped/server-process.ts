import { fileURLToPath } from 'node:url'
import { startChild } from '../firehose/child.ts'

export interface ScopedRequest {
  accounts: number
  /** Frames of each account; all others send the same one again and again. */
  rounds: number
}
export interface ScopedReady {
  port: number
  wanted: string
  frames: number
  /** Of all frames, with their headers. */
  bytes: number
  lastSeq: number
}

export interface ScopedFirehose extends Omit<ScopedReady, 'port'>, AsyncDisposable {
  service: string
  plcUrl: string
  /** Of the wanted account. */
  ownFrames: number
}

const SERVER = fileURLToPath(new URL('./server.ts', import.meta.url))

export async function startScopedFirehose(request: ScopedRequest): Promise<ScopedFirehose> {
  const child = await startChild<ScopedReady>(SERVER, request)
  const { port, ...ready } = child.ready
  return {
    ...ready,
    service: `ws://127.0.0.1:${port}`,
    plcUrl: `http://127.0.0.1:${port}`,
    ownFrames: request.rounds,
    [Symbol.asyncDispose]: child[Symbol.asyncDispose],
  }
}
